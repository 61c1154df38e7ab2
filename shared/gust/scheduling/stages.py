"""In which order a decision is written and sent: a list of stages, each carried out before the next begins.

The order is what keeps a crash between two lines harmless, so it is data that a test can look at, and the loop that carries
the stages out (`services/scheduler/carry_out.py`) knows nothing of it:

1. moves of instances, so that everything that others follow from is written first;
2. messages to workers, ten at first, each step written after SQS has its messages (docs/adr/0022);
3. the run: it is finished, or told when to be looked at again, only after all its instances are written as decided;
4. instances that begin to stand in a line: the slot granter may let them go at once, and must find the run's other moves;
5. effects. Deciding again finds each effect that a crash left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from gust.model.callback import Callback
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec
from gust.model.task_instance import TaskInstance
from gust.scheduling.callback import CallbackMove
from gust.scheduling.decision import Decision, GrantSlots, SendCallback, SendTask, SendTrigger, StartNextRun
from gust.scheduling.past import is_needed
from gust.scheduling.transition import Transition

FIRST_STEP: Final = 10
"""How many messages are sent and written at first: a batch of SQS."""

LARGEST_STEP: Final = 40


@dataclass(frozen=True, slots=True)
class Moves:
    """Write the moves, each conditionally. Where an instance had moved meanwhile, no later stage may be carried out."""

    moves: Sequence[Transition]


@dataclass(frozen=True, slots=True)
class SendThenWrite:
    """Send the messages of the dispatches that the moves begin, then write the moves, already as `queued`: one write each.
    Where an instance had moved meanwhile, no later stage may be carried out."""

    moves: Sequence[Transition]


@dataclass(frozen=True, slots=True)
class RunWrite:
    """Write the run, with what its end makes due. Where the run had moved meanwhile, no later stage may be carried out."""

    run: DagRun
    callbacks: Sequence[CallbackMove] = ()
    is_complete: bool = False
    """As in the decision."""


@dataclass(frozen=True, slots=True)
class SendCallbacks:
    callbacks: Sequence[Callback]


@dataclass(frozen=True, slots=True)
class SendThenMark:
    """Send instances that are written as `scheduled`, then mark those that SQS accepted as `queued`: two writes each."""

    instances: Sequence[TaskInstance]


@dataclass(frozen=True, slots=True)
class SendTriggers:
    instances: Sequence[TaskInstance]


@dataclass(frozen=True, slots=True)
class GiveOutSlots:
    """Have the slot granter look at the lines in which the run's instances stand."""

    grants: Sequence[GrantSlots]
    newly_waiting: Sequence[TaskInstance]
    """Instances that this decision puts into a line."""


@dataclass(frozen=True, slots=True)
class WakeFollowingRuns:
    """Wake the runs behind this one, whose tasks may depend on what it did."""


Stage = (
    Moves
    | SendThenWrite
    | RunWrite
    | SendCallbacks
    | SendThenMark
    | SendTriggers
    | GiveOutSlots
    | StartNextRun
    | WakeFollowingRuns
)


def stages(spec: DagSpec, run: DagRun, decision: Decision) -> list[Stage]:
    """`run` is what the decision was made on. Stages with nothing to do are left out."""
    return list(_stages(spec, run, decision))


def _stages(spec: DagSpec, run: DagRun, decision: Decision) -> Iterator[Stage]:
    sent_first = _sent_first(spec, run, decision)
    keys = {moved.after.key for moved in sent_first}
    if others := [moved for moved in decision.transitions if moved.after.key not in keys]:
        yield Moves(others)
    for step in _in_steps(sent_first):
        yield SendThenWrite(step)
    if decision.stopped:
        yield Moves(decision.stopped)
    if decision.run is not None:
        yield RunWrite(decision.run, decision.callbacks, decision.is_complete)
    if decision.waiting:
        yield Moves(decision.waiting)
    effects = decision.effects
    if callbacks := [effect.callback for effect in effects if isinstance(effect, SendCallback)]:
        yield SendCallbacks(callbacks)
    if tasks := [e.instance for e in effects if isinstance(e, SendTask) and e.instance.key not in keys]:
        yield SendThenMark(tasks)
    if triggers := [effect.instance for effect in effects if isinstance(effect, SendTrigger)]:
        yield SendTriggers(triggers)
    grants = [effect for effect in effects if isinstance(effect, GrantSlots)]
    if grants or decision.waiting:
        yield GiveOutSlots(grants, [moved.after for moved in decision.waiting])
    if start := next((effect for effect in effects if isinstance(effect, StartNextRun)), None):
        yield start
    if is_needed(spec):
        yield WakeFollowingRuns()


def _sent_first(spec: DagSpec, run: DagRun, decision: Decision) -> list[Transition]:
    """The moves by which instances go to workers, as far as the message may be sent before the decision is written whole.

    None where a write must come before: the run lets them go (`admitted_dispatches`), or instances are stopped or begin to
    wait. None either where each move has consequences for the runs behind this one.
    """
    lets_go = decision.run is not None and decision.run.admitted_dispatches != run.admitted_dispatches
    if lets_go or decision.stopped or decision.waiting or is_needed(spec):
        return []
    sent = {effect.instance.key for effect in decision.effects if isinstance(effect, SendTask)}
    return [moved for moved in decision.transitions if moved.after.key in sent]


def _in_steps(moves: Sequence[Transition]) -> Iterator[Sequence[Transition]]:
    """Cuts the moves up: the first of many shall not wait until hundreds are sent and written, nor the last of a step for
    long. Each step costs the time of two calls."""
    size = FIRST_STEP
    while moves:
        yield moves[:size]
        moves = moves[size:]
        size = min(2 * size, LARGEST_STEP)
