"""`./gust status`, `logs`, `doctor` and `delete`: what they show of a stack, and what they leave of it."""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from gust import __version__
from gust.aws.objects import S3Objects
from gust.cli import changes, delete, deploy, doctor, logs, status
from gust.cli.aws import AwsError, Stack, require_stack
from gust.model.bundle import ImportProblem
from gust.model.state import TaskInstanceState
from gust.model.worker_group import WorkerGroup
from gust.store.dynamodb import DynamoDBStore
from gust.store.keyspace import TABLE_DEFINITION
from tests.contract.given import an_instance, given_dag, given_instance, given_running_run
from tests.unit.cli.cloud import OUTPUTS, CloudFormation, Events, Fargate, Iam, LambdaOfStack, Logs, Sts, refusal

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


class World:
    """A stack: table, bucket and queues as moto plays them, the rest as `cloud` does."""

    def __init__(self) -> None:
        self.session = boto3.Session(region_name="eu-west-1")
        self.s3, dynamodb, sqs = (self.session.client(name) for name in ("s3", "dynamodb", "sqs"))  # type: ignore[call-overload]
        dynamodb.create_table(TableName=OUTPUTS["TableName"], **TABLE_DEFINITION)
        where = {"LocationConstraint": "eu-west-1"}
        self.s3.create_bucket(Bucket=OUTPUTS["BucketName"], CreateBucketConfiguration=where)
        self.s3.put_object(Bucket=OUTPUTS["BucketName"], Key="dags/etl.py", Body=b"x" * 1000)
        tasks, dead = (sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("tasks", "dead"))
        sqs.send_message(QueueUrl=dead, MessageBody="x")
        self.sqs, self.dead = sqs, dead
        self.lambda_ = LambdaOfStack(scheduler={}, worker={"LoggingConfig": {"LogGroup": "worker-logs"}})
        self.cloud = CloudFormation(
            status="UPDATE_COMPLETE",
            resources=[
                ("SchedulerFunction", "AWS::Lambda::Function", "gust-scheduler"),
                ("WorkerFunction", "AWS::Lambda::Function", "gust-worker"),
                ("WorkerFunctionTasks", "AWS::Lambda::EventSourceMapping", "running"),
                ("TasksQueue", "AWS::SQS::Queue", tasks),
                ("TasksDeadLetters", "AWS::SQS::Queue", dead),
            ],
        )
        self.clients: dict[str, Any] = {
            "cloudformation": self.cloud,
            "lambda": self.lambda_,
            "sts": Sts(),
            "iam": Iam(),
            "logs": Logs(),
            "s3": self.s3,
            "dynamodb": dynamodb,
            "sqs": sqs,
        }
        self.store = DynamoDBStore(OUTPUTS["TableName"], dynamodb, S3Objects(OUTPUTS["BucketName"], self.s3))

    def examine(self) -> list[str]:
        found = doctor.examine(self.clients.__getitem__, "gust", session=self.session, now=NOW)
        return [f"{each.level}: {each.text}" for each in found]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with mock_aws():
        yield World()


def test_status_shows_functions_queues_and_what_is_wrong(world: World) -> None:
    world.cloud.tags = {"gust:version": "0.0.9"}
    world.lambda_.functions["worker"]["LastUpdateStatus"] = "InProgress"
    world.store.set_alive("scheduler", NOW)
    world.store.put_import_problem(
        ImportProblem(
            import_error_id=1,
            filename="etl.py",
            bundle_name="dags-folder",
            stack_trace="Traceback …\nNameError: name 'x' is not defined\n",
            timestamp=NOW,
        )
    )
    lines = list(status.status(world.clients.__getitem__, "gust", now=NOW))
    assert lines[0] == "Stack gust, UPDATE_COMPLETE, Gust 0.0.9"
    assert "  Scheduler             1024 MB    60 s  changed 2026-03-01 10:00" in lines
    assert "  Worker                1024 MB    60 s  changed 2026-03-01 10:00   InProgress" in lines
    assert "  TasksQueue                 0          0        0" in lines
    assert "  TasksDeadLetters           1          0        0   <- see docs/runbooks.md" in lines
    assert "Bundle  none yet" in lines
    assert "  etl.py: NameError: name 'x' is not defined" in lines
    assert "Scheduler  last tick 0 s ago" in lines
    assert lines[-1] == "Unfinished runs  0; tasks: none running"


