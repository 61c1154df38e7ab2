"""`/api/v2/backfills`, as Airflow 3.3.2 answers it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gust.model.dag_spec import DagSpec, TaskSpec, TimetableSpec
from gust.model.state import DagRunState
from gust.scheduling import timetable
from tests.unit.rest_api.world import NOW, Api, World, etl_spec

DAILY = TimetableSpec(
    type="airflow.timetables.trigger.CronTriggerTimetable",
    data={"expression": "0 0 * * *", "timezone": "UTC", "interval": 0.0, "run_immediately": False},
)


def daily(**fields: Any) -> DagSpec:
    return etl_spec(timetable=DAILY, start_date=datetime(2026, 1, 1, tzinfo=UTC), **fields)


def asked(**fields: Any) -> dict[str, Any]:
    return {"dag_id": "etl", "from_date": "2026-02-01T00:00:00Z", "to_date": "2026-02-03T00:00:00Z", **fields}


def test_a_backfill_is_made_and_shown(world: World, api: Api) -> None:
    world.dag(spec=daily())
    made = api.ok("create_backfill", "POST", "/api/v2/backfills", asked(dag_run_conf={"a": 1}))
    assert made["id"] == 1
    assert made["completed_at"] is None
    assert api.ok("get_backfill", "GET", "/api/v2/backfills/1") == made
    listed = api.ok("list_backfills", "GET", "/api/v2/backfills", dag_id="etl")
    assert listed == {"backfills": [made], "total_entries": 1}
    runs = api("GET", "/api/v2/dags/etl/dagRuns", order_by="logical_date").json["dag_runs"]
    assert [run["dag_run_id"] for run in runs] == [f"backfill__2026-02-0{day}T00:00:00+00:00" for day in (1, 2, 3)]
    assert {run["run_type"] for run in runs} == {"backfill"}
    assert {run["triggered_by"] for run in runs} == {"backfill"}
    assert runs[0]["conf"] == {"a": 1}


def test_a_dry_run_makes_nothing(world: World, api: Api) -> None:
    dag = world.dag(spec=daily())
    taken = datetime(2026, 2, 2, tzinfo=UTC)
    world.run(dag, "mine", state=DagRunState.SUCCESS, logical_date=taken)
    answer = api.ok("create_backfill_dry_run", "POST", "/api/v2/backfills/dry_run", asked(run_backwards=True))
    assert [run["logical_date"] for run in answer["backfills"]] == ["2026-02-03T00:00:00Z", "2026-02-01T00:00:00Z"]
    assert answer["total_entries"] == 2
    assert world.store.list_backfills("etl") == []


def test_one_at_a_time(world: World, api: Api) -> None:
    world.dag(spec=daily())
    api.ok("create_backfill", "POST", "/api/v2/backfills", asked())
    detail = api.refused("create_backfill", 409, "POST", "/api/v2/backfills", asked())
    assert detail == "There is already a running backfill for dag etl"
    api.ok("cancel_backfill", "PUT", "/api/v2/backfills/1/cancel")
    assert api.ok("create_backfill", "POST", "/api/v2/backfills", asked(reprocess_behavior="failed"))["id"] == 2


def test_pausing_unpausing_and_cancelling(world: World, api: Api) -> None:
    world.dag(spec=daily())
    api.ok("create_backfill", "POST", "/api/v2/backfills", asked())
    assert api.ok("pause_backfill", "PUT", "/api/v2/backfills/1/pause")["is_paused"] is True
    assert api.ok("unpause_backfill", "PUT", "/api/v2/backfills/1/unpause")["is_paused"] is False
    cancelled = api.ok("cancel_backfill", "PUT", "/api/v2/backfills/1/cancel")
    assert cancelled["is_paused"] is True
    assert cancelled["completed_at"] is not None
    assert {run.state for run in world.store.list_runs("etl")} == {DagRunState.FAILED}
    for verb in ("pause", "unpause", "cancel"):
        detail = api.refused(f"{verb}_backfill", 409, "PUT", f"/api/v2/backfills/1/{verb}")
        assert detail == "Backfill is already completed."
        assert api.refused(f"{verb}_backfill", 404, "PUT", f"/api/v2/backfills/7/{verb}") == "Backfill not found"


def test_what_is_not_there_or_not_a_number(api: Api) -> None:
    assert api.refused("get_backfill", 404, "GET", "/api/v2/backfills/1") == "Backfill not found"
    assert api("GET", "/api/v2/backfills/-1").status == 422
    assert api("GET", "/api/v2/backfills/x").status == 422
    assert api("GET", "/api/v2/backfills").status == 422
    detail = api.refused("create_backfill", 404, "POST", "/api/v2/backfills", asked())
    assert detail == "Could not find dag etl"


PAST = TaskSpec(task_id="extract", depends_on_past=True)


@pytest.mark.parametrize(
    ("spec", "given", "detail"),
    [
        (
            daily(),
            {"from_date": "2026-02-05T00:00:00Z"},
            "from_date (2026-02-05T00:00:00+00:00) must not be after to_date (2026-02-03T00:00:00+00:00).",
        ),
        (
            daily(),
            {
                "from_date": (NOW + timedelta(days=1)).isoformat(),
                "to_date": (NOW + timedelta(days=2)).isoformat(),
            },
            "Backfill cannot be executed for future dates.",
        ),
        (
            etl_spec(timetable=TimetableSpec(type="airflow.timetables.simple.NullTimetable", periodic=False)),
            {},
            "etl has a non-periodic schedule that does not support backfills",
        ),
        (
            daily(tasks={"extract": PAST}),
            {"run_backwards": True},
            "Backfill cannot be run in reverse when the Dag has tasks where depends_on_past=True.",
        ),
        (
            daily(tasks={"extract": PAST}),
            {},
            "Dag has tasks for which depends_on_past=True. "
            "You must set reprocess behavior to reprocess completed or reprocess failed.",
        ),
    ],
)
def test_what_is_refused_says_why(world: World, api: Api, spec: DagSpec, given: dict[str, Any], detail: str) -> None:
    world.dag(spec=spec)
    for path in ("backfills", "backfills/dry_run"):
        reply = api("POST", f"/api/v2/{path}", asked(**given))
        assert (reply.status, reply.detail) == (422, detail)


def test_a_dag_that_does_not_allow_backfills(world: World, api: Api) -> None:
    world.dag(spec=daily(), allowed_run_types=("manual",))
    detail = api.refused("create_backfill", 400, "POST", "/api/v2/backfills", asked())
    assert detail == "Dag with dag_id: 'etl' does not allow backfill runs"


def test_a_stretch_without_runs(world: World, api: Api) -> None:
    world.dag(spec=daily())
    nothing = asked(from_date="2026-02-01T01:00:00Z", to_date="2026-02-01T02:00:00Z")
    reply = api("POST", "/api/v2/backfills", nothing)
    assert (reply.status, reply.detail.partition(" [")[0]) == (422, "No runs to create for Dag etl in the range")
    assert api.ok("create_backfill_dry_run", "POST", "/api/v2/backfills/dry_run", nothing)["total_entries"] == 0


EVERY_MINUTE = TimetableSpec(
    type="airflow.timetables.interval.CronDataIntervalTimetable", data={"expression": "* * * * *", "timezone": "UTC"}
)


@pytest.mark.parametrize("url", ["/api/v2/backfills", "/api/v2/backfills/dry_run"])
def test_decades_of_minutes_are_refused_without_counting_them(world: World, api: Api, url: str) -> None:
    world.dag(spec=etl_spec(timetable=EVERY_MINUTE))
    steps = timetable._step.cache_info().misses
    reply = api("POST", url, asked(from_date="2000-01-01T00:00:00Z", to_date="2026-01-01T00:00:00Z"))
    assert (reply.status, reply.detail) == (422, "The range has more than 100000 runs: choose a shorter range")
    assert timetable._step.cache_info().misses == steps


def test_each_run_of_a_plan_is_two_steps_of_an_expression_that_is_read_once(world: World, api: Api) -> None:
    world.dag(spec=etl_spec(timetable=EVERY_MINUTE))
    read, steps = timetable._cron_of.cache_info().misses, timetable._step.cache_info().misses
    answer = api("POST", "/api/v2/backfills/dry_run", asked(to_date="2026-02-01T08:00:00Z")).json
    assert answer["total_entries"] == 481
    assert timetable._cron_of.cache_info().misses - read <= 1
    assert timetable._step.cache_info().misses - steps <= 2 * 481 + 10


def test_a_range_that_reaches_into_the_future_is_looked_through_until_now(world: World, api: Api) -> None:
    world.dag(spec=etl_spec(timetable=EVERY_MINUTE))
    steps = timetable._step.cache_info().misses
    body = asked(from_date=(NOW - timedelta(minutes=3)).isoformat(), to_date="9999-01-01T00:00:00Z")
    answer = api.ok("create_backfill_dry_run", "POST", "/api/v2/backfills/dry_run", body)
    assert [run["logical_date"] for run in answer["backfills"]] == ["2026-03-04T11:58:00Z", "2026-03-04T11:59:00Z"]
    assert timetable._step.cache_info().misses - steps < 50
