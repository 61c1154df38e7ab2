"""A person's action on a run: many writes, of which the scheduler sees all or none.

    hold the run → load, plan, move its instances (again, where one moved meanwhile) → let go of it

While the run is held, `advance` leaves it alone, and what was decided before cannot finish it, since the hold is part of
what such a write checks. Workers go on reporting. What the run itself becomes first (queued again, after a clear) is
written with the hold, what it becomes last (marked as failed) with letting go, so that no crash leaves cleared
instances in a run that nobody looks at any more. A holder that dies loses the hold after a minute, and the run's
`due_at` has the scheduler go on with whatever had been written; asking for the same again does the rest.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from gust.errors import Conflict, NotFound, StaleDagRun, Unwell
from gust.model.dag_run import DagRun
from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.model.state import DagRunState
from gust.model.task_instance import TaskInstance
from gust.model.workload import WakeRun
from gust.scheduling.callback import with_trigger_kill
from gust.scheduling.run_view import counted
from gust.scheduling.transition import Transition
from gust.services.context import Services
from gust.services.deadlines import move_deadlines
from gust.services.load_past import following_runs
from gust.services.ports import RunState
from gust.services.specs import load_spec
from gust.services.wake import HORIZON

HOLD: Final = timedelta(seconds=60)
"""Longer than any function that acts for a person may run, so that nobody goes on behind a hold that has ended."""

ATTEMPTS: Final = 20
PAUSE: Final = 0.1
"""Seconds between attempts at a run that another action holds: two clicks wait for each other."""

RunChange = Callable[[DagRun], DagRun]


@dataclass(frozen=True, slots=True)
class Edit:
    """What an action does to a run. The same on the same state, for it is planned again where an instance moved."""

    moves: Sequence[Sequence[Transition]] = ()
    """One step after the other; those of one step in any order."""
    first: RunChange | None = None
    """What the run becomes before any instance moves. Written once."""
    last: RunChange | None = None
    """What the run becomes after all of them."""

    @property
    def is_empty(self) -> bool:
        return not any(self.moves) and self.first is None and self.last is None


@dataclass(slots=True)
class Edited:
    run: DagRun
    moved: dict[TaskInstanceKey, TaskInstance] = field(default_factory=dict)
    """Instances that were written, as they are now."""


def edit_run(
    services: Services,
    key: DagRunKey,
    plan: Callable[[RunState], Edit],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Edited:
    """Carry out what `plan` says of the run. What `plan` raises on the first look changes nothing. On later looks it sees
    the instances as they are, and the run as it was before this action wrote to it.

    Raises NotFound, Conflict where another action does not let go of the run, and Unwell where instances kept moving.
    """
    held = _hold(services, key, plan, sleep)
    if isinstance(held, Edited):
        return held
    run, before, has_begun = held
    try:
        edited, edit = _move_all(services, run, before, plan, has_begun=has_begun)
        edited.run = _let_go(services, edited.run, edit.last)
    except StaleDagRun as stale:
        raise _taken(run) from stale
    except BaseException:
        with suppress(StaleDagRun, Unwell):
            current = services.store.get_run(key)
            if current is not None and current.held_by == run.held_by:
                _let_go(services, current, None)
        raise
    return edited


def _hold(
    services: Services, key: DagRunKey, plan: Callable[[RunState], Edit], sleep: Callable[[float], None]
) -> Edited | tuple[DagRun, DagRun, bool]:
    """The run as it is held and as it was, and whether `first` was written with the hold. `Edited`: nothing to do."""
    for _ in range(ATTEMPTS):
        state = services.store.load_run(key)
        if state is None:
            raise NotFound(f"The DagRun with dag_id: `{key.dag_id}` and run_id: `{key.run_id}` was not found")
        edit = plan(state)
        if edit.is_empty:
            return Edited(state.run)
        now = services.clock.now()
        if state.run.is_held(now):
            sleep(PAUSE)
            continue
        begun = edit.first(state.run) if edit.first else state.run
        until = now + HOLD
        held = replace(
            begun,
            held_by=str(uuid.uuid4()),
            held_until=until,
            instance_states={},
            due_at=None if begun.is_finished else until,
        )
        try:
            write_run(services, state.run, held)
        except StaleDagRun:
            continue
        move_deadlines(services, state.run, state.callbacks, queued_at=held.queued_at)
        return held, state.run, edit.first is not None
    raise Conflict(f"Another action on the DagRun `{key.run_id}` of `{key.dag_id}` is under way; try again")


def _move_all(
    services: Services, run: DagRun, before: DagRun, plan: Callable[[RunState], Edit], *, has_begun: bool
) -> tuple[Edited, Edit]:
    edited = Edited(run)
    done: set[tuple[str, TaskInstanceKey]] = set()
    for _ in range(ATTEMPTS):
        state = services.store.load_run(run.key)
        if state is None or state.run.held_by != run.held_by:
            raise _taken(run)
        edited.run = state.run
        edit = plan(replace(state, run=before))
        if edit.first and not has_begun:
            begun = edit.first(state.run)
            edited.run = replace(begun, due_at=None if begun.is_finished else begun.held_until)
            write_run(services, state.run, edited.run)
            has_begun = True
        if not _carried_out(services, edit, edited, done):
            continue
        return edited, edit
    raise Unwell(f"the instances of {run.key} were moved by others {ATTEMPTS} times")


def _taken(run: DagRun) -> Conflict:
    return Conflict(f"The DagRun `{run.run_id}` of `{run.dag_id}` was taken out of this action's hands; try again")


def _carried_out(services: Services, edit: Edit, edited: Edited, done: set[tuple[str, TaskInstanceKey]]) -> bool:
    """False where an instance had moved meanwhile: then the rest is planned again. What is done is not done again."""
    for step in edit.moves:
        wanted = [with_trigger_kill(move) for move in step if (move.edge, move.before.key) not in done]
        stale = services.store.move_all(wanted)
        for move in wanted:
            if move not in stale:
                done.add((move.edge, move.before.key))
                edited.moved[move.after.key] = move.after
        if stale:
            return False
    return True


def _let_go(services: Services, run: DagRun, last: RunChange | None) -> DagRun:
    """The run goes on: whoever decides about it next sees everything. Told twice, for the first word may be lost."""
    now = services.clock.now()
    while True:
        after = last(run) if last else run
        after = replace(after, held_by=None, held_until=None, due_at=None if after.is_finished else now + HORIZON)
        if after.is_finished:
            after = replace(after, instance_states=_counted(services, after))
        try:
            write_run(services, run, after)
        except StaleDagRun as stale:
            if stale.current is None or stale.current.held_by != run.held_by:
                raise
            run = stale.current
            continue
        wake(services, after, now=now)
        return after


def _counted(services: Services, run: DagRun) -> dict[str, int]:
    """Of instances that nobody else moves while the run is held, and that no scheduler moves once it has ended."""
    state = services.store.load_run(run.key)
    return {} if state is None else counted(load_spec(services.objects, run.spec_key), run, state.instances)


def wake(services: Services, run: DagRun, *, now: datetime) -> None:
    """Have the scheduler look at the run, and at those that may wait for what it did."""
    services.queues.wake(WakeRun(dag_id=run.dag_id, run_id=run.run_id, at=now))
    for key in following_runs(services, run, load_spec(services.objects, run.spec_key)):
        services.queues.wake(WakeRun(dag_id=key.dag_id, run_id=key.run_id, at=now))


def write_run(services: Services, before: DagRun, after: DagRun) -> None:
    """Whatever the move: each has its own write, since who begins or ceases to run is counted. Raises StaleDagRun."""
    if before.state is DagRunState.RUNNING and after.is_finished:
        services.store.finish_run(before, after)
    elif before.state is DagRunState.RUNNING and after.state is DagRunState.QUEUED:
        services.store.requeue_run(before, after)
    else:
        services.store.update_run(before, after)
