"""Which AWS role a caller gets, from what the control plane knows about it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from gust.aws.task_roles import StsTaskRoles
from gust.errors import Forbidden, Invalid, ServiceUnavailable
from gust.model.connection_test import ConnectionTest, ConnectionTestState
from gust.model.dag_spec import TaskSpec
from gust.model.dispatch import Dispatch, Scope
from gust.model.keys import TaskInstanceKey
from gust.model.task_instance import ParkedTrigger
from gust.model.task_role import AwsCredentials, RoleSession, role_of
from gust.model.worker_group import WorkerGroup
from gust.scheduling import transition
from gust.services.specs import load_spec
from tests.unit.execution_api.world import NOW, RUN, World

DEFAULT = "arn:aws:iam::123456789012:role/tasks"
TEAM_A = "arn:aws:iam::123456789012:role/gust-team-a"
BILLING = "arn:aws:iam::210987654321:role/teams/billing"
OF_GROUP = "arn:aws:iam::123456789012:role/gust/gust/large"
LARGE = WorkerGroup(name="large", queue_url="https://sqs/large", memory=2048, task_role=OF_GROUP)
DOCUMENT = json.dumps({"tasks": [{"path": "team_a/*", "role": TEAM_A}, {"dag": "bill*", "role": BILLING}]})


class Roles:
    """Gives what it is asked for and remembers it."""

    default = DEFAULT

    def __init__(self, document: str = "") -> None:
        self._document = document
        self.assumed: list[tuple[str, RoleSession]] = []

    def document(self) -> str:
        return self._document

    def assume(self, role: str, session: RoleSession) -> AwsCredentials:
        self.assumed.append((role, session))
        return AwsCredentials(role, "ASIA", "secret", "token", NOW + timedelta(hours=1))


def a_world(
    document: str = "", *, dag_id: str = "etl", path: str = "etl.py", queue: str = "default"
) -> tuple[World, Roles]:
    world, roles = World(), Roles(document)
    object.__setattr__(world.services, "task_roles", roles)
    run = replace(RUN, dag_id=dag_id)
    world.given_dag(TaskSpec(task_id="extract", retries=3, queue=queue), dag_id=dag_id, relative_fileloc=path)
    world.given_run(run)
    return world, roles


def ask(world: World, token: str) -> tuple[int, Any]:
    return world.request("GET", "/gust/credentials", token=token)


def test_a_try_gets_the_default_role_in_the_shape_that_sdks_expect() -> None:
    world, roles = a_world()
    running = world.given_running("extract")
    status, answer = ask(world, world.token(running))
    assert (status, answer) == (
        200,
        {
            "RoleArn": DEFAULT,
            "AccessKeyId": "ASIA",
            "SecretAccessKey": "secret",
            "Token": "token",
            "Expiration": "2026-03-01T13:00:00Z",
        },
    )
    ((_, session),) = roles.assumed
    assert session.tags == {"dag_id": "etl", "run_id": "manual__2026-03-01T12:00:00+00:00", "task_id": "extract"}
    assert session.name == f"etl-{running.key.uuid(1)}"


@pytest.mark.parametrize(
    ("dag_id", "path", "role"),
    [
        ("etl", "etl.py", DEFAULT),
        ("etl", "team_a/etl.py", TEAM_A),
        ("billing", "team_a/deep/etl.py", TEAM_A),  # the first entry that matches
        ("billing", "team_b/etl.py", BILLING),
        ("etl", "other/team_a/etl.py", DEFAULT),
    ],
)
def test_the_access_document_gives_roles_to_dags_and_files(dag_id: str, path: str, role: str) -> None:
    assert (role_of(DOCUMENT, dag_id, path) or DEFAULT) == role


def test_the_file_is_that_of_the_version_that_runs() -> None:
    """Another file that defines the same DAG, uploaded later, changes nothing for the runs of this one."""
    world, roles = a_world(DOCUMENT, path="team_a/etl.py")
    running = world.given_running("extract")
    dag = world.store.get_dag("etl")
    moved = load_spec(world.objects, dag.spec_key).model_copy(update={"relative_fileloc": "team_b/etl.py"})
    world.objects.put("specs/moved.json", moved.model_dump_json().encode())
    world.store.put_dag(
        dag, replace(dag, version_number=2, spec_key="specs/moved.json", relative_fileloc="team_b/etl.py")
    )
    assert ask(world, world.token(running))[0] == 200
    assert [role for role, _ in roles.assumed] == [TEAM_A]


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ({"dag": "a", "role": "team-a"}, "tasks.0.role: is not the ARN of an IAM role"),
        ({"role": TEAM_A}, "tasks.0: names neither dag nor path"),
        ({"dags": "a", "role": TEAM_A}, "tasks.0.dags: Extra inputs are not permitted"),
    ],
)
def test_an_invalid_document_gives_no_task_a_role_and_says_why(entry: dict[str, str], fault: str) -> None:
    with pytest.raises(Invalid, match="The access document is invalid") as invalid:
        role_of(json.dumps({"tasks": [entry]}), "a", "a.py")
    assert fault in str(invalid.value)
    world, roles = a_world(json.dumps({"tasks": [entry]}))
    status, answer = ask(world, world.token(world.given_running("extract")))
    assert (status, roles.assumed) == (403, [])
    assert fault in answer["detail"]


@pytest.mark.parametrize("document", ["null", "[]", "{"])
def test_neither_does_one_that_is_no_object(document: str) -> None:
    world, roles = a_world(document)
    assert ask(world, world.token(world.given_running("extract")))[0] == 403
    assert roles.assumed == []


@pytest.mark.parametrize(
    ("document", "queue", "role"),
    [
        ({}, "large", OF_GROUP),
        ({}, "plain", DEFAULT),
        ({}, "default", DEFAULT),
        ({}, "removed", DEFAULT),
        ({"tasks": [{"path": "team_a/*", "role": TEAM_A}]}, "large", TEAM_A),
        ({"tasks": [{"path": "team_b/*", "role": TEAM_A}]}, "large", OF_GROUP),
        ({"queues": [{"queue": "large", "path": "team_a/*"}]}, "large", OF_GROUP),
        ({"queues": [{"queue": "large", "path": "team_b/*"}]}, "large", None),
    ],
)
def test_a_task_of_a_worker_group_gets_the_groups_role_unless_its_dag_has_one(
    document: dict[str, Any], queue: str, role: str | None
) -> None:
    """Also while the group is being removed: a running task keeps its identity."""
    world, roles = a_world(json.dumps(document) if document else "", path="team_a/etl.py", queue=queue)
    world.store.register_worker_group(LARGE)
    world.store.register_worker_group(replace(LARGE, name="plain", task_role=""))
    running = world.given_running("extract")
    world.store.close_worker_group("large")
    status, answer = ask(world, world.token(running))
    assert [assumed for assumed, _ in roles.assumed] == ([role] if role else [])
    assert status == (200 if role else 403)
    if role is None:
        assert "does not let this DAG use the queue 'large'" in answer["detail"]


def test_the_trigger_of_such_a_task_has_its_role() -> None:
    world, roles = a_world(queue="large")
    world.store.register_worker_group(LARGE)
    trigger = ParkedTrigger(classpath="a.Trigger", kwargs={}, next_method="resume")
    deferred = transition.defer(world.given_running("extract"), trigger=trigger)
    world.store.move(deferred)
    assert ask(world, world.token(deferred.after))[0] == 200
    assert [role for role, _ in roles.assumed] == [OF_GROUP]


def test_a_try_that_has_ended_gets_none() -> None:
    world, roles = a_world()
    running = world.given_running("extract")
    token = world.token(running)
    world.store.move(transition.succeed(running, at=NOW))
    assert ask(world, token)[0] == 200, "callbacks after the end have a few seconds"
    world.clock.advance(300)
    assert ask(world, token)[0] == 409
    assert len(roles.assumed) == 1


def test_a_message_that_has_started_nothing_gets_none() -> None:
    world, roles = a_world()
    queued = world.given_queued("extract")
    token = world.tokens.for_dispatch(queued, now=NOW)
    assert ask(world, token)[0] == 403
    assert roles.assumed == []


def test_the_parser_gets_none() -> None:
    world, roles = a_world()
    assert ask(world, world.tokens.for_parser(now=NOW))[0] == 403
    assert roles.assumed == []


def test_a_connection_test_gets_the_default_role_while_it_runs() -> None:
    world, roles = a_world(json.dumps({"tasks": [{"dag": "*", "role": TEAM_A}]}))
    test_id = str(UUID(int=5))
    fields = {"connection_id": "pg", "created_at": NOW, "updated_at": NOW, "expires_at": NOW + timedelta(days=1)}
    token = world.tokens.for_connection_test(test_id, now=NOW)
    assert ask(world, token)[0] == 403
    world.store.create_connection_test(ConnectionTest(test_id=test_id, state=ConnectionTestState.RUNNING, **fields))
    assert ask(world, token)[0] == 200
    ((role, session),) = roles.assumed
    assert (role, session.tags) == (DEFAULT, {})


def test_what_sts_does_not_take_is_replaced() -> None:
    key = TaskInstanceKey("näh-1", "wild*run?" + "x" * 300, "t")
    session = RoleSession.of(Dispatch(key, 1, 1, Scope.EXECUTION))
    assert session.tags["dag_id"] == "näh-1"
    assert session.tags["run_id"] == ("wild_run_" + "x" * 300)[:256]
    assert session.name == f"n_h-1-{key.uuid(1)}"
    long = TaskInstanceKey("d" * 250, "r", "t")
    assert len(RoleSession.of(Dispatch(long, 1, 1)).name) == 64


def sts(role_session: RoleSession, **refusal: Any) -> AwsCredentials:
    client = boto3.client("sts", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")
    with Stubber(client) as stub:
        if refusal:
            stub.add_client_error("assume_role", **refusal)
        else:
            expected = {
                "RoleArn": TEAM_A,
                "RoleSessionName": role_session.name,
                "DurationSeconds": 3600,
                "Tags": [{"Key": "dag_id", "Value": "etl"}],
                "ExternalId": "the stack",
            }
            given = {
                "AccessKeyId": "ASIA" + "A" * 16,
                "SecretAccessKey": "s",
                "SessionToken": "t",
                "Expiration": NOW + timedelta(hours=1),
            }
            stub.add_response("assume_role", {"Credentials": given}, expected)
        return StsTaskRoles(client, default=DEFAULT, external_id="the stack").assume(TEAM_A, role_session)


def test_sts_is_asked_for_a_session_with_tags_and_the_external_id() -> None:
    given = sts(RoleSession("etl-1", {"dag_id": "etl"}))
    assert (given.role, given.session_token, given.expires_at) == (TEAM_A, "t", NOW + timedelta(hours=1))


def test_a_refusal_keeps_the_reason_of_aws() -> None:
    reason = "User: arn:aws:sts::1:assumed-role/x is not authorized to perform: sts:AssumeRole"
    with pytest.raises(Forbidden, match="is not authorized to perform: sts:AssumeRole") as refused:
        sts(RoleSession("etl-1", {}), service_error_code="AccessDenied", service_message=reason)
    assert TEAM_A in str(refused.value)


@pytest.mark.parametrize(
    ("code", "raised"),
    [
        ("ThrottlingException", ServiceUnavailable),
        ("InternalServerError", ServiceUnavailable),
        ("AccessDenied", Forbidden),
    ],
)
def test_a_document_that_cannot_be_read_now_is_asked_for_again(code: str, raised: type[Exception]) -> None:
    """The supervisor repeats a request that was answered with 503, and keeps a refusal."""

    def text() -> str:
        raise ClientError({"Error": {"Code": code, "Message": "no"}}, "GetParameter")

    roles = StsTaskRoles(None, default=DEFAULT, external_id="x", text=text)
    with pytest.raises(raised, match="no task gets a role"):
        roles.document()
