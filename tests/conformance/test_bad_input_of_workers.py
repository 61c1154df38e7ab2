"""The Execution API refuses wrong requests, and requests beyond the caller's rights, and changes nothing."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote

import jwt
import pytest

from gust.execution_api.routes import ROUTES
from gust.execution_api.routing import READING, Access, Route
from gust.model import bucket_keys, transfer
from gust.model.access import Role
from gust.model.dag_spec import TaskSpec
from gust.model.dispatch import Dispatch, Scope
from gust.model.keys import DagRunKey
from gust.model.task_instance import TaskInstance
from gust.model.user import User
from gust.scheduling import transition
from tests.unit.execution_api.world import NOW, RUN, World, hostname

OTHER_RUN: Final = DagRunKey(RUN.dag_id, "manual__other")
END: Final = "2026-03-01T12:00:05Z"

BODIES: Final[dict[str, Any]] = {
    "/task-instances/{task_instance_id}/run": {
        "state": "running", "hostname": hostname(), "unixname": "me", "pid": 42, "start_date": END,
    },
    "/task-instances/{task_instance_id}/state": {
        "state": "success", "end_date": END, "task_outlets": [], "outlet_events": [],
    },
    "/task-instances/{task_instance_id}/skip-downstream": {"tasks": ["load"]},
    "/task-instances/{task_instance_id}/heartbeat": {"hostname": hostname(), "pid": 42},
    "/task-instances/{task_instance_id}/rtif": {"bash_command": "echo"},
    "/task-instances/{task_instance_id}/rendered-map-index": "label",
    "/xcoms/{dag_id}/{run_id}/{task_id}/{key:path}": {"rows": 3},
    "/variables/{variable_key:path}": {"val": "v", "description": None},
    "/hitlDetails/{task_instance_id}": {
        "ti_id": "{id}", "options": ["a", "b"], "subject": "?", "chosen_options": ["a"], "params_input": {},
    },
    "/store/ti/{task_instance_id}/{key:path}": {"value": 1},
}  # fmt: skip
"""Bodies that are fine, where the route reads one."""

WRITES: Final = [route for route in ROUTES if route.method not in READING]
RTIF: Final = next(route for route in WRITES if route.path.endswith("/rtif"))
ABOUT_ITSELF: Final = [route for route in WRITES if route.access is Access.OWN or route.path.startswith("/xcoms/")]
"""Routes by which a task changes what is its own. Any task may write variables or trigger runs."""


@pytest.fixture
def world() -> World:
    world = World()
    world.given_dag(TaskSpec(task_id="extract", retries=3), TaskSpec(task_id="load"))
    world.given_run()
    world.given_run(OTHER_RUN, logical_date=NOW - timedelta(days=1))
    return world


@pytest.fixture
def running(world: World) -> TaskInstance:
    return world.given_running("extract", retries=3)


def everything(world: World) -> dict[str, Any]:
    """All tables, and the bucket."""
    aside = {"_lock", "_clock", "_metrics"}
    tables = {name: copy.deepcopy(value) for name, value in vars(world.store._store).items() if name not in aside}
    return tables | {
        "objects": copy.deepcopy(vars(world.objects)),
        "queues": copy.deepcopy(vars(world.services.queues)),
    }


class Unchanged:
    def __init__(self, world: World) -> None:
        self._world = world

    def __enter__(self) -> None:
        self._before = everything(self._world)

    def __exit__(self, kind: Any, *_: object) -> None:
        if kind is None:
            after = everything(self._world)
            assert {name: after[name] for name in after if after[name] != self._before[name]} == {}


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


def address(route: Route, instance: TaskInstance) -> str:
    """The route's path, about the instance."""
    filled = {
        "task_instance_id": str(instance.key.uuid(instance.try_number)),
        "dag_id": instance.dag_id,
        "run_id": instance.run_id,
        "task_id": instance.task_id,
        "key:path": "return_value",
        "variable_key:path": "colour",
        "callback_uuid": "00000000-0000-0000-0000-000000000001",
        "watcher_id": "00000000-0000-0000-0000-000000000001",
        "connection_test_id": "00000000-0000-0000-0000-000000000001",
    }
    path = route.path
    for name, value in filled.items():
        path = path.replace(f"{{{name}}}", quote(value, safe=""))
    return path


