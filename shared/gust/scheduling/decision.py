"""What `decide` answers: transitions to commit, effects to perform afterwards, and why everything else stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from gust.model.callback import Callback
from gust.model.dag_run import DagRun
from gust.model.task_instance import TaskInstance
from gust.scheduling.callback import CallbackMove
from gust.scheduling.dependency import Dependency
from gust.scheduling.transition import Transition


@dataclass(frozen=True, slots=True)
class SendTask:
    """Put the instance (state `scheduled`) on the queue of tasks; then it is `queued`. Where `transitions` bring it there,
    `stages` may send it before they are written."""

    instance: TaskInstance


@dataclass(frozen=True, slots=True)
class SendTrigger:
    """Have the triggerer run the trigger of the instance (state `deferred`)."""

    instance: TaskInstance


@dataclass(frozen=True, slots=True)
class StartNextRun:
    """A run of the DAG has finished: the longest waiting queued run may start."""

    dag_id: str


@dataclass(frozen=True, slots=True)
class SendCallback:
    """Have a worker run the callback (state `pending`); then it is `queued`."""

    callback: Callback


@dataclass(frozen=True, slots=True)
class GrantSlots:
    """Instances of the run wait for the limit: let the slot granter give its free slots to the first in line."""

    limit: str
    instances: tuple[TaskInstance, ...] = ()
    """Those of the run. The limit's index may not show them yet."""
    looks_again: bool = False
    """The run keeps other instances back for these: should other runs get the slots, those may go."""


Effect = SendTask | SendTrigger | StartNextRun | SendCallback | GrantSlots


@dataclass(frozen=True, slots=True)
class Decision:
    """The writes and messages; `stages` puts them in order.

    Effects follow from the state after the commit, never from having just changed it: deciding again on what was committed,
    or was not, gives them again until they have left their mark (`queued`), so a crash in between loses nothing.
    """

    transitions: tuple[Transition, ...] = ()
    stopped: tuple[Transition, ...] = ()
    """Note on each failure that `fail_fast` ended the others for it: written after `transitions`, which end them."""
    waiting: tuple[Transition, ...] = ()
    """Moves by which an instance begins to wait for a limit that crosses runs. Written after `run`: the slot granter counts
    what the run has under way, and must find all of that in the store."""
    run: DagRun | None = None
    """The run as it shall be, where it changes (state, dates, `due_at`); `None` where it does not."""
    callbacks: tuple[CallbackMove, ...] = ()
    """Callbacks that the end of the run makes due or unnecessary: written with `run`, all or nothing."""
    effects: tuple[Effect, ...] = ()
    reasons: Mapping[tuple[str, int], str] = field(default_factory=dict)
    """(task_id, map_index) → why the unfinished instance does not move now. The text the API shows."""
    is_complete: bool = False
    """The run ends because all its instances have finished, and not by its timeout or a deadlock."""
    blocked_by: Mapping[tuple[str, int], Dependency] = field(default_factory=dict)
    """The kind of each reason in `reasons`."""
    due_at: datetime | None = None
    """The earliest moment at which time alone would change this decision; `None` if no such moment exists."""
