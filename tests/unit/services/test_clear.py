"""Clearing: the instances that run again, the run's new state, and that neither a race nor a crash leaves half of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gust.errors import Conflict, Gone
from gust.model.dag_run import DagRun
from gust.model.dag_spec import ExpandedKwarg, Expansion, TaskSpec, XComLength
from gust.model.dispatch import Dispatch
from gust.model.keys import DagRunKey
from gust.model.run_state import RunState
from gust.model.state import DagRunState
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.model.workload import WakeRun
from gust.scheduling import transition
from gust.scheduling.decision import Decision
from gust.scheduling.transition import Transition
from gust.services.people.clear_task_instances import Clear, clear_dag_run, clear_task_instances
from gust.services.people.edit_run import HOLD, Edit, edit_run
from gust.services.people.set_state import Mark, mark_task_instances
from gust.services.scheduler.advance import advance
from gust.services.scheduler.carry_out import carry_out
from gust.services.scheduler.tick import tick
from gust.services.worker.report_task_instance import heartbeat, report_failure, report_lost, report_success
from gust.store.memory import MemoryStore
from tests.world import RUNNING, SUCCESS, World, chain

FAILED = DagRunState.FAILED


def instance(world: World, run: DagRunKey, task_id: str, map_index: int = -1) -> TaskInstance:
    found = world.store.get_instance(run.task_instance(task_id, map_index))
    assert found is not None
    return found


def finished_run(world: World, *task_ids: str, **fields: object) -> DagRunKey:
    world.given_dag(chain(*task_ids, **fields))
    run = world.trigger()
    world.advance(run)
    for task_id in task_ids:
        world.succeed(run, task_id)
        world.advance(run)
    assert world.run(run).state is SUCCESS
    return run


def clear(world: World, run: DagRunKey, *task_ids: str, **asked: Any) -> list[TaskInstance]:
    return clear_task_instances(world.services, [run], Clear(markers=frozenset(task_ids) or None, **asked))


def wakes(world: World) -> list[str]:
    return [wake.run_id for wake, _ in world.queues.wakes if isinstance(wake, WakeRun)]


# --- what clearing does -----------------------------------------------------------------------------------------------


def test_a_finished_run_goes_on_from_what_was_cleared(world: World) -> None:
    run = finished_run(world, "extract", "load")
    world.pass_time(hours=1)
    cleared = clear(world, run, "load")

    assert [(i.task_id, i.state, i.try_number, i.max_tries) for i in cleared] == [("load", None, 1, 1)]
    reset = world.run(run)
    assert (reset.state, reset.clear_number, reset.queued_at) == (DagRunState.QUEUED, 1, world.clock.now())
    assert (reset.start_date, reset.end_date, reset.last_scheduling_decision) == (None, None, None)
    assert reset.held_until is None
    assert wakes(world)[-1:] == ["r"]
    assert world.dag().running_runs == 0

    assert world.advance(run).state is RUNNING
    assert world.dag().running_runs == 1
    assert (instance(world, run, "extract").try_number, instance(world, run, "load").try_number) == (1, 2)
    world.succeed(run, "load")
    assert world.advance(run).state is SUCCESS
    assert world.dag().running_runs == 0
    [kept] = world.store.list_tries(run.task_instance("load"))
    assert (kept.state, kept.try_number) == (S.SUCCESS, 1)


def test_a_running_run_stays_running_and_is_counted_once(world: World) -> None:
    world.given_dag(chain("extract", "load"))
    run = world.trigger()
    world.advance(run)
    world.succeed(run, "extract")
    started = world.advance(run).start_date
    world.pass_time(seconds=30)
    clear(world, run, "extract")
    reset = world.run(run)
    assert (reset.state, reset.start_date, reset.clear_number) == (RUNNING, started, 1)
    assert world.dag().running_runs == 1
    world.advance(run)
    assert (world.state(run, "extract"), instance(world, run, "extract").try_number) == (S.QUEUED, 2)


def test_without_resetting_runs_what_is_cleared_waits(world: World) -> None:
    run = finished_run(world, "extract")
    clear(world, run, reset_dag_runs=False)
    world.advance(run)
    assert (world.run(run).state, world.run(run).clear_number, world.state(run, "extract")) == (SUCCESS, 0, None)


def test_retries_are_counted_anew(world: World) -> None:
    spec = chain("extract")
    retried = {"extract": spec.tasks["extract"].model_copy(update={"retries": 2})}
    run = finished_run(world, "extract", tasks=retried)
    assert [i.max_tries for i in clear(world, run)] == [3]
    world.advance(run)
    assert (instance(world, run, "extract").try_number, instance(world, run, "extract").max_tries) == (2, 3)


def test_clearing_twice_is_clearing_once(world: World) -> None:
    run = finished_run(world, "extract")
    clear(world, run)
    once = instance(world, run, "extract")
    clear(world, run)
    assert instance(world, run, "extract") == once
    assert [kept.try_number for kept in world.store.list_tries(run.task_instance("extract"))] == [1]


def test_only_what_failed(world: World) -> None:
    world.given_dag(chain("extract", "load"))
    run = world.trigger()
    world.advance(run)
    world.work(run, "extract", lambda i: transition.fail(i, at=world.clock.now()))
    assert world.advance(run).state is FAILED
    assert {i.task_id for i in clear(world, run, only_failed=True)} == {"extract", "load"}
    # A task that never ran was cleared as well: as in Airflow its history begins with a try 0.
    assert [kept.try_number for kept in world.store.list_tries(run.task_instance("load"))] == [0]
    world.advance(run)
    assert (world.state(run, "extract"), world.state(run, "load")) == (S.QUEUED, None)


def test_a_note_and_nothing_else_for_what_has_not_begun(world: World) -> None:
    world.given_dag(chain("extract", "load"))
    run = world.trigger()
    clear(world, run, note="why")
    assert (instance(world, run, "load").note, world.state(run, "load")) == ("why", None)
    clear(world, run, note="")
    assert instance(world, run, "load").note is None


# --- what runs --------------------------------------------------------------------------------------------------------


def running_task(world: World, **fields: object) -> tuple[DagRunKey, Dispatch]:
    world.given_dag(chain("extract", **fields))
    run = world.trigger()
    world.advance(run)
    queued = instance(world, run, "extract")
    world.store.move(transition.start(queued, at=world.clock.now(), hostname="w", pid=1))
    return run, Dispatch.of(instance(world, run, "extract"))


def test_what_runs_is_ended_by_its_worker_before_it_runs_again(world: World) -> None:
    run, worker = running_task(world)
    clear(world, run)
    assert world.state(run, "extract") is S.RESTARTING
    world.advance(run)
    assert (world.state(run, "extract"), len(world.queues.tasks)) == (S.RESTARTING, 1)
    with pytest.raises(Gone):
        heartbeat(world.services, worker, at=world.clock.now())

    report_lost(world.services, worker, at=world.clock.now(), reason="ended")
    world.advance(run)
    assert (world.state(run, "extract"), instance(world, run, "extract").try_number) == (S.QUEUED, 2)
    [kept] = world.store.list_tries(run.task_instance("extract"))
    assert (kept.state, kept.end_date) == (S.FAILED, world.clock.now())


@pytest.mark.parametrize("report", [report_success, report_failure])
def test_the_end_of_a_cleared_try_counts_as_its_end_alone(world: World, report: Callable[..., None]) -> None:
    run, worker = running_task(world)
    clear(world, run)
    with pytest.raises(Gone):
        report(world.services, worker, at=world.clock.now())
    assert world.state(run, "extract") is None
    with pytest.raises(Conflict):
        report(world.services, worker, at=world.clock.now())


def test_a_cleared_try_whose_worker_is_silent_runs_again(world: World) -> None:
    run, _ = running_task(world)
    clear(world, run)
    world.pass_time(minutes=5)
    world.advance(run)
    assert world.state(run, "extract") is None
    world.pass_time(seconds=1)
    world.advance(run)
    assert (world.state(run, "extract"), instance(world, run, "extract").try_number) == (S.QUEUED, 2)


def test_clearing_once_more_does_not_wait_for_the_worker(world: World) -> None:
    run, worker = running_task(world)
    clear(world, run)
    clear(world, run)
    assert world.state(run, "extract") is None
    with pytest.raises(Gone):
        heartbeat(world.services, worker, at=world.clock.now())


def test_what_runs_can_be_protected(world: World) -> None:
    run, _ = running_task(world)
    before = world.run(run)
    with pytest.raises(Conflict, match="prevent_running_task"):
        clear(world, run, prevents_running=True)
    assert (world.state(run, "extract"), world.run(run)) == (S.RUNNING, before)


# --- versions ---------------------------------------------------------------------------------------------------------


def new_version(world: World, *task_ids: str, **fields: object) -> None:
    spec = chain(*task_ids, **fields)
    key = f"specs/new-{'-'.join(task_ids)}.json"
    world.objects.put(key, spec.model_dump_json().encode())
    dag = world.dag()
    world.store.put_dag(dag, replace(dag, version_number=2, spec_key=key, bundle_version="b2"))


def test_on_the_newest_version_the_run_moves_and_what_is_not_cleared_stays_what_it_was(world: World) -> None:
    run = finished_run(world, "extract", "load", "gone")
    new_version(world, "extract", "load", "report")
    clear(world, run, "load", on_latest_version=True)
    moved = world.run(run)
    assert (moved.version_number, moved.bundle_version) == (2, "b2")
    assert (instance(world, run, "extract").version_number, instance(world, run, "load").version_number) == (1, None)
    assert world.state(run, "gone") is S.REMOVED
    [kept] = world.store.list_tries(run.task_instance("load"))
    assert kept.version_number == 1

    world.advance(run)
    world.succeed(run, "load")
    world.advance(run)
    assert world.state(run, "report") is S.QUEUED


def test_on_its_own_version_the_run_stays(world: World) -> None:
    run = finished_run(world, "extract")
    new_version(world, "extract", "report")
    clear(world, run)
    assert (world.run(run).version_number, world.run(run).bundle_version) == (1, "b1")


# --- races and crashes ------------------------------------------------------------------------------------------------


def about_to_finish(world: World) -> tuple[DagRun, Decision]:
    """The scheduler has seen everything succeed, and is about to say so."""
    world.given_dag(chain("extract"))
    run = world.trigger()
    world.advance(run)
    world.succeed(run, "extract")
    seen = world.run(run)
    return seen, Decision(run=replace(seen, state=SUCCESS, end_date=world.clock.now(), due_at=None))


def test_a_finish_decided_before_a_clear_comes_too_late(world: World) -> None:
    seen, decided = about_to_finish(world)
    clear(world, seen.key)
    with pytest.raises(Exception, match="moved on"):
        carry_out(world.services, chain("extract"), seen, decided, now=world.clock.now())
    assert (world.run(seen.key).state, world.dag().running_runs) == (RUNNING, 1)


def test_a_finish_decided_before_a_mark_comes_too_late_though_the_mark_is_done(world: World) -> None:
    seen, decided = about_to_finish(world)
    mark_task_instances(world.services, seen.key, Mark(tasks=["extract"], state=S.FAILED))
    assert world.run(seen.key).held_until is None
    with pytest.raises(Exception, match="moved on"):
        carry_out(world.services, chain("extract"), seen, decided, now=world.clock.now())
    assert world.advance(seen.key).state is FAILED


def test_the_scheduler_sees_no_half_of_a_clear(world: World) -> None:
    run = finished_run(world, "extract", "load")

    def look_between(state: RunState) -> Edit:
        if world.run(run).held_until:
            # Between the hold and the last write, whoever looks changes nothing.
            before = world.store.load_run(run)
            advance(world.services, run)
            assert world.store.load_run(run) == before
        return Edit(first=lambda r: replace(r, state=DagRunState.QUEUED, clear_number=r.clear_number + 1))

    edit_run(world.services, run, look_between)
    assert world.run(run).held_until is None


class Interfering(MemoryStore):
    """Lets a test act just before the n-th write of instances."""

    before_move: Callable[[Transition], None] | None = None

    def move(self, change: Transition) -> None:
        if act := self.before_move:
            self.before_move = None
            act(change)
        super().move(change)


@pytest.fixture
def interfered() -> World:
    return World(store=Interfering())


def test_a_report_in_the_midst_of_a_clear_is_not_lost_and_is_cleared(interfered: World) -> None:
    world = interfered
    run, worker = running_task(world)

    def report(_: Transition) -> None:
        report_success(world.services, worker, at=world.clock.now())

    world.store.before_move = report  # type: ignore[attr-defined]
    clear(world, run)
    # Seen running, found successful: it is cleared as one that ended, and its success is in the history.
    assert world.state(run, "extract") is None
    [kept] = world.store.list_tries(run.task_instance("extract"))
    assert kept.state is S.SUCCESS


class Dies(BaseException):
    pass


@pytest.mark.parametrize("at", range(1, 8))
def test_a_clear_that_dies_anywhere_is_completed_by_asking_again(interfered: World, at: int) -> None:
    world = interfered
    run = finished_run(world, "a", "b", "c")
    died = dies_at_write(world, at, lambda: clear(world, run))
    world.clock.advance(HOLD.total_seconds() + 120)
    if died:
        # Nobody comes for a minute: the tick does, and the run does not stand still in between.
        tick(world.services)
        with suppress(Exception):
            advance(world.services, run)
        clear(world, run)
    drive(world, run)
    assert world.run(run).state is SUCCESS
    assert world.dag().running_runs == 0
    for task_id in ("a", "b", "c"):
        numbers = [kept.try_number for kept in world.store.list_tries(run.task_instance(task_id))]
        assert numbers == list(range(1, instance(world, run, task_id).try_number))
        assert instance(world, run, task_id).try_number >= 2


@pytest.mark.parametrize("at", range(1, 8))
def test_a_clear_that_dies_anywhere_leaves_a_run_that_comes_to_its_end(interfered: World, at: int) -> None:
    world = interfered
    run = finished_run(world, "a", "b", "c")
    dies_at_write(world, at, lambda: clear(world, run))
    world.clock.advance(HOLD.total_seconds() + 120)
    due = [key for key, _ in world.store.due_runs(world.clock.now())]
    stored = world.run(run)
    assert stored.is_finished or due == [run] or stored.held_until is None
    drive(world, run)
    assert world.run(run).is_finished
    assert all(instance(world, run, task_id).state is S.SUCCESS for task_id in ("a", "b", "c"))


def dies_at_write(world: World, number: int, act: Callable[[], object]) -> bool:
    """Whether `act` came so far."""
    written = 0
    store = world.store
    names = ("move", "update_run", "finish_run", "start_run")
    originals = {name: getattr(store, name) for name in names}

    def counted(name: str) -> Callable[..., Any]:
        def write(*args: Any, **kwargs: Any) -> Any:
            nonlocal written
            written += 1
            if written >= number:
                raise Dies
            return originals[name](*args, **kwargs)

        return write

    for name in names:
        setattr(store, name, counted(name))
    try:
        act()
    except Dies:
        return True
    finally:
        for name in names:
            delattr(store, name)
    return False


def drive(world: World, run: DagRunKey) -> None:
    """Advance and work until nothing moves."""
    for _ in range(20):
        advance(world.services, run)
        state = world.store.load_run(run)
        assert state is not None
        for found in state.instances.values():
            if found.state is S.QUEUED:
                world.succeed(run, found.task_id)
        world.clock.advance(1)


def test_two_actions_take_turns(world: World) -> None:
    run = finished_run(world, "extract")
    held = world.run(run)
    world.store.update_run(held, replace(held, held_by="another", held_until=world.clock.now() + HOLD))
    pauses = []

    def until_it_lets_go(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            current = world.run(run)
            world.store.update_run(current, replace(current, held_by=None, held_until=None))

    mark = Edit(first=lambda r: replace(r, note="mine"))
    edit_run(world.services, run, lambda state: Edit() if state.run.note else mark, sleep=until_it_lets_go)
    assert (world.run(run).note, len(pauses)) == ("mine", 3)

    held = world.run(run)
    world.store.update_run(held, replace(held, held_by="another", held_until=world.clock.now() + HOLD))
    with pytest.raises(Conflict, match="under way"):
        edit_run(world.services, run, lambda _: Edit(first=lambda r: replace(r, note="other")), sleep=lambda _: None)
    assert world.run(run).note == "mine"


def test_a_hold_whose_holder_died_ends(world: World) -> None:
    world.given_dag(chain("extract"))
    run = world.trigger()
    held = world.run(run)
    until = world.clock.now() + HOLD
    world.store.update_run(held, replace(held, held_by="dead", held_until=until, due_at=until))
    assert world.advance(run).state is DagRunState.QUEUED
    world.clock.advance(HOLD.total_seconds())
    tick(world.services)
    assert "r" in wakes(world)
    assert world.advance(run).state is RUNNING


def test_a_reset_by_an_operator(world: World) -> None:
    run = finished_run(world, "extract", "load")
    assert clear_dag_run(world.services, run).state is DagRunState.QUEUED
    drive(world, run)
    assert [instance(world, run, t).try_number for t in ("extract", "load")] == [2, 2]


# --- mapped tasks -----------------------------------------------------------------------------------------------------


def mapped(world: World) -> DagRunKey:
    spec = chain("names", "greet", "end")
    kwarg = ExpandedKwarg(kwarg="x", length=XComLength(task_id="names"))
    greet = spec.tasks["greet"].model_copy(update={"expansion": Expansion(kwargs=(kwarg,))})
    world.given_dag(spec.model_copy(update={"tasks": {**spec.tasks, "greet": greet}}))
    run = world.trigger()
    world.advance(run)
    return run


def push(world: World, run: DagRunKey, length: int) -> None:
    def report(started: TaskInstance) -> Transition:
        return transition.succeed(replace(started, xcom_lengths={"return_value": length}), at=world.clock.now())

    named = instance(world, run, "names")
    started = transition.start(named, at=world.clock.now(), hostname="w", pid=1)
    world.store.move(replace(started, after=replace(started.after, xcom_lengths={"return_value": length})))
    world.store.move(report(instance(world, run, "names")))


def greet(world: World, run: DagRunKey) -> dict[int, S | None]:
    state = world.store.load_run(run)
    assert state is not None
    for (task_id, index), found in sorted(state.instances.items()):
        if task_id == "greet" and found.state is S.QUEUED:
            started = transition.start(found, at=world.clock.now(), hostname="w", pid=index)
            world.store.move(started)
            world.store.move(transition.succeed(started.after, at=world.clock.now()))
    advance(world.services, run)
    state = world.store.load_run(run)
    assert state is not None
    return {index: found.state for (task_id, index), found in sorted(state.instances.items()) if task_id == "greet"}


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (2, {0: S.SUCCESS, 1: S.SUCCESS, 2: S.REMOVED}),
        (4, dict.fromkeys(range(4), S.SUCCESS)),
        (0, dict.fromkeys(range(3), S.REMOVED)),
    ],
)
def test_a_mapped_task_is_expanded_again(world: World, length: int, expected: dict[int, S]) -> None:
    run = mapped(world)
    push(world, run, 3)
    world.advance(run)
    assert greet(world, run) == dict.fromkeys(range(3), S.SUCCESS)

    clear(world, run)
    world.advance(run)
    push(world, run, length)
    world.advance(run)
    assert greet(world, run) == expected


def test_one_instance_of_a_mapped_task(world: World) -> None:
    run = mapped(world)
    push(world, run, 3)
    world.advance(run)
    greet(world, run)
    clear_task_instances(world.services, [run], Clear(markers=frozenset({("greet", 1)})))
    world.advance(run)
    assert [instance(world, run, "greet", i).try_number for i in range(3)] == [1, 2, 1]


# --- other runs -------------------------------------------------------------------------------------------------------


def test_a_later_run_that_depends_on_the_past_waits_for_what_was_cleared(world: World) -> None:
    spec = chain("extract")
    depends: TaskSpec = spec.tasks["extract"].model_copy(update={"depends_on_past": True})
    world.given_dag(spec.model_copy(update={"tasks": {"extract": depends}}))
    first = world.trigger("one", logical_date=world.clock.now() - timedelta(days=2))
    world.advance(first)
    world.succeed(first, "extract")
    world.advance(first)
    clear(world, first)
    second = world.trigger("two", logical_date=world.clock.now() - timedelta(days=1))
    assert world.advance(second).state is RUNNING
    assert world.state(second, "extract") is None
    world.queues.wakes.clear()
    world.advance(first)
    world.succeed(first, "extract")
    world.advance(first)
    assert "two" in wakes(world)
    world.advance(second)
    assert world.state(second, "extract") is S.QUEUED


def test_a_run_that_must_be_queued_again_after_all_is_found_when_its_clearer_dies(interfered: World) -> None:
    """The first look found nothing to clear behind the task; while the hold was taken, something failed there."""
    world = interfered
    run = finished_run(world, "a", "b")
    looks = 0

    def plan(state: RunState) -> Edit:
        nonlocal looks
        looks += 1
        if looks == 1:
            return Edit(moves=[[transition.annotate(state.instances["a", -1], note="n")]])
        first = lambda r: replace(r, state=DagRunState.QUEUED, end_date=None)
        return Edit(moves=[[transition.clear(state.instances["b", -1], at=world.clock.now(), retries=0)]], first=first)

    assert dies_at_write(world, 3, lambda: edit_run(world.services, run, plan))
    stored = world.run(run)
    assert stored.state is DagRunState.QUEUED
    assert stored.due_at == stored.held_until
    assert [key for key, _ in world.store.due_runs(world.clock.now() + HOLD)] == [run]


def test_who_lost_a_hold_takes_nobody_elses(world: World) -> None:
    run = finished_run(world, "a")
    until = world.clock.now() + HOLD
    looks = 0

    def plan(_: RunState) -> Edit:
        nonlocal looks
        looks += 1
        if looks == 2:
            raise ValueError("broken")
        return Edit(first=lambda r: replace(r, note="mine"))

    original = world.store.load_run

    def stolen(key: DagRunKey) -> RunState | None:
        state = original(key)
        if state is not None and state.run.held_until and state.run.held_by != "another":
            world.store.update_run(state.run, replace(state.run, held_by="another", held_until=until))
        return original(key)

    world.store.load_run = stolen  # type: ignore[method-assign]
    with pytest.raises(Conflict, match="took over"):
        edit_run(world.services, run, plan)
    assert world.run(run).held_by == "another"
