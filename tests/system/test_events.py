"""Events from outside start DAGs, and Gust tells of its own, through every real part: bucket, EventBridge, queues, topic."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import pytest

from gust.cli import watch_bucket, watch_queue, watch_stream
from gust.model.asset import AssetKey
from gust.model.watcher import Watcher
from tests.system.local_gust import ROOT, LocalGust

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

EXAMPLE: Final = ROOT / "examples" / "events" / "sales_to_redshift.py"

FILES = """
    from airflow.sdk import DAG, Asset, task

    with DAG("take_files", schedule=Asset("s3://raw-files/incoming/", extra={"glob": "*.csv"}), max_active_runs=1):

        @task
        def take(triggering_asset_events=None):
            for events in triggering_asset_events.values():
                print("took", sorted(event.extra["key"] for event in events), events[0].extra["size"])

        take()

    with DAG("handle_order", params={"order": 0}):

        @task
        def handle(params, dag_run=None):
            print("order", params["order"], dag_run.logical_date, dag_run.triggering_user_name)

        handle()
"""

EVENTS = """
    - source: shop
      pattern:
        detail: {total: [{numeric: [">", 100]}]}
      dag_id: handle_order
      conf: {order: "{% detail.order %}"}
      dedup_key: "{% 'order-' & detail.order %}"

    - source: shop
      pattern: {detail-type: [Lost]}
      dag_id: no_such_dag
"""

BROKEN = """
    from airflow.sdk import DAG, task

    with DAG("broken_dag", tags=["team-a"]):

        @task
        def breaks():
            raise ValueError("it is broken")

        breaks()
"""

WAITS: Final = """
    from airflow.providers.amazon.aws.operators.step_function import StepFunctionStartExecutionOperator
    from airflow.sdk import DAG

    with DAG("wait_for_execution"):
        StepFunctionStartExecutionOperator(
            task_id="wait", state_machine_arn="MACHINE", deferrable=True, waiter_delay=600
        )
"""

LETTERS: Final = """
    from airflow.providers.amazon.aws.triggers.sqs import SqsSensorTrigger
    from airflow.sdk import DAG, Asset, AssetWatcher, task

    letters = Asset("letters", watchers=[AssetWatcher(name="inbox", trigger=SqsSensorTrigger("QUEUE"))])
    with DAG("read_letters", schedule=[letters]):

        @task
        def read(triggering_asset_events=None):
            events = triggering_asset_events[letters]
            messages = [one for event in events for one in event.extra["payload"]["message_batch"]]
            print("read", sorted(one["Body"] for one in messages), events[0].extra["payload"]["status"], sorted(messages[0]))

        read()
"""

CLICKS: Final = """
    from base64 import b64decode

    from airflow.providers.amazon.aws.triggers.kinesis import KinesisTrigger
    from airflow.sdk import DAG, Asset, AssetWatcher, task

    clicks = Asset("clicks", watchers=[AssetWatcher(name="stream", trigger=KinesisTrigger("clicks", waiter_delay=5))])
    with DAG("read_clicks", schedule=[clicks]):

        @task
        def read(triggering_asset_events=None):
            events = triggering_asset_events[clicks]
            records = [one for event in events for one in event.extra["payload"]["message_batch"]]
            print("read", [b64decode(one["Data"]).decode() for one in records], sorted(records[0]))

        read()
