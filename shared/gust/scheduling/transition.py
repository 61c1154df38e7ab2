"""One constructor per legal edge of a task instance's life. Nothing else in Gust makes a `Transition`.

`before` is the instance as the writer read it, `after` as it is to be stored; the store writes the difference if the
stored instance still matches `before` (`store/fences.py`). `docs/state_machine.md` draws the edges under these names. A
constructor raises `IllegalTransition` where the edge does not exist; a caller that answers a request checks the state
first or catches that.

Every constructor takes what it needs to know as arguments and is a plain function of them: making the same transition
twice gives equal values.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from gust.errors import IllegalTransition
from gust.model.callback import Callback
from gust.model.hitl import HITLAnswer, HITLMove, ParkedQuestion
from gust.model.place import Limit
from gust.model.pool import RUN_LIMIT
from gust.model.state import FINISHED, IN_FLIGHT, SCHEDULABLE, UNFINISHED
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import ParkedTrigger, TaskInstance
from gust.scheduling import hitl, slots

FAIL_METHOD: Final = "__fail__"
"""`next_method` that makes Airflow's runtime fail the resumed try, running its callbacks.

`airflow.sdk.bases.operator`.
"""
TRIGGER_TIMEOUT: Final = "Trigger timeout"
"""`next_kwargs["error"]` that Airflow's runtime turns into TaskDeferralTimeout; any other text is TaskDeferralError."""
TRIGGER_FAILURE: Final = "Trigger failure"


@dataclass(frozen=True, slots=True)
class Transition:
    edge: str
    """Name of the constructor that made it."""
    before: TaskInstance
    after: TaskInstance
    keeps_try: bool = False
    """`before`'s try is over and another takes its place: the store keeps `finished_try` in the history."""
    callback: Callback | None = None
    """A callback that this move makes due and that no worker is left to call: stored in the same write."""
    hitl: HITLMove | None = None
    """How this move checks or answers the task's question to a person: part of the same write."""

    @property
    def finished_try(self) -> TaskInstance | None:
        """The try that this move puts into the history, or `None`. A try in up_for_retry is kept as failed: Airflow's
        history has no waiting tries.

        A try enters the history when the next one takes its place, so it is never in both. It is kept with the state in
        which it ended, even if its instance was skipped or removed after a clear, without another try.
        """
        if not self.keeps_try or self.before.is_try_kept:
            return None
        if self.before.state in FINISHED:
            return self.before
        ended_at = self.before.end_date or self.after.end_date
        return replace(self.before, state=S.FAILED, end_date=ended_at, due_at=None, trigger=None)


def followed_by(first: Transition, second: Transition) -> Transition:
    """One transition that does what both do. `second.before` is `first.after`."""
    return replace(
        first,
        after=second.after,
        keeps_try=first.keeps_try or second.keeps_try,
        callback=second.callback or first.callback,
        hitl=second.hitl or first.hitl,
    )


def holding_now(moved: Transition, current: TaskInstance) -> Transition:
    """The same move, of an instance that holds the slots of `current`: these changed after the writer read it."""
    held: dict[str, Any] = {"holds": current.holds, "holds_pool_deferred": current.holds_pool_deferred}
    before, after = replace(moved.before, **held), replace(moved.after, **held)
    return replace(moved, before=before, after=slots.without_released(before, after))


# --- the scheduler ----------------------------------------------------------------------------------------------------


def expand(before: TaskInstance, *, reason: str | None = None) -> Transition:
    """nothing → None. The scheduler knows a mapped task's length, and this is one of its instances.

    Only for an instance that has to wait: one that can move at once is first written by the edge by which it moves.
    """
    _require("expand", before, before.state is None and before.try_number == 0 and before.map_index >= 0)
    return _move("expand", before, replace(before, reason=reason))


