"""A backfill's life: its runs are made once each, run under its own limit and in its order, and end it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gust.errors import Conflict, ServiceUnavailable, StaleBackfill
from gust.model.backfill import Backfill, ReprocessBehavior
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec, TimetableSpec
from gust.model.keys import DagRunKey
from gust.model.state import DagRunState as R
from gust.model.state import DagRunType
from gust.model.state import TaskInstanceState as S
from gust.model.workload import WakeBackfill, WakeRun
from gust.services.backfills.advance_backfill import AT_ONCE, advance_backfill
from gust.services.backfills.create_backfill import BackfillRequest, create_backfill
from gust.services.backfills.pause_backfill import cancel_backfill, pause_backfill
from gust.services.context import Services
from gust.services.people.pause_dag import set_paused
from gust.services.runs.create_dag_run import create_due_runs
from gust.services.scheduler.tick import tick
from gust.store.memory import MemoryStore
from tests.unit.services.test_due_runs import HOURLY
from tests.world import START, World, chain

FROM = datetime(2026, 2, 1, tzinfo=UTC)


def hourly(**fields: object) -> DagSpec:
    """Its own runs begin the next day."""
    return chain("extract", **{"timetable": HOURLY, "start_date": START + timedelta(days=1), **fields})


def asked(hours: int = 4, **fields: Any) -> BackfillRequest:
    return BackfillRequest(dag_id="etl", from_date=FROM, to_date=FROM + timedelta(hours=hours - 1), **fields)


def backfill(world: World, hours: int = 4, **fields: Any) -> Backfill:
    return create_backfill(world.services, asked(hours, **fields), user="ada")


def stored(world: World, backfill_id: int = 1) -> Backfill:
    found = world.store.get_backfill(backfill_id)
    assert found is not None
    return found


def test_its_runs_have_the_id_of_the_request_also_those_that_the_scheduler_makes(world: World) -> None:
    world.given_dag(hourly())
    create_backfill(replace(world.services, correlation_id="order-42"), asked(AT_ONCE + 2), user="ada")
    for _ in range(2):
        advance_backfill(world.services, 1)
    assert len(runs(world)) == AT_ONCE + 2
    assert {run.correlation_id for run in runs(world)} == {"order-42"}


def runs(world: World) -> list[DagRun]:
    """In the backfill's order."""
    return sorted(world.store.list_runs("etl"), key=lambda run: run.backfill_ordinal)


def settle(world: World) -> None:
    """Do what the scheduler's messages ask for, until there are none."""
    for _ in range(10_000):
        if not world.queues.wakes:
            return
        match world.queues.wakes.pop(0)[0]:
            case WakeBackfill(backfill_id=backfill_id):
                advance_backfill(world.services, backfill_id)
            case WakeRun(key=key, at=at) if at <= world.clock.now():
                world.advance(key)
    raise AssertionError("it never comes to rest")


def start_new_runs(world: World) -> None:
    """What the table's stream does for every queued run."""
    for run in world.store.list_runs("etl"):
        if run.state is R.QUEUED:
            world.advance(run.key)
    settle(world)


def finish(world: World, run: DagRun, state: R = R.SUCCESS) -> None:
    if state is R.SUCCESS:
        world.succeed(run.key, "extract")
    else:
        from gust.scheduling import transition

        world.work(run.key, "extract", lambda i: transition.fail(i, at=world.clock.now(), reason="so"))
    world.advance(run.key)
    settle(world)


