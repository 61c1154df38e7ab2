"""Consequences of pausing and unpausing a DAG."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gust.errors import NotFound
from gust.model.dag import Dag
from gust.model.dag_spec import DagSpec, TimetableSpec
from gust.model.state import DagRunState, DagRunType
from gust.model.workload import WakeDag, WakeRun
from gust.scheduling.timetable import DataInterval, NextRun
from gust.services.people.pause_dag import set_paused
from gust.services.runs.next_run import with_next_run
from tests.unit.rest_api.world import NOW, World, etl_spec

DAILY = {"expression": "0 0 * * *", "timezone": "UTC"}
DATA_INTERVALS = "airflow.timetables.interval.CronDataIntervalTimetable"


def daily(*, catchup: bool = False) -> DagSpec:
    return etl_spec(
        timetable=TimetableSpec(type=DATA_INTERVALS, data=DAILY),
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=catchup,
    )


def paused_since(world: World, moment: datetime, spec: DagSpec) -> Dag:
    """A paused DAG whose next run is as it was at that moment, after its last run ended there."""
    dag = world.dag(spec=spec, is_paused=True)
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    last = DataInterval(midnight - timedelta(days=2), midnight - timedelta(days=1))
    after = with_next_run(world.services, dag, spec, last=NextRun(last.end, last), now=moment)
    world.store.put_dag(dag, after)
    world.run(
        after,
        "scheduled__last",
        run_type=DagRunType.SCHEDULED,
        state=DagRunState.SUCCESS,
        data_interval_start=last.start,
        data_interval_end=last.end,
    )
    return after


def test_of_the_runs_that_were_missed_the_newest_is_made(world: World) -> None:
    paused_since(world, NOW - timedelta(days=10), daily())
    dag = set_paused(world.services, "etl", False)
    assert dag.next_data_interval_start == datetime(2026, 3, 3, tzinfo=UTC)
    assert dag.next_run_after == datetime(2026, 3, 4, tzinfo=UTC)
    assert world.store.get_dag("etl") == dag
    assert world.queues.wakes == [(WakeDag(dag_id="etl", at=datetime(2026, 3, 4, tzinfo=UTC)), 0.0)]


def test_with_catchup_all_are_made(world: World) -> None:
    paused_since(world, NOW - timedelta(days=10), daily(catchup=True))
    before = world.store.get_dag("etl")
    assert before is not None
    assert set_paused(world.services, "etl", False) == replace(before, is_paused=False)


def test_what_ran_already_is_not_made_again(world: World) -> None:
    spec = daily()
    dag = paused_since(world, NOW, spec)
    world.run(
        dag,
        "scheduled__newer",
        run_type=DagRunType.SCHEDULED,
        state=DagRunState.SUCCESS,
        run_after=NOW + timedelta(seconds=1),
        logical_date=datetime(2026, 3, 3, tzinfo=UTC),
        data_interval_start=datetime(2026, 3, 3, tzinfo=UTC),
        data_interval_end=datetime(2026, 3, 4, tzinfo=UTC),
    )
    assert set_paused(world.services, "etl", False).next_data_interval_start == datetime(2026, 3, 4, tzinfo=UTC)
    assert world.queues.wakes == []


def test_a_run_that_is_to_come_stays_as_it_is(world: World) -> None:
    dag = world.dag(spec=daily(), is_paused=True)
    soon = replace(dag, next_run_after=NOW + timedelta(seconds=20), next_logical_date=NOW)
    world.store.put_dag(dag, soon)
    assert set_paused(world.services, "etl", False) == replace(soon, is_paused=False)
    assert world.queues.wakes == [(WakeDag(dag_id="etl", at=NOW + timedelta(seconds=20)), 20.0)]


def test_runs_that_waited_are_looked_at_again(world: World) -> None:
    dag = world.dag(is_paused=True, max_active_runs=2)
    for number in range(4):
        world.run(dag, f"queued_{number}", state=DagRunState.QUEUED, run_after=NOW - timedelta(minutes=number))
    world.run(dag, "running", state=DagRunState.RUNNING)
    world.run(dag, "over", state=DagRunState.FAILED)
    set_paused(world.services, "etl", False)
    woken = [wake.run_id for wake, _ in world.queues.wakes if isinstance(wake, WakeRun)]
    assert woken == ["running", "queued_3", "queued_2"]


def test_unpausing_again_heals_one_that_died_halfway(world: World) -> None:
    dag = world.dag()
    world.run(dag, "waits", state=DagRunState.QUEUED)
    assert set_paused(world.services, "etl", False) == dag
    assert [wake for wake, _ in world.queues.wakes] == [WakeRun(dag_id="etl", run_id="waits", at=NOW)]


def test_pausing_wakes_nothing_and_keeps_the_next_run(world: World) -> None:
    world.run(world.dag(next_run_after=NOW), "goes_on", state=DagRunState.RUNNING)
    before = world.store.get_dag("etl")
    assert before is not None
    assert set_paused(world.services, "etl", True) == replace(before, is_paused=True)
    assert world.queues.wakes == []


def test_a_dag_that_is_not_there(world: World) -> None:
    with pytest.raises(NotFound):
        set_paused(world.services, "etl", True)
