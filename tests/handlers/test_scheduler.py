"""The scheduler's door: a failing record fails alone."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest
from moto import mock_aws

from gust.aws import clients
from gust.aws.deployments import StepFunctionsDeployments
from gust.errors import ServiceUnavailable
from gust.model.dag import Dag
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec, TaskSpec, TimetableSpec
from gust.model.keys import DagRunKey
from gust.model.place import OnFargate
from gust.model.state import DagRunTriggeredByType
from gust.model.state import TaskInstanceState as S
from gust.model.workload import TaskWorkload, WakeReaders, WakeRun, WakeWaiting
from gust.ports.containers import ContainerStart
from gust.scheduling.placement import place
from gust.services.runs.create_dag_run import create_dag_run
from gust.services.settings.settings_read import note_read
from gust.store import keyspace
from gust.store.keyspace import TABLE_DEFINITION

DOOR = Path(__file__).parents[2] / "functions/scheduler/app.py"
UPLOADS = json.loads((Path(__file__).parent / "events/scheduler_uploads.json").read_text())
NAME = "upload-059f36b4-87a3-44ab-83d2-661975830a7d"
TEST_MESSAGE = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2026-03-01T10:00:00.000Z", "Bucket": "bucket"}
CONFIGURED = {
    "source": "aws.ssm",
    "detail-type": "Parameter Store Change",
    "detail": {"name": "/gust/gust/configuration"},
}


@pytest.fixture
def queues(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Queue URLs, on AWS as moto plays it, with a table and a bucket beside them."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "GUST_TABLE": "table",
        "GUST_BUCKET": "bucket",
        "GUST_SIGNING_KEYS": "signing-key",
    }.items():
        monkeypatch.setenv(name, value)
    clients.client.cache_clear()
    with mock_aws():
        boto3.client("dynamodb").create_table(TableName="table", **TABLE_DEFINITION)
        boto3.client("s3").create_bucket(Bucket="bucket")
        boto3.client("ssm").put_parameter(Name="signing-key", Value="k" * 32, Type="SecureString")
        urls = {name: boto3.client("sqs").create_queue(QueueName=name)["QueueUrl"] for name in ("task", "wake")}
        for name, url in urls.items():
            monkeypatch.setenv(f"GUST_{name.upper()}_QUEUE_URL", url)
        yield urls
    clients.client.cache_clear()


@pytest.fixture
def door(queues: dict[str, str]) -> ModuleType:
    spec = importlib.util.spec_from_file_location("scheduler_door", DOOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def given_run(door: ModuleType, dag_id: str, *, spec_is_lost: bool = False, queue: str = "default") -> DagRunKey:
    spec = DagSpec(
        dag_id=dag_id,
        timetable=TimetableSpec(type="airflow.timetables.simple.NullTimetable"),
        relative_fileloc="x.py",
        tasks={"extract": TaskSpec(task_id="extract", queue=queue)},
    )
    key = f"specs/{dag_id}.json"
    door.services.objects.put(key, spec.model_dump_json().encode())
    door.services.store.put_dag(None, Dag(dag_id=dag_id, version_number=1, spec_key=key, bundle_version="b1"))
    run: DagRun = create_dag_run(door.services, dag_id, run_id="r", triggered_by=DagRunTriggeredByType.REST_API)
    if spec_is_lost:
        run_item = keyspace.run(run.key)
        boto3.client("dynamodb").update_item(
            TableName="table",
            Key={"pk": {"S": run_item.pk}, "sk": {"S": run_item.sk}},
            UpdateExpression="SET spec_key = :lost",
            ExpressionAttributeValues={":lost": {"S": "specs/lost.json"}},
        )
    return run.key


def change(pk: Any, number: int) -> dict[str, Any]:
    return {
        "eventSource": "aws:dynamodb",
        "eventName": "MODIFY",
        "dynamodb": {"Keys": {"pk": {"S": pk}, "sk": {"S": "#RUN"}}, "SequenceNumber": f"{number:021}"},
    }


def message(body: str, number: int) -> dict[str, Any]:
    return {"eventSource": "aws:sqs", "messageId": f"message-{number}", "body": body}


def state_of(door: ModuleType, key: DagRunKey) -> S | None:
    found = door.services.store.get_instance(key.task_instance("extract"))
    return found.state if found else None


def test_a_run_that_cannot_be_moved_holds_up_no_other_of_its_lane(door: ModuleType, queues: dict[str, str]) -> None:
    """What a stream's batch reports as failed comes again together with everything behind it, for up to an hour."""
    bad, good = given_run(door, "bad", spec_is_lost=True), given_run(door, "good")
    records = [change(keyspace.run_partition(key), n) for n, key in enumerate([bad, good])]

    assert door.lambda_handler({"Records": records}, None) == {"batchItemFailures": []}

    assert state_of(door, good) is S.QUEUED
    attributes = boto3.client("sqs").get_queue_attributes(QueueUrl=queues["wake"], AttributeNames=["All"])["Attributes"]
    assert attributes["ApproximateNumberOfMessagesDelayed"] == "1", "the bad one is looked at again by way of SQS"