def test_all_runs_are_made_and_run_under_the_backfills_own_limit(world: World) -> None:
    world.given_dag(hourly(max_active_runs=1))
    backfill(world, max_active_runs=2)
    assert [run.run_id for run in runs(world)] == [f"backfill__2026-02-01T0{h}:00:00+00:00" for h in range(4)]
    assert {(run.state, run.run_type) for run in runs(world)} == {(R.QUEUED, DagRunType.BACKFILL_JOB)}

    start_new_runs(world)
    assert [run.state for run in runs(world)] == [R.RUNNING, R.RUNNING, R.QUEUED, R.QUEUED]
    assert world.dag().running_runs == 0, "the DAG's limit is for other runs"
    while unfinished := [run for run in runs(world) if run.state is R.RUNNING]:
        assert len(unfinished) <= 2
        assert stored(world).running_runs == len(unfinished)
        world.pass_time(seconds=1)
        finish(world, unfinished[0])
    assert {run.state for run in runs(world)} == {R.SUCCESS}
    assert stored(world).completed_at == world.clock.now()
    assert stored(world).due_at is None


def test_a_manual_run_starts_beside_a_backfill_that_is_full(world: World) -> None:
    world.given_dag(hourly(max_active_runs=1))
    backfill(world, max_active_runs=1)
    start_new_runs(world)
    assert world.advance(world.trigger()).state is R.RUNNING


def test_backwards_the_latest_starts_first(world: World) -> None:
    world.given_dag(hourly())
    backfill(world, run_backwards=True, max_active_runs=1)
    earliest, latest = runs(world)[-1], runs(world)[0]
    assert earliest.logical_date == FROM
    assert world.advance(earliest.key).state is R.QUEUED, "it is not its turn"
    assert world.advance(latest.key).state is R.RUNNING


def test_the_timetable_goes_on_beside_a_backfill(world: World) -> None:
    world.given_dag(hourly(start_date=START, max_active_runs=1))
    backfill(world)
    assert [run.logical_date for run in create_due_runs(world.services, "etl")] == [START]


def test_a_paused_backfill_starts_nothing_until_it_is_unpaused(world: World) -> None:
    world.given_dag(hourly())
    backfill(world, max_active_runs=2)
    pause_backfill(world.services, 1, True)
    start_new_runs(world)
    assert {run.state for run in runs(world)} == {R.QUEUED}
    pause_backfill(world.services, 1, False)
    settle(world)
    assert [run.state for run in runs(world)] == [R.RUNNING, R.RUNNING, R.QUEUED, R.QUEUED]


def test_a_paused_dag_starts_none_of_its_backfills_runs_until_it_is_unpaused(world: World) -> None:
    world.given_dag(hourly(), is_paused=True)
    backfill(world, max_active_runs=1)
    start_new_runs(world)
    assert {run.state for run in runs(world)} == {R.QUEUED}
    set_paused(world.services, "etl", False)
    settle(world)
    assert [run.state for run in runs(world)] == [R.RUNNING, R.QUEUED, R.QUEUED, R.QUEUED]


def test_cancelling_fails_what_is_queued_and_lets_go_on_what_runs(world: World) -> None:
    world.given_dag(hourly())
    backfill(world, max_active_runs=1)
    start_new_runs(world)
    cancelled = cancel_backfill(world.services, 1)
    assert (cancelled.is_paused, cancelled.completed_at) == (True, world.clock.now())
    assert [run.state for run in runs(world)] == [R.RUNNING, R.FAILED, R.FAILED, R.FAILED]
    finish(world, runs(world)[0])
    assert runs(world)[0].state is R.SUCCESS
    assert (stored(world).running_runs, stored(world).unfinished_runs) == (0, 0)
    with pytest.raises(Conflict):
        pause_backfill(world.services, 1, False)
    backfill(world, reprocess_behavior=ReprocessBehavior.FAILED)
    assert [run.state for run in runs(world)].count(R.QUEUED) == 3


def test_its_runs_have_the_deadlines_of_their_dag(world: World) -> None:
    alert = {
        "name": "soon",
        "reference": {"reference_type": "DagRunQueuedAtDeadline"},
        "interval": {"__classname__": "datetime.timedelta", "__version__": 2, "__data__": 30.0},
        "callback": {
            "__classname__": "airflow.sdk.definitions.callback.SyncCallback",
            "__version__": 0,
            "__data__": {"path": "alerts.late", "kwargs": {}, "executor": None},
        },
    }
    world.given_dag(hourly(deadline=[alert]))
    backfill(world, hours=2)
    states = [world.store.load_run(run.key) for run in runs(world)]
    due = [[callback.due_at for callback in state.callbacks] for state in states if state]
    assert due == [[world.clock.now() + timedelta(seconds=30)]] * 2


