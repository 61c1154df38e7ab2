"""`./gust deploy`: what it uploads, says, asks and does, and how it tells of a failure."""

from __future__ import annotations

import argparse
import io
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from gust import __version__
from gust.cli import artifacts, changes, deploy
from gust.cli.aws import AwsError, Stack, require_stack
from gust.cli.changes import DeploymentFailedError
from gust.store.keyspace import TABLE_DEFINITION
from tests.unit.cli.cloud import OUTPUTS, CloudFormation, Events, Fargate, Lambda, Sts, refusal

ROOT = Path(__file__).parents[3]
TEMPLATE = artifacts.source_template(ROOT)
BUCKET = "gust-artifacts-123456789012-eu-west-1"

CREATED = [
    ("gust", "CREATE_IN_PROGRESS", ""),
    ("Table", "CREATE_IN_PROGRESS", ""),
    ("Table", "CREATE_COMPLETE", ""),
    ("gust", "CREATE_COMPLETE", ""),
]
NEW_TABLE = [("Add", "Table", "AWS::DynamoDB::Table", "False"), ("Add", "WakesQueue", "AWS::SQS::Queue", "False")]


class Terminal:
    """Keeps what is said, and answers questions."""

    def __init__(self, *answers: bool) -> None:
        self.said: list[str] = []
        self.questions: list[str] = []
        self.answers = list(answers)

    def say(self, line: str) -> None:
        self.said.append(line)

    def ask(self, question: str, default: bool) -> bool:
        self.questions.append(question)
        return self.answers.pop(0)

    @property
    def text(self) -> str:
        return "\n".join(self.said)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with mock_aws():
        yield boto3.client("s3", region_name="eu-west-1")


