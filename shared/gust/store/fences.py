"""The condition and the content of each conditional write, defined once for both stores.

A fence is a set of fields with the values that the writer read; the store makes the write only while it has these values.
Changes are the fields in which `after` differs from `before`: nothing else is written, so that writers of different fields
(a worker's heartbeat, an API user's note, the scheduler's state) never overwrite each other.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, fields, replace
from datetime import datetime
from typing import Any, Final

from gust.model.asset import AssetKey, AssetQueue
from gust.model.backfill import Backfill
from gust.model.callback import Callback
from gust.model.dag import Dag
from gust.model.dag_run import DagRun
from gust.model.field_values import values_of
from gust.model.keys import OfInstance
from gust.model.pool import Pool
from gust.model.state import FINISHED_RUN, DagRunState
from gust.model.task_instance import TaskInstance
from gust.model.watcher import Watcher
from gust.scheduling.transition import Transition, holding_now

Changes = dict[str, Any]

_NOT_WRITTEN = frozenset({"dag_id", "running_runs", "success_runs", "failed_runs"})


instance_fence: Final = values_of(TaskInstance, "state", "try_number", "dispatch_count", "blocked_by_limit", "holds")
"""One dispatch of one try in one state. `blocked_by_limit` and `holds` belong to the fence because other items follow
from them: the limit's line, and the counts of held slots."""


unread_fence: Final = values_of(
    TaskInstance, "state", "try_number", "dispatch_count", "scheduled_at", "blocked_by_limit"
)
"""One dispatch in one state, by the decision that began it, whatever slots it holds: for moves that keep them."""


_NEW: Final[Changes] = {"state": None, "try_number": 0, "dispatch_count": 0, "blocked_by_limit": None, "holds": {}}


def with_what_it_holds(transition: Transition, current: TaskInstance | None) -> Transition | None:
    """The same move, made on the slots that the stored instance (`current`) holds now: its pool has begun or ceased to count
    it since the writer read it, which contradicts no other move. `None` if the move is a `recount` itself, if the slots do
    not differ, or if another field of the fence differs too."""
    before = transition.before
    if current is None or current.holds == before.holds or transition.edge == "recount":
        return None
    if instance_fence(replace(before, holds=current.holds)) != instance_fence(current):
        return None
    return holding_now(transition, current)


def repeated_move(transition: Transition) -> Changes:
    """The fields that are stored if this very move has been written already: then repeating it is no error.

    They include the worker (`hostname`, `pid`): of two workers with the same message only one may start. They include
    `scheduled_at`, the time of the decision that began the dispatch: another decision's message starts nothing (`Dispatch`).
    They include an API user's answer: of two answers only the first counts.
    """
    after = transition.after
    answered = {"next_kwargs": after.next_kwargs} if transition.hitl and transition.hitl.answer else {}
    which = {"scheduled_at": after.scheduled_at, "hostname": after.hostname, "pid": after.pid}
    return {**instance_fence(after), **which, **answered}


watcher_fence: Final = values_of(Watcher, "life", "claimed_by", "claimed_at", "wanted_by", "bundle_version", "due_at")
"""The triggerer that runs the watcher, the DAGs that want it, and its due time."""


backfill_fence: Final = values_of(Backfill, "made", "is_paused", "completed_at")
"""How many of its runs are made, and whether it is paused or ended."""


run_fence: Final = values_of(DagRun, "state", "clear_number", "held_by")
"""With `clear_number` and `held_by`: a decision made before an API user's edit of the run must not write the run."""


def update_fence(before: DagRun, after: DagRun) -> Changes:
    """`run_fence`, and the read values of two fields if `after` changes them. `due_at`: another scheduler may have stored an
    earlier moment, for an instance that this writer has not read, and that moment must not be lost. `admitted_dispatches`:
    it names the instances that other schedulers have let go."""
    seen = run_fence(before)
    if after.due_at != before.due_at:
        seen["due_at"] = before.due_at
    if after.admitted_dispatches != before.admitted_dispatches:
        seen["admitted_dispatches"] = before.admitted_dispatches
    return seen


dag_fence: Final = values_of(Dag, "version_number", "is_paused", "is_stale", "next_run_after")
"""The fields that the DAG's place in the `due` index follows from, and the version."""


def next_run_fence(dag: Dag) -> Changes:
    """The condition for making a scheduled run: a DAG that was paused or whose file vanished makes none."""
    return {"is_paused": dag.is_paused, "is_stale": dag.is_stale, **next_run(dag)}


next_run: Final = values_of(
    Dag,
    "next_logical_date",
    "next_data_interval_start",
    "next_data_interval_end",
    "next_partition_date",
    "next_partition_key",
    "next_run_id",
    "next_run_after",
)
"""The DAG's next-run fields, which making a scheduled run moves."""


_NAMES: Final = frozenset(field.name for field in fields(OfInstance))


def changed_instance_fields(before: TaskInstance, after: TaskInstance) -> Changes:
    """The fields to write. Of a new instance, all that differ from their defaults: it has no stored item to complete."""
    if before.key != after.key:
        raise ValueError(f"a transition of {before.key} cannot move {after.key}")
    is_new = instance_fence(before) == _NEW
    return {
        field.name: value
        for field in fields(TaskInstance)
        if field.name not in _NAMES
        and (
            (value := getattr(after, field.name)) != getattr(before, field.name)
            or (is_new and value != _default(field))
        )
    }


