"""A callback's life: one constructor per legal edge, and which callbacks of a run are due for one. Pure.

The write that makes a callback due (the run's end, the lost try, the deadline's miss) also stores it, so neither exists
without the other. Sending it leaves a mark, and a worker claims it before it runs the first line: however often it is sent,
it is called once, unless its worker dies in the middle. Which callback is called when follows `DagRun.update_state`,
`SchedulerJobRunner` and `Deadline` of Airflow 3.3.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, assert_never

from gust.model.callback import Callback, CallbackKind, CallbackState
from gust.model.container_start import HOST, container_name
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec, TaskSpec
from gust.model.place import OnFargate, Workers
from gust.model.state import FINISHED, DagRunState
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.scheduling.placement import place
from gust.scheduling.pure_wait import pure_wait
from gust.scheduling.transition import Transition

LEASE: Final = timedelta(seconds=45)
"""A worker renews its claim every 20 seconds: the worker of an older claim is dead. Shorter than the renewal hides the
message, so that the next worker to receive it may run the callback."""

SENT_AGAIN_AFTER: Final = timedelta(seconds=960 + 60)
"""SQS brings a message back before this, once its worker is gone; later it must be lost."""

GIVEN_UP_AFTER: Final = timedelta(hours=1)
"""A callback that was claimed so long ago has killed every worker that ran it."""

LOOKED_AT: Final = timedelta(minutes=10)
"""How often the scheduler looks at a run whose callbacks have not all ended."""

FIRST_LOOK: Final = timedelta(seconds=60)
"""After the run's end: by then most callbacks have ended, and one that was never sent is sent late."""

_NEVER: Final = datetime.min.replace(tzinfo=UTC)

RUN_RUNNING: Final = "on_dag_run_running"
RUN_HOOKS: Final = {DagRunState.SUCCESS: "on_dag_run_success", DagRunState.FAILED: "on_dag_run_failed"}


class WhyEnded(StrEnum):
    """Airflow's words for the end of a run: `reason` in a callback's context, `msg` of a listener."""

    SUCCESS = "success"
    TASK_FAILURE = "task_failure"
    DEADLOCKED = "all_tasks_deadlocked"
    TIMED_OUT = "timed_out"


@dataclass(frozen=True, slots=True)
class CallbackMove:
    """`before` is the callback as the mover read it, `after` as it is to be stored. `None`: no such callback."""

    before: Callback | None
    after: Callback | None


# --- edges ------------------------------------------------------------------------------------------------------------


def miss(before: Callback, *, at: datetime) -> CallbackMove:
    """scheduled → pending. The deadline has passed."""
    return CallbackMove(before, replace(before, state=CallbackState.PENDING, dispatch_count=1, updated_at=at))


def queue(before: Callback, *, at: datetime) -> CallbackMove:
    """pending → queued. SQS accepted the message of this dispatch."""
    return CallbackMove(before, replace(before, state=CallbackState.QUEUED, sent_at=at))


def resend(before: Callback) -> CallbackMove:
    """queued → pending. Its message must be lost: it is sent once more, and the first message is stale."""
    again = replace(before, state=CallbackState.PENDING, dispatch_count=before.dispatch_count + 1)
    return CallbackMove(before, again)


def claim(before: Callback, *, at: datetime, hostname: str) -> CallbackMove:
    """pending | queued | running → running. A worker is about to call it; from running where the worker before is dead."""
    claimed = replace(before, state=CallbackState.RUNNING, started_at=at, hostname=hostname)
    return CallbackMove(before, claimed)


def end(before: Callback, *, at: datetime, output: str | None) -> CallbackMove:
    """running → success | failed. Also pending → failed, where no worker can ever call it."""
    state = CallbackState.SUCCESS if output is None else CallbackState.FAILED
    return CallbackMove(before, replace(before, state=state, ended_at=at, output=output))


