"""Scheduled runs: made once each, in time, as many as there is room for."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gust.errors import AlreadyExists, BadRequest, NotFound
from gust.model.dag_spec import DagSpec, ParamSpec, TimetableSpec
from gust.model.keys import DagRunKey
from gust.model.state import DagRunType
from gust.model.workload import WakeDag, WakeRun
from gust.services.runs.create_dag_run import create_due_runs
from gust.services.scheduler.tick import tick
from gust.store.memory import MemoryStore
from tests.world import START, World, chain

HOURLY = TimetableSpec(
    type="airflow.timetables.trigger.CronTriggerTimetable",
    data={"expression": "0 * * * *", "timezone": "UTC", "interval": 0.0, "run_immediately": False},
)


def hourly(**fields: object) -> DagSpec:
    given: dict[str, object] = {"timetable": HOURLY, "start_date": datetime(2026, 3, 1, tzinfo=UTC)}
    return chain("extract", **{**given, **fields})


def test_a_due_run_is_made_once_and_the_next_one_is_known(world: World) -> None:
    world.pass_time(minutes=30)
    world.given_dag(hourly())
    next_hour = START + timedelta(hours=1)
    assert world.dag().next_run_after == START, "without catchup the latest missed one is made"

    assert [run.run_id for run in create_due_runs(world.services, "etl")] == ["scheduled__2026-03-02T09:00:00+00:00"]
    assert create_due_runs(world.services, "etl") == []
    assert world.dag().next_run_after == next_hour


def test_catchup_makes_what_was_missed_as_far_as_there_is_room(world: World) -> None:
    world.given_dag(hourly(catchup=True, start_date=START - timedelta(hours=5), max_active_runs=3))
    made = create_due_runs(world.services, "etl")
    assert [run.logical_date for run in made] == [START - timedelta(hours=h) for h in (5, 4, 3)]
    assert all(run.run_type is DagRunType.SCHEDULED for run in made)
    assert create_due_runs(world.services, "etl") == [], "three wait to start"


class Lagging:
    """A store whose index `by_state` shows no queued run yet."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def queued_runs(self, dag_id: str, *, limit: int) -> list[DagRunKey]:
        return []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_an_index_that_lags_makes_no_more_runs_than_there_is_room_for(world: World) -> None:
    world.given_dag(hourly(catchup=True, start_date=START - timedelta(hours=5), max_active_runs=3))
    assert len(create_due_runs(replace(world.services, store=Lagging(world.store)), "etl")) == 3


def test_a_logical_date_that_a_person_took_is_passed_over(world: World) -> None:
    world.given_dag(hourly())
    world.trigger("mine", logical_date=START)
    assert create_due_runs(world.services, "etl") == []
    assert world.dag().next_run_after == START + timedelta(hours=1)


def test_a_paused_dag_makes_no_runs(world: World) -> None:
    world.given_dag(hourly(), is_paused=True)
    assert create_due_runs(world.services, "etl") == []


def test_the_tick_hands_over_what_is_due_within_its_minute_with_the_exact_delay(world: World) -> None:
    world.given_dag(hourly(start_date=START + timedelta(hours=1)))
    world.pass_time(minutes=58, seconds=30)
    assert tick(world.services) == 0
    world.pass_time(minutes=1)
    assert tick(world.services) == 1
    assert world.queues.wakes == [(WakeDag(dag_id="etl", at=START + timedelta(hours=1)), 30.0)]
    assert world.store.last_alive()["scheduler"] == world.clock.now()


def test_a_run_every_minute_is_in_time_whenever_ticks_come(world: World) -> None:
    """The tick that finds one run due cannot see the next one yet, and the tick after it comes too late for it."""
    every_minute = HOURLY.model_copy(update={"data": {**HOURLY.data, "expression": "* * * * *"}})
    world.given_dag(hourly(timetable=every_minute))
    world.pass_time(seconds=35)
    tick(world.services)
    world.queues.wakes.clear()

    assert len(create_due_runs(world.services, "etl")) == 1
    assert world.queues.wakes == [(WakeDag(dag_id="etl", at=START + timedelta(minutes=1)), 25.0)]
    world.queues.wakes.clear()
    assert create_due_runs(world.services, "etl") == []
    assert world.queues.wakes == [], "who makes nothing hands nothing over, lest wake-ups multiply"


