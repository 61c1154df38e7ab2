"""Answers of the web UI's own operations, compared with Airflow's document of them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from gust.model.asset import Asset, AssetReference, number_of
from gust.model.backfill import Backfill
from gust.model.dag import Dag
from gust.model.dag_spec import AssetRef, TaskSpec, TimetableSpec
from gust.model.state import DagRunState, DagRunType, TaskInstanceState
from gust.ports.store import Store
from gust.rest_api.access.auth import ALL_ADMINS, Authenticator
from gust.rest_api.app import build
from gust.rest_api.http.operations import UI_OPERATIONS
from gust.rest_api.http.routing import UI_HANDLERS
from gust.rest_api.ui.dag_runs import duration_stats
from tests.unit.rest_api import contract
from tests.unit.rest_api.world import NOW, Api, World, etl_spec

WITHOUT_NULLS = {"get_dags_ui", "get_dag_structure", "get_grid_runs"}
ORDERS = {"asset": {"name": "orders", "uri": "s3://orders", "group": "asset"}}


def answered(api: Api, operation_id: str, url: str, method: str = "GET", body: Any = None, **query: Any) -> Any:
    reply = api(method, url, body, **query)
    assert reply.status == 200, reply.text
    contract.check(operation_id, 200, reply.json, file=contract.UI_FILE, nulls=operation_id not in WITHOUT_NULLS)
    return reply.json


def refused(api: Api, url: str, **query: Any) -> tuple[int, Any]:
    reply = api("GET", url, **query)
    return reply.status, reply.detail


def test_every_operation_is_answered() -> None:
    known = {name: (method, path) for name, (method, path) in contract.operations(contract.UI_FILE).items()}
    assert known == {name: tuple(operation) for name, operation in UI_OPERATIONS.items()}
    assert set(UI_HANDLERS) == set(known)


# --- who and what -----------------------------------------------------------------------------------------------------


def test_who_is_looking(api: Api, world: World) -> None:
    assert answered(api, "get_current_user_info", "/ui/auth/me") == {"id": "Anonymous", "username": "Anonymous"}
    menu = answered(api, "get_auth_menus", "/ui/auth/menus")
    schema = contract.document(contract.UI_FILE)["components"]["schemas"]["MenuItem"]
    assert sorted(menu["authorized_menu_items"]) == sorted(schema["enum"])
    made = answered(api, "generate_token", "/ui/auth/token", "POST", {"token_type": "cli"})
    assert made["expires_in_seconds"] == 3600
    assert world.services.tokens.user_of(made["access_token"], now=NOW).name == "Anonymous"
    assert api("POST", "/ui/auth/token", {"token_type": "other"}).status == 422
    logged = api.ok("get_event_logs", "GET", "/api/v2/eventLogs")["event_logs"]
    assert {entry["event"] for entry in logged} == {"generate_token"}


def test_the_configuration_is_airflows(api: Api) -> None:
    from airflow.api_fastapi.core_api.routes.ui.config import get_configs

    theirs = get_configs().model_dump(mode="json")
    assert answered(api, "get_configs", "/ui/config") == theirs


def test_there_are_no_teams(api: Api) -> None:
    assert refused(api, "/ui/teams") == (403, "Multi-team mode is not configured in the Airflow environment")


# --- DAGs -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def dags(world: World) -> dict[str, Dag]:
    dags = {
        "etl": world.dag("etl", tags=("a",)),
        "ml": world.dag("ml", tags=("a", "b"), is_paused=True),
        "report": world.dag("report", spec=etl_spec(timetable=of_orders()), is_asset_triggered=True),
    }
    for number in range(3):
        at = NOW + timedelta(hours=number)
        state = DagRunState.FAILED if number == 2 else DagRunState.SUCCESS
        world.run(
            dags["etl"], f"r{number}", run_after=at, queued_at=at, logical_date=at, state=state,
            start_date=at, end_date=at + timedelta(seconds=10 * (number + 1)),
        )  # fmt: skip
    world.run(dags["ml"], "running", start_date=NOW)
    return dags


def of_orders() -> TimetableSpec:
    return TimetableSpec(
        type="airflow.timetables.simple.AssetTriggeredTimetable", asset_expression={"any": [ORDERS]}, periodic=False
    )


def test_dags_with_their_last_runs(api: Api, dags: dict[str, Dag]) -> None:
    listed = answered(api, "get_dags_ui", "/ui/dags", dag_runs_limit=2)
    assert [dag["dag_id"] for dag in listed["dags"]] == ["etl", "ml", "report"]
    etl, ml, report = listed["dags"]
    assert [run["run_id"] for run in etl["latest_dag_runs"]] == ["r2", "r1"]
    assert etl["latest_dag_runs"][0]["duration"] == 30
    assert "duration" not in ml["latest_dag_runs"][0]
    number = number_of("orders", "s3://orders")
    assert report["asset_expression"] == {"any": [{"asset": ORDERS["asset"] | {"id": number}}]}
    assert not etl["is_favorite"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"tags": "b"}, ["ml"]),
        ({"paused": "true"}, ["ml"]),
        ({"dag_ids": ["etl", "report"]}, ["etl", "report"]),
        ({"dag_id_pattern": "re"}, ["report"]),
        ({"last_dag_run_state": "failed"}, ["etl"]),
        ({"last_dag_run_state": "success"}, []),
        ({"dag_run_state": "success"}, ["etl"]),
        ({"dag_run_state": "running"}, ["ml"]),
        ({"has_asset_schedule": "true"}, ["report"]),
        ({"asset_dependency": "ORD"}, ["report"]),
        ({"is_favorite": "true"}, []),
        ({"order_by": "-dag_id", "limit": 1}, ["report"]),
        ({"order_by": "-last_run_start_date", "offset": 1}, ["etl", "ml"]),
    ],
)
def test_filters_and_orders_of_dags(api: Api, dags: dict[str, Dag], query: dict[str, Any], found: list[str]) -> None:
    listed = answered(api, "get_dags_ui", "/ui/dags", **query)
    assert [dag["dag_id"] for dag in listed["dags"]] == found


def test_favourites_are_marked(api: Api, dags: dict[str, Dag]) -> None:
    assert api("POST", "/api/v2/dags/ml/favorite").status == 204
    listed = answered(api, "get_dags_ui", "/ui/dags", is_favorite="true")
    assert [(dag["dag_id"], dag["is_favorite"]) for dag in listed["dags"]] == [("ml", True)]


def test_the_latest_run(api: Api, dags: dict[str, Dag]) -> None:
    latest = answered(api, "get_latest_run_info", "/ui/dags/etl/latest_run")
    assert (latest["run_id"], latest["state"]) == ("r2", "failed")
    assert api("GET", "/ui/dags/report/latest_run").text == "null"
    assert refused(api, "/ui/dags/~/latest_run")[0] == 400


def test_how_long_runs_take(api: Api, dags: dict[str, Dag]) -> None:
    stats = answered(api, "get_dag_run_stats", "/ui/dags/etl/dagRuns/r1/stats")
    assert stats["duration"] == {"mean": 20.0, "mode": None, "p50": 20.0, "p90": 28.0, "p95": 29.0, "p99": 29.8}
    assert answered(api, "get_dag_run_stats", "/ui/dags/ml/dagRuns/running/stats") == {"duration": None}
    assert refused(api, "/ui/dags/etl/dagRuns/none/stats")[0] == 404


@pytest.mark.parametrize("durations", [[], [1.0], [1.2, 1.4, 9.0], [3.0, 1.0, 2.0, 2.4], [0.1] * 30 + [7.77]])
def test_statistics_are_airflows(durations: list[float]) -> None:
    from airflow.api_fastapi.core_api.services.ui.dag_run import compute_duration_stats

    theirs = compute_duration_stats(durations)
    assert duration_stats(durations) == (theirs.model_dump() if theirs else None)


# --- the home page ----------------------------------------------------------------------------------------------------


def test_the_numbers_of_dags(api: Api, dags: dict[str, Dag]) -> None:
    assert answered(api, "dag_stats", "/ui/dashboard/dag_stats") == {
        "active_dag_count": 2,
        "failed_dag_count": 1,
        "running_dag_count": 1,
        "queued_dag_count": 0,
    }


def test_the_numbers_of_a_window(api: Api, world: World, dags: dict[str, Dag]) -> None:
    run = world.run(dags["etl"], "busy", run_after=NOW - timedelta(hours=2))
    world.instance(run, "extract", state=TaskInstanceState.SUCCESS, try_number=1)
    asked = {"start_date": (NOW - timedelta(hours=3)).isoformat(), "end_date": (NOW - timedelta(hours=1)).isoformat()}
    counted = answered(api, "historical_metrics", "/ui/dashboard/historical_metrics_data", **asked)
    assert {name: n for name, n in counted["dag_run_states"].items() if n} == {"running": 1}
    assert {name: n for name, n in counted["task_instance_states"].items() if n} == {"success": 1, "no_status": 2}
    # It is counted anew while it runs.
    world.instance(run, "transform", state=TaskInstanceState.FAILED, try_number=1)
    counted = answered(api, "historical_metrics", "/ui/dashboard/historical_metrics_data", **asked)
    assert counted["task_instance_states"]["failed"] == 1


def test_a_run_that_has_ended_is_counted_as_it_says(api: Api, world: World, dags: dict[str, Dag]) -> None:
    ended = {"run_after": NOW - timedelta(hours=2), "state": DagRunState.SUCCESS}
    world.run(dags["etl"], "ended", instance_states={"success": 7, "skipped": 1, "no_status": 2}, **ended)
    unknown = world.run(dags["etl"], "before_they_were_counted", **ended)
    world.instance(unknown, "extract", state=TaskInstanceState.UPSTREAM_FAILED)
    asked = {"start_date": (NOW - timedelta(hours=3)).isoformat(), "end_date": (NOW - timedelta(hours=1)).isoformat()}
    counted = answered(api, "historical_metrics", "/ui/dashboard/historical_metrics_data", **asked)
    counts = {"success": 7, "skipped": 1, "no_status": 4, "upstream_failed": 1}
    assert {name: n for name, n in counted["task_instance_states"].items() if n} == counts


def test_a_dag_has_failed_when_its_last_run_with_a_logical_date_did(api: Api, world: World) -> None:
    def given(dag_id: str, *runs: tuple[DagRunState, bool]) -> None:
        dag = world.dag(dag_id)
        for n, (state, dated) in enumerate(runs):
            run_after = NOW + timedelta(hours=n)
            world.run(dag, f"r{n}", state=state, run_after=run_after, logical_date=run_after if dated else None)

    failed, success = DagRunState.FAILED, DagRunState.SUCCESS
    given("failed", (success, True), (failed, True))
    given("recovered", (failed, True), (success, True))
    given("failed_before_one_without_date", (failed, True), (success, False))
    given("without_dates", (failed, False))
    assert answered(api, "dag_stats", "/ui/dashboard/dag_stats")["failed_dag_count"] == 2


def test_of_old_failures_the_runs_are_read(api: Api, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from gust.rest_api.ui import dashboard

    monkeypatch.setattr(dashboard, "WALKED_FAILURES", 2)
    for n in range(5):
        dag, run_after = world.dag(f"dag_{n}"), NOW - timedelta(days=n)
        world.run(dag, "r", state=DagRunState.FAILED, run_after=run_after, logical_date=run_after)
    assert answered(api, "dag_stats", "/ui/dashboard/dag_stats")["failed_dag_count"] == 5


def test_a_window_with_too_many_runs_says_so(
    api: Api, world: World, dags: dict[str, Dag], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gust.rest_api.ui import dashboard

    monkeypatch.setattr(dashboard, "READ_RUNS", 2)
    since = (NOW - timedelta(days=1)).isoformat()
    asked = {"start_date": since, "end_date": (NOW + timedelta(days=1)).isoformat()}
    counted = answered(api, "historical_metrics", "/ui/dashboard/historical_metrics_data", **asked)
    assert sum(counted["dag_run_states"].values()) == 4
    assert counted["task_instance_counts_are_lower_bounds"]
    assert not counted["dag_run_counts_are_lower_bounds"]


# --- grid, Gantt, graph -----------------------------------------------------------------------------------------------


def test_the_columns_of_the_grid(api: Api, dags: dict[str, Dag]) -> None:
    runs = answered(api, "get_grid_runs", "/ui/grid/runs/etl", order_by="-run_after", limit=2)
    assert [run["run_id"] for run in runs] == ["r2", "r1"]
    assert runs[0]["dag_versions"][0]["version_number"] == 1
    in_own_order = answered(api, "get_grid_runs", "/ui/grid/runs/etl")
    assert [run["run_id"] for run in in_own_order] == ["r0", "r1", "r2"]
    failed = answered(api, "get_grid_runs", "/ui/grid/runs/etl", order_by="-run_after", state="failed")
    assert [run["run_id"] for run in failed] == ["r2"]
    before = answered(
        api,
        "get_grid_runs",
        "/ui/grid/runs/etl",
        order_by="-run_after",
        run_after_lte=(NOW + timedelta(hours=1)).isoformat(),
    )
    assert [run["run_id"] for run in before] == ["r1", "r0"]
    assert refused(api, "/ui/grid/runs/none") == (404, "Dag with id none was not found")
    assert refused(api, "/ui/grid/runs/etl", state="odd")[0] == 422


def test_the_newest_columns_are_found_far_back(api: Api, world: World) -> None:
    dag = world.dag("long")
    for number in range(60):
        at = NOW + timedelta(minutes=number)
        state = DagRunState.FAILED if number < 3 else DagRunState.SUCCESS
        world.run(dag, f"r{number}", run_after=at, queued_at=at, state=state)
    found = answered(
        api, "get_grid_runs", "/ui/grid/runs/long", order_by="-run_after", state="failed", limit=2, offset=1
    )
    assert [run["run_id"] for run in found] == ["r1", "r0"]


def test_rows_and_squares(api: Api, world: World, dags: dict[str, Dag]) -> None:
    rows = answered(api, "get_dag_structure", "/ui/grid/structure/etl")
    assert [(row["id"], row.get("is_mapped")) for row in rows] == [
        ("extract", None),
        ("transform", True),
        ("load", None),
    ]
    run = world.run(dags["etl"], "now")
    world.instance(run, "extract", state=TaskInstanceState.RUNNING, try_number=1, start_date=NOW)
    reply = api("GET", "/ui/grid/ti_summaries/etl", run_ids=["now", "none", "r0"])
    assert reply.headers["content-type"] == "application/x-ndjson"
    first, second = (json.loads(line) for line in reply.text.splitlines())
    assert (first["run_id"], second["run_id"]) == ("now", "r0")
    assert [(row["task_id"], row["state"]) for row in first["task_instances"]] == [
        ("extract", "running"),
        ("transform", None),
        ("load", None),
    ]
    assert api("GET", "/ui/grid/ti_summaries/etl").text == ""


def test_the_gantt_chart_of_a_wide_run_asks_for_all_tries_at_once(world: World) -> None:
    tasks = {f"t{n}": TaskSpec(task_id=f"t{n}") for n in range(100)}
    run = world.run(world.dag("wide", spec=etl_spec(tasks=tasks, root_children=tuple(tasks))), "r")
    for task_id in tasks:
        ended = world.instance(run, task_id, state=TaskInstanceState.FAILED, try_number=1, start_date=NOW, end_date=NOW)
        world.instance(run, task_id, state=TaskInstanceState.RUNNING, try_number=ended.try_number + 1, start_date=NOW)
    asked: list[str] = []

    class Counted:
        def __getattr__(self, name: str) -> Any:
            asked.append(name)
            return getattr(world.store, name)

    services = replace(world.services, store=cast("Store", Counted()))
    reply = Api(build(services, Authenticator(ALL_ADMINS)))("GET", "/ui/gantt/wide/r")
    assert len(reply.json["task_instances"]) == 200
    assert asked.count("list_tries") == 0
    assert asked.count("tries_of_run") == 1


def test_the_gantt_chart(api: Api, world: World, dags: dict[str, Dag]) -> None:
    run = world.run(dags["etl"], "tried")
    ended = NOW + timedelta(seconds=5)
    world.instance(
        run, "extract", state=TaskInstanceState.FAILED, try_number=1, dispatch_count=1, start_date=NOW, end_date=ended
    )
    world.instance(run, "extract", state=TaskInstanceState.SUCCESS, try_number=2, dispatch_count=2)
    world.instance(run, "transform", 0, state=TaskInstanceState.SUCCESS, try_number=1)
    bars = answered(api, "get_gantt_data", "/ui/gantt/etl/tried")["task_instances"]
    assert [(bar["task_id"], bar["try_number"], bar["state"]) for bar in bars] == [
        ("extract", 1, "failed"),
        ("extract", 2, "success"),
        ("load", 0, None),
    ]
    assert refused(api, "/ui/gantt/etl/none") == (404, "No task instances for dag_id=etl run_id=none")


def test_the_graph(api: Api, world: World) -> None:
    serialized = json.dumps({"dag": {"tasks": [], "edge_info": {"extract": {"transform": {"label": "raw"}}}}})
    world.dag("etl", serialized=serialized)
    graph = answered(api, "structure_data", "/ui/structure/structure_data", dag_id="etl")
    assert [(e["source_id"], e["target_id"], e["label"]) for e in graph["edges"]] == [
        ("extract", "transform", "raw"),
        ("transform", "load", None),
    ]
    part = answered(api, "structure_data", "/ui/structure/structure_data", dag_id="etl", root="load", version_number=1)
    assert [node["id"] for node in part["nodes"]] == ["load"]
    assert refused(api, "/ui/structure/structure_data", dag_id="none")[0] == 404
    assert refused(api, "/ui/structure/structure_data", dag_id="etl", version_number=9) == (
        404,
        "Dag with id etl and version number 9 was not found",
    )


# --- assets and dependencies ------------------------------------------------------------------------------------------


def a_dependency(source: str, target: str, kind: str, dependency_id: str | None, label: str) -> dict[str, Any]:
    return {
        "source": source, "target": target, "dependency_type": kind, "dependency_id": dependency_id, "label": label,
    }  # fmt: skip


KEY = json.dumps({"name": "orders", "uri": "s3://orders"})


@pytest.fixture
def related(world: World) -> None:
    """`makes` writes orders and triggers `other`; `takes` is scheduled by orders; `apart` has nothing to do with them."""
    ref = AssetRef(name="orders", uri="s3://orders")
    spec = etl_spec(tasks={"write": TaskSpec(task_id="write", outlets=(ref,))}, root_children=("write",))
    made = [
        a_dependency("makes", "asset", "asset", KEY, "orders"),
        a_dependency("makes", "other", "trigger", "go", "go"),
    ]
    taken = [a_dependency("asset", "takes", "asset", KEY, "orders")]
    world.dag("makes", spec=spec, serialized=json.dumps({"dag": {"tasks": [], "dag_dependencies": made}}))
    world.dag(
        "takes",
        spec=etl_spec(timetable=of_orders()),
        serialized=json.dumps({"dag": {"tasks": [], "dag_dependencies": taken}}),
        is_asset_triggered=True,
    )
    world.dag("apart")
    world.store.put_asset(Asset(name="orders", uri="s3://orders", created_at=NOW))
    for use, dag_id, task_id in (("outlet", "makes", "write"), ("schedule", "takes", "")):
        world.store.put_asset_reference(
            AssetReference(
                use=use, what="asset", dag_id=dag_id, task_id=task_id, name="orders", uri="s3://orders", created_at=NOW
            )  # type: ignore[arg-type]
        )


def test_which_dag_waits_for_which(api: Api, related: None) -> None:
    graph = answered(api, "get_dependencies", "/ui/dependencies")
    asset = f"asset:{number_of('orders', 's3://orders')}"
    assert {(e["source_id"], e["target_id"]) for e in graph["edges"]} == {
        ("dag:makes", asset),
        (asset, "dag:takes"),
        ("dag:makes", "trigger:makes:other:go"),
        ("trigger:makes:other:go", "dag:other"),
    }
    assert {node["id"] for node in graph["nodes"]} == {
        "dag:makes", "dag:takes", "dag:other", asset, "trigger:makes:other:go",
    }  # fmt: skip
    assert answered(api, "get_dependencies", "/ui/dependencies", node_id="dag:takes") == graph
    assert refused(api, "/ui/dependencies", node_id="dag:apart")[0] == 404


def test_what_makes_and_takes_an_asset(api: Api, related: None) -> None:
    number = number_of("orders", "s3://orders")
    graph = answered(api, "get_dependencies", "/ui/dependencies", dependency_type="data", node_id=f"asset:{number}")
    assert [(e["source_id"], e["target_id"]) for e in graph["edges"]] == [
        ("task:makes__SEPARATOR__write", f"asset:{number}")
    ]
    assert refused(api, "/ui/dependencies", dependency_type="data", node_id="asset:1")[0] == 404
    assert refused(api, "/ui/dependencies", dependency_type="data")[0] == 400


def test_the_graph_with_what_is_around(api: Api, related: None) -> None:
    asset = number_of("orders", "s3://orders")
    around = {"external_dependencies": "true"}
    takes = answered(api, "structure_data", "/ui/structure/structure_data", dag_id="takes", **around)
    pairs = [(e["source_id"], e["target_id"], e["is_source_asset"]) for e in takes["edges"][-2:]]
    assert pairs == [("or-gate-0", "extract", True), (str(asset), "or-gate-0", None)]
    makes = answered(api, "structure_data", "/ui/structure/structure_data", dag_id="makes", **around)
    assert [(e["source_id"], e["target_id"]) for e in makes["edges"]] == [
        ("write", f"asset:{asset}"),
        ("write", "trigger:makes:other:go"),
    ]


def test_what_the_next_run_waits_for(api: Api, world: World, related: None) -> None:
    waits = answered(api, "next_run_assets", "/ui/next_run_assets/takes")
    assert [(e["name"], e["last_update"]) for e in waits["events"]] == [("orders", None)]
    assert answered(api, "next_run_assets", "/ui/next_run_assets/apart")["events"] == []
    assert refused(api, "/ui/next_run_assets/none")[0] == 404
    event = api("POST", "/api/v2/assets/events", {"asset_id": number_of("orders", "s3://orders")})
    assert event.status == 200, event.text
    waits = answered(api, "next_run_assets", "/ui/next_run_assets/takes")
    assert waits["events"][0]["last_update"] is not None


# --- partitions, calendar, backfills ----------------------------------------------------------------------------------


def test_partitions_that_wait(api: Api, world: World, related: None) -> None:
    partitioned = TimetableSpec(
        type="airflow.timetables.simple.PartitionedAssetTimetable", asset_expression=ORDERS, partitioned=True
    )
    world.dag("parts", spec=etl_spec(timetable=partitioned), timetable_partitioned=True, is_asset_triggered=True)
    world.store.put_asset_reference(
        AssetReference(use="schedule", what="asset", dag_id="parts", name="orders", uri="s3://orders", created_at=NOW)
    )
    none = answered(api, "get_partitioned_dag_runs", "/ui/partitioned_dag_runs")
    assert none == {"partitioned_dag_runs": [], "total": 0, "asset_expressions": None}
    assert refused(api, "/ui/partitioned_dag_runs", dag_id="none")[0] == 404
    body = {"asset_id": number_of("orders", "s3://orders"), "partition_key": "a/b"}
    assert api("POST", "/api/v2/assets/events", body).status == 200
    (row,) = answered(api, "get_partitioned_dag_runs", "/ui/partitioned_dag_runs")["partitioned_dag_runs"]
    assert (row["dag_id"], row["partition_key"], row["state"]) == ("parts", "a/b", "pending")
    assert (row["total_received"], row["total_required"]) == (1, 1)
    one = answered(api, "get_pending_partitioned_dag_run", "/ui/pending_partitioned_dag_run/parts", partition_key="a/b")
    assert [(asset["asset_name"], asset["received_keys"], asset["received"]) for asset in one["assets"]] == [
        ("orders", ["a/b"], True)
    ]
    assert refused(api, "/ui/pending_partitioned_dag_run/parts", partition_key="other")[0] == 404
    waits = answered(api, "next_run_assets", "/ui/next_run_assets/parts")
    assert (waits["pending_partition_count"], waits["events"][0]["received_keys"]) == (1, ["a/b"])


def test_the_calendar(api: Api, world: World) -> None:
    hourly = TimetableSpec(
        type="airflow.timetables.trigger.CronTriggerTimetable",
        data={"expression": "0 */6 * * *", "timezone": "UTC", "interval": 0.0, "run_immediately": False},
    )
    dag = world.dag("often", spec=etl_spec(timetable=hourly))
    first = datetime(2026, 12, 30, tzinfo=UTC)
    for number, state in enumerate([DagRunState.SUCCESS, DagRunState.SUCCESS, DagRunState.FAILED]):
        at = first + timedelta(hours=6 * number)
        world.run(
            dag, f"r{number}", state=state, run_type=DagRunType.SCHEDULED, run_after=at, logical_date=at,
            data_interval_start=at, data_interval_end=at,
        )  # fmt: skip
    cells = answered(api, "get_calendar", "/ui/calendar/often")["dag_runs"]
    assert [(cell["date"][:13], cell["state"], cell["count"]) for cell in cells] == [
        ("2026-12-30T00", "failed", 1),
        ("2026-12-30T00", "success", 2),
        ("2026-12-30T00", "planned", 1),
        ("2026-12-31T00", "planned", 4),
    ]
    hours = answered(api, "get_calendar", "/ui/calendar/often", granularity="hourly")["dag_runs"]
    assert [cell["date"][11:13] for cell in hours] == ["00", "06", "12", "18", "00", "06", "12", "18"]
    day = {"logical_date_gte": "2026-12-30T06:00:00Z", "logical_date_lte": "2026-12-30T23:59:59Z"}
    cells = answered(api, "get_calendar", "/ui/calendar/often", **day)["dag_runs"]
    assert [(cell["state"], cell["count"]) for cell in cells] == [("failed", 1), ("success", 1), ("planned", 1)]
    assert refused(api, "/ui/calendar/none")[0] == 404


def test_backfills_of_all_dags(api: Api, world: World) -> None:
    for number, dag_id in enumerate(("etl", "ml"), 1):
        world.dag(dag_id)
        world.store.create_backfill(
            Backfill(
                backfill_id=number,
                dag_id=dag_id,
                from_date=NOW,
                to_date=NOW,
                created_at=NOW,
                updated_at=NOW,
                version_number=1,
                spec_key="",
                planned=0,
            ),
            [],
        )
    assert [b["id"] for b in answered(api, "list_backfills_ui", "/ui/backfills")["backfills"]] == [1, 2]
    assert answered(api, "list_backfills_ui", "/ui/backfills", dag_id="ml", active="true")["total_entries"] == 1
    assert answered(api, "list_backfills_ui", "/ui/backfills", active="false")["total_entries"] == 0