def may_claim(callback: Callback, *, dispatch_count: int, hostname: str, at: datetime) -> bool:
    """The same worker may claim it again, in case it did not get the answer; another worker once the lease is over."""
    if callback.dispatch_count != dispatch_count:
        return False
    match callback.state:
        case CallbackState.PENDING | CallbackState.QUEUED:
            return True
        case CallbackState.RUNNING:
            return callback.hostname == hostname or _since(callback.started_at, at) >= LEASE
        case CallbackState.SCHEDULED | CallbackState.SUCCESS | CallbackState.FAILED:
            return False
        case _:
            assert_never(callback.state)


# --- what makes a callback due ----------------------------------------------------------------------------------------


def at_end(
    spec: DagSpec, run: DagRun, callbacks: Sequence[Callback], *, why: WhyEnded, shown: TaskInstance | None
) -> tuple[CallbackMove, ...]:
    """Callbacks that the end of a run makes due, and deadlines that it makes unnecessary. `run` is finished; `shown` is the
    instance that the context shows."""
    is_success = run.state is DagRunState.SUCCESS
    moves = _met_deadlines(run, callbacks) if is_success else []
    if (hook := RUN_HOOKS[run.state]) in spec.listeners:
        moves.append(_of_listener(run, hook, why))
    if spec.has_on_success_callback if is_success else spec.has_on_failure_callback:
        moves.append(_of_dag(run, why, shown))
    return tuple(moves)


def shown_at_end(
    spec: DagSpec, why: WhyEnded, instances: Sequence[TaskInstance], unfinished: Sequence[TaskInstance]
) -> TaskInstance | None:
    """The instance whose context the callback gets: the last to succeed, to fail or to start; in a deadlock the first
    that waits behind a finished task."""
    match why:
        case WhyEnded.SUCCESS:
            return max((i for i in instances if i.state is S.SUCCESS), key=_end, default=None)
        case WhyEnded.TASK_FAILURE:
            return max((i for i in instances if i.state is S.FAILED), key=_end, default=None)
        case WhyEnded.TIMED_OUT:
            return max(unfinished, key=lambda i: i.start_date or _NEVER, default=None)
        case WhyEnded.DEADLOCKED:
            ended = {i.task_id for i in instances if i.state in FINISHED}
            blocked = (i for i in unfinished if not ended.isdisjoint(spec.tasks[i.task_id].upstream_task_ids))
            return next(blocked, None)


def run_that_calls_back(
    finished: DagRun,
    callbacks: Sequence[Callback],
    of_tries: Sequence[Callback],
    moves: Sequence[CallbackMove],
    *,
    now: datetime,
) -> DagRun:
    """The finished run, with a `due_at` where its callbacks need one."""
    gone = {move.before.callback_id for move in moves if move.before is not None}
    left = [c for c in callbacks if c.callback_id not in gone and not c.has_ended]
    left += [*of_tries, *made(moves)]
    if not left:
        return finished
    at = min(moment for moment in (next_deadline(left), now + FIRST_LOOK) if moment is not None)
    if all(c.state is CallbackState.SCHEDULED for c in left):
        at = next_deadline(left) or at
    return replace(finished, calls_back=True, due_at=at)


def made(moves: Iterable[CallbackMove]) -> list[Callback]:
    return [move.after for move in moves if move.before is None and move.after is not None]


def of_run_start(spec: DagSpec, run: DagRun) -> list[CallbackMove]:
    return [_of_listener(run, RUN_RUNNING, "started")] if RUN_RUNNING in spec.listeners else []


def with_task_callback(task: TaskSpec, moved: Transition, *, emails: bool) -> Transition:
    """The transition of a try that ends without a worker, with the callback and the e-mail that a worker would have run
    and sent. `emails`: Airflow sends none for a try that its trigger failed."""
    if moved.after.state is S.FAILED:
        event, calls = "failure", task.has_on_failure_callback
    elif moved.after.state is S.UP_FOR_RETRY:
        event, calls = "retry", task.has_on_retry_callback
    else:
        return moved
    owed = {"callback": calls, "email": emails and event in task.emails_on}
    if not any(owed.values()):
        return moved
    at = moved.after.end_date or _NEVER
    due = _of_try(moved.after, event=event, reason=moved.after.reason or "", at=at)
    return replace(moved, callback=replace(due, definition=owed))


