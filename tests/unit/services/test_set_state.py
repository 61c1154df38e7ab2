"""Marking tasks and runs."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gust.errors import Conflict
from gust.model.dag_spec import TaskSpec, TimetableSpec
from gust.model.dispatch import Dispatch
from gust.model.keys import DagRunKey
from gust.model.state import DagRunState, DagRunType, TriggerRule
from gust.model.state import TaskInstanceState as S
from gust.scheduling import transition
from gust.services.people.edit_run import HOLD
from gust.services.people.set_state import Mark, mark_task_instances, set_dag_run_state, to_be_marked
from gust.services.scheduler.advance import advance
from gust.services.worker.report_task_instance import heartbeat
from tests.unit.services.test_clear import FAILED, dies_at_write, finished_run, instance, wakes
from tests.world import RUNNING, SUCCESS, World, chain


def states(world: World, run: DagRunKey) -> dict[str, S | None]:
    state = world.store.load_run(run)
    assert state is not None
    return {task_id: found.state for (task_id, _), found in sorted(state.instances.items())}


def failed_run(world: World) -> DagRunKey:
    """a succeeded, b failed, c is upstream_failed."""
    world.given_dag(chain("a", "b", "c"))
    run = world.trigger()
    world.advance(run)
    world.succeed(run, "a")
    world.advance(run)
    world.work(run, "b", lambda i: transition.fail(i, at=world.clock.now()))
    assert world.advance(run).state is FAILED
    return run


def test_after_a_failed_task_is_marked_what_failed_behind_it_runs(world: World) -> None:
    run = failed_run(world)
    world.pass_time(hours=1)
    marked = mark_task_instances(world.services, run, Mark(tasks=["b"], state=S.SUCCESS))
    assert [(i.task_id, i.state) for i in marked] == [("b", S.SUCCESS)]
    assert states(world, run) == {"a": S.SUCCESS, "b": S.SUCCESS, "c": None}
    assert (world.run(run).state, world.run(run).clear_number) == (DagRunState.QUEUED, 1)
    world.advance(run)
    world.succeed(run, "c")
    assert world.advance(run).state is SUCCESS
    # No try began by marking, and it keeps the time it ended at.
    assert instance(world, run, "b").try_number == 1
    assert instance(world, run, "b").end_date == world.clock.now() - timedelta(hours=1)


@pytest.mark.parametrize("at", range(1, 5))
def test_a_mark_that_dies_anywhere_is_completed_by_asking_again(world: World, at: int) -> None:
    """What failed behind it is cleared before: of what is marked already, nothing could be asked for again."""
    run, mark = failed_run(world), Mark(tasks=["b"], state=S.SUCCESS)
    died = dies_at_write(world, at, lambda: mark_task_instances(world.services, run, mark))
    world.clock.advance(HOLD.total_seconds() + 1)
    if died and to_be_marked(world.services, run, mark):
        mark_task_instances(world.services, run, mark)
    assert states(world, run) == {"a": S.SUCCESS, "b": S.SUCCESS, "c": None}
    assert world.run(run).state is DagRunState.QUEUED


def test_marking_what_has_the_state_marks_nothing(world: World) -> None:
    run = failed_run(world)
    mark = Mark(tasks=["a"], state=S.SUCCESS)
    assert to_be_marked(world.services, run, mark) == []
    before = world.store.load_run(run)
    assert mark_task_instances(world.services, run, Mark(tasks=["b"], state=S.FAILED)) == []
    # What had failed behind it is cleared all the same, as in Airflow.
    assert before is not None
    assert states(world, run)["c"] is None


def test_a_run_that_ended_well_stays_ended_when_a_task_of_it_is_marked_failed(world: World) -> None:
    run = finished_run(world, "a", "b")
    mark_task_instances(world.services, run, Mark(tasks=["a"], state=S.FAILED))
    assert states(world, run) == {"a": S.FAILED, "b": S.SUCCESS}
    assert (world.run(run).state, world.dag().running_runs) == (SUCCESS, 0)


def test_around_a_task(world: World) -> None:
    run = finished_run(world, "a", "b", "c")
    asked = Mark(tasks=["b"], state=S.SKIPPED, upstream=True, downstream=True)
    assert {i.task_id for i in to_be_marked(world.services, run, asked)} == {"a", "b", "c"}
    mark_task_instances(world.services, run, asked)
    assert states(world, run) == dict.fromkeys("abc", S.SKIPPED)


def test_a_running_task_that_is_marked_is_ended_by_its_worker(world: World) -> None:
    world.given_dag(chain("a", "b"))
    run = world.trigger()
    world.advance(run)
    world.store.move(transition.start(instance(world, run, "a"), at=world.clock.now(), hostname="w", pid=1))
    worker = Dispatch.of(instance(world, run, "a"))
    mark_task_instances(world.services, run, Mark(tasks=["a"], state=S.SUCCESS))
    with pytest.raises(Conflict) as refusal:
        heartbeat(world.services, worker, at=world.clock.now())
    assert refusal.value.detail["reason"] == "not_running"
    assert wakes(world)[-1:] == ["r"]
    world.advance(run)
    assert world.state(run, "b") is S.QUEUED


def test_past_and_future_are_the_runs_of_the_timetable(world: World) -> None:
    cron = TimetableSpec(
        type="airflow.timetables.interval.CronDataIntervalTimetable",
        data={"expression": "0 0 * * *", "timezone": "UTC"},
    )
    world.given_dag(chain("a", timetable=cron), is_paused=True)
    day = world.clock.now().replace(hour=0)
    runs = {}
    for name, date in {
        "before": day - timedelta(days=2),
        "off": day - timedelta(days=1, hours=3),
        "on": day - timedelta(days=1),
        "this": day,
        "after": day + timedelta(days=1),
    }.items():
        runs[name] = world.trigger(name, logical_date=date)

    def marked(**around: bool) -> set[str]:
        found = to_be_marked(world.services, runs["this"], Mark(tasks=["a"], state=S.SUCCESS, **around))
        return {i.run_id for i in found}

    assert marked() == {"this"}
    assert marked(past=True) == {"before", "on", "this"}
    assert marked(past=True, future=True) == {"before", "on", "this", "after"}
    mark_task_instances(world.services, runs["this"], Mark(tasks=["a"], state=S.SUCCESS, future=True))
    assert [states(world, runs[name]) for name in ("on", "this", "after")] == [{}, {"a": S.SUCCESS}, {"a": S.SUCCESS}]
    assert {run.run_type for run in world.store.list_runs("etl")} == {DagRunType.MANUAL}


# --- runs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [SUCCESS, FAILED])
def test_marking_a_run_ends_what_is_active_and_skips_what_has_not_begun(world: World, state: DagRunState) -> None:
    world.given_dag(chain("a", "b"))
    run = world.trigger()
    world.advance(run)
    world.store.move(transition.start(instance(world, run, "a"), at=world.clock.now(), hostname="w", pid=1))
    assert world.dag().running_runs == 1
    ended = set_dag_run_state(world.services, run, state)
    assert (ended.state, ended.end_date, ended.due_at, ended.held_until) == (state, world.clock.now(), None, None)
    assert states(world, run) == {"a": S(state), "b": S.SKIPPED}
    assert world.dag().running_runs == 0
    advance(world.services, run)
    assert world.run(run).state is state


def test_a_teardown_does_its_work_before_a_marked_run_ends(world: World) -> None:
    spec = chain("a", "clean")
    clean: TaskSpec = spec.tasks["clean"].model_copy(update={"is_teardown": True, "trigger_rule": TriggerRule.ALL_DONE})
    world.given_dag(spec.model_copy(update={"tasks": {**spec.tasks, "clean": clean}}))
    run = world.trigger()
    world.advance(run)
    assert set_dag_run_state(world.services, run, FAILED).state is RUNNING
    assert states(world, run) == {"a": S.SKIPPED}
    world.advance(run)
    assert world.state(run, "clean") is S.QUEUED


@pytest.mark.parametrize("was", [RUNNING, SUCCESS])
def test_a_run_can_be_queued_as_it_is(world: World, was: DagRunState) -> None:
    if was is RUNNING:
        world.given_dag(chain("a"))
        run = world.trigger()
        world.advance(run)
    else:
        run = finished_run(world, "a")
    world.pass_time(minutes=1)
    queued = set_dag_run_state(world.services, run, DagRunState.QUEUED)
    assert (queued.state, queued.queued_at, queued.start_date, queued.end_date) == (
        *(DagRunState.QUEUED, world.clock.now()),
        *(None, None),
    )
    assert world.dag().running_runs == 0
    assert queued.due_at is not None
    assert world.advance(run).state is was


def test_a_finished_run_can_be_called_otherwise(world: World) -> None:
    run = finished_run(world, "a")
    ended = world.run(run).end_date
    world.pass_time(minutes=1)
    marked = set_dag_run_state(world.services, run, FAILED)
    assert (marked.state, marked.end_date) == (FAILED, ended)
    assert states(world, run) == {"a": S.SUCCESS}