def test_a_thousand_runs_are_made_in_several_looks(world: World) -> None:
    world.given_dag(hourly())
    backfill(world, hours=3 * AT_ONCE - 1)
    assert stored(world).made == AT_ONCE
    start = [wake for wake, _ in world.queues.wakes]
    assert start == [WakeBackfill(backfill_id=1, at=world.clock.now())]
    settle(world)
    assert stored(world).made == stored(world).unfinished_runs == 3 * AT_ONCE - 1
    assert len({run.logical_date for run in runs(world)}) == 3 * AT_ONCE - 1


def test_a_cancelled_backfill_of_many_runs_fails_them_in_several_looks(world: World) -> None:
    world.given_dag(hourly())
    backfill(world, hours=2 * AT_ONCE, max_active_runs=1)
    settle(world)
    cancel_backfill(world.services, 1)
    settle(world)
    assert Counter(run.state for run in runs(world)) == {R.RUNNING: 1, R.FAILED: 2 * AT_ONCE - 1}
    assert (stored(world).unfinished_runs, stored(world).due_at) == (1, None)


def test_runs_that_were_lost_sight_of_are_found_by_the_tick(world: World) -> None:
    world.given_dag(hourly())
    backfill(world, hours=AT_ONCE + 1)
    world.queues.wakes.clear()
    world.pass_time(minutes=1)
    tick(world.services)
    assert WakeBackfill(backfill_id=1, at=START + timedelta(minutes=1)) in [wake for wake, _ in world.queues.wakes]
    advance_backfill(world.services, 1)
    assert stored(world).is_made
    assert stored(world).due_at == world.clock.now() + timedelta(minutes=10)


# --- runs that exist --------------------------------------------------------------------------------------------------


def given_finished(world: World, hour: int, state: R) -> DagRunKey:
    key = world.trigger(f"mine_{hour}", logical_date=FROM + timedelta(hours=hour), conf={"mine": hour})
    world.advance(key)
    finish(world, world.run(key), state)
    return key


@pytest.mark.parametrize(
    ("behavior", "again"),
    [
        (ReprocessBehavior.NONE, set()),
        (ReprocessBehavior.FAILED, {"mine_1"}),
        (ReprocessBehavior.COMPLETED, {"mine_0", "mine_1"}),
    ],
)
def test_what_exists_is_run_again_as_the_behavior_says(
    world: World, behavior: ReprocessBehavior, again: set[str]
) -> None:
    world.given_dag(hourly())
    given_finished(world, 0, R.SUCCESS)
    given_finished(world, 1, R.FAILED)
    running = world.trigger("mine_2", logical_date=FROM + timedelta(hours=2))
    world.advance(running)
    backfill(world, reprocess_behavior=behavior)
    queued = {run.run_id for run in world.store.list_runs("etl") if run.state is R.QUEUED}
    assert queued == again | {"backfill__2026-02-01T03:00:00+00:00"}
    assert world.run(running).backfill_id is None
    start_new_runs(world)
    for run in [run for run in runs(world) if run.backfill_id]:
        assert world.state(run.key, "extract") is S.QUEUED
        finish(world, run)
    assert stored(world).completed_at is not None
    assert world.dag().running_runs == 1


def test_a_run_that_is_run_again_is_the_backfills_and_starts_anew(world: World) -> None:
    world.given_dag(hourly())
    key = given_finished(world, 0, R.FAILED)
    before = world.run(key)
    world.pass_time(hours=1)
    backfill(world, hours=1, reprocess_behavior=ReprocessBehavior.FAILED, dag_run_conf={"n": 1})
    run = world.run(key)
    assert (run.state, run.run_type, run.triggered_by) == (R.QUEUED, "backfill", "backfill")
    assert (run.clear_number, run.conf, run.start_date) == (before.clear_number + 1, {"n": 1}, None)
    assert world.state(key, "extract") is None
    [kept] = world.store.list_tries(key.task_instance("extract"))
    assert (kept.try_number, kept.state) == (1, S.FAILED)
    start_new_runs(world)
    instance = world.store.get_instance(key.task_instance("extract"))
    assert instance is not None
    assert instance.try_number == 2