"""

FILES_AT_ONCE = 200

BUSY: Final = 150
"""Seconds until a wait fails: the first message of a queue starts its function."""

TELLS_ALL = {"TellEvents": "All", "AlertEmail": "team@example.com", "WakeTriggers": "Enabled"}


def rules_of(gust: LocalGust) -> list[str]:
    """The patterns that the bus follows."""
    found = gust.stack.client("events").list_rules(EventBusName="gust", NamePrefix="events.yaml-")["Rules"]
    return [rule["EventPattern"] for rule in found if rule["State"] == "ENABLED"]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalGust]:
    """A stack that tells of everything, with DAGs that wait for events and a bucket that `./gust watch-bucket` prepared."""
    home = tmp_path_factory.mktemp("events")
    gust = LocalGust(home / "data", home / "dags", parameters=TELLS_ALL)
    gust.start()
    try:
        gust.upload("files.py", FILES)
        gust.upload("broken.py", BROKEN)
        gust.upload("team/events.yaml", EVENTS)
        gust.await_dag("take_files", within=BUSY)
        gust._await(lambda: len(rules_of(gust)) == 2 or None, BUSY, lambda: f"no rules: {gust.import_errors()}")
        gust.stack.client("s3").create_bucket(Bucket="raw-files")
        change = watch_bucket.plan(gust.stack.client, "raw-files", "gust", follows_parameters=False)
        watch_bucket.make(gust.stack.client, change)
        yield gust
    finally:
        gust.stop()


class Listener:
    """A queue of a program that listens to the stack's events, or to its alerts."""

    def __init__(self, gust: LocalGust, name: str) -> None:
        self._sqs = gust.stack.client("sqs")
        self._queue = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        asked = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])
        self.arn = asked["Attributes"]["QueueArn"]
        self._heard: list[dict[str, Any]] = []

    def heard(self) -> list[dict[str, Any]]:
        """All messages until now."""
        while found := self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages"):
            for message in found:
                self._heard.append(json.loads(message["Body"]))
                self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        return self._heard


