"""Runs, beyond the recording of Airflow."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from gust.model.dag_spec import ParamSpec, TimetableSpec
from gust.model.state import DagRunState, DagRunType
from tests.unit.rest_api.world import NOW, Api, World, etl_spec

URL = "/api/v2/dags/etl/dagRuns"


def listed(api: Api, query: str = "", dag_id: str = "~") -> list[str]:
    found = api.ok("get_dag_runs", "GET", f"/api/v2/dags/{dag_id}/dagRuns{query}")
    return [run["dag_run_id"] for run in found["dag_runs"]]


def test_a_triggered_run_is_queued_from_the_newest_version(world: World, api: Api) -> None:
    world.dag()
    run = api.ok("trigger_dag_run", "POST", URL, {"logical_date": None, "conf": {"a": 1}, "note": "why"})
    assert (run["state"], run["run_type"], run["triggered_by"]) == ("queued", "manual", "rest_api")
    assert (run["logical_date"], run["data_interval_start"]) == (None, None)
    assert [version["version_number"] for version in run["dag_versions"]] == [1]
    [stored] = world.store.list_runs("etl")
    assert (stored.run_id, stored.conf, stored.note) == (run["dag_run_id"], {"a": 1}, "why")


def test_a_generated_run_id_is_read_back_through_its_url(world: World, api: Api) -> None:
    """It has `:` and `+`, which clients escape, and API Gateway has unescaped when the function sees them."""
    world.dag()
    run_id = api.ok("trigger_dag_run", "POST", URL, {"logical_date": None})["dag_run_id"]
    assert "+" in run_id
    assert ":" in run_id
    for written in (quote(run_id, safe=""), run_id):
        assert api.ok("get_dag_run", "GET", f"{URL}/{written}")["dag_run_id"] == run_id


def test_a_data_interval_may_be_given(world: World, api: Api) -> None:
    world.dag()
    body = {
        "logical_date": "2026-03-04T00:00:00Z",
        "data_interval_start": "2026-03-03T02:00:00+02:00",
        "data_interval_end": "2026-03-04T00:00:00Z",
    }
    run = api.ok("trigger_dag_run", "POST", URL, body)
    assert run["data_interval_start"] == "2026-03-03T00:00:00Z"


def test_the_user_interface_is_told_apart_by_its_referer(world: World, api: Api) -> None:
    world.dag()
    run = api("POST", URL, {"logical_date": None}, headers={"referer": "http://localhost/dags/etl"})
    assert run.json["triggered_by"] == "ui"


@pytest.mark.parametrize(
    ("fields", "status", "detail"),
    [
        ({"is_stale": True}, 404, "Dag with dag_id: 'etl' not found"),
        ({"has_import_errors": True}, 400, "Dag with dag_id: 'etl' has import errors and cannot be triggered"),
        ({"allowed_run_types": ("scheduled",)}, 400, "Dag with dag_id: 'etl' does not allow manual runs"),
    ],
)
def test_not_every_dag_can_be_triggered(
    world: World, api: Api, fields: dict[str, Any], status: int, detail: str
) -> None:
    world.dag(**fields)
    assert api.refused("trigger_dag_run", status, "POST", URL, {"logical_date": None}) == detail


def test_conf_is_held_against_the_params(world: World, api: Api) -> None:
    world.dag(spec=etl_spec(params={"n": ParamSpec(value=1, json_schema={"type": "integer"})}))
    detail = api.refused("trigger_dag_run", 400, "POST", URL, {"logical_date": None, "conf": {"n": "x"}})
    assert detail.startswith("Invalid input for param n: 'x' is not of type 'integer'")
    assert api.ok("trigger_dag_run", "POST", URL, {"logical_date": None, "conf": {"n": 2, "other": "x"}})


def test_a_timetable_of_ones_own_cannot_be_asked_for_an_interval_yet(world: World, api: Api) -> None:
    world.dag(spec=etl_spec(timetable=TimetableSpec(type="plugins.FiscalTimetable")))
    moment = "2026-03-04T00:00:00Z"
    reply = api("POST", URL, {"logical_date": moment})
    assert reply.status == 501
    assert "plugins.FiscalTimetable" in reply.detail
    interval = {"data_interval_start": moment, "data_interval_end": moment}
    api.ok("trigger_dag_run", "POST", URL, {"logical_date": moment, **interval})
    world.clock.advance(1)
    api.ok("trigger_dag_run", "POST", URL, {"logical_date": None})


def test_what_is_taken_is_refused_and_named(world: World, api: Api) -> None:
    world.dag()
    body = {"logical_date": "2026-03-04T00:00:00Z", "dag_run_id": "one"}
    api.ok("trigger_dag_run", "POST", URL, body)
    for again in ({**body, "dag_run_id": "two"}, {**body, "logical_date": None}):
        detail = api.refused("trigger_dag_run", 409, "POST", URL, again)
        assert detail["reason"] == "Unique constraint violation"
        assert "etl" in detail["message"]
    assert len(world.store.list_runs("etl")) == 1


@pytest.fixture
def runs(world: World) -> World:
    """Made in this order: `a` of etl succeeded, `b` of etl runs, `c` of ml failed, `d` of etl is queued."""
    etl, ml = world.dag("etl"), world.dag("ml")

    def at(minutes: int) -> dict[str, Any]:
        moment = NOW + timedelta(minutes=minutes)
        return {"queued_at": moment, "run_after": moment, "logical_date": moment}

    ended = {"start_date": NOW, "end_date": NOW + timedelta(seconds=30)}
    world.run(etl, "a", state=DagRunState.SUCCESS, **at(0), **ended, run_type=DagRunType.SCHEDULED)
    world.run(etl, "b", state=DagRunState.RUNNING, **at(1), start_date=NOW, conf={"color": "rot"})
    world.run(ml, "c", state=DagRunState.FAILED, **at(2), **ended, triggering_user_name="ada")
    world.run(etl, "d", state=DagRunState.QUEUED, **at(3))
    return world


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "abcd"),
        ("?order_by=-run_after", "dcba"),
        ("?order_by=dag_id&order_by=-id", "dbac"),
        ("?order_by=end_date", "acbd"),
        ("?order_by=-duration&limit=2", "db"),
        ("?state=running&state=queued", "bd"),
        ("?run_type=scheduled", "a"),
        ("?run_after_gt=2026-03-04T12:01:00Z&run_after_lt=2026-03-04T12:03:00Z", "bc"),
        ("?logical_date_lte=2026-03-04T12:01:00Z", "a"),
        ("?end_date_lte=2026-03-04T12:01:00Z", "abcd"),
        ("?end_date_lt=2026-03-04T11:00:00Z", ""),
        ("?start_date_gte=2026-03-04T13:00:00Z", "d"),
        ("?updated_at_gte=2026-03-04T12:02:00Z", "cd"),
        ("?duration_gte=30", "ac"),
        ("?conf_contains=rot", "b"),
        ("?conf_contains=%22color%22%3A%20%22rot%22", "b"),
        ("?dag_id_prefix_pattern=m", "c"),
        ("?triggering_user_name_pattern=AD", "c"),
        ("?bundle_version=b1&dag_version=1", "abcd"),
        ("?dag_version=2", ""),
        ("?partition_key_pattern=~", ""),
        ("?consuming_asset_pattern=orders", ""),
        ("?offset=3", "d"),
    ],
)
def test_filters_over_all_dags(runs: World, api: Api, query: str, expected: str) -> None:
    assert listed(api, query) == list(expected)


def test_the_runs_of_one_dag(runs: World, api: Api) -> None:
    assert listed(api, dag_id="etl") == ["a", "b", "d"]


def test_reading_by_cursor(runs: World, api: Api) -> None:
    first = api.ok("get_dag_runs", "GET", "/api/v2/dags/~/dagRuns?cursor=&limit=3&order_by=-run_after")
    assert (first["total_entries"], first["total_entries_limit"]) == (4, 50_000)
    assert first["previous_cursor"] is None
    rest = listed(api, f"?cursor={first['next_cursor']}&limit=3&order_by=-run_after")
    assert [run["dag_run_id"] for run in first["dag_runs"]] + rest == list("dcba")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, "abcd"),
        ({"dag_ids": ["etl", "etl"], "order_by": "-run_after"}, "dba"),
        ({"states": ["failed", "success"]}, "ac"),
        ({"page_offset": 1, "page_limit": 2}, "bc"),
        ({"end_date_lte": "2026-03-04T13:00:00Z"}, "ac"),
        ({"duration_lt": 31, "conf_contains": "rot"}, ""),
    ],
)
def test_the_batch_list(runs: World, api: Api, body: dict[str, Any], expected: str) -> None:
    found = api.ok("get_list_dag_runs_batch", "POST", "/api/v2/dags/~/dagRuns/list", body)
    assert [run["dag_run_id"] for run in found["dag_runs"]] == list(expected)


def test_an_unknown_dag_has_no_list(runs: World, api: Api) -> None:
    assert api.refused("get_dag_runs", 404, "GET", "/api/v2/dags/no/dagRuns") == "The Dag with ID: `no` was not found"
    api.refused("get_list_dag_runs_batch", 422, "POST", "/api/v2/dags/etl/dagRuns/list", {})


def test_stats_count_runs_by_state(runs: World, api: Api) -> None:
    found = api.ok("get_dag_stats", "GET", "/api/v2/dagStats?dag_ids=etl")
    counts = {stat["state"]: stat["count"] for stat in found["dags"][0]["stats"]}
    assert counts == {"queued": 1, "running": 1, "success": 1, "failed": 0}


def test_a_body_that_is_nested_too_deeply_is_the_callers_mistake(world: World, api: Api) -> None:
    world.dag()
    for deep in ("[" * 100_000, "[" * 2_000 + "]" * 2_000):
        body = f'{{"logical_date": null, "conf": {{"field": {deep}}}}}'
        assert api("POST", "/api/v2/dags/etl/dagRuns", body).status == 422