@pytest.fixture(autouse=True)
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Layers are small files here; `test_layers` builds real ones. Returns what was built."""
    built: list[str] = []

    def build(root: Path, name: str, folder: Path, variables: object) -> None:
        built.append(name)
        (folder / "python").mkdir()
        (folder / "python" / "file.py").write_text("x = 1\n")

    monkeypatch.setattr(artifacts, "_build", build)
    monkeypatch.setattr(artifacts, "source_template", lambda _: TEMPLATE)  # parsing takes a second
    return built


def run(
    terminal: Terminal,
    cloud: CloudFormation,
    s3: Any,
    *words: str,
    limit: int = 1000,
    at_terminal: bool = True,
    pause: Callable[[float], None] = lambda _: None,
    **others: Any,
) -> int:
    parser = argparse.ArgumentParser()
    deploy.add_arguments(parser)
    clients = {"cloudformation": cloud, "s3": s3, "sts": Sts(), "lambda": Lambda(limit), **others}
    return deploy.deploy(
        parser.parse_args(words),
        clients.__getitem__,
        ask=terminal.ask if at_terminal else None,
        say=terminal.say,
        pause=pause,
    )


def test_a_first_deployment_says_what_it_makes_and_costs_asks_and_ends_with_the_next_commands(
    s3: Any, built: list[str]
) -> None:
    terminal, cloud = Terminal(True, True), CloudFormation(changes=NEW_TABLE, events=CREATED)
    assert run(terminal, cloud, s3, "--region", "eu-west-1", "--tags", "team=data") == 0
    assert "Account 123456789012, region eu-west-1, stack gust (new)" in terminal.text
    assert "Idle, it costs about $" in terminal.text
    assert terminal.questions == ["Prepare the deployment?", "Deploy this?"]
    assert "     1 DynamoDB::Table" in terminal.said
    assert "  Web UI and API  https://abc.execute-api.eu-west-1.amazonaws.com" in terminal.said
    assert "  aws s3 sync my_dags s3://gust-bucket-1/dags/ --delete --region eu-west-1" in terminal.said
    assert cloud.calls == ["execute"]
    assert cloud.asked["ChangeSetType"] == "CREATE"
    assert cloud.asked["OnStackFailure"] == "DELETE"
    assert {"Key": "gust:version", "Value": __version__} in cloud.asked["Tags"]
    assert {"Key": "team", "Value": "data"} in cloud.asked["Tags"]
    assert sorted(built) == ["airflow", "builder", "runtime", "web"]
    assert s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"]["BlockPublicPolicy"]


def test_what_parameters_add_to_the_idle_price_is_said() -> None:
    without = deploy.idle_price({})
    assert without is not None

    def added(**parameters: str) -> float:
        return round((deploy.idle_price(parameters) or 0) - without, 2)

    assert added(Dashboard="Enabled") == 3.00
    assert added(Events="Enabled") == 0.26
    assert added(AlertEmail="ada@example.com") == added(AlertTopicArn="arn:topic") == 1.40
    assert added(AlertEmail="ada@example.com", Events="Enabled") == 1.60 + 0.26
    assert added(WorkerMemory="3008") == 0
    assert "bucket for DAG files, a private REST API," in deploy._introduction("code", {"ApiEndpoint": "Private"})[0]


def test_a_second_deployment_builds_and_uploads_nothing_again_and_keeps_parameters(s3: Any, built: list[str]) -> None:
    run(Terminal(), CloudFormation(changes=NEW_TABLE, events=CREATED), s3, "--yes", at_terminal=False)
    built.clear()
    cloud = CloudFormation(
        status="UPDATE_COMPLETE", parameters={"WorkerMemory": "3008", "Gone": "x", "LogRetentionDays": "7"}
    )
    cloud.tags = {"team": "data"}
    terminal = Terminal()
    assert run(terminal, cloud, s3, "--yes", "--set", "LogRetentionDays=14", at_terminal=False) == 0
    assert built == []
    assert terminal.said[-1] == "Nothing to change."
    assert cloud.asked["Parameters"] == [
        {"ParameterKey": "LogRetentionDays", "ParameterValue": "14"},
        {"ParameterKey": "WorkerMemory", "UsePreviousValue": True},
    ]
    assert {"Key": "team", "Value": "data"} in cloud.asked["Tags"]
    assert "OnStackFailure" not in cloud.asked


class Left(CloudFormation):
    """A stack of a deployment that did not succeed."""

    deleted: dict[str, str]

    def delete_stack(self, **asked: str) -> None:
        self.calls.append("delete")
        self.deleted, self.status = asked, None

    def get_waiter(self, _: str) -> Any:
        return self

    def wait(self, **_: Any) -> None:
        """It is gone at once."""


@pytest.mark.parametrize("status", sorted(changes.NEW))
def test_a_stack_that_was_never_whole_goes_before_the_deployment_and_stays_in_a_dry_run(s3: Any, status: str) -> None:
    terminal, cloud = Terminal(), Left(status=status, changes=NEW_TABLE, events=CREATED)
    assert run(terminal, cloud, s3, "--dry-run") == 0
    assert (cloud.calls, cloud.asked, terminal.said[-1]) == (
        [],
        {},
        "Nothing was changed, and CloudFormation was not asked.",
    )
    assert f"gust is {status}: it was never whole, and a deployment deletes it first" in terminal.text
    assert run(Terminal(False), cloud, s3) == 1
    assert cloud.calls == []
    assert run(Terminal(True, True), cloud, s3, "--role-arn", "arn:role") == 0
    assert cloud.calls == ["delete", "execute"]
    assert cloud.deleted == {"StackName": "gust", "RoleARN": "arn:role"}
    assert cloud.asked["ChangeSetType"] == "CREATE"


@pytest.mark.parametrize("status", sorted(changes.LEFT_OVER))
def test_a_stack_of_which_a_part_is_left_is_deleted_by_its_own_command_alone(s3: Any, status: str) -> None:
    cloud = Left(status=status, changes=NEW_TABLE)
    with pytest.raises(AwsError, match=r"\./gust delete --stack gust deletes that; then deploy again"):
        run(Terminal(), cloud, s3, "--yes", at_terminal=False)
    assert (cloud.calls, cloud.asked) == ([], {})


def test_a_change_that_loses_state_is_marked_and_a_no_changes_nothing(s3: Any) -> None:
    found = [
        ("Modify", "Table", "AWS::DynamoDB::Table", "True"),
        ("Modify", "ApiFunction", "AWS::Lambda::Function", "False"),
        ("Remove", "Keys", "Custom::Keys", "False"),
        ("Remove", "SigningSecret", "AWS::SecretsManager::Secret", "False"),
    ]
    terminal, cloud = Terminal(False), CloudFormation(status="UPDATE_COMPLETE", changes=found)
    assert run(terminal, cloud, s3) == 1
    assert "  modify  Table (DynamoDB::Table, replaced)   <- IT HOLDS STATE" in terminal.said
    assert "  modify  ApiFunction (Lambda::Function)" in terminal.said
    assert "  remove  Keys (Custom::Keys)   <- IT HOLDS STATE" in terminal.said
    assert "  remove  SigningSecret (SecretsManager::Secret)" in terminal.said, "the key maker has its text"
    assert cloud.calls == ["discard"]
    again = CloudFormation(status="UPDATE_COMPLETE", changes=found)
    assert run(Terminal(), again, s3, "--dry-run", at_terminal=False) == 0
    assert again.calls == ["discard"]


WITHOUT_FARGATE = [
    ("Remove", "FargateCluster", "AWS::ECS::Cluster", "False"),
    ("Remove", "FargateTask", "AWS::StepFunctions::StateMachine", "False"),
]


def test_turning_fargate_off_stops_what_runs_in_containers_before_and_while_it_does(s3: Any) -> None:
    """Until CloudFormation has changed the scheduler, that starts containers."""
    fargate = Fargate("etl")

    class Cloud(CloudFormation):
        def execute_change_set(self, **asked: Any) -> None:
            assert fargate.containers == {"etl": 0}
            fargate.start("next")
            super().execute_change_set(**asked)

    cloud = Cloud(
        status="UPDATE_COMPLETE",
        changes=WITHOUT_FARGATE,
        events=[("gust", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "")],
        resources=Fargate.RESOURCES,
    )

    def end(_: float) -> None:
        if "next" in fargate.containers and "next" not in fargate.executions:
            cloud.to_come = [("gust", "UPDATE_COMPLETE", "")]
            cloud._happen()

    terminal, clients = Terminal(False), {"stepfunctions": fargate, "ecs": fargate, "dynamodb": table()}
    assert run(terminal, cloud, s3, "--set", "Fargate=Disabled", **clients) == 1
    told = "It stops 1 container with what runs in it: the tasks' retries apply."
    assert terminal.said[-2:] == [told, "Nothing was changed."]
    assert fargate.stopped == []
    assert run(Terminal(True), cloud, s3, "--set", "Fargate=Disabled", pause=end, **clients) == 0
    assert fargate.stopped == ["etl", "next"]


def test_an_update_that_is_taken_back_stops_no_further_containers(s3: Any) -> None:
    fargate = Fargate("etl")
    cloud = CloudFormation(
        status="UPDATE_COMPLETE",
        changes=WITHOUT_FARGATE,
        events=[("gust", "UPDATE_ROLLBACK_IN_PROGRESS", "")],
        resources=Fargate.RESOURCES,
    )

    def go_on(_: float) -> None:
        if "next" in fargate.containers:
            cloud.to_come = [("gust", "UPDATE_ROLLBACK_COMPLETE", "")]
            cloud._happen()
        elif cloud.status == "UPDATE_ROLLBACK_IN_PROGRESS":
            fargate.start("next")

    with pytest.raises(DeploymentFailedError):
        run(Terminal(), cloud, s3, "--yes", at_terminal=False, pause=go_on, stepfunctions=fargate, ecs=fargate)
    assert fargate.stopped == ["etl"]


def test_fargate_stays_where_a_container_does_not_end(s3: Any) -> None:
    fargate = Fargate("stuck", looks=1000)
    cloud = CloudFormation(status="UPDATE_COMPLETE", changes=WITHOUT_FARGATE, resources=Fargate.RESOURCES)
    with pytest.raises(AwsError, match="still has 1 container after 5 minutes"):
        run(Terminal(), cloud, s3, "--yes", at_terminal=False, stepfunctions=fargate, ecs=fargate)
    assert cloud.calls == ["discard"]


def test_what_aws_refuses_to_tell_of_containers_stops_no_dry_run_and_leaves_no_change_set(s3: Any) -> None:
    class Refusing(Fargate):
        def get_paginator(self, operation: str) -> Any:
            raise refusal("AccessDeniedException", operation)

    refusing, terminal = Refusing(), Terminal()
    cloud = CloudFormation(status="UPDATE_COMPLETE", changes=WITHOUT_FARGATE, resources=Fargate.RESOURCES)
    clients = {"stepfunctions": refusing, "ecs": refusing}
    assert run(terminal, cloud, s3, "--dry-run", at_terminal=False, **clients) == 0
    assert "It stops all containers; AWS does not tell how many run: you may not do this: list_execu" in terminal.text
    with pytest.raises(ClientError):
        run(terminal, cloud, s3, "--yes", at_terminal=False, **clients)
    assert cloud.calls == ["discard", "discard"]


def test_an_interrupted_question_leaves_no_change_set(s3: Any) -> None:
    class Interrupted(Terminal):
        def ask(self, question: str, default: bool) -> bool:
            raise KeyboardInterrupt

    cloud = CloudFormation(status="UPDATE_COMPLETE", changes=NEW_TABLE)
    with pytest.raises(KeyboardInterrupt):
        run(Interrupted(), cloud, s3)
    assert cloud.calls == ["discard"]


def test_the_network_of_containers_stays_while_any_run(s3: Any) -> None:
    cloud = CloudFormation(
        status="UPDATE_COMPLETE",
        changes=[("Remove", "FargateNetwork", "AWS::EC2::VPC", "False")],
        events=[("gust", "UPDATE_COMPLETE", "")],
        resources=Fargate.RESOURCES,
    )
    words, running, idle = ("--yes", "--set", "FargateSubnets=subnet-1"), Fargate("etl"), Fargate()
    with pytest.raises(AwsError, match="1 container would lose the way to AWS"):
        run(Terminal(), cloud, s3, *words, at_terminal=False, stepfunctions=running, ecs=running)
    assert (cloud.calls, running.stopped) == (["discard"], [])
    clients = {"stepfunctions": idle, "ecs": idle, "dynamodb": table()}
    assert run(Terminal(), cloud, s3, *words, at_terminal=False, **clients) == 0
    assert cloud.calls == ["discard", "execute"]


def test_turning_fargate_on_gives_ecs_its_role_before_the_cluster_is_created(s3: Any) -> None:
    made: list[str] = []

    class Iam:
        def create_service_linked_role(self, *, AWSServiceName: str) -> None:  # noqa: N803 - boto3's
            assert cloud.calls == []
            made.append(AWSServiceName)

    added = [("Add", "FargateCluster", "AWS::ECS::Cluster", "False")]
    cloud = CloudFormation(status="UPDATE_COMPLETE", changes=added, events=[("gust", "UPDATE_COMPLETE", "")])
    words = ("--set", "Fargate=Enabled")
    assert run(Terminal(False), cloud, s3, *words, iam=Iam(), dynamodb=table()) == 1
    assert made == []
    cloud.calls.clear()
    assert run(Terminal(True), cloud, s3, *words, iam=Iam(), dynamodb=boto3.client("dynamodb", "eu-west-1")) == 0
    assert made == ["ecs.amazonaws.com"]


def test_another_change_stops_no_container(s3: Any) -> None:
    """Nor does it list them: this deployer may not have the right."""
    changed = [("Modify", "FargateTask", "AWS::StepFunctions::StateMachine", "False")]
    updated = [("gust", "UPDATE_COMPLETE", "")]
    cloud = CloudFormation(
        status="UPDATE_COMPLETE", changes=changed, events=updated, resources=Fargate.RESOURCES, parameters={}
    )
    assert run(Terminal(), cloud, s3, "--yes", at_terminal=False, dynamodb=table()) == 0


def table() -> Any:
    """A client of DynamoDB, with the stack's table: a deployment looks for worker groups in it."""
    dynamodb = boto3.client("dynamodb", region_name="eu-west-1")
    dynamodb.create_table(TableName=OUTPUTS["TableName"], **TABLE_DEFINITION)
    return dynamodb


