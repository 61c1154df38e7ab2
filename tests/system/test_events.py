"""Events from outside start DAGs, and Gust tells of its own, through every real part: bucket, EventBridge, queues, topic."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from gust.cli import watch_bucket
from tests.system.local_gust import LocalGust

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

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

FILES_AT_ONCE = 200

TELLS_ALL = {"TellEvents": "All", "AlertEmail": "team@example.com"}


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
        gust.await_dag("take_files", within=150)
        files = gust.services().store.list_event_files
        gust._await(lambda: len(files()) or None, 120, lambda: f"no entries: {gust.import_errors()}")
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


def send(gust: LocalGust, detail_type: str, detail: dict[str, Any]) -> None:
    entry = {"Source": "shop", "DetailType": detail_type, "Detail": json.dumps(detail), "EventBusName": "gust"}
    assert gust.stack.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0


def put(gust: LocalGust, key: str) -> None:
    gust.stack.client("s3").put_object(Bucket="raw-files", Key=key, Body=b"a,b\n")


def test_an_event_that_matches_an_entry_starts_its_dag_once(watched: LocalGust) -> None:
    for order, total in ((1, 99), (2, 101), (2, 101)):
        send(watched, "Placed", {"order": order, "total": total})
    watched.await_runs("handle_order", 1, run_type="manual")
    watched.await_state("handle_order", "event__order-2", "success")
    watched.await_log("handle_order", "event__order-2", "handle", "order 2 None team/events.yaml:2")
    assert len(watched.await_runs("handle_order", 1, run_type="manual")) == 1


def test_an_event_that_cannot_be_followed_is_in_the_event_log(watched: LocalGust) -> None:
    send(watched, "Lost", {})
    (entry,) = watched._await(
        lambda: watched.api.pages("/api/v2/eventLogs", "event_logs", event="event_refused") or None,
        60,
        lambda: "no entry in the event log",
    )
    assert entry["dag_id"] == "no_such_dag"
    assert "not found" in json.loads(entry["extra"])["reason"]


def test_a_dropped_file_starts_its_dag_within_two_seconds(watched: LocalGust) -> None:
    put(watched, "other/first.csv")
    put(watched, "incoming/first.txt")
    dropped = datetime.now(UTC)
    put(watched, "incoming/2026/first.csv")
    (run,) = watched.await_runs("take_files", 1, run_type="asset_triggered")
    watched.await_state("take_files", run["dag_run_id"], "success")
    watched.await_log("take_files", run["dag_run_id"], "take", "took ['incoming/2026/first.csv'] 4")
    assert (datetime.fromisoformat(run["queued_at"]) - dropped).total_seconds() < 2


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