def with_kill(moved: Transition, spec: DagSpec | None, workers: Workers) -> Transition:
    """The transition with the end of what it leaves behind: `on_kill` of a trigger, or the stop of a container. `spec`: the
    run's; without one, a container that has not begun its try is not stopped. It finds the try gone when it begins."""
    return _with_container_stop(_with_trigger_kill(moved), spec, workers)


def _with_trigger_kill(moved: Transition) -> Transition:
    """The transition with an `on_kill` callback for the trigger, where a person, the run's end or fail_fast ends a
    deferral. The trigger's own report and its timeout do not kill it. A pure wait has nothing to kill."""
    before, after = moved.before, moved.after
    trigger = before.trigger
    if before.state is not S.DEFERRED or after.state is S.DEFERRED or trigger is None or moved.edge in _TRIGGERS_OWN:
        return moved
    if pure_wait(trigger, since=before.start_date) is not None or moved.callback is not None:
        return moved
    at = after.end_date or before.start_date or _NEVER
    killed = replace(
        _of_try(before, event="on_kill", reason=moved.edge, at=at),
        callback_id=f"trigger/{before.task_id}/{before.map_index}/{before.try_number}/{before.dispatch_count}",
        kind=CallbackKind.TRIGGER,
        definition={"classpath": trigger.classpath, "kwargs": trigger.kwargs},
    )
    return replace(moved, callback=killed)


_TRIGGERS_OWN: Final = frozenset({"resume", "fail_trigger", "time_out_trigger", "succeed", "fail", "stop", "retry"})
"""Edges by which a trigger, or its timeout, ends its own deferral."""


def _with_container_stop(moved: Transition, spec: DagSpec | None, workers: Workers) -> Transition:
    """The transition with the stop of the container that runs the try, or starts for it, where the scheduler or an API
    user takes the try away. A move that owes another callback stops no container: its supervisor ends with its next
    heartbeat."""
    before = moved.before
    if moved.edge not in _TAKES_AWAY or moved.callback is not None:
        return moved
    if (name := _container_of(before, spec, workers)) is None:
        return moved
    stop = replace(
        _of_try(before, event="stop", reason=moved.edge, at=moved.after.end_date or before.scheduled_at or _NEVER),
        callback_id=f"container/{before.task_id}/{before.map_index}/{before.try_number}/{before.dispatch_count}",
        kind=CallbackKind.CONTAINER,
        definition={"name": name},
    )
    return replace(moved, callback=stop)


def _container_of(instance: TaskInstance, spec: DagSpec | None, workers: Workers) -> str | None:
    """The name of the container that the instance's dispatch has."""
    if instance.state is S.RUNNING and (instance.hostname or "").startswith(HOST):
        return container_name(instance)
    if instance.state is S.QUEUED and spec is not None and (task := spec.tasks.get(instance.task_id)) is not None:
        return container_name(instance) if isinstance(place(task, workers, instance.outgrew), OnFargate) else None
    return None


_TAKES_AWAY: Final = frozenset(
    {"clear", "interrupt", "mark", "forget", "skip", "upstream_fail", "remove", "time_out", "lose", "resend"}
)
"""Edges by which a party other than the worker ends a dispatch that a container may run."""


def due_by(moves: Iterable[Transition]) -> list[Callback]:
    return [move.callback for move in moves if move.callback is not None]


def _of_dag(run: DagRun, why: WhyEnded, shown: TaskInstance | None) -> CallbackMove:
    event = "success" if run.state is DagRunState.SUCCESS else "failure"
    at = run.end_date or run.queued_at
    owed = _owed(run, f"dag/{run.clear_number}", CallbackKind.DAG, event=event, reason=why, at=at)
    return CallbackMove(None, replace(owed, **_shows(shown)))