def test_who_meets_another_clearing_the_same_run_passes_over_nothing(world: World) -> None:
    world.given_dag(hourly())
    key = given_finished(world, 0, R.FAILED)
    backfill_of_both = BackfillRequest(
        dag_id="etl", from_date=FROM, to_date=FROM + timedelta(hours=2), reprocess_behavior=ReprocessBehavior.FAILED
    )

    class Overtaken:
        """A store whose instances are cleared by another a moment before."""

        def __getattr__(self, name: str) -> Any:
            return getattr(world.store, name)

        def move_all(self, transitions: Any) -> Any:
            world.store.move_all(transitions)
            return transitions

    create_backfill(replace(world.services, store=Overtaken()), backfill_of_both, user=None)
    assert (stored(world).made, world.run(key).state) == (0, R.FAILED)
    advance_backfill(world.services, 1)
    assert (stored(world).made, stored(world).unfinished_runs, world.run(key).state) == (3, 3, R.QUEUED)


@pytest.mark.parametrize("latest", [True, False])
def test_it_is_run_again_on_the_newest_version_or_on_its_own(world: World, latest: bool) -> None:
    world.given_dag(hourly())
    key = given_finished(world, 0, R.SUCCESS)
    dag = world.dag()
    world.store.put_dag(dag, replace(dag, version_number=2, bundle_version="b2"))
    backfill(world, hours=2, reprocess_behavior=ReprocessBehavior.COMPLETED, run_on_latest_version=latest)
    assert world.run(key).version_number == (2 if latest else 1)
    assert world.run(key).bundle_version == ("b2" if latest else "b1")
    assert runs(world)[-1].version_number == 2, "a new run is of the newest version in any case"


def test_a_backfill_with_nothing_to_do_completes(world: World) -> None:
    world.given_dag(hourly())
    given_finished(world, 0, R.SUCCESS)
    backfill(world, hours=1)
    settle(world)
    assert stored(world).completed_at is not None


# --- partitions -------------------------------------------------------------------------------------------------------

PARTITIONS = TimetableSpec(
    type="airflow.timetables.trigger.CronPartitionTimetable",
    data={
        "expression": "0 * * * *",
        "timezone": "Asia/Kolkata",
        "run_offset": -1,
        "run_immediately": False,
        "key_format": "%Y-%m-%dT%H",
    },
    partitioned=True,
)


def test_a_partitioned_dag_is_scheduled_and_backfilled_by_partition(world: World) -> None:
    world.given_dag(hourly(timetable=PARTITIONS, start_date=START - timedelta(minutes=40), catchup=True))
    [scheduled] = create_due_runs(world.services, "etl")
    assert scheduled.run_id.startswith("scheduled__2026-03-02T08:30:00+00:00__2026-03-02T13__")
    assert (scheduled.logical_date, scheduled.partition_key) == (None, "2026-03-02T13")
    assert scheduled.partition_date == datetime(2026, 3, 2, 7, 30, tzinfo=UTC)
    assert world.dag().next_partition_key == "2026-03-02T14"

    backfill(world, hours=2)
    assert [run.partition_key for run in runs(world) if run.backfill_id] == ["2026-02-01T00", "2026-02-01T01"]
    cancel_backfill(world.services, 1)
    backfill(world, hours=2, reprocess_behavior=ReprocessBehavior.FAILED)
    made = [run for run in runs(world) if run.backfill_id == 2]
    assert len(made) == 2, "a partition is run again as a run beside the first"
    assert len(world.store.list_runs("etl")) == 5


