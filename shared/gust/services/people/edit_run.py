"""An edit session: the many writes of a person's action on a run, of which the scheduler sees all or none.

    hold the run → load, plan, move its instances (repeat if one moved meanwhile) → release it

While the run is held, `advance` leaves it alone. A decision made before the hold cannot finish the run, then or later:
such a write checks the last holder (`held_by`). Workers continue to report. The run's first change (queued again, after a
clear) is written with the hold, its last change (marked as failed) with the release, so that no crash leaves cleared
instances in an ended run, which no scheduler looks at. A holder that dies loses the hold after a minute; the run's `due_at`
then brings the scheduler, which continues from the written state. Sending the request again does the rest.

Thousands of instances take longer than a request may. The action is then written with the hold (`edit`): the request moves
as many instances as it can and answers with all of them as they will be. The scheduler moves the rest, look by look, before
it releases the run (`resume_edit`). Readers of the run meanwhile get its state after the edit
(`services/people/pending_edit.py`).
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final

from aws_lambda_powertools import Logger

from gust.errors import Conflict, NotFound, ServiceUnavailable, StaleDagRun
from gust.model.dag_run import DagRun
from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.model.run_state import RunState
from gust.model.state import DagRunState, TaskInstanceState
from gust.model.task_instance import TaskInstance
from gust.scheduling.callback import with_kill
from gust.scheduling.run_view import counted
from gust.scheduling.transition import Transition
from gust.services.context import Services
from gust.services.runs.deadlines import move_deadlines
from gust.services.runs.load_past import following_runs
from gust.services.specs import NO_SPEC, load_spec
from gust.services.time_left import TimeLeft
from gust.services.wake import HORIZON, look_soon

HOLD: Final = timedelta(seconds=60)
"""Longer than the API's function may run, so that no edit session continues after its hold has expired."""

ATTEMPTS: Final = 20
PAUSE: Final = 0.1
"""Seconds between attempts to hold a run that another action holds: the second of two clicks waits."""

MADE_AT_ONCE: Final = 500
"""Moves that every request has time for. An action with fewer moves is not stored."""

AT_A_TIME: Final = 160
"""Moves between two checks of the clock."""

LONGEST_ACTION: Final = 200_000
"""Bytes of a stored action: it is part of the run's item, which holds 400 KB."""

FAILURES: Final = 5
"""Failed looks in a row after which an edit is dropped: a run must not be held for ever."""

log = Logger(service="scheduler", child=True)

Json = dict[str, Any]
RunChange = Callable[[DagRun], DagRun]


@dataclass(frozen=True, slots=True)
class Edit:
    """The moves of an action on a run. A function of the run's state: it is planned again when an instance has moved."""

    moves: Sequence[Sequence[Transition]] = ()
    """Steps, one after the other; the moves of one step in any order."""
    first: RunChange | None = None
    """The run's change before any instance moves. Written once."""
    last: RunChange | None = None
    """The run's change after all moves."""
    can_be_resumed: bool = True
    """Whether planning it again on a half-done state leads to the same end."""

    @property
    def size(self) -> int:
        return sum(len(step) for step in self.moves)

    @property
    def is_empty(self) -> bool:
        return not any(self.moves) and self.first is None and self.last is None


@dataclass(slots=True)
class Edited:
    run: DagRun
    moved: dict[TaskInstanceKey, TaskInstance] = field(default_factory=dict)
    """The written instances as they are now; of an edit that the scheduler continues, also the others as they will be."""
    goes_on: bool = False
    """The request's time is over: the scheduler does the rest."""


