"""Phase: what time alone ends. The run's own timeout, lost workers, stuck messages, triggers and questions."""

from __future__ import annotations

from typing import Final, assert_never

from gust.model.container_start import HOST
from gust.model.dag_spec import TaskSpec
from gust.model.place import Limit
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import ParkedTrigger, TaskInstance
from gust.model.worker_group import ELSEWHERE
from gust.scheduling import callback, retry, transition
from gust.scheduling.draft import Draft
from gust.scheduling.placement import LAMBDA_SECONDS
from gust.scheduling.pure_wait import pure_wait
from gust.scheduling.timers import is_overdue, run_deadline

LATEST_SIGN: Final = LAMBDA_SECONDS - 25
"""Seconds after its start until which a worker on Lambda must have been heard of, so that the time limit ended it: it stops
the task at `LAMBDA_SECONDS` and reports that, and of its heartbeats one in 15 to 20 seconds is stored."""


def is_run_timed_out(draft: Draft) -> bool:
    deadline = run_deadline(draft.spec, draft.run)
    return deadline is not None and deadline <= draft.now


def skip_unfinished(draft: Draft, reason: str) -> list[TaskInstance]:
    """Ends every unfinished instance with the run. Returns them as they were."""
    unfinished = [instance for _, instance in draft.unfinished()]
    for instance in unfinished:
        draft.view.move(transition.time_out(instance, at=draft.now, reason=reason))
    return unfinished


def expire_instances(draft: Draft) -> None:
    """Moves each instance whose time is up: each one once, and never one that this decision moved already."""
    for task, instance in draft.view.all_instances():
        if draft.view.has_moved(instance):
            continue
        match instance.state:
            case S.RUNNING | S.RESTARTING:
                if is_overdue(instance, now=draft.now, config=draft.config):
                    _lose(draft, task, instance)
            case S.QUEUED:
                if is_overdue(instance, now=draft.now, config=draft.config):
                    _requeue(draft, task, instance)
            case S.DEFERRED:
                if instance.trigger is not None:
                    _expire_trigger(draft, instance, instance.trigger)
            case S.AWAITING_INPUT:
                if instance.due_at is not None and instance.due_at <= draft.now:
                    draft.view.move(transition.time_out_input(instance, at=draft.now))
            case None | S.UP_FOR_RETRY | S.UP_FOR_RESCHEDULE | S.SCHEDULED:
                pass
            case S.SUCCESS | S.FAILED | S.SKIPPED | S.UPSTREAM_FAILED | S.REMOVED:
                pass
            case _:
                assert_never(instance.state)


def _lose(draft: Draft, task: TaskSpec, instance: TaskInstance) -> None:
    reason = f"The worker was silent for more than {draft.config.heartbeat_timeout}; the try is lost."
    outgrew = _outgrown(instance)
    if outgrew is Limit.TIME:
        reason = (
            f"The worker fell silent when Lambda's time limit was near, for more than {draft.config.heartbeat_timeout}."
        )
    lost = retry.lose_try(
        task, draft.run, instance, at=draft.now, reason=reason, outgrew=outgrew, workers=draft.workers
    )
    draft.view.move(lost)


def _outgrown(instance: TaskInstance) -> Limit | None:
    """The limit of Lambda that a silent worker has reached for certain: its time, because the last sign of life came when
    only seconds of it were left. Memory leaves no such sign. A try that was resumed keeps the start date of its
    first worker, and a host elsewhere or a container has no such limit."""
    if instance.next_method is not None or instance.start_date is None or _has_no_limit(instance.hostname or ""):
        return None
    lived = (instance.heartbeat_at or instance.start_date) - instance.start_date
    return Limit.TIME if lived.total_seconds() >= LATEST_SIGN else None


def _has_no_limit(hostname: str) -> bool:
    return hostname.startswith((HOST, ELSEWHERE))


def _requeue(draft: Draft, task: TaskSpec, instance: TaskInstance) -> None:
    """Sends a message again that no worker took. After `most_requeues` times, while workers were free, the instance fails
    for good, as in Airflow (`_maybe_requeue_stuck_ti`)."""
    if instance.times_requeued < draft.config.most_requeues or draft.has_backlog:
        reason = f"No worker took it for {draft.config.queued_timeout}; sent again."
        draft.view.move(transition.resend(instance, at=draft.now, reason=reason, is_stuck=True))
        return
    reason = f"Task was requeued more than {draft.config.most_requeues} times and will be failed."
    lost = transition.lose(instance, at=draft.now, reason=reason, retry_at=None)
    draft.view.move(callback.with_task_callback(task, lost, emails=False))


def _expire_trigger(draft: Draft, instance: TaskInstance, trigger: ParkedTrigger) -> None:
    """Resumes or ends a deferral that only waited for a time, and fails one that ran out of time."""
    now, wait, timeout_at = draft.now, pure_wait(trigger, since=instance.start_date), instance.due_at
    if wait is not None and wait.until <= now and (timeout_at is None or wait.until <= timeout_at):
        if wait.ends_task:
            draft.view.move(transition.succeed(instance, at=now))
        else:
            draft.view.move(transition.resume(instance, at=now, event=wait.event))
    elif timeout_at is not None and timeout_at <= now:
        reason = "The trigger did not fire before its timeout."
        draft.view.move(transition.time_out_trigger(instance, at=now, reason=reason))