def schedule(
    before: TaskInstance,
    *,
    at: datetime,
    retries: int,
    reason: str | None = None,
    blocked_by_limit: str | None = None,
    waiting_order: str | None = None,
) -> Transition:
    """None | up_for_retry | up_for_reschedule → scheduled. The scheduler may send it; if `blocked_by_limit` names a
    limit, once that limit has room.

    Begins a new try from None and up_for_retry (the finished one goes to the history), and continues the try from
    up_for_reschedule. `retries` is the task's; it becomes `max_tries` before the first try.
    """
    _require("schedule", before, before.state in SCHEDULABLE)
    if before.state is S.UP_FOR_RESCHEDULE:
        same_try = replace(
            before,
            state=S.SCHEDULED,
            dispatch_count=before.dispatch_count + 1,
            scheduled_at=at,
            queued_at=None,
            due_at=None,
            blocked_by_limit=blocked_by_limit,
            waiting_order=waiting_order,
            reason=reason,
        )
        return _move("schedule", before, same_try)
    after = replace(
        _new_try(before, retries),
        state=S.SCHEDULED,
        scheduled_at=at,
        blocked_by_limit=blocked_by_limit,
        waiting_order=waiting_order,
        reason=reason,
    )
    return _move("schedule", before, after, keeps_try=before.state is S.UP_FOR_RETRY)


def wait(before: TaskInstance, *, blocked_by_limit: str, waiting_order: str | None = None) -> Transition:
    """scheduled → scheduled. From now on it waits for another limit: the one that keeps it back."""
    _require("wait", before, slots.waits(before))
    return _move("wait", before, replace(before, blocked_by_limit=blocked_by_limit, waiting_order=waiting_order))


def grant(before: TaskInstance, *, claims: Sequence[slots.Claim]) -> Transition:
    """scheduled → scheduled. The slot granter gives it, in the same write, the slots that it waited for: it may go."""
    _require("grant", before, slots.waits(before))
    after = slots.with_slots(before, claims)
    return _move("grant", before, replace(after, blocked_by_limit=None, waiting_order=None))


def recount(before: TaskInstance, *, claims: Sequence[slots.Claim]) -> Transition:
    """any state that may hold slots → the same. Its pool has begun or ceased to count it since it entered that state."""
    _require("recount", before, before.state in {S.SCHEDULED, S.QUEUED, S.RUNNING, S.DEFERRED, S.AWAITING_INPUT})
    return _move("recount", before, slots.recounted(before, claims))


def complete_empty(before: TaskInstance, *, at: datetime, retries: int, reason: str | None = None) -> Transition:
    """None | up_for_retry | up_for_reschedule → success. An EmptyOperator without callbacks, outlets or inlets needs no
    worker."""
    _require("complete_empty", before, before.state in SCHEDULABLE)
    after = replace(_new_try(before, retries), state=S.SUCCESS, start_date=at, end_date=at, reason=reason)
    return _move("complete_empty", before, after, keeps_try=before.state is S.UP_FOR_RETRY)


def start_from_trigger(
    before: TaskInstance,
    *,
    at: datetime,
    retries: int,
    trigger: ParkedTrigger,
    claims: Sequence[slots.Claim] = (),
    reason: str | None = None,
) -> Transition:
    """None | up_for_retry | up_for_reschedule → deferred. The operator begins with its trigger, without a worker, even if
    its limits are full. `claims`: the slots that it holds from then on."""
    _require("start_from_trigger", before, before.state in SCHEDULABLE)
    begun = before if before.state is S.UP_FOR_RESCHEDULE else _new_try(before, retries)
    after = replace(
        begun,
        state=S.DEFERRED,
        queued_at=None,
        start_date=at,
        end_date=None,
        # No worker has begun a log: its trigger does, in a stream that is known before it runs.
        log_stream=begun.log_stream or str(begun.key.uuid(begun.try_number)),
        trigger=trigger,
        due_at=trigger.timeout_at,
        reason=reason,
    )
    after = slots.with_slots(after, claims)
    return _move("start_from_trigger", before, after, keeps_try=before.state is S.UP_FOR_RETRY)


def queue(before: TaskInstance, *, at: datetime) -> Transition:
    """scheduled → queued. SQS accepted the message of this dispatch."""
    _require("queue", before, before.state is S.SCHEDULED)
    return _move("queue", before, replace(before, state=S.QUEUED, queued_at=at))


def queue_at_once(move: Transition, *, at: datetime) -> Transition:
    """The same move and `queue`, in one write: SQS has accepted the message of the dispatch that the move begins."""
    return replace(move, after=queue(move.after, at=at).after)