def test_a_failure_is_told_by_the_resource_that_caused_it(s3: Any) -> None:
    events = [
        ("gust", "CREATE_IN_PROGRESS", ""),
        ("WorkerFunction", "CREATE_FAILED", "Unzipped size must be smaller"),
        ("ApiFunction", "CREATE_FAILED", "Resource creation cancelled"),
        ("gust", "DELETE_IN_PROGRESS", ""),
        ("gust", "DELETE_COMPLETE", ""),
    ]
    with pytest.raises(DeploymentFailedError) as failed:
        run(Terminal(), CloudFormation(changes=NEW_TABLE, events=events), s3, "--yes", at_terminal=False)
    assert str(failed.value).splitlines()[1:] == ["  WorkerFunction: Unzipped size must be smaller"]


def test_a_new_account_gets_what_it_can_have(s3: Any) -> None:
    terminal, cloud = Terminal(), CloudFormation(changes=NEW_TABLE, events=CREATED)
    assert run(terminal, cloud, s3, "--yes", limit=10, at_terminal=False) == 0
    asked = {each["ParameterKey"]: each["ParameterValue"] for each in cloud.asked["Parameters"]}
    assert asked == {"WorkerConcurrency": "4", "TriggererConcurrency": "2"}
    assert "at most 10 functions at once" in terminal.text
    said = CloudFormation(changes=NEW_TABLE, events=CREATED)
    run(Terminal(), said, s3, "--yes", "--set", "WorkerConcurrency=7", limit=10, at_terminal=False)
    assert said.asked["Parameters"] == [{"ParameterKey": "WorkerConcurrency", "ParameterValue": "7"}]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "here is no terminal: give --yes, or --dry-run"),
        (("--yes", "--set", "NoSuch=1"), "template.yaml has no parameter NoSuch"),
        (("--yes", "--stack", "my_stack"), "my_stack is no name for a stack"),
        (("--yes", "--stack", "x" * 60), "has 60 characters; 44 are possible"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(s3: Any, words: tuple[str, ...], told: str) -> None:
    with pytest.raises(AwsError, match=told):
        run(Terminal(), CloudFormation(), s3, *words, at_terminal=False)
    assert s3.list_buckets()["Buckets"] == []


def test_the_longest_stack_name_fits_every_name_made_of_it() -> None:
    longest = deploy.longest_stack_name(TEMPLATE)
    names = [
        resource["Properties"]["FunctionName"]["Fn::Sub"].replace("${AWS::StackName}", "x" * longest)
        for resource in TEMPLATE["Resources"].values()
        if resource["Type"] == "AWS::Serverless::Function"
    ]
    assert max(map(len, names)) == 64
    page = (ROOT / "docs" / "deploying.md").read_text()
    assert f"A stack's name may have {longest} characters" in page


def test_the_page_names_parameters_that_there_are() -> None:
    page = (ROOT / "docs" / "deploying.md").read_text()
    table = page[page.index("## Parameters") : page.index("Always on:")]
    named = set(re.findall(r"`([A-Z][A-Za-z]+)`", table.replace("`template.yaml`", "")))
    assert named
    assert named <= TEMPLATE["Parameters"].keys()


def test_a_package_is_the_same_bytes_at_any_time_and_lambda_can_read_it(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "tool").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "tool").chmod(0o700)
    (tmp_path / "app.py").write_text("")
    (tmp_path / "app.py").chmod(0o600)
    first, second = io.BytesIO(), io.BytesIO()
    artifacts.zip_folder(tmp_path, first)
    (tmp_path / "app.py").touch()
    artifacts.zip_folder(tmp_path, second)
    assert first.getvalue() == second.getvalue()
    modes = {entry.filename: oct(entry.external_attr >> 16) for entry in zipfile.ZipFile(first).infolist()}
    assert modes == {"app.py": "0o644", "bin/tool": "0o755"}


