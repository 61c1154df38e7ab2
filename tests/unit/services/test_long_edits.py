"""A person's action on thousands of instances: answered in time, finished by the scheduler, never shown or run by half."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from gust.errors import Conflict, ServiceUnavailable
from gust.model.dag_run import DagRun
from gust.model.dag_spec import TaskSpec
from gust.model.keys import DagRunKey
from gust.model.state import DagRunState
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.model.workload import WakeRun
from gust.ports.clock import ManualClock
from gust.rest_api.lists.shown_run import load_view
from gust.scheduling.transition import Transition
from gust.services.people.annotate_task_instances import Annotate
from gust.services.people.clear_task_instances import Clear, clear_task_instances
from gust.services.people.edit_run import FAILURES, HOLD
from gust.services.people.pending_edit import Action, read, written
from gust.services.people.set_state import Mark, MarkInRun, MarkRun, mark_task_instances, set_dag_run_state
from gust.services.scheduler.advance import advance
from gust.services.scheduler.explain import explain
from gust.services.scheduler.tick import tick
from gust.store.memory import MemoryStore
from tests.world import START, World, chain

WIDE = 700
TASKS = [f"t{number:04}" for number in range(WIDE)]


class SlowStore(MemoryStore):
    """Takes four seconds for what `move_all` is given at a time, as a busy table may."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self.clock_of_test, self.fails = clock, False

    def move_all(self, transitions: list[Transition]) -> list[Transition]:  # type: ignore[override]
        if self.fails:
            raise ServiceUnavailable("the table is away")
        self.clock_of_test.advance(4)
        return super().move_all(transitions)


@pytest.fixture
def world() -> World:
    clock = ManualClock(START)
    return World(clock=clock, store=SlowStore(clock))


@pytest.fixture
def slow(world: World) -> SlowStore:
    assert isinstance(world.store, SlowStore)
    return world.store


@pytest.fixture
def run(world: World) -> DagRunKey:
    """A run whose tasks have all succeeded."""
    spec = chain(*TASKS)
    apart = {task_id: TaskSpec(task_id=task_id) for task_id in TASKS}
    world.given_dag(spec.model_copy(update={"tasks": apart}))
    key = world.trigger()
    for task_id in TASKS:
        before = TaskInstance(dag_id=key.dag_id, run_id=key.run_id, task_id=task_id)
        after = replace(before, state=S.SUCCESS, try_number=1, start_date=START, end_date=START)
        world.store.move(Transition("test", before, after))
    seen = world.run(key)
    started = replace(seen, state=DagRunState.RUNNING, start_date=START)
    world.store.start_run(seen, started, max_active_runs=16)
    world.store.finish_run(started, replace(started, state=DagRunState.SUCCESS, end_date=START, due_at=None))
    return key


def states(world: World, run: DagRunKey) -> dict[S | None, int]:
    state = world.store.load_run(run)
    assert state is not None
    return counted(list(state.instances.values()))


def counted(instances: list[TaskInstance]) -> dict[S | None, int]:
    found: dict[S | None, int] = {}
    for instance in instances:
        found[instance.state] = found.get(instance.state, 0) + 1
    return found


def shown(world: World, run: DagRunKey) -> dict[S | None, int]:
    view = load_view(world.services, run)
    assert view is not None
    return counted([one.instance for one in view.instances])


def the_scheduler_looks(world: World, run: DagRunKey) -> DagRun:
    """As often as it is woken."""
    for _ in range(20):
        woken = [wake for wake, _ in world.queues.wakes if isinstance(wake, WakeRun) and wake.key == run]
        world.queues.wakes.clear()
        if not woken or world.run(run).edit is None:
            return world.run(run)
        advance(world.services, run, goes_on_with_edits=True)
    raise AssertionError("it never ends")


def test_a_clear_of_many_is_answered_in_time_and_gone_on_with(world: World, run: DagRunKey) -> None:
    cleared = clear_task_instances(world.services, [run], Clear())
    assert world.clock.now() - START < timedelta(seconds=25)
    assert counted(cleared) == {None: WIDE}  # what will be
    assert 0 < states(world, run)[S.SUCCESS] < WIDE
    assert shown(world, run) == {None: WIDE}
    half = world.run(run)
    assert half.state is DagRunState.QUEUED
    assert half.due_at is not None

    (told, *_) = explain(world.services, run, TASKS[0], -1)
    assert told.reason == "A person's action on the run is still being carried out"

    advance(world.services, run)  # a change of the table: nothing starts while half of it is cleared
    assert world.run(run) == half
    with pytest.raises(Conflict, match="under way"):
        mark_task_instances(world.services, run, Mark(tasks=["t0000"], state=S.FAILED))

    after = the_scheduler_looks(world, run)
    assert (after.edit, after.held_until) == (None, None)
    assert states(world, run) == {None: WIDE}
    assert after.clear_number == 1
    world.advance(run)
    assert world.run(run).state is DagRunState.RUNNING