def queue_trigger(before: TaskInstance, *, at: datetime | None, trigger: ParkedTrigger | None = None) -> Transition:
    """deferred → deferred. SQS accepted the message for the triggerer: the scheduler sends no second one for this
    deferral. `trigger`: the trigger with the arguments that it continues with, if these have changed."""
    _require("queue_trigger", before, before.state is S.DEFERRED)
    return _move("queue_trigger", before, replace(before, queued_at=at, trigger=trigger or before.trigger))


def resend(before: TaskInstance, *, at: datetime, reason: str, is_stuck: bool = False) -> Transition:
    """queued → scheduled. No worker started it in time: the scheduler sends it once more, and the first message is stale.
    `is_stuck`: count this, because the scheduler gives the try up after a number of them."""
    _require("resend", before, before.state is S.QUEUED)
    after = replace(
        before,
        state=S.SCHEDULED,
        dispatch_count=before.dispatch_count + 1,
        times_requeued=before.times_requeued + is_stuck,
        scheduled_at=at,
        queued_at=None,
        reason=reason,
    )
    return _move("resend", before, after)


def refuse(before: TaskInstance, *, at: datetime, retries: int, reason: str) -> Transition:
    """None | up_for_retry | up_for_reschedule → failed.

    No worker that could run it exists; trying again would not help.
    """
    _require("refuse", before, before.state in SCHEDULABLE)
    after = replace(_new_try(before, retries), state=S.FAILED, start_date=at, end_date=at, reason=reason)
    return _move("refuse", before, after, keeps_try=before.state is S.UP_FOR_RETRY)


def skip(before: TaskInstance, *, at: datetime, reason: str) -> Transition:
    """any but success, failed → skipped. By its trigger rule, by fail_fast, or by an upstream that branched.

    A worker may still run it, if an API user cleared or marked its upstreams meanwhile: it learns of this from its next
    heartbeat or report.
    """
    _require("skip", before, before.state not in {S.SUCCESS, S.FAILED})
    return _move("skip", before, _ended(before, S.SKIPPED, at, reason))


def upstream_fail(before: TaskInstance, *, at: datetime, reason: str) -> Transition:
    """any unfinished → upstream_failed. Its trigger rule can no longer be met. If an API user caused that while a
    worker runs it, the worker learns of it from its next heartbeat or report."""
    _require("upstream_fail", before, before.state in UNFINISHED)
    return _move("upstream_fail", before, _ended(before, S.UPSTREAM_FAILED, at, reason))


def stop_others(before: TaskInstance) -> Transition:
    """failed → failed. Notes that `fail_fast` has ended the other instances for this failure, so that it ends none that
    an API user clears afterwards."""
    _require("stop_others", before, before.state is S.FAILED)
    return _move("stop_others", before, replace(before, stopped_others=True))


def remove(before: TaskInstance, *, at: datetime, reason: str) -> Transition:
    """any but removed → removed. The DAG version or the mapped length no longer has this instance."""
    _require("remove", before, before.state is not S.REMOVED)
    return _move("remove", before, _ended(before, S.REMOVED, at, reason))


def lose(
    before: TaskInstance, *, at: datetime, reason: str, retry_at: datetime | None, outgrew: Limit | None = None
) -> Transition:
    """scheduled | queued | running → up_for_retry until `retry_at`, or failed where that is `None`.

    The worker is gone or could never start: the try failed, and its own retry rules apply. `outgrew`: the limit of Lambda
    that ended it.
    """
    _require("lose", before, before.state in IN_FLIGHT - {S.RESTARTING})
    state = S.FAILED if retry_at is None else S.UP_FOR_RETRY
    ended = replace(_ended(before, state, at, reason), outgrew=outgrew or before.outgrew)
    return _move("lose", before, ended if retry_at is None else replace(ended, due_at=retry_at))


def time_out(before: TaskInstance, *, at: datetime, reason: str) -> Transition:
    """any unfinished → skipped.

    The run ends before the instance: its `dagrun_timeout` has passed, or the scheduler cannot decide on it. A worker that
    still runs the instance learns of it from its next heartbeat.
    """
    _require("time_out", before, before.state in UNFINISHED)
    return _move("time_out", before, _ended(before, S.SKIPPED, at, reason))


# --- the worker -------------------------------------------------------------------------------------------------------