def changed_run_fields(before: DagRun, after: DagRun) -> Changes:
    """The fields to write. A run that can no longer be due loses its stored `due_at`, even if the writer has not read it."""
    if before.key != after.key:
        raise ValueError(f"an update of {before.key} cannot change {after.key}")
    waits_no_more = {} if after.can_be_due else {"due_at": None}
    return _difference(before, after) | waits_no_more


callback_fence: Final = values_of(Callback, "state", "dispatch_count", "started_at", "due_at")
"""One dispatch of the callback in one state, and its claim: after a worker's death only one other may claim it."""


def repeated_callback(after: Callback) -> Changes:
    """The fields that are stored if this very move has been written already."""
    return {**callback_fence(after), "hostname": after.hostname}


def changed_callback_fields(before: Callback, after: Callback) -> Changes:
    return _difference(before, after)


def changed_by_a_person(pool: Pool) -> Changes:
    """The fields that an API user's write of the pool sets: all except `used`, which only moves of instances change."""
    return {field.name: getattr(pool, field.name) for field in fields(Pool) if field.name not in ("name", "used")}


slot_rules: Final = values_of(Pool, "slots", "include_deferred", "is_uncounted", "is_deleted")
"""The fields that decide whether an instance gets a slot, and for how long."""


def check_starts(before: DagRun, after: DagRun) -> None:
    _check_states(before, after, before.state is DagRunState.QUEUED and after.state is DagRunState.RUNNING)


def check_finishes(before: DagRun, after: DagRun) -> None:
    _check_states(before, after, before.state is DagRunState.RUNNING and after.is_finished)


def check_requeues(before: DagRun, after: DagRun) -> None:
    _check_states(before, after, before.state is DagRunState.RUNNING and after.state is DagRunState.QUEUED)


def check_neither_starts_nor_finishes(before: DagRun, after: DagRun) -> None:
    """Raises ValueError for a run that becomes or ceases to be running: `start_run` and `finish_run` count these."""
    is_counted = (before.state is DagRunState.RUNNING) != (after.state is DagRunState.RUNNING)
    _check_states(before, after, not is_counted)


def _check_states(before: DagRun, after: DagRun, is_right: bool) -> None:
    if not is_right:
        raise ValueError(f"this write does not move a DagRun from {before.state} to {after.state}")


def counts(before: DagRun | None, after: DagRun | None) -> dict[str, int]:
    """Count → by how much a write of the run changes it, in the run's DAG or, for a backfill's run, in the backfill.
    `before=None`: the run is created; `after=None`: it is deleted. Raises ValueError for an unfinished run that leaves its
    backfill."""
    if before and after and before.backfill_id != after.backfill_id and not before.is_finished:
        raise ValueError(f"{before.key} cannot leave its backfill unfinished")
    run = after or before
    running = _is_running(after) - _is_running(before)
    unfinished = _is_unfinished(after) - _is_unfinished(before)
    of_owner = {"running_runs": running} | ({"unfinished_runs": unfinished} if run and run.backfill_id else {})
    return {name: change for name, change in of_owner.items() if change}


def counts_of_ended(before: DagRun | None, after: DagRun | None) -> dict[str, int]:
    """Count → by how much a write of the run changes it, for the DAG's counts of ended runs. `None` as in `counts`."""
    changes = {
        f"{state.value}_runs": (after is not None and after.state is state)
        - (before is not None and before.state is state)
        for state in FINISHED_RUN
    }
    return {name: change for name, change in sorted(changes.items()) if change}


def _is_running(run: DagRun | None) -> bool:
    return run is not None and run.state is DagRunState.RUNNING


def _is_unfinished(run: DagRun | None) -> bool:
    return run is not None and not run.is_finished


def changed_backfill_fields(before: Backfill, after: Backfill) -> Changes:
    """The fields to write. The counts of runs are never among them: only moves of runs change these."""
    changed = _difference(before, after)
    return {name: value for name, value in changed.items() if name not in ("running_runs", "unfinished_runs")}


def changed_dag_fields(before: Dag | None, after: Dag) -> Changes:
    """The fields to write. The counts of runs are never among them: only moves of runs change these."""
    if before is not None and before.dag_id != after.dag_id:
        raise ValueError(f"an update of DAG {before.dag_id!r} cannot change {after.dag_id!r}")
    if before is None:
        return {field.name: getattr(after, field.name) for field in fields(Dag) if field.name not in _NOT_WRITTEN}
    return {name: value for name, value in _difference(before, after).items() if name not in _NOT_WRITTEN}


closed_time: Final = values_of(AssetQueue, "consumed_until", "part_from")
"""Which events of a DAG are consumed, or are a part that the next run consumes."""


def unqueued(queue: AssetQueue, *, assets: set[AssetKey] | None, before: datetime | None) -> list[AssetKey]:
    """The entries of the queue to delete."""
    return [
        asset
        for asset, queued_at in queue.queued.items()
        if (assets is None or asset in assets) and (before is None or queued_at < before)
    ]


def carried_date(known: datetime | None, comes: datetime | None) -> datetime | None:
    """A partition's date after one more event, whose date is `comes`. The first date is taken over; an event without a date,
    or with the same one, changes nothing; a different date resets it to `None`, and the next one is a first date again."""
    if known is None or comes in (None, known):
        return known or comes
    return None


def _difference(before: Any, after: Any) -> Changes:
    return {
        field.name: getattr(after, field.name)
        for field in fields(after)
        if getattr(after, field.name) != getattr(before, field.name)
    }


def _default(field: Field[Any]) -> Any:
    if field.default is not MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not MISSING else MISSING