def test_doctor_finds_each_thing_that_stands_in_the_way(world: World) -> None:
    world.clients["iam"] = Iam(denied=["iam:CreateRole"])
    world.lambda_.limit = 10
    world.lambda_.functions["scheduler"]["State"] = "Failed"
    world.lambda_.functions["scheduler"]["StateReason"] = "no such role"
    world.cloud.resources = [*world.cloud.resources, ("SchedulerWakes", "AWS::Lambda::EventSourceMapping", "stopped")]
    said = "\n".join(world.examine())
    for told in (
        "ok: you are arn:aws:iam::123456789012:user/ada, in eu-west-1",
        "ok: the region has every service",
        "bad: the account runs 10 functions at once in this region, and tasks and triggers may take 250",
        "./gust deploy --set WorkerConcurrency=4 TriggererConcurrency=2",
        "note: to deploy without --role-arn, you lack iam:CreateRole (for resources of any name)",
        "ok: the stack gust is UPDATE_COMPLETE",
        f"note: the stack has Gust of unknown version, this checkout is {__version__}",
        "bad: SchedulerFunction failed: no such role",
        "bad: SchedulerWakes is Disabled",
        "bad: TasksDeadLetters holds 1 given-up message: ",
        "bad: the scheduler's last tick: never",
    ):
        assert told in said


def test_a_stack_that_is_well_has_nothing_bad(world: World) -> None:
    world.sqs.purge_queue(QueueUrl=world.dead)
    world.cloud.tags = {"gust:version": __version__}
    world.store.set_alive("scheduler", NOW)
    assert [line for line in world.examine() if not line.startswith("ok: ")] == []
    world.cloud.status = None
    assert world.examine()[-1] == "note: there is no stack gust in eu-west-1 yet: ./gust deploy"
    world.clients["iam"] = Iam(denied=["iam:CreateRole"])
    assert "bad: to deploy without --role-arn, you lack iam:CreateRole (for resources of any name)" in world.examine()


def test_doctor_sees_that_tasks_may_take_all_of_a_large_accounts_concurrency(world: World) -> None:
    world.lambda_.limit = 1000
    world.cloud.parameters = {"WorkerConcurrency": "1000"}
    (told,) = [line for line in world.examine() if "at once in this region" in line]
    assert told.startswith(
        "bad: the account runs 1000 functions at once in this region, and tasks and triggers may take 1050"
    )
    assert "./gust deploy --set WorkerConcurrency=500, and ask AWS" in told


def test_a_tick_that_comes_while_a_command_looks_is_not_in_the_future(world: World) -> None:
    world.store.set_alive("scheduler", NOW + timedelta(seconds=2))
    assert "ok: the scheduler ticked 0 s ago" in world.examine()
    assert "Scheduler  last tick 0 s ago" in list(status.status(world.clients.__getitem__, "gust", now=NOW))