def start(before: TaskInstance, *, at: datetime, hostname: str | None = None, pid: int | None = None) -> Transition:
    """scheduled | queued → running. A worker begins this dispatch.

    Also from `scheduled`: a worker can be faster than the scheduler's write of `queued`. A try that resumes from a
    trigger keeps its start date, as in Airflow; one that continues after a reschedule gets a new one
    (`first_start_date` stays).
    """
    _require("start", before, before.state in {S.SCHEDULED, S.QUEUED})
    after = replace(
        before,
        state=S.RUNNING,
        start_date=before.start_date if before.next_method and before.start_date else at,
        end_date=None,
        heartbeat_at=at,
        hostname=hostname,
        pid=pid,
        times_requeued=0,
        retry_delay_override=None,
        pushed_keys=before.pushed_keys if before.next_method else (),
        skip_decision=before.skip_decision if before.next_method else {},
        reason=None,
    )
    return _move("start", before, after)


def succeed(
    before: TaskInstance, *, at: datetime, reason: str | None = None, rendered_map_index: str | None = None
) -> Transition:
    """running | deferred → success. The worker reports it, or a trigger that ends its task itself."""
    _require("succeed", before, before.state in {S.RUNNING, S.DEFERRED})
    return _move("succeed", before, _labelled(_ended(before, S.SUCCESS, at, reason), rendered_map_index))


def fail(
    before: TaskInstance, *, at: datetime, reason: str | None = None, rendered_map_index: str | None = None
) -> Transition:
    """running | deferred → failed. The try failed, and no other follows."""
    _require("fail", before, before.state in {S.RUNNING, S.DEFERRED})
    return _move("fail", before, _labelled(_ended(before, S.FAILED, at, reason), rendered_map_index))


def stop(
    before: TaskInstance, *, state: S, at: datetime, reason: str | None = None, rendered_map_index: str | None = None
) -> Transition:
    """running | deferred → skipped | upstream_failed | removed. The task, or its trigger, asks for that end."""
    _require(
        "stop", before, before.state in {S.RUNNING, S.DEFERRED} and state in {S.SKIPPED, S.UPSTREAM_FAILED, S.REMOVED}
    )
    return _move("stop", before, _labelled(_ended(before, state, at, reason), rendered_map_index))


def label(before: TaskInstance, *, rendered_map_index: str) -> Transition:
    """running → running. The task rendered its `map_index_template`."""
    _require("label", before, before.state is S.RUNNING)
    return _move("label", before, replace(before, rendered_map_index=rendered_map_index))


def with_rendered_fields(report: Transition, fields: Mapping[str, Any]) -> Transition:
    """The same report of a dispatch's end, which also stores the template fields that the dispatch rendered."""
    after = replace(report.after, rendered_fields=dict(fields), rendered_by=report.before.dispatch_count)
    return replace(report, after=after)


def retry(
    before: TaskInstance,
    *,
    at: datetime,
    due_at: datetime,
    reason: str | None = None,
    retry_delay_override: float | None = None,
    rendered_map_index: str | None = None,
) -> Transition:
    """running | deferred → up_for_retry. The try failed and tries remain; leaves when `due_at` comes.

    `due_at` comes from `retry.next_retry_at`. The try stays in the instance until `schedule` begins the next one and
    puts it into the history.
    """
    _require("retry", before, before.state in {S.RUNNING, S.DEFERRED})
    ended = replace(
        _ended(before, S.UP_FOR_RETRY, at, reason), due_at=due_at, retry_delay_override=retry_delay_override
    )
    return _move("retry", before, _labelled(ended, rendered_map_index))


def reschedule(before: TaskInstance, *, at: datetime, due_at: datetime, reason: str | None = None) -> Transition:
    """running → up_for_reschedule. A sensor gave its slot back; the same try continues when `due_at` comes."""
    _require("reschedule", before, before.state is S.RUNNING)
    after = replace(
        _ended(before, S.UP_FOR_RESCHEDULE, at, reason),
        due_at=due_at,
        reschedule_count=before.reschedule_count + 1,
        first_start_date=before.first_start_date or before.start_date,
        log_stream=before.log_stream or before.hostname,
    )
    return _move("reschedule", before, after)


