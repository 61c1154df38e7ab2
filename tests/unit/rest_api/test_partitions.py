"""Runs of partitions: found by date, cleared, and made runs of no partition."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pendulum
import pytest
from airflow.serialization.decoders import decode_timetable
from airflow.timetables.trigger import CronPartitionTimetable
from hypothesis import given
from hypothesis import strategies as st

from gust.model.dag_run import DagRun
from gust.model.dag_spec import TimetableSpec
from gust.model.state import DagRunState
from gust.model.state import TaskInstanceState as S
from gust.scheduling.timetable import partition_moment
from tests.unit.rest_api.world import NOW, Api, World, etl_spec

RUNS = "/api/v2/dags/etl/dagRuns"
CLEAR = "/api/v2/dags/etl/clearPartitions"
ZONE = "Asia/Kolkata"
TIMETABLE = CronPartitionTimetable("0 0 * * *", timezone=ZONE)
SPEC = TimetableSpec(
    type="airflow.timetables.trigger.CronPartitionTimetable", data=TIMETABLE.serialize(), partitioned=True
)


def local(day: int, hour: int = 0, minute: int = 0) -> datetime:
    return pendulum.datetime(2026, 3, day, hour, minute, tz=ZONE).astimezone(UTC)


@pytest.fixture
def runs(world: World) -> list[DagRun]:
    dag = world.dag(spec=etl_spec(timetable=SPEC))
    dated = [
        world.run(dag, f"r{day}", partition_key=f"2026-03-0{day}", partition_date=local(day), state=DagRunState.SUCCESS)
        for day in (1, 2, 3)
    ]
    return [*dated, world.run(dag, "undated", partition_key="eu"), world.run(dag, "plain")]


def listed(api: Api, query: str) -> list[str]:
    found = api.ok("get_dag_runs", "GET", f"{RUNS}?order_by=partition_date&{query}")
    return [run["dag_run_id"] for run in found["dag_runs"]]


def partitions(world: World, runs: list[DagRun]) -> list[str | None]:
    stored = [world.store.get_run(run.key) for run in runs]
    return [run.partition_key for run in stored if run]


@given(
    st.datetimes(local(1).replace(tzinfo=None, year=2000), local(1).replace(tzinfo=None, year=2040)),
    st.sampled_from([None, UTC, pendulum.timezone("America/New_York")]),
    st.sampled_from(["UTC", "Europe/Berlin", ZONE]),
)
def test_bounds_mean_what_they_mean_to_airflow(asked: datetime, tz: Any, zone: str) -> None:
    timetable = CronPartitionTimetable("30 2 * * *", timezone=zone)
    spec = TimetableSpec(type=SPEC.type, data=timetable.serialize(), partitioned=True)
    meant = decode_timetable({"__type": SPEC.type, "__var": spec.data}).localize_partition_datetime(
        asked.replace(tzinfo=tz)
    )
    assert partition_moment(spec, asked.replace(tzinfo=tz)) == meant


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("partition_date_gte=2026-03-02", ["r2", "r3"]),
        ("partition_date_lte=2026-03-02", ["r1", "r2"]),
        ("partition_date_gte=2026-03-02&partition_date_lte=2026-03-02", ["r2"]),
        ("partition_date_gte=2026-03-04", []),
        ("", ["r1", "r2", "r3", "undated", "plain"]),
    ],
)
def test_runs_are_found_by_the_day_of_their_partition(api: Api, query: str, expected: list[str]) -> None:
    assert sorted(listed(api, query)) == sorted(expected)


def test_a_day_is_one_of_the_timetables_zone(world: World, runs: list[DagRun], api: Api) -> None:
    dag = world.store.get_dag("etl")
    assert dag is not None
    world.run(dag, "late", partition_key="x", partition_date=local(2, 23, 59))
    world.run(dag, "later", partition_key="y", partition_date=local(3, 0, 1))
    assert listed(api, "partition_date_lte=2026-03-02&partition_date_gte=2026-03-02") == ["r2", "late"]


def test_a_dag_without_partitions_refuses_the_filter(world: World, api: Api) -> None:
    world.dag()
    detail = api.refused("get_dag_runs", 400, "GET", f"{RUNS}?partition_date_gte=2026-03-02")
    assert detail.startswith("Dag with dag_id: 'etl' is not partitioned")
    api.refused("get_dag_runs", 400, "GET", f"{RUNS.replace('etl', '~')}?partition_date_gte=2026-03-02")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"run_id": "r1", "partition_key": "x"},
        {"partition_key": "x", "partition_date_start": "2026-03-01T00:00:00Z"},
        {"partition_date_start": "2026-03-02T00:00:00Z", "partition_date_end": "2026-03-01T00:00:00Z"},
        {"run_id": "r1", "more": 1},
    ],
)
def test_there_is_one_way_to_select(runs: list[DagRun], api: Api, body: Any) -> None:
    api.refused("clear_dag_run_partitions", 422, "POST", CLEAR, body)


def test_nothing_is_written_unless_asked_for(world: World, runs: list[DagRun], api: Api) -> None:
    body = {"partition_date_start": "2026-03-02T00:00:00Z", "clear_task_instances": True}
    counted = api.ok("clear_dag_run_partitions", "POST", CLEAR, body)
    assert counted == {"dag_runs_cleared": 2, "task_instances_cleared": 6, "dry_run": True}
    assert partitions(world, runs) == ["2026-03-01", "2026-03-02", "2026-03-03", "eu", None]


@pytest.mark.parametrize(
    "asked",
    [
        ({"run_id": "r2"}, 1, ["2026-03-01", None, "2026-03-03", "eu", None]),
        ({"run_id": "plain"}, 0, ["2026-03-01", "2026-03-02", "2026-03-03", "eu", None]),
        ({"run_id": "none"}, 0, ["2026-03-01", "2026-03-02", "2026-03-03", "eu", None]),
        ({"partition_key": "eu"}, 1, ["2026-03-01", "2026-03-02", "2026-03-03", None, None]),
        (
            {"partition_date_start": "2026-03-01T00:00:00", "partition_date_end": "2026-03-02T00:00:00+09:00"},
            2,
            [None, None, "2026-03-03", "eu", None],
        ),
    ],
)
def test_the_runs_are_of_no_partition_any_more(
    world: World, runs: list[DagRun], api: Api, asked: tuple[Any, int, list[str | None]]
) -> None:
    body, cleared, left = asked
    answer = api.ok("clear_dag_run_partitions", "POST", CLEAR, body | {"dry_run": False})
    assert answer == {"dag_runs_cleared": cleared, "task_instances_cleared": 0, "dry_run": False}
    assert partitions(world, runs) == left
    assert api.ok("clear_dag_run_partitions", "POST", CLEAR, body | {"dry_run": False})["dag_runs_cleared"] == 0 or (
        "run_id" not in body
    )


def test_their_tasks_run_again_where_that_is_wanted(world: World, runs: list[DagRun], api: Api) -> None:
    world.instance(runs[0], "extract", state=S.SUCCESS, try_number=1, start_date=NOW, end_date=NOW)
    body = {"partition_key": "2026-03-01", "clear_task_instances": True, "dry_run": False}
    answer = api.ok("clear_dag_run_partitions", "POST", CLEAR, body)
    assert answer == {"dag_runs_cleared": 1, "task_instances_cleared": 3, "dry_run": False}
    run = world.store.get_run(runs[0].key)
    assert run is not None
    assert (run.state, run.partition_key, run.partition_date) == (DagRunState.QUEUED, None, None)
    instance = world.store.get_instance(run.key.task_instance("extract"))
    assert instance is not None
    assert instance.state is None


def test_a_dag_that_does_not_exist(api: Api) -> None:
    api.refused("clear_dag_run_partitions", 404, "POST", CLEAR, {"run_id": "r"})


def test_runs_are_cleared_by_the_dates_of_their_partitions(world: World, runs: list[DagRun], api: Api) -> None:
    body = {"partition_date_start": "2026-03-02T00:00:00Z", "dry_run": False}
    cleared = api.ok("clear_dag_runs", "POST", "/api/v2/dags/etl/clearDagRuns", body)
    assert [run["dag_run_id"] for run in cleared["dag_runs"]] == ["r2", "r3"]