@pytest.mark.parametrize("keys", [{}, {"pk": {"S": "RUN#only"}}, {"pk": {"N": "7"}}, None])
def test_a_record_that_is_none_is_dropped(door: ModuleType, keys: Any) -> None:
    good = given_run(door, "good")
    broken = {"eventSource": "aws:dynamodb", "dynamodb": {"Keys": keys, "SequenceNumber": "1"}}

    answer = door.lambda_handler({"Records": [broken, change(keyspace.run_partition(good), 2)]}, None)

    assert answer == {"batchItemFailures": []}
    assert state_of(door, good) is S.QUEUED


def test_a_setting_that_a_file_has_read_has_a_deployment_look(
    door: ModuleType, queues: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = boto3.client("stepfunctions").create_state_machine(
        name="deploy",
        definition=json.dumps({"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}),
        roleArn="arn:aws:iam::123456789012:role/deploy",
    )["stateMachineArn"]
    note_read(door.services.store, ["variables/a#b"])
    records = [
        {
            "eventSource": "aws:dynamodb",
            "dynamodb": {
                "Keys": {"pk": {"S": key.pk}, "sk": {"S": key.sk}},
                "SequenceNumber": f"{number:021}",
            },
        }
        for number, key in enumerate(keyspace.setting("variables", name) for name in ("a#b", "unread", "a#b"))
    ]

    assert door.lambda_handler({"Records": records}, None) == {"batchItemFailures": []}

    sqs = boto3.client("sqs")
    (wake,) = sqs.receive_message(QueueUrl=queues["wake"], MaxNumberOfMessages=10)["Messages"]
    deployments = StepFunctionsDeployments(machine, boto3.client("stepfunctions"))
    monkeypatch.setattr(door, "services", replace(door.services, deployments=deployments))
    for _ in "twice":
        assert door.lambda_handler({"Records": [message(wake["Body"], 1)]}, None) == {"batchItemFailures": []}
    started = boto3.client("stepfunctions").list_executions(stateMachineArn=machine)["executions"]
    assert len([each for each in started if each["name"].startswith("settings-")]) == 1


def test_a_changed_setting_that_cannot_be_looked_up_is_requeued_as_it_is(
    door: ModuleType, queues: dict[str, str]
) -> None:
    key = keyspace.setting("connections", "a#b")
    record = {
        "eventSource": "aws:dynamodb",
        "dynamodb": {"Keys": {"pk": {"S": key.pk}, "sk": {"S": key.sk}}, "SequenceNumber": "1"},
    }
    boto3.client("dynamodb").delete_table(TableName="table")

    assert door.lambda_handler({"Records": [record]}, None) == {"batchItemFailures": []}

    sqs = boto3.client("sqs")
    attributes = sqs.get_queue_attributes(QueueUrl=queues["wake"], AttributeNames=["All"])["Attributes"]
    assert attributes["ApproximateNumberOfMessagesDelayed"] == "1"
    wake = door.stream.wake_of(record, now=door.services.clock.now())
    assert wake == WakeReaders(namespace="connections", key="a#b")


@pytest.mark.parametrize(
    "poison",
    [
        *("", "{", "[]", '{"kind": "wake_moon"}', '{"kind": "wake_run", "dag_id": 7}'),
        *('{"source": ["aws.glue"], "detail-type": {}}', "[" * 100_000),
    ],
)
def test_a_message_that_is_none_is_reported_alone(door: ModuleType, poison: str) -> None:
    good = given_run(door, "good")
    wake = json.dumps({"kind": "wake_run", "dag_id": "good", "run_id": "r", "at": "2026-03-01T00:00:00Z"})

    answer = door.lambda_handler({"Records": [message(poison, 1), message(wake, 2)]}, None)

    assert answer == {"batchItemFailures": [{"itemIdentifier": "message-1"}]}
    assert state_of(door, good) is S.QUEUED


def test_events_of_aws_come_on_the_queue_of_wake_ups(door: ModuleType) -> None:
    """One of a state for which no trigger waits is done with; one of another kind is no message of ours."""
    told = {
        "source": "aws.batch",
        "detail-type": "Batch Job State Change",
        "detail": {"jobId": "1", "status": "FAILED"},
    }
    assert door.wake_in(json.dumps(told)) == WakeWaiting(resource="Batch Job State Change: 1")
    runs = told | {"detail": {"jobId": "1", "status": "RUNNING"}}
    bodies = [json.dumps(told), json.dumps(runs), json.dumps(told | {"source": "shop"})]
    answer = door.lambda_handler({"Records": [message(body, n) for n, body in enumerate(bodies)]}, None)
    assert answer == {"batchItemFailures": [{"itemIdentifier": message("", 2)["messageId"]}]}


def test_a_timers_wake_up_brings_a_run_forward_that_the_process_does_not_remember(door: ModuleType) -> None:
    run = given_run(door, "good")
    wake = {"kind": "wake_run", "dag_id": "good", "run_id": "r", "at": "2026-03-01T00:00:00Z", "is_timer": True}

    assert door.lambda_handler({"Records": [message(json.dumps(wake), 1)]}, None) == {"batchItemFailures": []}
    assert state_of(door, run) is S.QUEUED


def test_a_run_that_fails_of_its_own_is_looked_at_later(door: ModuleType) -> None:
    """One that stays overdue would make the stack look unwell, and keep `gust local` from starting. The look that comes
    later is written down, so the message need not come again."""
    bad = given_run(door, "bad", spec_is_lost=True)
    wake = json.dumps({"kind": "wake_run", "dag_id": "bad", "run_id": "r", "at": "2026-03-01T00:00:00Z"})
    now = door.services.clock.now()

    assert door.lambda_handler({"Records": [message(wake, 1)]}, None) == {"batchItemFailures": []}
    assert door.services.store.get_run(bad).due_at > now + timedelta(seconds=55)


def test_a_container_is_started_once_for_a_dispatch_and_its_end_is_heard(
    queues: dict[str, str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    states = boto3.client("stepfunctions")
    machine = states.create_state_machine(
        name="fargate",
        definition=json.dumps({"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}),
        roleArn="arn:aws:iam::123456789012:role/fargate",
    )["stateMachineArn"]
    monkeypatch.setenv("GUST_FARGATE_STATE_MACHINE", machine)
    door = request.getfixturevalue("door")
    run = given_run(door, "far", queue="fargate")

    assert door.lambda_handler({"Records": [change(keyspace.run_partition(run), 1)]}, None) == {"batchItemFailures": []}

    (execution,) = states.list_executions(stateMachineArn=machine)["executions"]
    given = json.loads(states.describe_execution(executionArn=execution["executionArn"])["input"])
    assert given["dispatch"]["name"] == execution["name"]
    assert given["overrides"]["Cpu"] == "1024"
    (container,) = given["overrides"]["ContainerOverrides"]
    (key,) = [variable["Value"] for variable in container["Environment"] if variable["Name"] == "GUST_WORKLOAD"]
    workload = TaskWorkload.model_validate_json(door.services.objects.get(key))
    assert workload.task_id == "extract"
    assert workload.token not in json.dumps(given)
    assert state_of(door, run) is S.QUEUED
    # Another scheduler came to the same: it is no error, and starts nothing.
    where = place(TaskSpec(task_id="extract", queue="fargate"), door.services.workers)
    assert isinstance(where, OnFargate)
    assert door.services.containers.start([ContainerStart(execution["name"], workload, where)]) == []
    assert len(states.list_executions(stateMachineArn=machine)["executions"]) == 1
    # Stopped twice, or never started: no error.
    for _ in "twice":
        assert door.services.containers.stop([execution["name"], "unknown"]) == set()
    stopped = states.describe_execution(executionArn=execution["executionArn"])
    assert stopped["status"] == "ABORTED"

    told = {"dispatch": given["dispatch"], "error": {"Error": "ECS.ClientException", "Cause": "no such image"}}
    assert door.lambda_handler({"container": told}, None) == {}
    assert state_of(door, run) is S.FAILED


class Deployments:
    """Implements `ports.Deployments`. `fails`: how often Step Functions refuses."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.fails = 0

    def start(self, name: str) -> None:
        if self.fails:
            self.fails -= 1
            raise ServiceUnavailable("StartExecution")
        if name not in self.started:
            self.started.append(name)


@pytest.fixture
def deployments(door: ModuleType) -> Deployments:
    found = Deployments()
    door.services = replace(door.services, deployments=found)  # type: ignore[attr-defined]
    return found


def test_a_batch_of_uploads_starts_one_deployment_however_often_it_is_delivered(
    door: ModuleType, deployments: Deployments
) -> None:
    for _ in range(2):
        assert door.lambda_handler(UPLOADS, None) == {"batchItemFailures": []}

    assert deployments.started == [NAME]


def test_uploads_while_it_runs_start_one_that_waits(door: ModuleType, deployments: Deployments) -> None:
    door.lambda_handler(UPLOADS, None)
    for another in ("aaaaaaaa", "bbbbbbbb"):
        door.lambda_handler(json.loads(json.dumps(UPLOADS).replace("059f36b4", another)), None)

    assert len(deployments.started) == 2
    turn = door.services.store.deployment_turn()
    assert turn is not None
    assert turn.again


@pytest.mark.parametrize("body", [TEST_MESSAGE, CONFIGURED])
def test_a_new_notification_and_changed_options_deploy_the_folder_too(
    door: ModuleType, deployments: Deployments, body: dict[str, Any]
) -> None:
    door.lambda_handler({"Records": [message(json.dumps(body), 1)]}, None)

    assert deployments.started == ["upload-message-1"]


def test_uploads_that_fail_come_again_and_wake_ups_of_their_batch_do_not(
    door: ModuleType, deployments: Deployments
) -> None:
    key = given_run(door, "etl")
    deployments.fails = 1
    wake = WakeRun(dag_id=key.dag_id, run_id=key.run_id, at=door.services.clock.now())
    batch = [*UPLOADS["Records"], message(wake.model_dump_json(), 3)]

    failed = door.lambda_handler({"Records": batch}, None)["batchItemFailures"]

    assert [each["itemIdentifier"] for each in failed] == [each["messageId"] for each in UPLOADS["Records"]]
    assert state_of(door, key) is S.QUEUED
    door.lambda_handler(UPLOADS, None)
    assert deployments.started == [NAME]


@pytest.mark.parametrize(
    "body", ["", "[]", "null", '{"Records": []}', '{"Records": [{"s3": null}]}', '{"source": "aws.s3"}']
)
def test_a_message_of_no_kind_is_given_up(door: ModuleType, deployments: Deployments, body: str) -> None:
    failed = door.lambda_handler({"Records": [message(body, 1)]}, None)["batchItemFailures"]

    assert failed == [{"itemIdentifier": "message-1"}]
    assert deployments.started == []