def test_every_artifact_of_the_template_has_a_place_in_the_bucket() -> None:
    made = artifacts.made_of(ROOT, "bucket", TEMPLATE)
    for name, resource in made.template["Resources"].items():
        for word in ("CodeUri", "ContentUri", "DefinitionUri"):
            if place := resource.get("Properties", {}).get(word):
                assert place["Bucket"] == "bucket", name
                assert place["Key"] in {package.key for package in made.packages}
    assert set(artifacts.LAYERS) == {
        name for name, each in made.template["Resources"].items() if each["Type"] == "AWS::Serverless::LayerVersion"
    }


def test_progress_names_what_is_being_made() -> None:
    cloud = CloudFormation(events=[*CREATED[:2]])
    cloud.execute_change_set()
    said: list[str] = []
    moments = iter(range(0, 200, 10))

    def pause(_: float) -> None:
        if len(said) == 2:
            cloud.to_come = CREATED[2:]
            cloud.execute_change_set()

    changes.follow(cloud, "id", None, 2, said.append, pause=pause, clock=lambda: float(next(moments)))
    assert said[0] == "0 of 2 resources; at Table"
    assert said[-1].startswith("CREATE_COMPLETE after ")


class ApiGateway:
    def __init__(self, refused: ClientError | None = None) -> None:
        self.refused = refused
        self.deployed: list[dict[str, str]] = []

    def create_deployment(self, **asked: str) -> None:
        if self.refused:
            raise self.refused
        self.deployed.append(asked)