def body_of(route: Route, instance: TaskInstance) -> Any:
    body = BODIES.get(route.path)
    return json.loads(json.dumps(body).replace("{id}", str(instance.key.uuid(instance.try_number))))


# --- tokens -----------------------------------------------------------------------------------------------------------


def strangers(world: World, running: TaskInstance) -> Iterator[tuple[str, str | None, frozenset[int]]]:
    """Who is not the dispatch that runs: name, token, and what they may be answered."""
    now, refused = world.clock.now(), frozenset({401, 403})
    good = world.token(running)
    claims = jwt.decode(good, options={"verify_signature": False})
    header = jwt.get_unverified_header(good)
    key = "a signing key that is long enough for HS256"
    yield "nobody", None, frozenset({401})
    yield "who signs with another key", jwt.encode(claims, "another key, long enough for HS256 too"), refused
    yield "who does not sign", jwt.encode(claims, None, algorithm="none"), refused
    yield "whose signature is cut off", good.rpartition(".")[0] + ".", refused
    yield "whose time is up", world.tokens.renewed(Dispatch.of(running), now=now - timedelta(hours=2)), refused
    yield "a person", world.tokens.for_user(User("me", Role.ADMIN), now=now, lifetime=timedelta(days=1)), refused
    for audience in ("apache-airflow", "urn:gust:oidc", None):
        said = {**claims, "aud": audience} if audience else {k: v for k, v in claims.items() if k != "aud"}
        yield f"who is known to {audience}", jwt.encode(said, key, headers={"kid": header["kid"]}), refused
    yield "another task", world.token(world.given_running("load")), refused
    yield "the same task of another run", world.token(world.given_running("extract", run=OTHER_RUN)), refused
    yield "another map index", world.token(world.given_running("extract", map_index=3)), refused
    for scope in Scope:
        if scope is not Scope.EXECUTION:
            callback_id = "00000000-0000-0000-0000-000000000002"
            dispatch = Dispatch(running.key, running.try_number, running.dispatch_count, scope, callback_id=callback_id)
            yield f"a {scope.value}", world.tokens.renewed(dispatch, now=now), frozenset({403})


@pytest.mark.parametrize("route", ABOUT_ITSELF, ids=name_of)
def test_a_task_is_changed_by_nobody_else(world: World, running: TaskInstance, route: Route) -> None:
    for who, token, expected in list(strangers(world, running)):
        if who.startswith("a ") and Scope(who.removeprefix("a ") if who != "a person" else "execution") in route.scopes:
            continue  # it is the triggerer's or a callback's to say
        with Unchanged(world):
            status, answer = world.request(
                route.method, address(route, running), token=token, body=body_of(route, running)
            )
            assert status in expected, (who, status, answer)


@pytest.mark.parametrize("route", [route for route in WRITES if route.access is not Access.OPEN], ids=name_of)
def test_without_a_good_token_nothing_is_written(world: World, running: TaskInstance, route: Route) -> None:
    """Nor is it said what would have been acceptable: a body is not even looked at."""
    bad = {"nobody", "a person"}
    for who, token, _ in list(strangers(world, running)):
        if not who.startswith("who") and who not in bad:
            continue
        for body in (body_of(route, running), {"nonsense": 1}):
            with Unchanged(world):
                status, answer = world.request(route.method, address(route, running), token=token, body=body)
                assert status in (401, 403), (who, status, answer)