# --- whoever dies -----------------------------------------------------------------------------------------------------


class Dying:
    """A store whose writer dies before or after one of its writes."""

    WRITES = ("create_backfill", "add_to_backfill", "update_backfill", "end_backfill", "move_all", "update_run")

    def __init__(self, store: MemoryStore, chance: random.Random) -> None:
        self._store = store
        self._chance = chance

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name not in self.WRITES:
            return method

        def dying(*args: Any, **kwargs: Any) -> Any:
            if self._chance.random() < 0.1:
                raise ServiceUnavailable("died before it")
            answer = method(*args, **kwargs)
            if self._chance.random() < 0.1:
                raise ServiceUnavailable("died after it")
            return answer

        return dying


@pytest.mark.parametrize("seed", range(40))
def test_whoever_dies_wherever_each_run_is_made_once_and_the_backfill_ends(world: World, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - repeatable
    world.given_dag(hourly())
    failed = given_finished(world, 2, R.FAILED)
    dying = replace(world.services, store=Dying(world.store, chance))

    def insist(do: Callable[[Services], Any], until: Callable[[], bool]) -> None:
        for _ in range(500):
            if until():
                return
            try:
                do(dying)
            except (ServiceUnavailable, StaleBackfill):
                world.pass_time(minutes=11)
        raise AssertionError("it does not come to an end")

    behavior = ReprocessBehavior.FAILED
    insist(
        lambda services: create_backfill(services, asked(6, reprocess_behavior=behavior, max_active_runs=3), user=None),
        lambda: bool(world.store.list_backfills("etl")),
    )
    backfill_id = world.store.list_backfills("etl")[0].backfill_id
    insist(
        lambda services: advance_backfill(services, backfill_id),
        lambda: stored(world, backfill_id).is_made,
    )
    made = [run for run in runs(world) if run.backfill_id == backfill_id]
    assert [run.backfill_ordinal for run in made] == [1, 2, 3, 4, 5, 6]
    assert stored(world, backfill_id).unfinished_runs == 6
    assert made[2].key == failed
    assert len(world.store.list_tries(failed.task_instance("extract"))) == 1
    world.queues.wakes.clear()
    if seed % 2:
        insist(
            lambda services: cancel_backfill(services, backfill_id),
            lambda: not stored(world, backfill_id).is_active,
        )
        insist(
            lambda services: advance_backfill(services, backfill_id),
            lambda: stored(world, backfill_id).due_at is None,
        )
        assert {run.state for run in runs(world)} == {R.FAILED}
    else:
        start_new_runs(world)
        while running := [run for run in runs(world) if run.state is R.RUNNING]:
            assert len(running) <= 3
            finish(world, running[-1])
        assert {run.state for run in runs(world)} == {R.SUCCESS}
        assert stored(world, backfill_id).completed_at is not None
    assert (stored(world, backfill_id).running_runs, stored(world, backfill_id).unfinished_runs) == (0, 0)


def test_a_run_that_runs_again_has_not_ended(world: World) -> None:
    world.given_dag(hourly())
    run = world.trigger("by_hand", logical_date=FROM)
    world.advance(run)
    world.succeed(run, "extract")
    assert world.advance(run).end_date is not None
    backfill(world, 1, reprocess_behavior=ReprocessBehavior.COMPLETED)
    assert (world.run(run).state, world.run(run).end_date) == (R.QUEUED, None)


@pytest.mark.parametrize(("catchup", "next_run"), [(True, FROM + timedelta(hours=4)), (False, START)])
def test_a_dag_that_catches_up_goes_on_behind_a_backfill(world: World, catchup: bool, next_run: datetime) -> None:
    """Airflow's parser computes the next run from the latest automated one, which may be a backfill's."""
    start = FROM - timedelta(days=2)
    world.given_dag(hourly(catchup=catchup, start_date=start), is_paused=True)
    assert world.dag().next_run_after == (start if catchup else START)
    backfill(world, hours=4)
    assert world.dag().next_run_after == next_run