def test_a_changed_rest_api_is_deployed_or_the_command_for_it_is_told() -> None:
    apis = [("RestApi", "AWS::ApiGateway::RestApi", "a1b2c3"), ("Table", "AWS::DynamoDB::Table", "t")]
    stack = CloudFormation(status="UPDATE_COMPLETE", resources=apis)
    terminal, allowed = Terminal(), ApiGateway()
    refused = ApiGateway(refusal("AccessDeniedException", "not allowed"))
    for api_gateway in (allowed, refused):
        clients = {"cloudformation": stack, "apigateway": api_gateway}.__getitem__
        deploy.deploy_rest_api(clients, require_stack(clients, "gust"), terminal.say)

    assert allowed.deployed == [{"restApiId": "a1b2c3", "stageName": "airflow"}]
    assert "  aws apigateway create-deployment --rest-api-id a1b2c3 --stage-name airflow" in terminal.said


def test_a_deployment_goes_on_where_aws_refuses_the_list_of_worker_groups() -> None:
    """Its closing lines come after it."""
    outputs = {"BucketName": "b", "TableName": "t"}
    stack = Stack(name="gust", status="UPDATE_COMPLETE", outputs=outputs, parameters={}, tags={})

    def clients(service: str) -> Any:
        raise refusal("AccessDeniedException", "not allowed")

    terminal = Terminal()
    assert deploy.update_workers(clients, stack, terminal.say) == 1
    assert terminal.said == [
        "Worker groups may be out of date (./gust workers update): you may not do this: not allowed"
    ]


