"""Requests of a worker that tests a connection, by Airflow's own client; and requests that its token does not allow."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import pytest
from airflow.models.connection_test import ConnectionTestState as AirflowsState
from airflow.sdk.api.client import Client, ServerResponseError
from airflow.sdk.api.datamodels._generated import ConnectionTestState

from gust.airflow_bridge.transport import LambdaTransport
from gust.aws.tokens import LIFETIME
from gust.errors import ServiceUnavailable
from gust.execution_api.routes import ROUTES
from gust.execution_api.routing import Access, Route
from gust.model.connection import Connection
from gust.model.connection_test import ConnectionTestState as State
from gust.model.dag_spec import TaskSpec
from gust.model.dispatch import Scope
from gust.model.workload import ConnectionTestWorkload
from gust.scheduling.connection_test import GRACE, TIMEOUT
from gust.services.settings.enqueue_connection_test import enqueue_connection_test, find_connection_test
from tests.unit.execution_api.world import World, failing

CONNECTION = Connection(
    conn_id="pg",
    conn_type="postgres",
    host="db",
    login="me",
    password="s3cret",
    schema="public",
    port=5432,
    extra='{"a": 1}',
    description="not told",
)


@pytest.fixture
def token(world: World) -> str:
    """Whom the test was enqueued for."""
    return enqueue_connection_test(world.services, CONNECTION).token


@pytest.fixture
def workload(world: World, token: str) -> ConnectionTestWorkload:
    (sent,) = world.services.queues.connection_tests
    return sent


def client(world: World, workload: ConnectionTestWorkload) -> Any:
    transport = LambdaTransport(world.invoke, world.objects)
    return Client(base_url="http://gust/execution/", token=workload.token, transport=transport).connection_tests


def test_airflows_client_takes_the_test_and_reports_it(
    world: World, token: str, workload: ConnectionTestWorkload
) -> None:
    given = client(world, workload).get_connection(workload.id)
    assert given.model_dump(by_alias=True) == {
        "conn_id": "pg",
        "conn_type": "postgres",
        "host": "db",
        "login": "me",
        "password": "s3cret",
        "schema": "public",
        "port": 5432,
        "extra": '{"a": 1}',
    }
    client(world, workload).update_state(workload.id, ConnectionTestState.FAILED, "x" * 3000)
    test = find_connection_test(world.services, token)
    assert test is not None
    assert (test.state, test.result_message) == (State.FAILED, "x" * 2000)


def test_it_is_given_out_once_and_ended_once(world: World, workload: ConnectionTestWorkload) -> None:
    worker = client(world, workload)
    worker.get_connection(workload.id)
    with pytest.raises(ServerResponseError, match="given out once") as taken:
        worker.get_connection(workload.id)
    assert taken.value.response.status_code == 409
    worker.update_state(workload.id, ConnectionTestState.SUCCESS)
    with pytest.raises(ServerResponseError, match="already in terminal state"):
        worker.update_state(workload.id, ConnectionTestState.FAILED)


def test_a_worker_that_comes_too_late_gets_no_secret(world: World, workload: ConnectionTestWorkload) -> None:
    world.clock.advance(TIMEOUT + GRACE + 1)
    with pytest.raises(ServerResponseError, match="in state failed"):
        client(world, workload).get_connection(workload.id)


def test_the_token_of_another_test_is_refused(world: World, workload: ConnectionTestWorkload) -> None:
    world.given_dag(TaskSpec(task_id="extract"))
    world.given_run()
    task = world.token(world.given_running())
    other = world.tokens.for_connection_test(str(uuid4()), now=world.clock.now())
    for wrong, why in ((other, "does not match connection test ID"), (task, "not allowed")):
        for method, path, body in (
            ("GET", f"/connection-tests/{workload.test_id}/connection", None),
            ("PATCH", f"/connection-tests/{workload.test_id}", {"state": "success"}),
        ):
            status, answer = world.request(method, path, token=wrong, body=body)
            assert (status, why in answer["detail"]) == (403, True)
    assert client(world, workload).get_connection(workload.id).password == "s3cret"


OF_TESTS: Final = ("/connection-tests", "/gust/credentials")
"""What a test may ask for: its connection, and the AWS credentials with which the hook may look it up."""


@pytest.mark.parametrize(
    "route",
    [route for route in ROUTES if route.access is not Access.OPEN and not route.path.startswith(OF_TESTS)],
    ids=lambda route: f"{route.method} {route.path}",
)
def test_the_token_opens_nothing_else(world: World, workload: ConnectionTestWorkload, route: Route) -> None:
    path = re.sub(r"\{\w+(:path)?\}", workload.test_id, route.path)
    status, answer = world.request(route.method, path, token=workload.token, body={})
    assert (status, answer and "not allowed for this endpoint" in answer["detail"]) == (403, True) or (
        route.method == "HEAD" and status == 403
    )


def test_a_message_that_waited_for_hours_tells_nobody(world: World, workload: ConnectionTestWorkload) -> None:
    world.clock.advance(LIFETIME[Scope.CONNECTION_TEST].total_seconds() + 1)
    assert world.request("GET", f"/connection-tests/{workload.test_id}/connection", token=workload.token)[0] == 403
    assert LIFETIME[Scope.CONNECTION_TEST] > timedelta(seconds=2 * (TIMEOUT + GRACE))


@pytest.mark.parametrize("state", ["running", "queued", "pending", "nonsense", None])
def test_only_ends_are_reported(world: World, workload: ConnectionTestWorkload, state: Any) -> None:
    path = f"/connection-tests/{workload.test_id}"
    assert world.request("PATCH", path, token=workload.token, body={"state": state})[0] == 422


def test_a_report_that_the_table_did_not_take_is_repeated(
    world: World, token: str, workload: ConnectionTestWorkload
) -> None:
    worker = client(world, workload)
    worker.get_connection(workload.id)
    world.store.before("move_connection_test", failing(ServiceUnavailable("the table is throttled")))
    path = f"/connection-tests/{workload.test_id}"
    assert world.request("PATCH", path, token=workload.token, body={"state": "success"})[0] == 500
    assert world.request("PATCH", path, token=workload.token, body={"state": "success"})[0] == 204


def test_states_and_times_are_airflows() -> None:
    from airflow.configuration import conf

    assert {state.value for state in State} == {state.value for state in AirflowsState}
    assert conf.getint("connection_test", "timeout") == TIMEOUT
    assert max(30, TIMEOUT // 2) == GRACE


def test_a_workload_names_the_test_alone(workload: ConnectionTestWorkload) -> None:
    assert isinstance(workload.id, UUID)
    assert "s3cret" not in workload.model_dump_json()
