"""The doors of worker and triggerer, given SQS's events, with AWS played by MiniStack in a child process.

The execution API is a function of a few lines that records its requests in the bucket; everything else is real.
"""

import importlib.util
import io
import itertools
import json
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import boto3
import pytest

from gust.aws import clients
from gust.aws.logs import CloudWatchLogReader
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.model.workload import CallbackWorkload, ConnectionTestWorkload, TaskWorkload, TriggerWorkload
from tests.environment import of_a_user
from tests.unit.worker.control_plane import DAG_RUN, workload

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]

ROOT = Path(__file__).parents[3]
EXECUTION_API = f"""
import json, os, sys, time
import boto3
s3 = boto3.client("s3")
DAG_RUN = json.loads({json.dumps(DAG_RUN)!r})

def lambda_handler(event, context):
    method, path = event["requestContext"]["http"]["method"], event["rawPath"]
    print(method, path, file=sys.stderr)
    asked = {{"method": method, "path": path, "token": event["headers"]["authorization"], "body": event["body"]}}
    asked["carried"] = event.get("carried", {{}}).get("rawPath")
    s3.put_object(Bucket="gust", Key=f"asked/{{time.time_ns()}}", Body=json.dumps(asked).encode())
    if "stale" in asked["token"]:
        return {{"statusCode": 409, "headers": {{"content-type": "application/json"}}, "body": '{{"detail": "stale"}}'}}
    answer = {{"message": "ok"}}
    if path.endswith("/run"):
        answer = {{"dag_run": DAG_RUN, "max_tries": 0, "should_retry": False}}
    if path.endswith("/run") and "/gust/callbacks/" in path:
        answer = {{"dag_run": DAG_RUN, "kind": "dag", "event": "success", "reason": "success", "ti": None,
                   "bundle_version": "v1", "definition": {{}}, "deadline": None}}
    if method == "GET" and path.endswith("/connection"):
        answer = {{"conn_id": "c", "conn_type": "fs", "extra": '{{"path": "/"}}'}}
    if method == "GET" and "/gust/triggers/" in path:
        answer = {{"classpath": "mine.T", "kwargs": {{}}, "timeout_at": None}}
    return {{"statusCode": 200, "headers": {{"content-type": "application/json"}}, "body": json.dumps(answer)}}
"""

DAG = """
from airflow.sdk import dag, task
@dag(schedule=None, on_success_callback=lambda context: print("called back", context["run_id"]))
def d():
    @task
    def t():
        print("hello from Lambda")
        return "x" * 3_000_000
    t()
d()
"""

TRIGGER = """
from airflow.triggers.base import BaseTrigger, TriggerEvent
class T(BaseTrigger):
    def serialize(self):
        return "mine.T", {}
    async def run(self):
        yield TriggerEvent("fired")
"""


@dataclass
class Context:
    """Lambda's, as far as the doors look."""

    seconds: float = 900

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds * 1000)


@dataclass
class Doors:
    worker: ModuleType
    triggerer: ModuleType
    s3: Any
    logs: Any
    sqs: Any
    tasks: str
    """The queue's address."""
    triggers: str
    """The queue's address."""

    def work(self, *bodies: str) -> dict[str, Any]:
        return dict(self.worker.lambda_handler(sqs_event(*bodies), Context()))

    def trigger(self, *bodies: str) -> dict[str, Any]:
        return dict(self.triggerer.lambda_handler(sqs_event(*bodies), Context()))

    def asked(self, token: str) -> list[dict[str, Any]]:
        """What the execution API was asked with a token, in order."""
        keys = sorted(
            item["Key"] for item in self.s3.list_objects_v2(Bucket="gust", Prefix="asked/").get("Contents", [])
        )
        all_of_them = [json.loads(self.s3.get_object(Bucket="gust", Key=key)["Body"].read()) for key in keys]
        return [asked for asked in all_of_them if asked["token"] == f"Bearer {token}"]