class Machine:
    """Step Functions."""

    exceptions = boto3.client("stepfunctions", "eu-west-1", aws_access_key_id="x", aws_secret_access_key="x").exceptions

    def __init__(self) -> None:
        self.started: list[str] = []

    def start_execution(self, **asked: str) -> None:
        self.started.append(asked["stateMachineArn"])


class Updating(CloudFormation):
    """Begins to clean up when it is first looked at, and tries to delete the bus at the next look. `meanwhile` happens in
    between."""

    def __init__(
        self, events: Events, *changes: tuple[str, str, str, str], meanwhile: Callable[[], None] = bool
    ) -> None:
        super().__init__(
            status="UPDATE_COMPLETE",
            changes=changes,
            resources=[
                ("EventBus", "AWS::Events::EventBus", "gust"),
                ("FailedRuns", "AWS::Events::Rule", "gust|failed"),
            ],
        )
        self.bus, self.meanwhile = events, meanwhile
        self.gives_up_bus = False
        self.to_come = [("gust", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "")]

    def get_paginator(self, name: str) -> Any:
        found = super().get_paginator(name)
        if name == "describe_stack_events" and self.status == "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS":
            self.status = "at the next look"
        elif name == "describe_stack_events" and self.status == "at the next look":
            self.meanwhile()
            try:
                self.bus.delete_event_bus("gust")
            except ClientError:
                self.gives_up_bus = True
            self.to_come = [("gust", "UPDATE_COMPLETE", "Update successful.")]
            self._happen()
            return super().get_paginator(name)
        return found


NO_QUEUE = ("Remove", "EventsQueue", "AWS::SQS::Queue", "False")
NO_BUS = ("Remove", "EventBus", "AWS::Events::EventBus", "False")


