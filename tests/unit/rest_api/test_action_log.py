"""The event log: Airflow's own routes decide which calls are logged; the recordings compare the entries."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gust.model.dag import Dag
from gust.model.history_query import LoggedEventQuery
from gust.model.logged_event import LoggedEvent
from gust.model.window import NEWEST_FIRST
from gust.rest_api.access.auth import ALL_ADMINS, Authenticator
from gust.rest_api.app import build
from gust.rest_api.http.action_log import EVENTS, LONGEST_EXTRA, LONGEST_ID
from gust.rest_api.http.body_fields import FIELDS
from tests.unit.rest_api import contract
from tests.unit.rest_api.world import NOW, Api, World

LOG = "/api/v2/eventLogs"


def test_the_logged_calls_are_airflows() -> None:
    from airflow.api_fastapi.core_api.routes.public import public_router
    from airflow.api_fastapi.core_api.routes.ui import ui_router
    from fastapi.routing import APIRoute

    known = contract.operations() | contract.operations(contract.UI_FILE)
    operation_of = {(method, path): name for name, (method, path) in known.items()}
    logged = {
        operation_of[method, route.path.replace(":path", "")]: route.endpoint.__name__
        for route in (*public_router.routes, *ui_router.routes)
        if isinstance(route, APIRoute)
        and any(getattr(d.call, "__name__", "") == "log_action" for d in route.dependant.dependencies)
        for method in route.methods
    }
    assert logged == EVENTS


def test_one_write_for_a_call_and_none_for_those_that_change_nothing(world: World, api: Api) -> None:
    world.dag()
    api("PATCH", "/api/v2/dags/etl", {"is_paused": True})
    assert world.store.count_logged_events() == 1
    api("GET", "/api/v2/dags/etl")
    api("POST", "/api/v2/connections/test", {"connection_id": "x", "conn_type": "y"})
    assert world.store.count_logged_events() == 1


def test_a_call_that_cannot_be_logged_is_not_worked_off(world: World) -> None:
    class Broken:
        def __getattr__(self, name: str) -> object:
            if name == "log_event":
                raise RuntimeError("no table")
            return getattr(world.store, name)

    world.dag()
    services = replace(world.services, store=Broken())  # type: ignore[arg-type] # the rest of it is the store
    reply = Api(build(services, Authenticator(ALL_ADMINS)))("PATCH", "/api/v2/dags/etl", {"is_paused": True})
    assert reply.status == 500
    dag = world.store.get_dag("etl")
    assert dag is not None
    assert not dag.is_paused


def test_what_is_malformed_is_refused_as_without_the_log(world: World, api: Api) -> None:
    world.dag()
    assert api("PATCH", "/api/v2/dags/etl", "{nonsense").status == 422
    assert world.store.count_logged_events() == 0
    for body in ("null", "[]", "7", '{"dag_id": 7, "run_id": [], "is_paused": {}}', '{"dag_id": "\\ud800"}'):
        assert api("PATCH", "/api/v2/dags/etl", body).status == 422
    assert api("PATCH", "/api/v2/dags/etl", "[" * 100_000).status == 422
    assert {event.event for event in world.store.logged_events()} == {"patch_dag"}


def test_long_ids_and_bodies_of_any_size(world: World, api: Api) -> None:
    assert api("DELETE", f"/api/v2/dags/{'x' * 900}/dagRuns/{'é' * 400}").status == 404
    [event] = world.store.logged_events()
    assert (event.dag_id, event.run_id) == ("x" * LONGEST_ID, "é" * LONGEST_ID)
    api("POST", "/api/v2/variables", {"key": "v", "value": "x", "description": "d" * LONGEST_EXTRA})
    last = world.store.logged_events(LoggedEventQuery(window=NEWEST_FIRST), limit=1)[0]
    assert json.loads(last.extra or "") == {
        "method": "POST",
        "left_out": f"{LONGEST_EXTRA + 65} characters are more than the event log keeps",
    }


def test_calls_of_one_moment_are_told_apart(world: World, api: Api) -> None:
    for name in "abc":
        api("POST", "/api/v2/pools", {"name": name, "slots": 1})
    listed = api.ok("get_event_logs", "GET", LOG)["event_logs"]
    ids = [event["event_log_id"] for event in listed]
    assert ids == [ids[0], ids[0] + 1, ids[0] + 2]
    for event in listed:
        assert api.ok("get_event_log", "GET", f"{LOG}/{event['event_log_id']}") == event


def test_ids_are_numbers_that_browsers_hold_exactly(world: World) -> None:
    event = world.store.log_event(LoggedEvent(when=NOW, event="e"))
    assert float(event.event_log_id) == event.event_log_id < 2**53


@pytest.mark.parametrize("wrong", ["9" * 30, "-1"])
def test_ids_that_no_event_has(api: Api, wrong: str) -> None:
    assert api.refused("get_event_log", 404, "GET", f"{LOG}/{wrong}") == f"The Event Log with id: `{wrong}` not found"


def test_events_of_a_dag_that_is_gone_stay(world: World, api: Api) -> None:
    world.dag()
    api("DELETE", "/api/v2/dags/etl")
    [event] = api.ok("get_event_logs", "GET", f"{LOG}?dag_id=etl")["event_logs"]
    assert (event["event"], event["owner"], event["dag_display_name"]) == ("delete_dag", "Anonymous", None)


def test_what_the_scheduler_logged_is_listed_with_it(world: World, api: Api) -> None:
    world.store.put_dag(None, Dag(dag_id="etl", dag_display_name="My ETL"))
    world.store.log_event(LoggedEvent(when=NOW, event="paused", dag_id="etl", owner="scheduler", extra="x"))
    [event] = api.ok("get_event_logs", "GET", LOG, owner="scheduler")["event_logs"]
    assert (event["event"], event["dag_display_name"], event["extra"]) == ("paused", "My ETL", "x")


def test_a_page_reads_what_it_shows(world: World, api: Api) -> None:
    """In order of time, whatever is stored; the rest is counted."""
    for number in range(500):
        world.store.log_event(LoggedEvent(when=NOW + timedelta(seconds=number), event=f"e{number}", dag_id="etl"))
    for where in ("", "&dag_id=etl"):
        found = api.ok("get_event_logs", "GET", f"{LOG}?order_by=-when&limit=2&offset=3{where}")
        assert [event["event"] for event in found["event_logs"]] == ["e496", "e495"]
        assert found["total_entries"] == 500
    assert api.ok("get_event_logs", "GET", f"{LOG}?offset=500")["event_logs"] == []


def test_the_fields_of_logged_bodies_are_the_contracts() -> None:
    found = {}
    for file in (contract.FILE, contract.UI_FILE):
        document = contract.raw(file)
        for methods in document["paths"].values():
            for operation in methods.values():
                if (
                    isinstance(operation, dict)
                    and operation.get("operationId") in EVENTS
                    and "requestBody" in operation
                ):
                    schema = operation["requestBody"]["content"]["application/json"]["schema"]
                    found[operation["operationId"]] = _fields(document, schema)
    for operation_id in ("post_pool", "patch_pool", "bulk_pools"):
        found[operation_id] |= {"name", "pool"}
    assert found == FIELDS


def _fields(document: Any, schema: Any) -> set[str]:
    if "$ref" in schema:
        return _fields(document, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    parts = [*schema.get("properties", {}).values(), *schema.get("anyOf", ()), *schema.get("oneOf", ())]
    parts += [schema["items"]] if isinstance(schema.get("items"), dict) else []
    return set(schema.get("properties", {})).union(*(_fields(document, part) for part in parts))


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/v2/connections", {"connection_id": "c", "conn_type": "x", "pasword": "hush"}),
        ("POST", "/api/v2/pools", {"name": "p", "slots": 1, "value": "hush"}),
        ("PATCH", "/api/v2/dags/etl", {"is_paused": True, "tokn": {"deep": "hush"}}),
        (
            "PATCH",
            "/api/v2/connections",
            {"actions": [{"action": "create", "entities": [{"pasword": "hush"}], "x": "hush"}]},
        ),
        ("POST", "/api/v2/dags/~/clearDagRuns", {"dry_run": False, "dag_runs": [{"dag_id": "etl", "x": ["hush"]}]}),
    ],
)
def test_a_field_that_a_call_does_not_have_is_kept_without_its_value(
    world: World, api: Api, method: str, path: str, body: Any
) -> None:
    assert api(method, path, body).status == 422
    (event,) = world.store.logged_events()
    assert event.extra is not None
    assert "hush" not in event.extra
    assert "***" in event.extra


def test_what_a_known_field_holds_is_kept(world: World, api: Api) -> None:
    world.dag()
    api("POST", "/api/v2/dags/etl/dagRuns", {"logical_date": None, "conf": {"any": ["thing", {"at": "all"}]}})
    (event,) = world.store.logged_events()
    assert json.loads(event.extra or "")["conf"] == {"any": ["thing", {"at": "all"}]}