def sqs_event(*bodies: str) -> dict[str, Any]:
    """As recorded from a queue's event source mapping."""
    return {
        "Records": [
            {
                "messageId": f"00000000-0000-0000-0000-{number:012}",
                "receiptHandle": "AQEB",
                "body": body,
                "attributes": {
                    "ApproximateReceiveCount": "1",
                    "SentTimestamp": "1772366400000",
                    "SenderId": "AROAEXAMPLE:gust-scheduler",
                    "ApproximateFirstReceiveTimestamp": "1772366400003",
                },
                "messageAttributes": {},
                "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:gust-tasks",
                "awsRegion": "eu-west-1",
            }
            for number, body in enumerate(bodies)
        ]
    }


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("ministack")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ministack"],
            cwd=home,
            stdout=log,
            stderr=log,
            env=of_a_user(
                HOME=str(home),
                TMPDIR=str(home),
                BIND_HOST="127.0.0.1",
                MINISTACK_HOST="127.0.0.1",
                GATEWAY_PORT=str(port),
                SERVICES="s3,logs,lambda,iam,sts,sqs",
                LOG_LEVEL="WARNING",
            ),
        )
        try:
            deadline = time.monotonic() + 60
            while socket.socket().connect_ex(("127.0.0.1", port)):
                assert process.poll() is None, (home / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture(scope="module")
def doors(endpoint: str) -> Iterator[Doors]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "GUST_BUCKET": "gust",
            "GUST_EXECUTION_API_FUNCTION": "execution-api",
            "GUST_LOG_GROUP": "/gust/tasks",
        }.items():
            patch.setenv(name, value)
        clients.client.cache_clear()
        s3, logs, sqs = boto3.client("s3"), boto3.client("logs"), boto3.client("sqs")
        hidden_long = {"VisibilityTimeout": "960"}
        tasks = sqs.create_queue(QueueName="tasks", Attributes=hidden_long)["QueueUrl"]
        triggers = sqs.create_queue(QueueName="triggers", Attributes=hidden_long)["QueueUrl"]
        patch.setenv("GUST_TASK_QUEUE_URL", tasks)
        patch.setenv("GUST_TRIGGER_QUEUE_URL", triggers)
        s3.create_bucket(Bucket="gust", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        s3.put_object(Bucket="gust", Key="bundles/v1.zip", Body=zipped({"d.py": DAG, "mine.py": TRIGGER}))
        logs.create_log_group(logGroupName="/gust/tasks")
        boto3.client("lambda").create_function(
            FunctionName="execution-api",
            Runtime="python3.12",
            Role="arn:aws:iam::000000000000:role/any",
            Handler="app.lambda_handler",
            Timeout=30,
            Code={"ZipFile": zipped({"app.py": EXECUTION_API})},
        )
        yield Doors(door("worker"), door("triggerer"), s3, logs, sqs, tasks, triggers)
        clients.client.cache_clear()


def zipped(files: dict[str, str]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as into:
        for name, text in files.items():
            into.writestr(name, text)
    return archive.getvalue()


def door(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"door_of_{name}", ROOT / "functions" / name / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def a_task(token: str, **changes: Any) -> TaskWorkload:
    return workload("v1", token=token, dispatch_count=1, **changes)


def test_a_task_runs_reports_and_leaves_its_log(doors: Doors) -> None:
    began = datetime.now(tz=UTC)
    task = a_task("of-a-task")

    assert doors.work(task.model_dump_json()) == {"batchItemFailures": []}

    asked = doors.asked("of-a-task")
    actions = [request["path"].rsplit("/", 1)[-1] for request in asked]
    assert [each for each in actions if each != "rtif"] == ["run", "return_value", "state"]
    assert "rtif" in actions or asked[-1]["carried"].endswith("/rtif"), "alone where the task took more than a second"
    start, report = json.loads(asked[0]["body"]), json.loads(asked[-1]["body"])
    assert report["state"] == "success"
    instance = TaskInstance(
        dag_id="d",
        run_id="r",
        task_id="t",
        state=S.SUCCESS,
        try_number=1,
        dispatch_count=1,
        start_date=began,
        end_date=datetime.now(tz=UTC),
        hostname=start["hostname"],
    )
    lines, token = CloudWatchLogReader("/gust/tasks", doors.logs).read_try(instance)
    assert "hello from Lambda" in [line["event"] for line in lines]
    assert token is None


def test_after_many_tasks_objects_are_counted_no_more(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    nursery = doors.worker.wired.children

    class Noting:
        fork, modules = nursery.fork, nursery.modules
        called: ClassVar[list[object]] = []

        def call(self, work: object) -> None:
            self.called.append(work)

    preparers = replace(doors.worker.wired.preparers, nursery=Noting())
    monkeypatch.setattr(doors.worker, "wired", replace(doors.worker.wired, children=Noting(), preparers=preparers))
    monkeypatch.setattr(doors.worker, "tasks", itertools.count(1))
    monkeypatch.setattr(doors.worker.immortal, "IMMORTALIZE_AFTER_TASKS", 2)
    for number, times in enumerate((0, 1, 1)):
        doors.work(a_task(f"of-many-{number}").model_dump_json())
        assert Noting.called == [doors.worker.immortal.mark_all] * times


def test_a_large_result_goes_through_the_bucket(doors: Doors) -> None:
    doors.work(a_task("of-a-large-one").model_dump_json())

    (push,) = [asked for asked in doors.asked("of-a-large-one") if asked["path"].endswith("return_value")]
    assert push["body"] is None
    (body,) = {
        json.loads(doors.s3.get_object(Bucket="gust", Key=item["Key"])["Body"].read())
        for item in doors.s3.list_objects_v2(Bucket="gust", Prefix="transfers/")["Contents"]
    }
    assert body == "x" * 3_000_000


def test_a_stale_message_is_done_with(doors: Doors) -> None:
    assert doors.work(a_task("stale-task").model_dump_json()) == {"batchItemFailures": []}
    assert len(doors.asked("stale-task")) == 1


@pytest.mark.parametrize("poison", ["", "no json", "{}", '{"kind": "task", "dag_id": 1}'])
def test_a_poisonous_message_fails_alone(doors: Doors, poison: str) -> None:
    token = f"beside-{len(poison)}"

    answer = doors.work(poison, a_task(token).model_dump_json())

    assert answer == {"batchItemFailures": [{"itemIdentifier": "00000000-0000-0000-0000-000000000000"}]}
    assert json.loads(doors.asked(token)[-1]["body"])["state"] == "success"


def test_what_fails_comes_again_after_seconds(doors: Doors) -> None:
    """Not when the queue's own time is over, which is longer than the function may run."""
    doors.sqs.send_message(QueueUrl=doors.tasks, MessageBody="no json")
    (message,) = doors.sqs.receive_message(QueueUrl=doors.tasks)["Messages"]
    event = sqs_event("no json")
    event["Records"][0]["receiptHandle"] = message["ReceiptHandle"]

    assert doors.worker.lambda_handler(event, Context())["batchItemFailures"]

    (again,) = doors.sqs.receive_message(QueueUrl=doors.tasks, WaitTimeSeconds=20)["Messages"]
    assert again["MessageId"] == message["MessageId"]
    doors.sqs.delete_message(QueueUrl=doors.tasks, ReceiptHandle=again["ReceiptHandle"])


def test_a_missing_bundle_fails_the_try(doors: Doors) -> None:
    task = replace_version(a_task("of-no-bundle"), "gone")

    assert doors.work(task.model_dump_json()) == {"batchItemFailures": []}
    assert json.loads(doors.asked("of-no-bundle")[-1]["body"])["state"] == "failed"


def test_a_callback_is_claimed_called_and_reported(doors: Doors) -> None:
    assert doors.work(a_callback("of-a-callback").model_dump_json()) == {"batchItemFailures": []}

    claim, report = doors.asked("of-a-callback")
    assert claim["path"].endswith(f"/gust/callbacks/{a_callback('').id}/run")
    assert report["path"].endswith(f"/gust/callbacks/{a_callback('').id}/state")
    assert json.loads(report["body"]) == {"output": None}
    stream = json.loads(claim["body"])["hostname"]
    events = doors.logs.get_log_events(logGroupName="/gust/tasks", logStreamName=stream)["events"]
    lines = [json.loads(event["message"]) for event in events]
    assert [line["callback_id"] for line in lines if line.get("event") == "called back r"] == ["dag/0"]


def test_a_stale_callback_is_done_with(doors: Doors) -> None:
    assert doors.work(a_callback("stale-callback").model_dump_json()) == {"batchItemFailures": []}
    assert len(doors.asked("stale-callback")) == 1


def test_a_connection_is_tested_and_the_result_reported(doors: Doors) -> None:
    workload = a_connection_test("of-a-test")
    assert doors.work(workload.model_dump_json()) == {"batchItemFailures": []}

    asked, report = doors.asked("of-a-test")
    assert (asked["method"], asked["path"]) == ("GET", f"/execution/connection-tests/{workload.test_id}/connection")
    assert (report["method"], report["path"]) == ("PATCH", f"/execution/connection-tests/{workload.test_id}")
    assert json.loads(report["body"]) == {"state": "success", "result_message": "Path / is existing."}


def test_a_stale_test_of_a_connection_is_done_with(doors: Doors) -> None:
    assert doors.work(a_connection_test("stale-test").model_dump_json()) == {"batchItemFailures": []}
    assert len(doors.asked("stale-test")) == 1


def test_a_trigger_fires(doors: Doors) -> None:
    assert doors.trigger(a_trigger("of-a-trigger").model_dump_json()) == {"batchItemFailures": []}

    asked, report = doors.asked("of-a-trigger")
    assert asked["method"] == "GET"
    assert report["path"].endswith("/event")
    assert json.loads(report["body"]) == {"event": "fired"}


def test_a_triggers_message_comes_again_soon_where_it_was_not_worked_off(doors: Doors) -> None:
    """SQS alone would hide it for 960 seconds."""
    doors.sqs.send_message(QueueUrl=doors.triggers, MessageBody="{}")
    (message,) = doors.sqs.receive_message(QueueUrl=doors.triggers)["Messages"]
    event = sqs_event("{}")
    event["Records"][0]["receiptHandle"] = message["ReceiptHandle"]

    assert doors.triggerer.lambda_handler(event, Context())["batchItemFailures"]

    again = doors.sqs.receive_message(QueueUrl=doors.triggers, WaitTimeSeconds=20).get("Messages", [])
    assert [each["MessageId"] for each in again] == [message["MessageId"]]


def test_a_triggers_message_that_comes_early_is_hidden_until_its_time(doors: Doors) -> None:
    """It is reported as failed, so that Lambda's poller does not delete it, and nothing asks the execution API."""

    def hidden(seconds: float) -> str:
        """The id of a message that comes so much too early."""
        early = a_trigger("comes-early").model_copy(update={"wake_at": datetime.now(UTC) + timedelta(seconds=seconds)})
        doors.sqs.send_message(QueueUrl=doors.triggers, MessageBody=early.model_dump_json())
        (message,) = doors.sqs.receive_message(QueueUrl=doors.triggers, WaitTimeSeconds=20)["Messages"]
        event = sqs_event(message["Body"])
        event["Records"][0]["receiptHandle"] = message["ReceiptHandle"]
        assert doors.triggerer.lambda_handler(event, Context())["batchItemFailures"]
        return str(message["MessageId"])

    hidden(seconds=600)
    assert not doors.sqs.receive_message(QueueUrl=doors.triggers).get("Messages")
    soon = hidden(seconds=10)
    (again,) = doors.sqs.receive_message(QueueUrl=doors.triggers, WaitTimeSeconds=20)["Messages"]
    assert again["MessageId"] == soon
    doors.sqs.delete_message(QueueUrl=doors.triggers, ReceiptHandle=again["ReceiptHandle"])
    assert doors.asked("comes-early") == []


def test_a_stale_trigger_is_done_with(doors: Doors) -> None:
    assert doors.trigger(a_trigger("stale-trigger").model_dump_json()) == {"batchItemFailures": []}
    assert len(doors.asked("stale-trigger")) == 1


def test_a_poisonous_trigger_fails_alone(doors: Doors) -> None:
    answer = doors.trigger(a_trigger("beside").model_dump_json(), "{}")

    assert answer == {"batchItemFailures": [{"itemIdentifier": "00000000-0000-0000-0000-000000000001"}]}


def replace_version(task: TaskWorkload, version: str) -> TaskWorkload:
    return task.model_copy(update={"bundle_version": version})


def a_callback(token: str) -> CallbackWorkload:
    return CallbackWorkload(
        dag_id="d",
        run_id="r",
        callback_id="dag/0",
        dispatch_count=1,
        bundle_name="dags-folder",
        bundle_version="v1",
        relative_fileloc="d.py",
        token=token,
    )


def a_connection_test(token: str) -> ConnectionTestWorkload:
    test_id = "6f0e0c1a-0000-5000-8000-000000000001"
    return ConnectionTestWorkload(test_id=test_id, connection_id="c", timeout=30, token=token)


def a_trigger(token: str) -> TriggerWorkload:
    return TriggerWorkload(
        dag_id="d",
        run_id="r",
        task_id="t",
        map_index=-1,
        try_number=1,
        dispatch_count=1,
        token=token,
        bundle_version="v1",
    )