@pytest.mark.parametrize("words", ["etl", "etl/", "/load"])
def test_the_log_of_a_task_needs_its_dag_and_its_id(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    logs.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--task", words])
    assert "argument --task: a DAG's id, a slash and a task's id, e.g. etl/load" in capsys.readouterr().err


def test_logs_of_functions_come_in_order_and_follow_repeats_none(world: World) -> None:
    moment = int(time.time() * 1000)
    line = json.dumps({"level": "INFO", "message": "ran", "task_id": "load", "service": "worker", "timestamp": "x"})
    world.clients["logs"] = Logs(
        **{
            "worker-logs": [(moment + 2, "b", line)],
            "/aws/lambda/gust-scheduler": [(moment + 1, "a", "START RequestId: 1\n"), (moment - 3_600_000, "old", "x")],
        }
    )
    parser = argparse.ArgumentParser()
    logs.add_arguments(parser)
    stack = require_stack(world.clients.__getitem__, "gust")
    once = list(logs.of_functions(world.clients.__getitem__, stack, parser.parse_args([])))
    assert [text.split("  ", 1)[1] for text in once] == [
        "scheduler          START RequestId: 1",
        "worker             INFO    ran task_id=load",
    ]
    following = logs.of_functions(
        world.clients.__getitem__,
        stack,
        parser.parse_args(["--follow", "--function", "worker"]),
        pause=lambda _: world.clients["logs"].groups["worker-logs"].append((moment + 3, "c", "later")),
    )
    assert [text.rpartition("  ")[2] for text in islice(following, 2)] == ["ran task_id=load", "later"]
    with pytest.raises(AwsError, match="gust has no function web; it has: scheduler, worker"):
        list(logs.of_functions(world.clients.__getitem__, stack, parser.parse_args(["--function", "web"])))


SINCE = r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], rf"no lines {SINCE} of the functions scheduler, worker; --since looks further back\."),
        (
            ["--function", "worker", "--filter", "ERROR"],
            rf"no lines with ERROR {SINCE} of the function worker; --since looks further back\.",
        ),
    ],
)
def test_logs_without_lines_say_so_beside_them(
    world: World, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    old = int(time.time() * 1000) - 3_600_000
    world.clients["logs"] = Logs(**{"worker-logs": [(old, "a", "too old")]})
    assert list(logs.of_functions(world.clients.__getitem__, *asked_for_logs(world, *words))) == []
    assert re.fullmatch(f"gust: {told}\n", capsys.readouterr().err)


def test_logs_that_follow_say_once_that_there_are_none_yet(world: World) -> None:
    moment, said, looks = int(time.time() * 1000), list[str](), list[float]()

    def pause(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            world.clients["logs"].groups = {"worker-logs": [(moment, "a", "later")]}

    stack, options = asked_for_logs(world, "--follow")
    (line,) = islice(logs.of_functions(world.clients.__getitem__, stack, options, pause=pause, say=said.append), 1)
    assert line.endswith("later")
    (told,) = said
    assert told.endswith(" of the functions scheduler, worker; waiting for new ones (Ctrl-C ends it).")


def test_the_log_of_a_task_that_has_none_says_in_which_state_the_task_is(world: World) -> None:
    given_dag(world.store)
    run, said = given_running_run(world.store), list[str]()
    given_instance(world.store, an_instance("load", run=run, state=TaskInstanceState.QUEUED))
    stack, options = asked_for_logs(world, "--task", "etl/load")
    assert list(logs.of_task(world.clients.__getitem__, stack, options, say=said.append)) == []
    assert said == ["the log of etl/load in manual__1 has no lines; the task instance's state is queued."]


def asked_for_logs(world: World, *words: str) -> tuple[Stack, argparse.Namespace]:
    parser = argparse.ArgumentParser()
    logs.add_arguments(parser)
    return require_stack(world.clients.__getitem__, "gust"), parser.parse_args(words)


GONE = [("gust", "DELETE_IN_PROGRESS", ""), ("Table", "DELETE_COMPLETE", ""), ("gust", "DELETE_COMPLETE", "")]


def deleted(world: World, *words: str, answer: str | None = "gust") -> tuple[int, str]:
    parser = argparse.ArgumentParser()
    delete.add_arguments(parser)
    said: list[str] = []
    world.cloud.to_come = GONE
    code = delete.delete(
        parser.parse_args(words),
        world.clients.__getitem__,
        ask=None if answer is None else lambda _: answer,
        say=said.append,
        pause=lambda _: None,
    )
    return code, "\n".join(said)


def test_delete_says_what_stays_and_keeps_the_bucket(world: World) -> None:
    assert deleted(world, answer="no")[0] == 1
    assert world.cloud.calls == []
    code, said = deleted(world)
    assert code == 0
    assert world.cloud.calls == ["delete"]
    assert "What stays: the bucket gust-bucket-1, 1 object, 0.00 GB, about $0.00 a month (--bucket delete)." in said
    assert "gust-artifacts-123456789012-eu-west-1" in said
    assert "DELETE_COMPLETE after " in said
    assert world.s3.head_object(Bucket="gust-bucket-1", Key="dags/etl.py")


def test_delete_takes_the_bucket_along_where_that_is_asked_for(world: World) -> None:
    assert deleted(world, "--bucket", "delete", "--backup", "--yes", answer=None)[0] == 0
    assert world.s3.list_buckets()["Buckets"] == []
    backups = world.clients["dynamodb"].list_backups(TableName="gust-table-1")["BackupSummaries"]
    assert len(backups) == 1


def test_doctor_looks_at_the_worker_groups(world: World) -> None:
    payroll = WorkerGroup(
        name="payroll", queue_url="q", memory=3008, task_role="arn:aws:iam::123456789012:role/gust/gust/p"
    )
    for group in (payroll, WorkerGroup(name="gone", queue_url="q"), WorkerGroup(name="going", queue_url="q")):
        world.store.register_worker_group(group)
    world.store.close_worker_group("going")
    world.cloud.missing = {"gust-workers-gone"}
    said = "\n".join(world.examine())
    assert "bad: the workers of 'gone' are registered and have no stack: ./gust workers remove gone" in said
    assert "note: the workers of 'going' are being removed" in said
    assert "note: every DAG may name the queue 'payroll', and its task then has the role arn:" in said

    world.cloud.parameters["AccessParameter"] = "/gust/access"
    world.clients["ssm"] = ssm = world.session.client("ssm")
    for document, expected in (
        ({"queues": [{"queue": "payroll", "path": "hr/*"}]}, None),
        ({"queues": [{"queue": "payroll"}]}, "bad: no DAG may use the queue 'payroll': The access document is invalid"),
    ):
        ssm.put_parameter(Name="/gust/access", Type="String", Overwrite=True, Value=json.dumps(document))
        about = [line for line in world.examine() if "payroll" in line]
        assert [line.startswith(expected or "") for line in about] == ([True] if expected else [])


def test_delete_waits_until_no_worker_group_needs_the_stack(world: World) -> None:
    world.store.register_worker_group(WorkerGroup(name="large", queue_url="https://queue", memory=3008))
    with pytest.raises(AwsError, match=r"would have no stack: large\. `./gust workers remove NAME --stack gust` first"):
        deleted(world, "--yes")
    assert world.cloud.calls == []


RECEIVER = ("EventsRole", "AWS::IAM::Role", "gust-EventsRole-1")


@pytest.mark.parametrize(
    ("arn", "command"),
    [("sqs:eu-west-1:1:orders", "watch-queue"), ("kinesis:eu-west-1:1:stream/orders", "watch-stream")],
)
def test_delete_waits_until_no_queue_or_stream_is_watched(world: World, arn: str, command: str) -> None:
    world.cloud.resources = [*world.cloud.resources, RECEIVER]
    world.store.watch_source(f"arn:aws:{arn}")
    with pytest.raises(AwsError, match=rf"to read orders\. `./gust {command} NAME --remove --stack gust` first"):
        deleted(world, "--yes")
    assert world.cloud.calls == []


def test_delete_and_a_deployment_without_events_wait_for_what_a_command_that_was_cut_off_has_left(world: World) -> None:
    world.cloud.resources = [*world.cloud.resources, RECEIVER]
    world.clients["iam"] = Iam(policies=["events", "watch-queue-orders", "watch-stream-clicks"])
    asked = "to read clicks, orders. `./gust watch-queue NAME --remove --stack gust` and `./gust watch-stream NAME"
    with pytest.raises(AwsError, match=re.escape(asked)):
        deleted(world, "--yes")
    parser = argparse.ArgumentParser()
    deploy.add_arguments(parser)
    options = parser.parse_args(["--stack", "gust", "--yes", "--set", "Events=Disabled"])
    with pytest.raises(AwsError, match=f"Events=Disabled deletes the receiver of events, and .*{re.escape(asked)}"):
        deploy.deploy(options, world.clients.__getitem__, ask=None, say=lambda _: None)
    world.clients["iam"] = Iam(policies=["events"])
    assert deleted(world, "--yes")[0] == 0


def test_delete_stops_what_runs_in_containers_first(world: World) -> None:
    """Else CloudFormation cannot delete their cluster, and they go on."""
    fargate = Fargate("etl", "train")
    world.clients |= {"stepfunctions": fargate, "ecs": fargate}
    world.cloud.resources = [*world.cloud.resources, *Fargate.RESOURCES]
    code, said = deleted(world, answer="no")
    assert code == 1
    assert "It stops 2 containers with what runs in them: the tasks' retries apply.\nNothing was deleted." in said
    assert fargate.stopped == []
    code, said = deleted(world)
    assert code == 0
    assert "Stopping 2 containers …" in said
    assert fargate.containers == {"etl": 0, "train": 0}
    assert world.cloud.calls == ["delete"]


def test_delete_keeps_a_stack_whose_containers_do_not_end(world: World) -> None:
    fargate = Fargate("stuck", looks=1000)
    world.clients |= {"stepfunctions": fargate, "ecs": fargate}
    world.cloud.resources = [*world.cloud.resources, *Fargate.RESOURCES]
    with pytest.raises(AwsError, match="still has 1 container"):
        deleted(world, "--yes")
    assert world.cloud.calls == []


def test_delete_leaves_a_stack_alone_that_is_being_changed(world: World) -> None:
    fargate, events = Fargate("etl"), Events("events.yaml-a")
    world.clients |= {"stepfunctions": fargate, "ecs": fargate, "events": events}
    world.clients["cloudformation"] = world.cloud = Deleting(events, Fargate.RESOURCES)
    world.cloud.status = "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"
    with pytest.raises(AwsError, match="is being changed"):
        deleted(world, "--yes")
    assert (world.cloud.calls, fargate.stopped, events.rules()) == ([], [], ["events.yaml-a"])


class Deleting(CloudFormation):
    """Comes to the bus, after `meanwhile`, when the deletion is first looked at, and fails at it as EventBridge does."""

    def __init__(
        self, events: Events, others: Sequence[tuple[str, str, str]] = (), *, meanwhile: Callable[[], object] = bool
    ) -> None:
        resources = [
            ("EventBus", "AWS::Events::EventBus", "gust"),
            ("FailedRuns", "AWS::Events::Rule", "gust|gust-FailedRuns-1"),
            *others,
        ]
        super().__init__(status="UPDATE_COMPLETE", resources=resources)
        self.events_of_bus, self.meanwhile = events, meanwhile

    def delete_stack(self, **asked: Any) -> None:
        self.to_come = [("gust", "DELETE_IN_PROGRESS", "")]
        super().delete_stack(**asked)

    def get_paginator(self, name: str) -> Any:
        if name == "describe_stack_events" and self.status == "DELETE_IN_PROGRESS":
            self.meanwhile()
            self.meanwhile = bool  # once
            try:
                if self.events_of_bus.buses() and "gust-FailedRuns-1" in self.events_of_bus.rules():
                    self.events_of_bus.remove("gust-FailedRuns-1")
                self.events_of_bus.delete_event_bus("gust")
                self.to_come = GONE[1:]
            except ClientError as refused:
                self.to_come = [("EventBus", "DELETE_FAILED", str(refused)), ("gust", "DELETE_FAILED", "")]
            self._happen()
        return super().get_paginator(name)


class NeverWhole(CloudFormation):
    def describe_stacks(self, StackName: str) -> Any:  # noqa: N803 - boto3's
        told = super().describe_stacks(StackName)
        del told["Stacks"][0]["Outputs"]
        return told


@pytest.mark.parametrize("status", sorted(changes.LEFT_OVER))
def test_delete_takes_what_is_left_of_a_stack_that_was_never_whole(world: World, status: str) -> None:
    world.clients["cloudformation"] = world.cloud = NeverWhole(status=status)
    with pytest.raises(AwsError, match="has no output BucketName"):
        deleted(world)  # not Gust's, as far as its tags say
    world.cloud.tags = {"gust:version": "0.1.0"}
    with pytest.raises(AwsError, match="leave out --backup and --bucket"):
        deleted(world, "--backup")
    assert deleted(world, answer="no")[0] == 1
    assert world.cloud.calls == []
    code, said = deleted(world)
    assert (code, world.cloud.calls) == (0, ["delete"])
    assert f"gust is {status} and was never whole. This deletes what is left of it" in said


def test_delete_takes_the_rules_of_events_files_along(world: World) -> None:
    world.clients["events"] = events = Events("events.yaml-a", "events.yaml-b", "gust-FailedRuns-1")
    world.clients["cloudformation"] = world.cloud = Deleting(events)
    code, said = deleted(world, "--yes")
    assert code == 0
    assert world.cloud.calls == ["delete"]
    assert "Removed 2 rules of events.yaml files." in said
    assert events.buses() == []


def test_delete_takes_the_rules_of_events_files_along_that_a_deployment_makes_meanwhile(world: World) -> None:
    world.clients["events"] = events = Events("events.yaml-a")
    world.clients["cloudformation"] = world.cloud = Deleting(events, meanwhile=lambda: events.make("events.yaml-a"))
    code, said = deleted(world, "--yes")
    assert code == 0
    assert world.cloud.calls == ["delete", "delete"]
    assert "A deployment of the DAG folder has made rules again; they are removed." in said
    assert events.buses() == []


def test_delete_goes_on_where_eventbridge_still_counts_the_rules_that_it_has_removed(world: World) -> None:
    class Counting(Events):
        counts = True

        def delete_event_bus(self, Name: str) -> None:  # noqa: N803 - boto3's
            if self.counts:
                self.counts = False
                raise refusal("ValidationException", "EventBus can't be deleted since it has rules.")
            super().delete_event_bus(Name)

    world.clients["events"] = events = Counting("events.yaml-a")
    world.clients["cloudformation"] = world.cloud = Deleting(events)
    assert deleted(world, "--yes")[0] == 0
    assert world.cloud.calls == ["delete", "delete"]
    assert events.buses() == []


def test_a_deletion_that_aws_refuses_keeps_the_rules_of_events_files(world: World) -> None:
    """They are made again by a deployment of the folder alone."""

    class Refusing(Deleting):
        def delete_stack(self, **_: Any) -> None:
            raise refusal("AccessDenied", "cloudformation:DeleteStack")

    world.clients["events"] = events = Events("events.yaml-a")
    world.clients["cloudformation"] = world.cloud = Refusing(events)
    with pytest.raises(ClientError, match="DeleteStack"):
        deleted(world, "--yes")
    assert events.rules() == ["events.yaml-a"]


def test_delete_names_rules_of_others_with_their_commands_and_deletes_nothing(world: World) -> None:
    world.clients["events"] = events = Events("events.yaml-a", "gust-FailedRuns-1", "theirs")
    events.create_archive(ArchiveName="all", EventSourceArn=events.describe_event_bus(Name="gust")["Arn"])
    world.clients["cloudformation"] = world.cloud = Deleting(events)
    with pytest.raises(AwsError) as refused:
        deleted(world, "--yes")
    assert str(refused.value).splitlines() == [
        "EventBridge deletes no bus that has rules, and gust has some of others. First:",
        "  aws events remove-targets --event-bus-name gust --rule theirs --ids events",
        "  aws events delete-rule --event-bus-name gust --name theirs",
        "  aws events remove-targets --event-bus-name gust --rule Events-Archive-all --ids Events-Archive-all --force    "
        "# of prod.vhs.events.aws.internal",
        "  aws events delete-rule --event-bus-name gust --name Events-Archive-all --force    "
        "# of prod.vhs.events.aws.internal",
    ]
    assert world.cloud.calls == []
    assert len(events.rules()) == 4


@pytest.mark.parametrize("has_bus", [True, False])
def test_delete_goes_on_where_another_attempt_has_failed_at_the_bus(world: World, has_bus: bool) -> None:
    """Of `aws cloudformation delete-stack`, say; the operator may have deleted the bus since."""
    world.clients["events"] = events = Events("events.yaml-a")
    world.clients["cloudformation"] = world.cloud = Deleting(events)
    world.cloud.status = "DELETE_FAILED"
    world.clients["dynamodb"].delete_table(TableName=OUTPUTS["TableName"])
    if not has_bus:
        events.aws.delete_event_bus(Name="gust")
    assert deleted(world, "--yes")[0] == 0
    assert events.buses() == []


def test_delete_needs_a_person_and_an_unprotected_table(world: World) -> None:
    with pytest.raises(AwsError, match="here is no terminal: give --yes"):
        deleted(world, answer=None)
    world.clients["dynamodb"].update_table(TableName="gust-table-1", DeletionProtectionEnabled=True)
    with pytest.raises(AwsError, match="--set DeletionProtection=Disabled removes that"):
        deleted(world, "--yes")
    world.clients["dynamodb"].update_table(TableName="gust-table-1", DeletionProtectionEnabled=False)
    world.cloud.is_protected = True
    with pytest.raises(AwsError, match="--no-enable-termination-protection --stack-name gust` removes that"):
        deleted(world, "--yes")
    assert world.cloud.calls == []


class Ec2:
    def __init__(self, **endpoints: tuple[str, str]) -> None:
        self.endpoints = {name.replace("_", "-"): found for name, found in endpoints.items()}

    def describe_vpc_endpoints(self, VpcEndpointIds: list[str]) -> Any:  # noqa: N803 - boto3's
        (name,) = VpcEndpointIds
        if name not in self.endpoints:
            raise refusal("InvalidVpcEndpointId.NotFound", f"The Vpc Endpoint Id '{name}' does not exist")
        service, state = self.endpoints[name]
        found = {"ServiceName": f"com.amazonaws.eu-west-1.{service}", "State": state, "VpcId": "vpc-1"}
        return {"VpcEndpoints": [found]}


def test_a_private_api_names_its_endpoints_and_doctor_looks_at_them(world: World) -> None:
    world.cloud.parameters["ApiVpcEndpoints"] = "vpce-1,vpce-2,vpce-3,vpce-4"
    world.clients["ec2"] = Ec2(
        vpce_1=("execute-api", "available"), vpce_2=("s3", "available"), vpce_3=("execute-api", "failed")
    )
    assert "private, through vpce-1" in list(status.status(world.clients.__getitem__, "gust", now=NOW))[1]
    said = world.examine()
    for told in (
        "ok: the private API's endpoint vpce-1 is there, in vpc-1",
        "bad: vpce-2 is an endpoint for com.amazonaws.eu-west-1.s3: a private API needs one for execute-api",
        "bad: the private API's endpoint vpce-3 is failed",
        "bad: the private API's endpoint vpce-4: The Vpc Endpoint Id 'vpce-4' does not exist",
    ):
        assert told in said