def defer(
    before: TaskInstance, *, trigger: ParkedTrigger, reason: str | None = None, rendered_map_index: str | None = None
) -> Transition:
    """running → deferred. A trigger waits for the task; leaves when the trigger fires, or at `trigger.timeout_at`."""
    _require("defer", before, before.state is S.RUNNING)
    after = replace(
        before,
        state=S.DEFERRED,
        queued_at=None,
        log_stream=before.log_stream or before.hostname,
        trigger=trigger,
        next_method=None,
        next_kwargs=None,
        due_at=trigger.timeout_at,
        reason=reason,
    )
    return _move("defer", before, _labelled(after, rendered_map_index))


def await_input(
    before: TaskInstance,
    *,
    next_method: str,
    next_kwargs: dict[str, Any] | str | None,
    due_at: datetime | None,
    question: ParkedQuestion | None,
    rendered_map_index: str | None = None,
) -> Transition:
    """running → awaiting_input. The task asks a person; leaves with the answer or at `due_at`."""
    _require("await_input", before, before.state is S.RUNNING)
    after = replace(
        before,
        state=S.AWAITING_INPUT,
        queued_at=None,
        log_stream=before.log_stream or before.hostname,
        next_method=next_method,
        next_kwargs=next_kwargs,
        due_at=due_at,
        question=question,
        reason=None,
    )
    unanswered = HITLMove(question.try_number) if question else None
    return _move("await_input", before, _labelled(after, rendered_map_index), hitl=unanswered)


def resume_answered(
    before: TaskInstance,
    *,
    at: datetime,
    answer: HITLAnswer,
    next_method: str,
    next_kwargs: dict[str, Any] | str | None,
    rendered_map_index: str | None = None,
) -> Transition:
    """running → scheduled. It asks a question that has an answer already: the same try continues with that answer."""
    _require("resume_answered", before, before.state is S.RUNNING)
    after = _answered(before, at, answer, next_method, next_kwargs)
    return _move("resume_answered", before, _labelled(after, rendered_map_index))


# --- the trigger ------------------------------------------------------------------------------------------------------


def resume(before: TaskInstance, *, at: datetime, event: Any, reason: str | None = None) -> Transition:
    """deferred → scheduled. The trigger fired; the same try goes on at its `next_method`.

    `event` is the event's payload as Airflow's serde encodes it (a JSON value); it becomes `next_kwargs["event"]`.
    """
    _require("resume", before, before.state is S.DEFERRED and before.trigger is not None)
    assert before.trigger is not None  # noqa: S101 - tells the type checker what _require checked
    next_kwargs = {**_as_dict(before.trigger.next_kwargs), "event": event}
    return _move("resume", before, _resumed(before, at, before.trigger.next_method, next_kwargs, reason))


def fail_trigger(
    before: TaskInstance, *, at: datetime, traceback: list[str] | None = None, reason: str | None = None
) -> Transition:
    """deferred → scheduled. The trigger broke: a worker fails the try, with the task's callbacks and retries."""
    _require("fail_trigger", before, before.state is S.DEFERRED)
    next_kwargs = {"error": TRIGGER_FAILURE, "traceback": traceback}
    return _move("fail_trigger", before, _resumed(before, at, FAIL_METHOD, next_kwargs, reason))


def time_out_trigger(before: TaskInstance, *, at: datetime, reason: str | None = None) -> Transition:
    """deferred → scheduled. The trigger's time is up: a worker fails the try, with the task's callbacks and retries."""
    _require("time_out_trigger", before, before.state is S.DEFERRED)
    return _move("time_out_trigger", before, _resumed(before, at, FAIL_METHOD, {"error": TRIGGER_TIMEOUT}, reason))


def time_out_input(before: TaskInstance, *, at: datetime) -> Transition:
    """awaiting_input → scheduled. The question timed out: the try goes on with the defaults, or fails without any."""
    _require("time_out_input", before, before.state is S.AWAITING_INPUT)
    reason = "No answer came in time."
    question = before.question
    if question is None or question.defaults is None:
        next_kwargs = {**_as_dict(before.next_kwargs), "event": hitl.TIMED_OUT}
        return _move("time_out_input", before, _resumed(before, at, before.next_method or "", next_kwargs, reason))
    answer = HITLAnswer(
        chosen_options=list(question.defaults), params_input=dict(question.params_input), responded_at=at
    )
    after = _answered(before, at, answer, before.next_method, before.next_kwargs, is_late=True, reason=reason)
    return _move("time_out_input", before, after, hitl=HITLMove(question.try_number, answer))