@pytest.mark.parametrize(
    "route", [r for r in ABOUT_ITSELF if Scope.EXECUTION in r.scopes and r.path in BODIES], ids=name_of
)
def test_an_earlier_try_changes_nothing(world: World, running: TaskInstance, route: Route) -> None:
    token = world.token(running)
    world.store.move(transition.lose(running, at=NOW, reason="silent", retry_at=NOW))
    later = world.given_running("extract")
    world.request("PUT", address(RTIF, later), token=world.token(later), body={"bash_command": "of the later try"})
    with Unchanged(world):
        status, answer = world.request(route.method, address(route, running), token=token, body=body_of(route, running))
        # What was rendered is kept with the dispatch it was rendered for, and a later one's is shown.
        assert status in (403, 404, 409, 410) or (status == 201 and route.path.endswith("/rtif")), answer


# --- bodies -----------------------------------------------------------------------------------------------------------


WITH_BODY: Final = [route for route in WRITES if route.path in BODIES and route.body is not None]
OF_ANYTHING: Final = {"/xcoms/{dag_id}/{run_id}/{task_id}/{key:path}", RTIF.path}
"""What a task pushes, or was rendered for it, may be any JSON, of any size up to 50 MB."""
DEEP: Final = ("[" * 10_000, "[" * 10_000 + "]" * 10_000, '{"a":' * 10_000 + "1" + "}" * 10_000)


@pytest.mark.parametrize("route", WITH_BODY, ids=name_of)
def test_a_body_that_is_none(world: World, running: TaskInstance, route: Route) -> None:
    token = world.token(running)
    for text in (*DEEP, "{", "[1,", "nul", "\x00", "{}{}", "\ufeff{}"):
        with Unchanged(world):
            status, answer = world.request(route.method, address(route, running), token=token, text=text)
            assert status == 422, (text[:20], answer)


@pytest.mark.parametrize("route", [r for r in WITH_BODY if r.path not in OF_ANYTHING], ids=name_of)
def test_a_body_of_10_megabytes(world: World, running: TaskInstance, route: Route) -> None:
    """It comes through the bucket: no invocation can carry it."""
    wrong = dict.fromkeys(("more", "options", "chosen_options"), "x" * 10_000_000)
    large = json.dumps({**wrapped(body_of(route, running)), **wrong, "value": {"a": float("nan")}})
    world.objects.put(bucket_keys.transfer("large"), large.encode())
    headers = {transfer.HEADER: bucket_keys.transfer("large")}
    with Unchanged(world):
        status, answer = world.request(
            route.method, address(route, running), token=world.token(running), headers=headers
        )
        assert status == 422, answer
        assert len(json.dumps(answer)) < 1_000_000


def wrapped(body: Any) -> dict[str, Any]:
    return body if isinstance(body, dict) else {"body": body}


def test_a_body_is_fetched_from_where_bodies_are_and_nowhere_else(world: World, running: TaskInstance) -> None:
    for place in ("specs/1.json", "../transfers/x", "transfers", "TRANSFERS/x"):
        with Unchanged(world):
            path = f"/task-instances/{running.key.uuid(running.try_number)}/heartbeat"
            assert world.request("PUT", path, token=world.token(running), headers={transfer.HEADER: place})[0] == 403


HALF: Final = "\\ud800"
"""Half of a surrogate pair, as JSON can write it and UTF-8 cannot."""


@pytest.mark.parametrize("route", WITH_BODY, ids=name_of)
def test_half_a_character(world: World, running: TaskInstance, route: Route) -> None:
    body = body_of(route, running)
    text = f'"{HALF}"' if isinstance(body, str) else json.dumps(body)
    for value in ("label", "load", "echo", "success", hostname(), "v", "?"):
        text = text.replace(json.dumps(value), f'"{HALF}"')
    text = text.replace('{"value": 1}', f'{{"value": {{"a": ["{HALF}"]}}}}').replace('{"rows": 3}', f'{{"{HALF}": 3}}')
    assert HALF in text
    with Unchanged(world):
        status, answer = world.request(route.method, address(route, running), token=world.token(running), text=text)
        assert status == 422, answer
