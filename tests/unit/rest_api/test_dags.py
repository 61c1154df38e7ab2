"""DAGs, beyond the recording of Airflow (several DAGs, consequences of a pause)."""

from __future__ import annotations

from typing import Any

import pytest

from gust.model.dag_spec import TimetableSpec
from gust.model.state import DagRunState
from gust.rest_api.public.dags import _iso_duration
from tests.unit.rest_api.world import NOW, Api, World, etl_spec


def listed(api: Api, query: str = "", **values: Any) -> list[str]:
    found = api.ok("get_dags", "GET", f"/api/v2/dags{query}", **values)
    assert found["total_entries"] >= len(found["dags"])
    return [dag["dag_id"] for dag in found["dags"]]


@pytest.fixture
def dags(world: World) -> World:
    world.dag("etl", tags=("nightly", "sales"), owners=("ada", "bob"), dag_display_name="Sales ETL")
    world.dag("old", is_stale=True)
    world.dag("ml", tags=("sales",), is_paused=True, has_import_errors=True)
    assets = {"all": [{"asset": {"name": "orders", "uri": "s3://lake/orders"}}, {"alias": {"name": "x"}}]}
    by_asset = TimetableSpec(type="airflow.timetables.simple.AssetTriggeredTimetable", asset_expression=assets)
    world.dag("report", spec=etl_spec(timetable=by_asset), bundle_name="other")
    return world


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["etl", "ml", "report"]),
        ("?exclude_stale=false", ["etl", "ml", "old", "report"]),
        ("?order_by=-dag_id&limit=2", ["report", "ml"]),
        ("?offset=1&limit=1", ["ml"]),
        ("?paused=true", ["ml"]),
        ("?paused=false", ["etl", "report"]),
        ("?tags=nightly&tags=sales", ["etl", "ml"]),
        ("?tags=nightly&tags=sales&tags_match_mode=all", ["etl"]),
        ("?owners=ADA", ["etl"]),
        ("?owners=%25", []),
        ("?dag_id_pattern=R_P", ["report"]),
        ("?dag_id_prefix_pattern=e|m", ["etl", "ml"]),
        ("?dag_display_name_pattern=sales%20etl", ["etl"]),
        ("?has_import_errors=true", ["ml"]),
        ("?bundle_name=other", ["report"]),
        ("?has_asset_schedule=true", ["report"]),
        ("?has_asset_schedule=false", ["etl", "ml"]),
        ("?asset_dependency=lake/ord", ["report"]),
        ("?asset_dependency=nothing", []),
        ("?timetable_type=NullTimetable", ["etl", "ml"]),
        ("?last_dag_run_state=success", ["etl"]),
        ("?dag_run_state=success&dag_run_state=failed", ["etl", "ml"]),
        ("?dag_run_start_date_gte=2026-03-04T12:00:00Z", ["etl"]),
        ("?order_by=-last_run_state", ["report", "etl", "ml"]),
        ("?order_by=last_run_state", ["ml", "etl", "report"]),
    ],
)
def test_filters(dags: World, api: Api, query: str, expected: list[str]) -> None:
    etl, ml = dags.store.get_dag("etl"), dags.store.get_dag("ml")
    assert etl is not None
    assert ml is not None
    dags.run(etl, state=DagRunState.SUCCESS, start_date=NOW, end_date=NOW)
    dags.run(ml, state=DagRunState.FAILED)
    assert listed(api, query) == expected


def test_every_page_together_is_all(dags: World, api: Api) -> None:
    pages = [listed(api, limit=1, offset=offset) for offset in range(4)]
    assert pages == [["etl"], ["ml"], ["report"], []]


def test_many_dags_are_paused_at_once_beyond_the_page_that_is_shown(dags: World, api: Api) -> None:
    found = api.ok("patch_dags", "PATCH", "/api/v2/dags?dag_id_pattern=~&limit=1", {"is_paused": True})
    assert found["total_entries"] == 3
    assert [(dag["dag_id"], dag["is_paused"]) for dag in found["dags"]] == [("etl", True)]
    assert listed(api, paused="true") == ["etl", "ml", "report"]


def test_without_a_pattern_no_dag_is_patched(dags: World, api: Api) -> None:
    assert api.ok("patch_dags", "PATCH", "/api/v2/dags", {"is_paused": True})["total_entries"] == 0
    assert listed(api, paused="true") == ["ml"]


def test_favorites_are_a_persons_own(dags: World, api: Api) -> None:
    assert api("POST", "/api/v2/dags/etl/favorite").status == 204
    assert listed(api, is_favorite="true") == ["etl"]
    assert listed(api, is_favorite="false") == ["ml", "report"]
    assert api.ok("get_dag_details", "GET", "/api/v2/dags/etl/details")["is_favorite"]
    assert not api.ok("get_dag_details", "GET", "/api/v2/dags/ml/details")["is_favorite"]


def test_a_dag_that_allows_no_backfill_says_so(world: World, api: Api) -> None:
    world.dag("a", allowed_run_types=("manual",))
    world.dag("b", timetable_periodic=False)
    world.dag("c", allowed_run_types=("backfill", "manual"))
    found = api.ok("get_dags", "GET", "/api/v2/dags")["dags"]
    assert {dag["dag_id"]: dag["is_backfillable"] for dag in found} == {"a": False, "b": False, "c": True}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, None),
        (0, "PT0S"),
        (90, "PT1M30S"),
        (3600, "PT1H"),
        (86_400, "P1D"),
        (93_784.5, "P1DT2H3M4.5S"),
        (0.000001, "PT0.000001S"),
    ],
)
def test_durations_are_iso_8601(seconds: float | None, text: str | None) -> None:
    assert _iso_duration(seconds) == text
