"""Duplicates, stragglers and workers taken for dead write nothing: every operation of the Execution API, for every way in
which a token can be valid while its dispatch is not current."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import pytest

from gust.execution_api.routes import AIRFLOW_ROUTES, ROUTES
from gust.execution_api.routing import READING, Access, Fence, Route
from gust.model.asset import Asset
from gust.model.dag_spec import TaskSpec
from gust.model.dispatch import Dispatch, Scope
from gust.model.hitl import HITLDetail
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import ParkedTrigger, TaskInstance
from gust.scheduling import transition
from tests.conformance.test_bad_input_of_workers import BODIES, Unchanged, address, name_of
from tests.unit.execution_api.world import NOW, RUN, World

QUERIES: Final = {"by-name": "name=a&key=k", "by-uri": "uri=s3://a&key=k"}
MORE_BODIES: Final[dict[str, Any]] = {
    "/dag-runs/{dag_id}/{run_id}": {},
    "/store/asset/by-name/value": {"value": 1},
    "/store/asset/by-uri/value": {"value": 1},
    "/gust/tries/{task_instance_id}/lost": {"reason": "it died"},
    "/gust/triggers/{task_instance_id}/event": {"event": "fired"},
    "/gust/triggers/{task_instance_id}/park": {"wake_at": NOW.isoformat(), "sleeps_passed": 0, "is_poller": False},
}
QUESTION: Final = {"options": ["a", "b"], "subject": "?"}
LAST_WORDS: Final = frozenset(
    {
        "PUT /task-instances/{task_instance_id}/rtif",
        "POST /xcoms/{dag_id}/{run_id}/{task_id}/{key:path}",
        "DELETE /xcoms/{dag_id}/{run_id}/{task_id}/{key:path}",
        "PUT /variables/{variable_key:path}",
        "DELETE /variables/{variable_key:path}",
        "PUT /store/ti/{task_instance_id}/{key:path}",
        "DELETE /store/ti/{task_instance_id}/{key:path}",
        "DELETE /store/ti/{task_instance_id}",
        *(f"PUT /store/asset/by-{by}/value" for by in ("name", "uri")),
        *(f"DELETE /store/asset/by-{by}/{what}" for by in ("name", "uri") for what in ("value", "clear")),
    }
)
"""What Airflow's task runner sends, or users' callbacks may, in the seconds after the end is reported."""

WITHOUT_A_TRY: Final = frozenset(
    {
        "GET /health",
        "GET /health/ping",
        "GET /connection-tests/{connection_test_id}/connection",
        "PATCH /connection-tests/{connection_test_id}",
    }
)

OF_TRIES: Final = [route for route in ROUTES if Scope.EXECUTION in route.scopes and route.access is not Access.OPEN]
OF_TRIGGERS: Final = [route for route in ROUTES if Scope.TRIGGER in route.scopes and route.access is not Access.OPEN]
WITH_A_TOKEN: Final = [route for route in ROUTES if route.access is not Access.OPEN]

A_TRIGGER: Final = ParkedTrigger(classpath="a.T", kwargs={}, next_method="go")


@pytest.fixture
def world() -> World:
    world = World()
    world.given_dag(TaskSpec(task_id="extract", retries=3), TaskSpec(task_id="load"))
    world.given_run()
    world.store.put_asset(Asset(name="a", uri="s3://a"))
    key = RUN.task_instance("extract")
    asked = HITLDetail(key=key, try_number=1, options=["a", "b"], subject="?", params={}, created_at=NOW)
    world.store.put_hitl_detail(asked)
    return world


def ask(world: World, route: Route, instance: TaskInstance, token: str) -> tuple[int, Any]:
    path = address(route, instance).replace("{offset}", "0").replace("{connection_id}", "pg")
    path = path.replace("00000000-0000-0000-0000-000000000001", str(instance.key.uuid(instance.try_number)))
    query = next((query for part, query in QUERIES.items() if f"/store/asset/{part}/" in route.path), "")
    if query and route.path.endswith("/clear"):
        query = query.removesuffix("&key=k")
    body = {**BODIES, **MORE_BODIES}.get(route.path)
    if route.path.startswith("/hitlDetails"):
        said = QUESTION if route.method == "POST" else {"chosen_options": ["a"], "params_input": {}}
        body = {"ti_id": str(instance.key.uuid(1)), **said}
    return world.request(route.method, path, token=token, body=body, query=query)


def test_all_operations_are_in_the_table() -> None:
    assert len(AIRFLOW_ROUTES) == 55
    assert set(OF_TRIES) | set(OF_TRIGGERS) >= {r for r in AIRFLOW_ROUTES if name_of(r) not in WITHOUT_A_TRY}
    assert {name_of(route) for route in ROUTES if route.fence is Fence.LAST_WORDS} < LAST_WORDS


@pytest.mark.parametrize("scope", [Scope.EXECUTION, Scope.TRIGGER, Scope.WATCHER, Scope.CALLBACK], ids=str)
@pytest.mark.parametrize("route", WITH_A_TOKEN, ids=name_of)
def test_a_token_in_a_message_is_good_for_starting_alone(world: World, route: Route, scope: Scope) -> None:
    queued = world.given_queued("extract")
    callback_id = "00000000-0000-0000-0000-000000000001"
    caller = Dispatch(queued.key, queued.try_number, queued.dispatch_count, scope, callback_id=callback_id)
    token = world.tokens.in_message(caller, now=NOW)
    if route.begins and scope in route.scopes:
        assert name_of(route).endswith(("/run", "/park")) or name_of(route) == "GET /gust/triggers/{task_instance_id}"
        return
    with Unchanged(world):
        status, answer = ask(world, route, queued, token)
        assert status == 403, answer
        if route.method != "HEAD":
            assert answer["detail"].startswith("Token type 'workload' not allowed for this endpoint")


@pytest.mark.parametrize("scope", [Scope.PARSE, Scope.CONNECTION_TEST], ids=str)
@pytest.mark.parametrize("route", [r for r in WITH_A_TOKEN if r.method not in READING], ids=name_of)
def test_who_runs_nothing_of_a_dag_writes_nothing(world: World, route: Route, scope: Scope) -> None:
    running = world.given_running("extract")
    callback_id = "00000000-0000-0000-0000-000000000002"
    token = world.tokens.renewed(Dispatch(running.key, 1, 1, scope, callback_id=callback_id), now=NOW)
    with Unchanged(world):
        assert ask(world, route, running, token)[0] == 403


def ended(world: World) -> tuple[TaskInstance, str]:
    """Minutes ago. Its worker had its token renewed just before."""
    ti = world.given_running("extract")
    token = world.token(ti)
    world.store.move(transition.succeed(ti, at=NOW))
    world.clock.advance(300)
    return ti, token


def failed_and_waits(world: World) -> tuple[TaskInstance, str]:
    ti = world.given_running("extract", retries=3)
    token = world.token(ti)
    world.store.move(transition.lose(ti, at=NOW, reason="silent", retry_at=NOW + timedelta(hours=1)))
    world.clock.advance(300)
    return ti, token


def cleared(world: World) -> tuple[TaskInstance, str]:
    ti = world.given_running("extract")
    token = world.token(ti)
    world.store.move(transition.succeed(ti, at=NOW))
    world.store.move(transition.clear(world.now(ti), at=NOW, retries=0))
    return ti, token


def superseded_within_its_try(world: World) -> tuple[TaskInstance, str]:
    ti = world.given_running("extract")
    token = world.token(ti)
    world.store.move(transition.reschedule(ti, at=NOW, due_at=NOW))
    world.given_running("extract")
    return ti, token


def superseded_and_only_queued(world: World) -> tuple[TaskInstance, str]:
    ti = world.given_running("extract")
    token = world.token(ti)
    world.store.move(transition.reschedule(ti, at=NOW, due_at=NOW))
    world.given_queued("extract")
    return ti, token


def superseded_by_another_try(world: World) -> tuple[TaskInstance, str]:
    ti = world.given_running("extract", retries=3)
    token = world.token(ti)
    world.store.move(transition.lose(ti, at=NOW, reason="silent", retry_at=NOW))
    world.given_running("extract")
    return ti, token


def sent_again_and_the_first_message_late(world: World) -> tuple[TaskInstance, str]:
    ti = world.given_queued("extract")
    world.store.move(transition.resend(ti, at=NOW, reason="nobody came"))
    return ti, world.tokens.renewed(Dispatch.of(ti), now=NOW)


def expired(world: World) -> tuple[TaskInstance, str]:
    ti = world.given_running("extract")
    token = world.token(ti)
    world.clock.advance(601)
    return ti, token


@pytest.mark.parametrize(
    "whose",
    [
        ended,
        failed_and_waits,
        cleared,
        superseded_within_its_try,
        superseded_and_only_queued,
        superseded_by_another_try,
        sent_again_and_the_first_message_late,
        expired,
    ],
    ids=lambda whose: whose.__name__,
)
@pytest.mark.parametrize("route", OF_TRIES, ids=name_of)
def test_a_try_whose_word_counts_no_more_writes_nothing(
    world: World, route: Route, whose: Callable[[World], tuple[TaskInstance, str]]
) -> None:
    ti, token = whose(world)
    with Unchanged(world):
        status, answer = ask(world, route, ti, token)
        if whose is expired:
            assert status == 403, answer
        elif route.method not in READING and not (status == 204 and name_of(route).endswith("/state")):
            # Reporting the end that it has reported is no error: the answer to the first report may have been lost.
            assert status in {403, 404, 409, 410}, answer


@pytest.mark.parametrize("route", [r for r in OF_TRIES if r.method not in READING], ids=name_of)
def test_a_try_that_has_just_ended_has_a_few_last_words(world: World, route: Route) -> None:
    ti = world.given_running("extract")
    token = world.token(ti)
    world.store.move(transition.succeed(ti, at=NOW))
    world.clock.advance(20)
    if name_of(route) in LAST_WORDS:
        status, answer = ask(world, route, ti, token)
        assert status in {200, 201, 204}, answer
        assert world.now(ti).state is S.SUCCESS
        return
    with Unchanged(world):
        status, answer = ask(world, route, ti, token)
        assert status in {404, 409, 410} or name_of(route).endswith("/state"), answer


@pytest.mark.parametrize("route", [r for r in OF_TRIES if r.access is Access.OWN or "/xcoms/" in r.path], ids=name_of)
def test_a_try_changes_no_other(world: World, route: Route) -> None:
    mine, other = world.given_running("extract"), world.given_running("load")
    with Unchanged(world):
        status, answer = ask(world, route, other, world.token(mine))
        assert status == 403 or route.method in READING, answer


# --- triggers ---------------------------------------------------------------------------------------------------------


def given_deferred(world: World) -> tuple[TaskInstance, str]:
    world.store.move(transition.defer(world.given_running("extract"), trigger=A_TRIGGER))
    ti = world.now(TaskInstance(dag_id=RUN.dag_id, run_id=RUN.run_id, task_id="extract"))
    return ti, world.token(ti)


@pytest.mark.parametrize(
    "what_came_since",
    [
        lambda ti: transition.resume(ti, at=NOW, event="fired"),
        lambda ti: transition.succeed(ti, at=NOW),
        lambda ti: transition.mark(ti, state=S.FAILED, at=NOW),
    ],
    ids=["it fired", "it ended the task", "a person marked the task"],
)
@pytest.mark.parametrize("route", OF_TRIGGERS, ids=name_of)
def test_a_trigger_that_is_waited_for_no_more_writes_nothing(
    world: World, route: Route, what_came_since: Callable[[TaskInstance], transition.Transition]
) -> None:
    ti, token = given_deferred(world)
    world.store.move(what_came_since(ti))
    with Unchanged(world):
        status, answer = ask(world, route, ti, token)
        assert status in {403, 404, 409} or (route.method in READING and not route.begins), answer


@pytest.mark.parametrize("route", [r for r in OF_TRIGGERS if r.method not in READING], ids=name_of)
def test_a_trigger_that_is_waited_for_may_write(world: World, route: Route) -> None:
    ti, token = given_deferred(world)
    status, answer = ask(world, route, ti, token)
    assert status in {200, 201, 204}, answer


@pytest.mark.parametrize("route", OF_TRIGGERS, ids=name_of)
def test_a_triggers_token_lasts_for_minutes(world: World, route: Route) -> None:
    ti, token = given_deferred(world)
    world.clock.advance(601)
    with Unchanged(world):
        assert ask(world, route, ti, token)[0] == 403


# --- the exchange -----------------------------------------------------------------------------------------------------


def test_who_starts_goes_on_with_another_token(world: World) -> None:
    ti = world.given_queued("extract")
    worker = world.worker(ti)
    sent = worker.auth.token
    worker.task_instances.start(ti.key.uuid(1), pid=7, when=NOW)
    assert worker.auth.token != sent
    assert not world.tokens.dispatch_of(sent, now=NOW).is_begun
    assert world.tokens.dispatch_of(worker.auth.token, now=NOW) == Dispatch.of(ti)
    worker.variables.set("colour", "blue", None)
    world.clock.advance(599)
    worker.task_instances.heartbeat(ti.key.uuid(1), pid=7)
    world.clock.advance(599)
    worker.variables.set("colour", "green", None)


def test_a_message_that_waits_for_long_still_starts_its_task(world: World) -> None:
    ti = world.given_queued("extract")
    worker = world.worker(ti)
    world.clock.advance(3000)
    worker.task_instances.start(ti.key.uuid(1), pid=7, when=NOW)
    assert world.now(ti).state is S.RUNNING


def test_of_two_pushes_the_later_dispatchs_stays_whatever_comes_last(world: World) -> None:
    """The first dispatch's request was checked, then stood still until its successor had pushed."""
    first = world.given_running("extract", retries=3)
    url, token = f"/xcoms/{RUN.dag_id}/{RUN.run_id}/extract/return_value", world.token(first)

    def meanwhile() -> None:
        world.store.move(transition.lose(first, at=NOW, reason="silent", retry_at=NOW))
        second = world.given_running("extract")
        assert world.request("POST", url, token=world.token(second), body="new")[0] == 201

    world.store.after("get_instance", meanwhile)
    assert world.request("POST", url, token=token, body="old")[0] == 409
    assert world.store.get_xcom(first.key, "return_value").value == "new"