def of_a_stack(events: Events, **others: Any) -> dict[str, Any]:
    """Clients of a stack that is there."""
    dynamodb = boto3.client("dynamodb", region_name="eu-west-1")
    dynamodb.create_table(TableName=OUTPUTS["TableName"], **TABLE_DEFINITION)
    return {"events": events, "dynamodb": dynamodb, **others}


def without_events(cloud: CloudFormation, events: Events, s3: Any, terminal: Terminal) -> int:
    words = ("--yes", "--set", "Events=Disabled")
    return run(terminal, cloud, s3, *words, at_terminal=False, **of_a_stack(events))


def test_a_stack_without_events_has_no_rules_and_no_bus(s3: Any) -> None:
    events = Events("events.yaml-a", "events.yaml-b")
    cloud = Updating(events, NO_QUEUE, NO_BUS)
    assert without_events(cloud, events, s3, Terminal()) == 0
    assert events.buses() == []
    assert not cloud.gives_up_bus


def test_a_bus_that_a_deployment_of_the_folder_gives_rules_during_the_update_goes_too(s3: Any) -> None:
    """CloudFormation gives it up, and says that the update has succeeded."""
    events = Events("events.yaml-a")
    cloud = Updating(events, NO_QUEUE, NO_BUS, meanwhile=lambda: events.make("events.yaml-a"))
    assert without_events(cloud, events, s3, Terminal()) == 0
    assert cloud.gives_up_bus
    assert events.buses() == []


def test_a_bus_that_stays_loses_the_rules_of_the_queue_that_goes_and_keeps_others(s3: Any) -> None:
    events = Events("events.yaml-a", "failed", "theirs")
    assert without_events(Updating(events, NO_QUEUE), events, s3, Terminal()) == 0
    assert sorted(events.rules()) == ["failed", "theirs"]


def test_an_update_that_is_taken_back_keeps_its_rules(s3: Any) -> None:
    events = Events("events.yaml-a")
    cloud = Updating(events, NO_QUEUE, NO_BUS)
    cloud.to_come = [("ApiFunction", "UPDATE_FAILED", "no"), ("gust", "UPDATE_ROLLBACK_COMPLETE", "")]
    with pytest.raises(DeploymentFailedError):
        without_events(cloud, events, s3, Terminal())
    assert events.rules() == ["events.yaml-a"]


def test_rules_of_others_are_named_with_their_commands_before_the_bus_would_go(s3: Any) -> None:
    events = Events("events.yaml-a", "failed", "theirs")
    cloud = Updating(events, NO_QUEUE, NO_BUS)
    with pytest.raises(AwsError) as refused:
        without_events(cloud, events, s3, Terminal())
    assert str(refused.value).splitlines()[1:] == [
        "  aws events remove-targets --event-bus-name gust --rule theirs --ids events",
        "  aws events delete-rule --event-bus-name gust --name theirs",
    ]
    assert cloud.calls == ["discard"]
    assert len(events.rules()) == 3


def test_what_aws_refuses_after_the_update_is_told(s3: Any) -> None:
    events, terminal = Events("events.yaml-a"), Terminal()

    def theirs() -> None:
        if not events.rules():
            events.make("theirs")

    assert without_events(Updating(events, NO_QUEUE, NO_BUS, meanwhile=theirs), events, s3, terminal) == 1
    assert "Rules of the event bus may be left: Operation failed: EventBus can't be deleted" in terminal.text


def test_a_stack_that_takes_events_again_follows_the_files_that_it_has(s3: Any) -> None:
    events, machine = Events(), Machine()
    cloud = Updating(events, ("Add", "EventsQueue", "AWS::SQS::Queue", "False"))
    clients = of_a_stack(events, stepfunctions=machine)
    assert run(Terminal(), cloud, s3, "--yes", at_terminal=False, **clients) == 0
    assert machine.started == [OUTPUTS["DeployBundleArn"]]


def test_a_bus_that_is_left_from_before_is_told_before_cloudformation_stumbles_over_it(s3: Any) -> None:
    events = Events("events.yaml-a")
    cloud = Updating(events, ("Add", "EventBus", "AWS::Events::EventBus", "False"))
    with pytest.raises(AwsError, match="there is an event bus gust already that is no part of the stack"):
        run(Terminal(), cloud, s3, "--yes", at_terminal=False, events=events)
    assert cloud.calls == ["discard"]