# --- a person ---------------------------------------------------------------------------------------------------------


def answer(before: TaskInstance, *, at: datetime, answer: HITLAnswer, try_number: int) -> Transition:
    """awaiting_input | deferred → scheduled. A person has answered: the same try continues with the answer.

    `try_number` is the question's; the same write stores the answer in it. A deferred instance waits for the trigger by
    which operators asked before Airflow 3.3; an event of that trigger after the answer is stale.
    """
    _require("answer", before, before.state in {S.AWAITING_INPUT, S.DEFERRED})
    parked = before.trigger or before
    after = _answered(before, at, answer, parked.next_method, parked.next_kwargs)
    return _move("answer", before, after, hitl=HITLMove(try_number, answer))


def clear(
    before: TaskInstance,
    *,
    at: datetime,
    retries: int | None,
    version_number: int | None = None,
    reason: str | None = None,
) -> Transition:
    """any but None and running → None. It will run again, as a new try; its current try goes to the history.

    All messages sent for it are stale from now on. It keeps its try number, and `max_tries` leaves all `retries` of the
    task after that. `retries=None`: the task is not known, and `max_tries` is at least the try number. As in Airflow, the
    instance shows the dates and the worker of the last try until the next begins. `version_number`: the DAG version to
    run on, if that is not its run's.
    """
    _require("clear", before, before.state not in {None, S.RUNNING})
    after = replace(_reset(before, at, retries, reason), version_number=version_number)
    return _move("clear", before, after, keeps_try=True)


def interrupt(before: TaskInstance, *, reason: str | None = None) -> Transition:
    """running → restarting. It was cleared: its worker learns of it from its next heartbeat or report, and ends it."""
    _require("interrupt", before, before.state is S.RUNNING)
    return _move("interrupt", before, replace(before, state=S.RESTARTING, reason=reason))


def restart(before: TaskInstance, *, at: datetime, retries: int | None, reason: str | None = None) -> Transition:
    """restarting → None. Its worker has ended the old try, so the new one runs alone."""
    _require("restart", before, before.state is S.RESTARTING)
    return _move("restart", before, _reset(before, at, retries, reason), keeps_try=True)


def mark(before: TaskInstance, *, state: S, at: datetime, reason: str | None = None) -> Transition:
    """any → success | failed | skipped. An API user marks it. A worker that still runs it learns of it from its next
    heartbeat or report.

    As in Airflow, this begins no try, and an instance that has ended before keeps its end date.
    """
    _require("mark", before, state in {S.SUCCESS, S.FAILED, S.SKIPPED} and before.state is not state)
    ended = _ended(before, state, before.end_date or at, reason)
    return _move("mark", before, replace(ended, stopped_others=state is S.FAILED))


def forget(before: TaskInstance, *, reason: str | None = None) -> Transition:
    """any → None. Deleted: as if it had never run, except that all messages sent for it are stale."""
    after = TaskInstance(
        dag_id=before.dag_id,
        run_id=before.run_id,
        task_id=before.task_id,
        map_index=before.map_index,
        dispatch_count=before.dispatch_count + 1,
        is_deleted=True,
        reason=reason,
    )
    return _move("forget", before, after)


def annotate(before: TaskInstance, *, note: str | None) -> Transition:
    """any → the same. A person's note."""
    return _move("annotate", before, replace(before, note=note))


def annotated(transition: Transition, *, note: str | None) -> Transition:
    """The same transition, which also writes a person's note."""
    return replace(transition, after=replace(transition.after, note=note))


def pin(before: TaskInstance, *, version_number: int) -> Transition:
    """any → the same. Its run moves to a newer DAG version, and this instance keeps the version that it ran on."""
    return _move("pin", before, replace(before, version_number=version_number))


# --- what the edges have in common ------------------------------------------------------------------------------------


def _move(
    edge: str,
    before: TaskInstance,
    after: TaskInstance,
    *,
    keeps_try: bool = False,
    hitl: HITLMove | None = None,
) -> Transition:
    """The transition, which gives back the slots that its new state may not hold. Every constructor ends here, so that no
    edge forgets that."""
    return Transition(edge, before, slots.without_released(before, after), keeps_try=keeps_try, hitl=hitl)


