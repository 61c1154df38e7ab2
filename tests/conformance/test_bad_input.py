"""Wrong, oversized or misdirected requests are refused with a reason, and change nothing."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote

import pytest

from gust.model.access import Role
from gust.model.keys import TaskInstanceKey
from gust.model.user import User
from gust.rest_api.http.operations import OPERATIONS
from gust.rest_api.http.routing import HANDLERS
from tests.conformance.server import KNOWN, furnish
from tests.unit.rest_api.world import NOW, Api, Reply, World, make_world

RUN: Final = "/api/v2/dags/etl/dagRuns/manual__1"
EXTRACT: Final = f"{RUN}/taskInstances/extract"

LONG: Final = "x" * 10_000
STRANGE: Final = {
    "10,000 characters": LONG,
    "10,000 characters beyond ASCII": "\N{SNOWMAN}" * 10_000,
    "SQL": "'; DROP TABLE dag; --",
    "SQL that is true": "1' OR '1'='1",
    "up": "../../../../etc/passwd",
    "up, encoded": "..%2f..%2fetc%2fpasswd",
    "NUL": "a\x00b",
    "a line break": "a\nb",
    "right to left": "\u202egnp.exe",
    "a separator of ours": "etl#manual__1",
    "nothing to see": "\u200b",
    "a template": "{{ var.value.secret }}",
    "an expression": "${jndi:ldap://x}",
    "a wildcard": "%",
}


@pytest.fixture
def world() -> World:
    return make_world()


@pytest.fixture
def api(world: World) -> Api:
    return furnish(world)


@pytest.fixture(autouse=True)
def unchanged(world: World, api: Api) -> Iterator[None]:
    """Whatever a test here asks for, nothing comes of it, but for the record that somebody asked."""
    before = everything(world)
    yield
    after = everything(world)
    assert {name: after[name] for name in after if after[name] != before[name]} == {}


def everything(world: World) -> dict[str, Any]:
    parts = {"store": world.store, "objects": world.objects, "queues": world.queues, "deployments": world.deployments}
    aside = {"_lock", "_clock", "_metrics", "_logged_events", "refuses"}
    return {
        f"{part}.{name}": copy.deepcopy(value)
        for part, thing in parts.items()
        for name, value in vars(thing).items()
        if name not in aside and not name.endswith("_lock")
    }


# --- what the body says -----------------------------------------------------------------------------------------------


WRONG_FIELDS: Final = [
    ("POST", "/api/v2/variables", {"key": 5, "value": "v"}, ["body", "key"]),
    ("POST", "/api/v2/variables", {"key": "k"}, ["body", "value"]),
    ("POST", "/api/v2/variables", {"key": "k" * 251, "value": "v"}, ["body", "key"]),
    ("POST", "/api/v2/variables", {"key": "k", "value": "v", "more": 1}, ["body", "more"]),
    ("POST", "/api/v2/pools", {"name": "p", "slots": "many"}, ["body", "slots"]),
    ("POST", "/api/v2/pools", {"name": "p", "slots": -2}, ["body", "slots"]),
    ("POST", "/api/v2/connections", {"connection_id": "a b", "conn_type": "http"}, ["body", "connection_id"]),
    ("POST", "/api/v2/connections", {"connection_id": "c", "conn_type": "http", "port": "x"}, ["body", "port"]),
    ("POST", "/api/v2/backfills", {"dag_id": "etl", "from_date": "soon", "to_date": "later"}, ["body", "from_date"]),
    ("POST", "/api/v2/dags/etl/dagRuns", {"logical_date": "yesterday"}, ["body", "logical_date"]),
    ("POST", "/api/v2/dags/etl/dagRuns", {}, ["body", "logical_date"]),
    ("POST", "/api/v2/dags/etl/dagRuns", {"logical_date": None, "conf": [1]}, ["body", "conf"]),
    ("PATCH", RUN, {"state": "done"}, ["body", "state"]),
    ("PATCH", EXTRACT, {"new_state": "running"}, ["body", "new_state"]),
    ("POST", "/api/v2/dags/etl/clearTaskInstances", {"dry_run": "perhaps"}, ["body", "dry_run"]),
    ("PATCH", "/api/v2/dags/etl", {"is_paused": "perhaps"}, ["body", "is_paused"]),
]


@pytest.mark.parametrize(("method", "path", "body", "where"), WRONG_FIELDS)
def test_a_wrong_field_is_named(api: Api, method: str, path: str, body: Any, where: list[str]) -> None:
    reply = api(method, path, body)
    assert reply.status == 422, reply.text
    assert where in [each["loc"] for each in reply.detail]


@pytest.mark.parametrize("body", ["", "{", "[1,", "nul", "\x00", "[]", '"text"', "7", "null", "{}{}"])
def test_a_body_that_is_no_object(api: Api, body: str) -> None:
    for method, path in (("POST", "/api/v2/variables"), ("PATCH", RUN), ("POST", "/api/v2/dags/etl/dagRuns")):
        assert api(method, path, body).status == 422


def test_a_body_that_is_no_text(api: Api) -> None:
    event = {
        "version": "2.0",
        "rawPath": "/api/v2/variables",
        "rawQueryString": "",
        "headers": {"content-type": "application/json"},
        "requestContext": {"stage": "$default", "http": {"method": "POST", "path": "/api/v2/variables"}},
        "body": base64.b64encode(b'{"key": "\xff", "value": "v"}').decode(),
        "isBase64Encoded": True,
    }
    answer = api.handler(event, None)
    assert (answer["statusCode"], json.loads(answer["body"])) == (
        400,
        {"detail": "There was an error parsing the body"},
    )


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_depth_without_end(api: Api, opening: str) -> None:
    """Whatever comes of 10,000 levels, it is an answer to who asked."""
    deep = opening * 10_000
    closed = f"{deep}1{('}' if '{' in opening else ']') * 10_000}"
    for body in (deep, closed, f'{{"key": "k", "value": {closed}, "more": 1}}'):
        assert api("POST", "/api/v2/variables", body).status == 422
    reply = api("POST", "/api/v2/dags/etl/dagRuns", f'{{"logical_date": null, "conf": {{"a": {closed}}}}}')
    assert reply.status == 422, reply.text[:200]


def test_a_body_of_10_megabytes(api: Api) -> None:
    large = json.dumps({"key": "k", "value": "v" * 10_000_000})
    for method, path in (("POST", "/api/v2/variables"), ("PATCH", RUN), ("POST", "/api/v2/dags/etl/dagRuns")):
        assert api(method, path, large).status == 413


HALF: Final = "\\ud800"
"""Half of a surrogate pair, as JSON can write it and UTF-8 cannot."""

WITH_HALF: Final = [
    ("POST", "/api/v2/variables", '{"key": "?", "value": "v"}', ["body", "key"]),
    ("POST", "/api/v2/variables", '{"key": "k", "value": "a?b"}', ["body", "value"]),
    ("POST", "/api/v2/pools", '{"name": "?", "slots": 1}', ["body", "name"]),
    ("POST", "/api/v2/connections", '{"connection_id": "c", "conn_type": "?"}', ["body", "conn_type"]),
    ("POST", "/api/v2/dags/etl/dagRuns", '{"logical_date": null, "note": "?"}', ["body", "note"]),
    ("POST", "/api/v2/dags/etl/dagRuns", '{"logical_date": null, "dag_run_id": "?"}', ["body", "dag_run_id"]),
    ("POST", "/api/v2/dags/etl/dagRuns", '{"logical_date": null, "conf": {"a": [1, "?"]}}', ["body", "conf", "a", 1]),
    ("POST", "/api/v2/dags/etl/dagRuns", '{"logical_date": null, "conf": {"?": 1}}', ["body", "conf", "\\ud800"]),
    ("PATCH", RUN, '{"note": "?"}', ["body", "note"]),
    ("PATCH", EXTRACT, '{"note": "?"}', ["body", "note"]),
    ("POST", f"{EXTRACT}/xcomEntries", '{"key": "?", "value": 1}', ["body", "key"]),
    ("POST", f"{EXTRACT}/xcomEntries", '{"key": "k", "value": ["?"]}', ["body", "value", 0]),
    ("PUT", f"{EXTRACT}/state-store/other", '{"value": "?"}', ["body", "value"]),
    ("POST", "/api/v2/assets/events", '{"asset_id": 1, "extra": {"a": "?"}}', ["body", "extra", "a"]),
]


@pytest.mark.parametrize(("method", "path", "text", "where"), WITH_HALF)
def test_half_a_character_is_refused(api: Api, method: str, path: str, text: str, where: list[Any]) -> None:
    for half in (HALF, "\\uDFFF", "\\ude00\\ud83d"):
        reply = api(method, path, text.replace("?", half))
        assert reply.status == 422, reply.text
        assert [each["loc"] for each in reply.detail] == [[half.lower() if each == HALF else each for each in where]]


def test_what_is_wrong_is_not_shown_at_any_length(api: Api) -> None:
    """All of it, escaped once more, would not fit into an answer."""
    for body in ({"value": '"' * 2_900_000}, {"key": "k", "value": 5, "description": ["x" * 5_000_000]}):
        reply = api("POST", "/api/v2/variables", body)
        assert reply.status == 422
        assert len(reply.text) < 50_000


# --- what the path says -----------------------------------------------------------------------------------------------


PLACES: Final = [
    (operation_id, method, path, name)
    for operation_id, (method, path) in sorted(OPERATIONS.items())
    if operation_id in HANDLERS
    for name in KNOWN
    if f"{{{name}}}" in path and name not in {"section", "option"}
]


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE)
def test_what_is_not_there_is_not_found(api: Api, strange: str) -> None:
    """In every place of every path, with a body that is fine but for that."""
    wrong: list[tuple[str, Reply]] = []
    for operation_id, method, path, name in PLACES:
        filled = path
        for other, value in KNOWN.items():
            filled = filled.replace(f"{{{other}}}", quote(str(strange if other == name else value), safe=""))
        reply = api(method, filled, BODIES.get(operation_id))
        if reply.status not in (400, 404, 405, 422) and not (operation_id in CONTENT_WITHOUT and name == "key"):
            wrong.append((f"{operation_id} {name}", reply))
    assert [(what, reply.status, reply.text[:200]) for what, reply in wrong if not is_empty(reply)] == []


CONTENT_WITHOUT: Final = {"delete_asset_state_store", "delete_task_state_store"}
"""Forgetting what is not there succeeds, as in Airflow."""

BODIES: Final[dict[str, Any]] = {
    "trigger_dag_run": {"logical_date": None},
    "patch_dag": {"is_paused": True},
    "patch_dag_run": {"state": "failed"},
    "clear_dag_run": {"dry_run": False},
    "patch_variable": {"key": "color", "value": "red"},
    "patch_pool": {"slots": 7},
    "patch_connection": {"connection_id": "warehouse", "conn_type": "http"},
    "patch_task_instance": {"new_state": "failed"},
    "post_clear_task_instances": {"dry_run": False},
    "update_xcom_entry": {"value": "other"},
}


def is_empty(reply: Reply) -> bool:
    """A list of what there is under a name that there is not."""
    return reply.status == 200 and reply.json.get("total_entries") == 0


# --- who asks ---------------------------------------------------------------------------------------------------------


def test_tokens_that_are_not_for_here(world: World, api: Api) -> None:
    tokens = world.services.tokens
    admin = User(name="ann", role=Role.ADMIN)
    fresh = tokens.for_user(admin, now=NOW, lifetime=timedelta(hours=1))
    header, claims, signature = fresh.split(".")
    nobody = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=")
    instance = world.store.get_instance(TaskInstanceKey("etl", "manual__1", "extract", -1))
    assert instance is not None
    refused = {
        "expired": (401, tokens.for_user(admin, now=NOW - timedelta(hours=2), lifetime=timedelta(hours=1))),
        "another's signature": (403, f"{header}.{claims}.{signature[::-1]}"),
        "no signature": (403, f"{nobody}.{claims}."),
        "a task's": (403, tokens.for_dispatch(instance, now=NOW)),
        "none at all": (403, "x.y.z"),
        "long": (403, LONG),
    }
    for name, (status, token) in refused.items():
        for method, path, body in (
            ("GET", "/api/v2/variables/color", None),
            ("DELETE", "/api/v2/variables/color", None),
            ("PATCH", "/api/v2/dags/etl", {"is_paused": True}),
        ):
            for how in ({"headers": {"authorization": f"Bearer {token}"}}, {"cookies": [f"_token={token}"]}):
                reply = api(method, path, body, **how)
                assert reply.status == status, (name, reply.text)
    assert api("GET", "/api/v2/variables/color", headers={"authorization": f"Bearer {fresh}"}).status == 200


# --- conflicts --------------------------------------------------------------------------------------------------------


def test_what_is_there_already(api: Api) -> None:
    for path, body in {
        "/api/v2/variables": {"key": "color", "value": "red"},
        "/api/v2/pools": {"name": "slow", "slots": 1},
        "/api/v2/connections": {"connection_id": "warehouse", "conn_type": "http"},
        "/api/v2/dags/etl/dagRuns": {"logical_date": None, "dag_run_id": "manual__1"},
        f"{EXTRACT}/xcomEntries": {"key": "return_value", "value": 1},
    }.items():
        assert api("POST", path, body).status == 409, path