def _of_listener(run: DagRun, hook: str, why: str) -> CallbackMove:
    at = run.end_date or run.start_date or run.queued_at
    name = f"listener/{hook}/{run.clear_number}"
    return CallbackMove(None, _owed(run, name, CallbackKind.LISTENER, event=hook, reason=why, at=at))


def _of_try(instance: TaskInstance, *, event: str, reason: str, at: datetime) -> Callback:
    """`event` is failure or retry; `instance` the try as it ended."""
    name = f"task/{instance.task_id}/{instance.map_index}/{instance.try_number}/{instance.dispatch_count}"
    return replace(_owed(instance, name, CallbackKind.TASK, event=event, reason=reason, at=at), **_shows(instance))


def _owed(
    by: DagRun | TaskInstance, callback_id: str, kind: CallbackKind, *, event: str, reason: str, at: datetime
) -> Callback:
    """A new callback that a worker is to run at once."""
    return Callback(
        dag_id=by.dag_id,
        run_id=by.run_id,
        callback_id=callback_id,
        kind=kind,
        event=event,
        state=CallbackState.PENDING,
        created_at=at,
        updated_at=at,
        reason=reason,
        dispatch_count=1,
    )


def _shows(instance: TaskInstance | None) -> dict[str, Any]:
    if instance is None:
        return {}
    return {"task_id": instance.task_id, "map_index": instance.map_index, "try_number": instance.try_number}


def _met_deadlines(run: DagRun, callbacks: Iterable[Callback]) -> list[CallbackMove]:
    """Deletes the deadlines that a successful run has met; those of a failed run stay, as in Airflow."""
    ended_at = run.end_date or run.queued_at
    return [
        CallbackMove(callback, None)
        for callback in callbacks
        if callback.state is CallbackState.SCHEDULED and callback.due_at is not None and ended_at <= callback.due_at
    ]


def _end(instance: TaskInstance) -> datetime:
    return instance.end_date or _NEVER


# --- a look at all callbacks of a run ---------------------------------------------------------------------------------


def due_moves(callbacks: Iterable[Callback], *, now: datetime) -> list[CallbackMove]:
    """Misses deadlines that have passed, resends lost callbacks and ends those that kill their workers."""
    moves: list[CallbackMove] = []
    for callback in callbacks:
        match callback.state:
            case CallbackState.SCHEDULED:
                if callback.due_at is not None and callback.due_at <= now:
                    moves.append(miss(callback, at=now))
            case CallbackState.QUEUED:
                if _since(callback.sent_at, now) >= SENT_AGAIN_AFTER:
                    moves.append(resend(callback))
            case CallbackState.RUNNING:
                if _since(callback.started_at, now) >= GIVEN_UP_AFTER:
                    moves.append(end(callback, at=now, output="The workers that ran it died."))
            case CallbackState.PENDING | CallbackState.SUCCESS | CallbackState.FAILED:
                pass
            case _:
                assert_never(callback.state)
    return moves


def next_deadline(callbacks: Iterable[Callback]) -> datetime | None:
    """The exact moment at which the next deadline is missed."""
    scheduled = (callback for callback in callbacks if callback.state is CallbackState.SCHEDULED)
    return min((callback.due_at for callback in scheduled if callback.due_at), default=None)


def next_look(callbacks: Iterable[Callback], *, now: datetime) -> datetime | None:
    """When the scheduler must look at a finished run because of its callbacks; `None` when all of them have ended."""
    callbacks = list(callbacks)
    moments = [next_deadline(callbacks)]
    if any(not c.has_ended and c.state is not CallbackState.SCHEDULED for c in callbacks):
        moments.append(now + LOOKED_AT)
    return min((moment for moment in moments if moment is not None), default=None)


def _since(moment: datetime | None, now: datetime) -> timedelta:
    return timedelta.max if moment is None else now - moment