class RedshiftData:
    """Redshift's Data API as far as the operator calls it, at an address of its own: the emulator has none. It keeps the
    statements."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        answers = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                match self.headers["x-amz-target"].rpartition(".")[2]:
                    case "ExecuteStatement":
                        answers.statements.append(asked["Sql"])
                        answer = {"Id": "d9b6c0c9-0747-4bf4-b142-e8883122f766"}
                    case operation:
                        assert operation == "DescribeStatement"
                        answer = {"Id": asked["Id"], "Status": "FINISHED", "HasResultSet": False}
                body = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("content-type", "application/x-amz-json-1.1")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def send(gust: LocalGust, detail_type: str, detail: dict[str, Any]) -> None:
    entry = {"Source": "shop", "DetailType": detail_type, "Detail": json.dumps(detail), "EventBusName": "gust"}
    assert gust.stack.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0


def put(gust: LocalGust, key: str) -> None:
    gust.stack.client("s3").put_object(Bucket="raw-files", Key=key, Body=b"a,b\n")


def test_an_event_that_matches_an_entry_starts_its_dag_once(watched: LocalGust) -> None:
    for order, total in ((1, 99), (2, 101), (2, 101)):
        send(watched, "Placed", {"order": order, "total": total})
    watched.await_runs("handle_order", 1, run_type="manual", within=BUSY)
    watched.await_state("handle_order", "event__order-2", "success")
    watched.await_log("handle_order", "event__order-2", "handle", "order 2 None team/events.yaml:2")
    assert len(watched.await_runs("handle_order", 1, run_type="manual")) == 1


def test_an_event_that_cannot_be_followed_is_in_the_event_log(watched: LocalGust) -> None:
    send(watched, "Lost", {})
    (entry,) = watched._await(
        lambda: watched.api.pages("/api/v2/eventLogs", "event_logs", event="event_refused") or None,
        BUSY,
        lambda: "no entry in the event log",
    )
    assert entry["dag_id"] == "no_such_dag"
    assert "not found" in json.loads(entry["extra"])["reason"]


def test_an_entry_that_is_gone_has_no_rule_of_the_bus(watched: LocalGust) -> None:
    watched.upload("team/events.yaml", EVENTS[: EVENTS.index("    - source: shop\n      pattern: {detail-type")])
    watched._await(lambda: len(rules_of(watched)) == 1 or None, BUSY, lambda: f"{rules_of(watched)}")
    assert "numeric" in rules_of(watched)[0]


def test_a_dropped_file_starts_its_dag_within_two_seconds(watched: LocalGust) -> None:
    """The quickest of some: other programs of this machine may delay any one."""
    put(watched, "other/first.csv")
    put(watched, "incoming/first.txt")
    took: list[float] = []
    for number in range(1, 7):
        dropped = datetime.now(UTC)
        put(watched, f"incoming/2026/{number}.csv")
        runs = watched.await_runs("take_files", number, run_type="asset_triggered", within=BUSY)
        newest = max(runs, key=lambda run: run["queued_at"])
        took.append((datetime.fromisoformat(newest["queued_at"]) - dropped).total_seconds())
        watched.await_state("take_files", newest["dag_run_id"], "success", within=BUSY)
        watched.await_log("take_files", newest["dag_run_id"], "take", f"took ['incoming/2026/{number}.csv'] 4")
        if took[-1] < 2:
            break
    assert min(took) < 2, took


def test_a_flood_of_files_is_an_event_each_and_a_run_for_each_batch_that_waits(watched: LocalGust) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: put(watched, f"incoming/flood/{number:04}.csv"), range(FILES_AT_ONCE)))
    store = watched.services().store

    def stored() -> list[str]:
        events = store.list_asset_events()
        return sorted(event.extra["key"] for event in events if "/flood/" in event.extra.get("key", ""))

    watched._await(
        lambda: len(stored()) == FILES_AT_ONCE or None, 120, lambda: f"{len(stored())} of {FILES_AT_ONCE} events"
    )
    assert stored() == [f"incoming/flood/{number:04}.csv" for number in range(FILES_AT_ONCE)]

    def consumed() -> list[int]:
        runs = watched.api.pages("/api/v2/dags/take_files/dagRuns", "dag_runs", run_type="asset_triggered")
        sizes = []
        for run in runs:
            path = f"/api/v2/dags/take_files/dagRuns/{run['dag_run_id'].replace('+', '%2B')}/upstreamAssetEvents"
            events = watched.api.call("GET", path)["asset_events"]
            sizes.append(sum("/flood/" in event["extra"]["key"] for event in events))
        return [size for size in sizes if size]

    watched._await(lambda: sum(consumed()) == FILES_AT_ONCE or None, 120, lambda: f"runs consumed {consumed()}")
    assert len(consumed()) < FILES_AT_ONCE / 2


def test_lambda_brings_a_queues_messages_and_its_watcher_polls_only_after_that(watched: LocalGust) -> None:
    clients, store = watched.stack.client, watched.services().store
    sqs = clients("sqs")
    queue = sqs.create_queue(QueueName="letters")["QueueUrl"]
    sqs.send_message(QueueUrl=queue, MessageBody="early")
    change = watch_queue.plan(clients, "letters", "gust")
    assert change.visibility == 360
    watch_queue.make(clients, change)
    watched.upload("letters.py", LETTERS.replace("QUEUE", queue))
    watched.await_dag("read_letters", within=BUSY)
    # What came before the watcher went back, and is hidden for a while.
    sqs.send_message(QueueUrl=queue, MessageBody="hello")
    (run,) = watched.await_runs("read_letters", 1, run_type="asset_triggered", within=BUSY)
    watched.await_state("read_letters", run["dag_run_id"], "success", within=BUSY)
    keys = ["Body", "MD5OfBody", "MessageId", "ReceiptHandle"]
    watched.await_log("read_letters", run["dag_run_id"], "read", f"read ['hello'] success {keys}")

    def polls() -> bool:
        (watcher,) = (one for one in store.list_watchers() if one.queue is not None)
        return watcher.due_at is not None

    assert not polls()
    watch_queue.make(clients, watch_queue.plan(clients, "letters", "gust", remove=True))
    watched._await(lambda: polls() or None, BUSY, lambda: "the watcher is not sent to the triggerer")
    assert store.watched_sources() == frozenset()
    assert watch_queue.plan(clients, "letters", "gust").mapping is None


def test_lambda_brings_a_streams_records_and_hands_its_place_to_the_watcher(watched: LocalGust) -> None:
    clients, store = watched.stack.client, watched.services().store
    kinesis = clients("kinesis")
    kinesis.create_stream(StreamName="clicks", ShardCount=1)

    def watcher() -> Watcher:
        return next(one for one in store.list_watchers() if one.stream is not None)

    watched.upload("clicks.py", CLICKS)
    watched.await_dag("read_clicks", within=BUSY)
    keys = ["ApproximateArrivalTimestamp", "Data", "PartitionKey", "SequenceNumber", "ShardId"]

    def read(number: int, text: str) -> None:
        kinesis.put_record(StreamName="clicks", Data=text.encode(), PartitionKey="k")
        runs = watched.await_runs("read_clicks", number, run_type="asset_triggered", within=BUSY)
        newest = max(runs, key=lambda run: run["queued_at"])["dag_run_id"]
        watched.await_state("read_clicks", newest, "success", within=BUSY)
        watched.await_log("read_clicks", newest, "read", f"read ['{text}'] {keys}")

    watched._await(lambda: watcher().life > 1 or None, BUSY, lambda: f"life {watcher().life}")
    read(1, "polled")
    watch_stream.make(clients, watch_stream.plan(clients, "clicks", "gust"))
    watched._await(lambda: watcher().due_at is None or None, BUSY, lambda: "the watcher goes on polling")
    read(2, "brought")
    watch_stream.make(clients, watch_stream.plan(clients, "clicks", "gust", remove=True))
    assert store.watched_sources() == frozenset()
    (place,) = store.list_asset_state(AssetKey("clicks", "clicks"))
    shard = kinesis.list_shards(StreamName="clicks")["Shards"][0]["ShardId"]
    newest = kinesis.get_shard_iterator(
        StreamName="clicks",
        ShardId=shard,
        ShardIteratorType="AT_SEQUENCE_NUMBER",
        StartingSequenceNumber=place.value[shard],
    )["ShardIterator"]
    assert [one["Data"] for one in kinesis.get_records(ShardIterator=newest)["Records"]] == [b"brought"]


def test_a_dropped_file_goes_through_glue_and_redshift_to_cloudwatch(watched: LocalGust) -> None:
    redshift = RedshiftData()
    try:
        clients = watched.stack.client
        connection = {
            "connection_id": "aws_default",
            "conn_type": "aws",
            "extra": json.dumps({"service_config": {"redshift-data": {"endpoint_url": redshift.address}}}),
        }
        watched.api.call("POST", "/api/v2/connections", body=connection)
        watched.upload("sales_to_redshift.py", EXAMPLE.read_text())
        watched.await_dag("sales_to_redshift", within=BUSY)
        clients("s3").create_bucket(Bucket="sales-landing")
        watch_bucket.make(clients, watch_bucket.plan(clients, "sales-landing", "gust", follows_parameters=False))
        clients("s3").put_object(Bucket="sales-landing", Key="incoming/today.csv", Body=b"a,b\n")
        (run,) = watched.await_runs("sales_to_redshift", 1, run_type="asset_triggered")
        watched.await_state("sales_to_redshift", run["dag_run_id"], "success", within=BUSY)
    finally:
        redshift.stop()
    (job_run,) = clients("glue").get_job_runs(JobName="sales-transform")["JobRuns"]
    assert job_run["Arguments"]["--files"] == "s3://sales-landing/incoming/today.csv"
    assert redshift.statements == ["COPY sales FROM 's3://sales-landing/transformed/' FORMAT PARQUET"]
    (metric,) = clients("cloudwatch").list_metrics(Namespace="Sales")["Metrics"]
    assert metric["MetricName"] == "FilesLoaded"


def a_machine_that_waits_for_a_word(gust: LocalGust, queue: str) -> str:
    """Its ARN. Each execution sends its token to the queue and lasts until the token is answered."""
    machine = {
        "StartAt": "Ask",
        "States": {
            "Ask": {
                "Type": "Task",
                "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
                "Parameters": {"QueueUrl": queue, "MessageBody": {"token.$": "$$.Task.Token"}},
                "End": True,
            }
        },
    }
    made = gust.stack.client("stepfunctions").create_state_machine(
        name="waits", definition=json.dumps(machine), roleArn="arn:aws:iam::000000000000:role/waits"
    )
    return str(made["stateMachineArn"])


def test_the_event_of_an_executions_end_has_its_task_go_on_within_two_seconds(watched: LocalGust) -> None:
    """The trigger itself would poll again after ten minutes. One of five is enough: the first starts the functions, and
    other programs of this machine may delay any."""
    sqs, machines = watched.stack.client("sqs"), watched.stack.client("stepfunctions")
    queue = sqs.create_queue(QueueName="words")["QueueUrl"]
    triggers = watched.queue_url("TriggersQueue")
    machine = a_machine_that_waits_for_a_word(watched, queue)
    watched.upload("waits.py", WAITS.replace("MACHINE", machine))
    watched.await_dag("wait_for_execution", within=BUSY)

    def token() -> str | None:
        for message in sqs.receive_message(QueueUrl=queue).get("Messages", []):
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            return str(json.loads(message["Body"])["token"])
        return None

    def parked() -> int:
        name = "ApproximateNumberOfMessagesDelayed"
        return int(sqs.get_queue_attributes(QueueUrl=triggers, AttributeNames=[name])["Attributes"][name])

    took: list[float] = []
    for number in range(1, 6):
        run_id = watched.trigger("wait_for_execution", run_id=f"waits-{number}")
        word = watched._await(token, BUSY, lambda: "the execution sends no token")
        watched._await(lambda: parked() == number or None, BUSY, lambda: "the trigger is not parked")  # noqa: B023
        machines.send_task_success(taskToken=word, output="{}")
        watched.await_state("wait_for_execution", run_id, "success", within=BUSY)
        ended = max(each["stopDate"] for each in machines.list_executions(stateMachineArn=machine)["executions"])
        waited = watched.task_instance("wait_for_execution", run_id, "wait")
        took.append((datetime.fromisoformat(waited["scheduled_when"]) - ended).total_seconds())
        if took[-1] < 2:
            break
    assert min(took) < 2, took


def test_the_stack_tells_of_each_transition_once_and_mails_a_failed_run(watched: LocalGust) -> None:
    events, topics = watched.stack.client("events"), watched.stack.client("sns")
    told, mailed = Listener(watched, "told"), Listener(watched, "mailed")
    pattern = {"source": ["gust"], "detail": {"dag_id": ["broken_dag"]}}
    events.put_rule(Name="told", EventBusName="gust", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="told", EventBusName="gust", Targets=[{"Id": "told", "Arn": told.arn}])
    (topic,) = [each["TopicArn"] for each in topics.list_topics()["Topics"] if "AlertTopic" in each["TopicArn"]]
    topics.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=mailed.arn)
    run_id = watched.trigger("broken_dag", run_id="told")
    watched.await_state("broken_dag", run_id, "failed")

    def is_told() -> list[tuple[str, str]]:
        return [(each["detail-type"].split()[0], each["detail"]["state"]) for each in told.heard()]

    watched._await(lambda: ("DagRun", "failed") in is_told() or None, 60, lambda: f"told {is_told()}")
    assert [state for kind, state in is_told() if kind == "DagRun"] == ["queued", "running", "failed"]
    assert [state for kind, state in is_told() if kind == "TaskInstance"][-2:] == ["running", "failed"]
    assert len(set(is_told())) == len(is_told())
    details = [each["detail"] for each in told.heard()]
    (failed,) = [detail for detail in details if detail["state"] == "failed" and "task_id" in detail]
    assert failed["log_url"] == f"{watched.url}/dags/broken_dag/runs/told/tasks/breaks?try_number=1"
    assert failed["tags"] == ["team-a"]

    def mails() -> list[str]:
        """Without those of alarms."""
        return [text for each in mailed.heard() if (text := each["Message"]).startswith('"DAG')]

    (mail,) = watched._await(lambda: mails() or None, 60, lambda: f"no mail, but {mailed.heard()}")
    assert mail.splitlines()[:2] == [
        '"DAG broken_dag failed: run told (stack gust)."',
        f'"Log: {failed["log_url"]}"',
    ]