def edit_run(
    services: Services,
    key: DagRunKey,
    plan: Callable[[RunState], Edit],
    *,
    action: Callable[[], Json] | None = None,
    time_left: TimeLeft | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Edited:
    """Carry out the edit that `plan` makes of the run. If `plan` raises on the first look, nothing changes. On later
    looks it gets the instances as they are, and the run as it was before this action wrote to it. `action` is the
    request as JSON, from which the scheduler can plan it too (`pending_edit.plan_of`): with it, an edit that does not
    end in time continues.

    Raises NotFound, Conflict if another action keeps holding the run, and ServiceUnavailable if instances kept moving.
    """
    time_left = time_left or TimeLeft.of(services.clock)
    held = _hold(services, key, plan, _Kept(action, time_left), sleep)
    if isinstance(held, Edited):
        return held
    run, before, has_begun = held
    try:
        edited, edit = _move_all(services, run, before, plan, time_left, has_begun=has_begun)
        edited.run = _hand_over(services, edited) if edited.goes_on else _let_go(services, edited.run, edit.last)
    except StaleDagRun as stale:
        raise _taken(run) from stale
    except BaseException:
        with suppress(StaleDagRun, ServiceUnavailable):
            current = services.store.get_run(key)
            if current is not None and current.held_by == run.held_by:
                _let_go(services, current, None) if current.edit is None else _hand_over(services, Edited(current))
        raise
    return edited


def resume_edit(services: Services, run: DagRun, plan: Callable[[RunState], Edit], time_left: TimeLeft) -> None:
    """Continue the run's `edit` while there is time, and release the run once it is done. Two calls at the same time are
    harmless: one takes the edit. After `FAILURES` looks in a row that raised, the edit is dropped."""
    now, written = services.clock.now(), json.loads(run.edit or "{}")
    if run.is_in_hands(now):
        return
    before = replace(
        run, state=DagRunState(written["state"]), version_number=written["version_number"], spec_key=written["spec_key"]
    )
    written["failures"] += 1
    until = now + HOLD
    taken = replace(run, held_by=str(uuid.uuid4()), held_until=until, due_at=until, edit=json.dumps(written))
    try:
        write_run(services, run, taken)
        if written["failures"] > FAILURES:
            log.error("An edit is dropped", **run.names, edit=run.edit)
            _let_go(services, taken, None)
            return
        edited, edit = _move_all(services, taken, before, plan, time_left, has_begun=written["has_begun"], again=True)
        _hand_over(services, edited) if edited.goes_on else _let_go(services, edited.run, edit.last)
    except StaleDagRun:
        return  # another has it


@dataclass(frozen=True, slots=True)
class _Kept:
    """The form of an action that is stored with the hold, if it may not end in time."""

    action: Callable[[], Json] | None
    time_left: TimeLeft

    def of(self, edit: Edit, before: DagRun) -> str | None:
        if self.action is None or not edit.can_be_resumed:
            return None
        if edit.size <= MADE_AT_ONCE and not self.time_left.is_over:
            return None
        text = json.dumps(
            {
                **self.action(),
                "state": before.state,
                "version_number": before.version_number,
                "spec_key": before.spec_key,
                "has_begun": edit.first is not None,
                "failures": 0,
            }
        )
        return text if len(text) <= LONGEST_ACTION else None


def _hold(
    services: Services,
    key: DagRunKey,
    plan: Callable[[RunState], Edit],
    kept: _Kept,
    sleep: Callable[[float], None],
) -> Edited | tuple[DagRun, DagRun, bool]:
    """(the held run, the run before the hold, whether `first` was written with the hold), or `Edited` if there is nothing
    to do."""
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
            correlation_id=services.correlation_id or state.run.correlation_id,
            edit=(pending := kept.of(edit, state.run)),
            instance_states={},
            due_at=None if begun.is_finished and pending is None else until,
        )
        try:
            write_run(services, state.run, held)
        except StaleDagRun:
            continue
        move_deadlines(services, state.run, state.callbacks, queued_at=held.queued_at)
        return held, state.run, edit.first is not None
    raise Conflict(f"Another action on the DagRun `{key.run_id}` of `{key.dag_id}` is under way; try again")


def _move_all(
    services: Services,
    run: DagRun,
    before: DagRun,
    plan: Callable[[RunState], Edit],
    time_left: TimeLeft,
    *,
    has_begun: bool,
    again: bool = False,
) -> tuple[Edited, Edit]:
    """`again`: part of the edit was done before."""
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
            if begun.edit is not None:
                begun = replace(begun, edit=json.dumps(json.loads(begun.edit) | {"has_begun": True}))
            edited.run = replace(begun, due_at=None if begun.is_finished and begun.edit is None else begun.held_until)
            write_run(services, state.run, edited.run)
            has_begun = True
        if again:
            edit = replace(edit, moves=[without_repetitions(step) for step in edit.moves])
        if _carried_out(services, edit, edited, done, time_left):
            return edited, edit
        again = True
    raise ServiceUnavailable(f"the instances of {run.key} were moved by others {ATTEMPTS} times")