def test_few_instances_are_not_stored_as_something_to_go_on_with(world: World, run: DagRunKey) -> None:
    clear_task_instances(world.services, [run], Clear(markers=frozenset(TASKS[:100])))
    assert world.run(run).edit is None
    assert states(world, run) == {None: 100, S.SUCCESS: WIDE - 100}


def test_who_dies_is_followed_by_the_tick(world: World, run: DagRunKey) -> None:
    services = replace(world.services, store=Dying(world.store, after=2))  # type: ignore[arg-type]
    with pytest.raises(Dying.Dead):
        clear_task_instances(services, [run], Clear())
    assert states(world, run)[S.SUCCESS] == WIDE - 2 * 160
    assert world.run(run).held_until is not None
    world.queues.wakes.clear()
    world.pass_time(seconds=HOLD.total_seconds())
    tick(world.services)
    the_scheduler_looks(world, run)
    assert states(world, run) == {None: WIDE}


class Dying:
    """A store whose holder is gone after some steps, and writes nothing any more."""

    class Dead(BaseException):
        pass

    def __init__(self, store: MemoryStore, *, after: int) -> None:
        self._store, self._left = store, after

    def __getattr__(self, name: str) -> object:
        if self._left < 0:
            raise Dying.Dead
        if name == "move_all":
            self._left -= 1
            if self._left < 0:
                raise Dying.Dead
        return getattr(self._store, name)


@pytest.mark.parametrize("state", [DagRunState.FAILED, DagRunState.SUCCESS])
def test_a_run_is_marked_with_all_that_it_has(world: World, run: DagRunKey, state: DagRunState) -> None:
    clear_task_instances(world.services, [run], Clear())
    the_scheduler_looks(world, run)
    world.advance(run)
    answered = set_dag_run_state(world.services, run, state)
    assert answered.state is DagRunState.RUNNING  # not before the last instance
    view = load_view(world.services, run)
    assert view is not None
    assert view.run.state is state
    assert S.SKIPPED in shown(world, run)
    assert the_scheduler_looks(world, run).state is state
    assert None not in states(world, run)


def test_instances_are_marked(world: World, run: DagRunKey) -> None:
    marked = mark_task_instances(world.services, run, Mark(tasks=TASKS, state=S.FAILED))
    assert len(marked) == WIDE
    assert shown(world, run) == {S.FAILED: WIDE}
    assert world.run(run).is_finished
    world.queues.wakes.clear()  # a lost word: the run is due all the same
    world.pass_time(minutes=1)
    tick(world.services)
    the_scheduler_looks(world, run)
    assert world.run(run).due_at is None
    assert states(world, run) == {S.FAILED: WIDE}


def test_what_cannot_be_brought_forward_is_given_up_some_time(world: World, slow: SlowStore, run: DagRunKey) -> None:
    clear_task_instances(world.services, [run], Clear())
    slow.fails = True
    for _ in range(FAILURES):
        assert world.run(run).edit is not None
        advance(world.services, run, goes_on_with_edits=True)
        world.pass_time(seconds=HOLD.total_seconds())
    advance(world.services, run, goes_on_with_edits=True)
    assert (world.run(run).edit, world.run(run).held_until) == (None, None)


def test_what_was_interrupted_is_not_cleared_while_its_worker_ends_it(world: World, run: DagRunKey) -> None:
    last = world.store.get_instance(run.task_instance(TASKS[0]))
    assert last is not None
    world.store.move(Transition("test", last, replace(last, state=S.RUNNING)))
    clear_task_instances(world.services, [run], Clear())
    assert states(world, run)[S.RESTARTING] == 1
    assert shown(world, run) == {None: WIDE - 1, S.RESTARTING: 1}
    the_scheduler_looks(world, run)
    assert states(world, run) == {None: WIDE - 1, S.RESTARTING: 1}


@pytest.mark.parametrize(
    "action",
    [
        Clear(markers=frozenset({"a", ("b", 3)}), only_failed=True, note="n"),
        Clear(),
        MarkInRun(state=S.FAILED, markers=frozenset({("b", 3)}), resumed=frozenset({"c"})),
        MarkRun(DagRunState.FAILED),
        Annotate(frozenset({("a", -1)}), None),
    ],
)
def test_an_action_is_read_as_it_was_written(action: Action) -> None:
    assert read(json.loads(json.dumps(written(action)))) == action