def test_the_tick_finds_runs_whose_wake_up_was_lost(world: World) -> None:
    world.given_dag(chain("extract"))
    run = world.trigger()
    world.advance(run)
    world.queues.wakes.clear()
    world.pass_time(minutes=5)
    tick(world.services)
    assert [(wake.run_id, delay) for wake, delay in world.queues.wakes if isinstance(wake, WakeRun)] == [("r", 0.0)]


def test_what_cannot_be_made_says_why(world: World) -> None:
    world.given_dag(chain("extract", params={"n": ParamSpec(value=1, json_schema={"type": "integer"})}))
    with pytest.raises(NotFound, match="'no_such_dag' not found"):
        world.trigger(dag_id="no_such_dag")
    with pytest.raises(BadRequest, match="reserved for scheduled runs"):
        world.trigger("scheduled__2026-03-02T09:00:00+00:00")
    with pytest.raises(BadRequest, match=r"must not contain '\.\.'"):
        world.trigger("../r")
    with pytest.raises(BadRequest, match="Invalid input for param n: 'x' is not of type 'integer'"):
        world.trigger(conf={"n": "x"})
    world.trigger("twice")
    with pytest.raises(AlreadyExists):
        world.trigger("twice")


def test_without_catchup_what_found_no_room_in_time_is_left_out(world: World) -> None:
    """A run that takes longer than its interval: Airflow goes on with the newest interval, not with the next one."""
    world.given_dag(hourly(max_active_runs=1))
    [first] = create_due_runs(world.services, "etl")
    world.advance(first.key)
    world.pass_time(hours=4, minutes=20)
    assert create_due_runs(world.services, "etl") == [], "no room"
    world.succeed(first.key, "extract")
    world.advance(first.key)
    runs = sorted(run.logical_date for run in world.store.list_runs("etl") if run.logical_date)
    assert runs == [START, START + timedelta(hours=4)]
    assert world.dag().next_run_after == START + timedelta(hours=5)


def test_with_catchup_it_is_made_up_for(world: World) -> None:
    world.given_dag(hourly(max_active_runs=1, catchup=True, start_date=START))
    [first] = create_due_runs(world.services, "etl")
    world.advance(first.key)
    world.pass_time(hours=4, minutes=20)
    world.succeed(first.key, "extract")
    world.advance(first.key)
    runs = sorted(run.logical_date for run in world.store.list_runs("etl") if run.logical_date)
    assert runs == [START, START + timedelta(hours=1)]


def test_an_operator_triggers_nothing_before_the_start_date_of_default_args(world: World) -> None:
    """Airflow's `trigger_dag`; its REST API does not ask."""
    start = START - timedelta(days=1)
    world.given_dag(chain("extract", default_args={"start_date": start.isoformat()}))
    early = start - timedelta(seconds=1)
    with pytest.raises(BadRequest, match="should be >= start_date"):
        world.trigger("early", logical_date=early, run_type=DagRunType.OPERATOR_TRIGGERED)
    world.trigger("by_a_person", logical_date=early)
    world.trigger("on_time", logical_date=start, run_type=DagRunType.OPERATOR_TRIGGERED)


def test_an_operator_is_told_of_the_run_that_exists_before_what_is_wrong_with_its_conf(world: World) -> None:
    """Else `reset_dag_run` and `skip_when_already_exists` would not be asked."""
    world.given_dag(chain("extract", params={"n": ParamSpec(value=1, json_schema={"type": "integer"})}))
    world.trigger("r")
    with pytest.raises(AlreadyExists):
        world.trigger("r", conf={"n": "many"}, run_type=DagRunType.OPERATOR_TRIGGERED)
    with pytest.raises(BadRequest):
        world.trigger("r", conf={"n": "many"})
    with pytest.raises(BadRequest):
        world.trigger("other", conf={"n": "many"}, run_type=DagRunType.OPERATOR_TRIGGERED)