def _taken(run: DagRun) -> Conflict:
    return Conflict(f"Another action took over the DagRun `{run.run_id}` of `{run.dag_id}`; try again")


def without_repetitions(step: Sequence[Transition]) -> list[Transition]:
    """The step without the moves that the edit has made already: an instance that is `restarting` when the edit is planned
    again was cleared by it, and its worker has yet to end it."""
    return [move for move in step if move.edge != "clear" or move.before.state is not TaskInstanceState.RESTARTING]


def _carried_out(
    services: Services,
    edit: Edit,
    edited: Edited,
    done: set[tuple[str, TaskInstanceKey]],
    time_left: TimeLeft,
) -> bool:
    """Carry out the moves. False if an instance had moved meanwhile: then the rest is planned again, without the moves that
    are done. Also ends when the time is over, if the scheduler can continue the edit."""
    for step in edit.moves:
        wanted = _with_kills(services, edited.run, [move for move in step if (move.edge, move.before.key) not in done])
        for part in _in_parts(wanted):
            if edited.run.edit is not None and time_left.is_over:
                edited.goes_on = True
                edited.moved |= {move.after.key: move.after for later in edit.moves for move in later}
                return True
            stale = services.store.move_all(part)
            for move in part:
                if move not in stale:
                    done.add((move.edge, move.before.key))
                    edited.moved[move.after.key] = move.after
            if stale:
                return False
    return True


def _with_kills(services: Services, run: DagRun, step: Sequence[Transition]) -> list[Transition]:
    """The step, whose moves also end the triggers and containers that they leave behind."""
    spec = None
    if services.workers.has_fargate and any(move.before.state is TaskInstanceState.QUEUED for move in step):
        with suppress(*NO_SPEC):
            spec = load_spec(services.objects, run.spec_key)
    return [with_kill(move, spec, services.workers) for move in step]


def _in_parts(moves: Sequence[Transition]) -> Iterator[Sequence[Transition]]:
    return (moves[start : start + AT_A_TIME] for start in range(0, len(moves), AT_A_TIME))


def _hand_over(services: Services, edited: Edited) -> DagRun:
    """Leave the rest to the scheduler: by a wake-up, and by the run's `due_at` in case the wake-up is lost."""
    now = services.clock.now()
    pending = json.dumps(json.loads(edited.run.edit or "{}") | {"failures": 0})
    after = replace(edited.run, held_until=None, due_at=now + HORIZON, edit=pending)
    write_run(services, edited.run, after)
    look_soon(services, after.key)
    return after


def _let_go(services: Services, run: DagRun, last: RunChange | None) -> DagRun:
    """Release the run: the next decision sees the whole edit. Wakes the scheduler twice, since one wake-up may be lost."""
    now = services.clock.now()
    while True:
        after = last(run) if last else run
        after = replace(after, held_until=None, edit=None, due_at=None if after.is_finished else now + HORIZON)
        if after.is_finished:
            after = replace(after, instance_states=_counted(services, after))
        try:
            write_run(services, run, after)
        except StaleDagRun as stale:
            if stale.current is None or stale.current.held_by != run.held_by:
                raise
            run = stale.current
            continue
        wake(services, after)
        return after


def _counted(services: Services, run: DagRun) -> dict[str, int]:
    """How many instances of the run are in each state. Exact: the scheduler moves none while the run is held, nor after it
    has ended."""
    state = services.store.load_run(run.key)
    return {} if state is None else counted(load_spec(services.objects, run.spec_key), run, state.instances)


def wake(services: Services, run: DagRun) -> None:
    """Have the scheduler look at the run, and at the runs behind it."""
    look_soon(services, run.key)
    for key in following_runs(services, run, load_spec(services.objects, run.spec_key)):
        look_soon(services, key)


def write_run(services: Services, before: DagRun, after: DagRun) -> None:
    """Write the run by the store method of its move: starting and ending runs are counted. Raises StaleDagRun."""
    if before.state is DagRunState.RUNNING and after.is_finished:
        services.store.finish_run(before, after)
    elif before.state is DagRunState.RUNNING and after.state is DagRunState.QUEUED:
        services.store.requeue_run(before, after)
    else:
        services.store.update_run(before, after)