def _require(edge: str, before: TaskInstance, legal: bool) -> None:
    if not legal:
        raise IllegalTransition(edge, before)


def _new_try(before: TaskInstance, retries: int) -> TaskInstance:
    """The instance at its next try: only the fields that belong to the instance carry over from the last try.

    XComs that it pushed stay until a worker starts the try and clears them; lengths stay until it pushes again, as in
    Airflow's `task_map`, and rendered fields until the try has rendered its own.
    """
    return TaskInstance(
        dag_id=before.dag_id,
        run_id=before.run_id,
        task_id=before.task_id,
        map_index=before.map_index,
        try_number=before.try_number + 1,
        max_tries=retries if before.try_number == 0 else before.max_tries,
        dispatch_count=before.dispatch_count + 1,
        operator=before.operator,
        version_number=before.version_number,
        map_length=before.map_length,
        xcom_lengths=before.xcom_lengths,
        pushed_keys=before.pushed_keys,
        skip_decision=before.skip_decision,
        rendered_fields=before.rendered_fields,
        rendered_by=before.rendered_by,
        outgrew=before.outgrew,
        note=before.note,
    )


def _ended(before: TaskInstance, state: S, at: datetime, reason: str | None) -> TaskInstance:
    """The instance with its try over, or given up for now: without a trigger, a question or a method to resume."""
    return replace(
        before,
        state=state,
        start_date=before.start_date or at,
        end_date=at,
        due_at=None,
        trigger=None,
        next_method=None,
        next_kwargs=None,
        question=None,
        reason=reason,
    )


def _reset(before: TaskInstance, at: datetime, retries: int | None, reason: str | None) -> TaskInstance:
    """The instance before any decision about it. The higher `dispatch_count` makes every earlier message stale."""
    return replace(
        before,
        state=None,
        is_try_kept=True,
        max_tries=max(before.max_tries, before.try_number) if retries is None else before.try_number + retries,
        dispatch_count=before.dispatch_count + 1,
        end_date=before.end_date or at,
        due_at=None,
        trigger=None,
        next_method=None,
        next_kwargs=None,
        question=None,
        reschedule_count=0,
        first_start_date=None,
        log_stream=None,
        retry_delay_override=None,
        is_deleted=False,
        stopped_others=False,
        reason=reason,
    )


def _resumed(
    before: TaskInstance, at: datetime, next_method: str, next_kwargs: dict[str, Any], reason: str | None
) -> TaskInstance:
    """The instance, scheduled to continue its try. It gave up its place in the run, and waits for one again."""
    return replace(
        before,
        state=S.SCHEDULED,
        dispatch_count=before.dispatch_count + 1,
        scheduled_at=at,
        queued_at=None,
        due_at=None,
        blocked_by_limit=RUN_LIMIT,
        trigger=None,
        next_method=next_method,
        next_kwargs=next_kwargs,
        question=None,
        reason=reason,
    )


def _answered(
    before: TaskInstance,
    at: datetime,
    answer: HITLAnswer,
    next_method: str | None,
    next_kwargs: dict[str, Any] | str | None,
    *,
    is_late: bool = False,
    reason: str | None = None,
) -> TaskInstance:
    """The instance, scheduled to continue with the answer. If Airflow's runtime cannot take the answer, the try fails,
    as in Airflow."""
    if not hitl.can_be_told(answer):
        failure = {"error": TRIGGER_FAILURE, "traceback": [hitl.UNTELLABLE]}
        return _resumed(before, at, FAIL_METHOD, failure, hitl.UNTELLABLE)
    kwargs = {**_as_dict(next_kwargs), "event": hitl.event(answer, is_late=is_late)}
    return _resumed(before, at, next_method or "", kwargs, reason)


def _labelled(after: TaskInstance, rendered_map_index: str | None) -> TaskInstance:
    return after if rendered_map_index is None else replace(after, rendered_map_index=rendered_map_index)


def _as_dict(next_kwargs: dict[str, Any] | str | None) -> dict[str, Any]:
    if isinstance(next_kwargs, str):
        return dict(json.loads(next_kwargs))
    return dict(next_kwargs or {})
