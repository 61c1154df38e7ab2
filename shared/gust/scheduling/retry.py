"""How a try begins, and whether and when another follows one that failed.

Rules: `TaskInstance.next_retry_datetime` and `is_eligible_to_retry` of Airflow.
"""

from __future__ import annotations

import hashlib
import math
from datetime import datetime
from typing import Final

from gust.model.dag_run import DagRun
from gust.model.dag_spec import TaskSpec
from gust.model.moment import later
from gust.model.place import LAMBDA_ALONE, Limit, OnFargate, Workers
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import ParkedTrigger, TaskInstance
from gust.scheduling import callback, transition
from gust.scheduling.placement import place

MAX_RETRY_DELAY: Final = 24 * 60 * 60
"""Seconds; Airflow's `[core] max_task_retry_delay`, at its default."""


def is_eligible(instance: TaskInstance) -> bool:
    """Whether another try remains after the current try of `instance`."""
    return instance.max_tries > 0 and instance.try_number <= instance.max_tries


def next_retry_at(
    task: TaskSpec,
    instance: TaskInstance,
    *,
    logical_date: datetime | None,
    failed_at: datetime,
    delay_override: float | None = None,
) -> datetime:
    """When the next try of `instance` may start. `delay_override`: seconds that a retry policy returned; replaces the
    task's delay."""
    if delay_override is not None:
        return later(failed_at, delay_override)
    return later(failed_at, retry_delay(task, instance, logical_date=logical_date))


def retry_delay(task: TaskSpec, instance: TaskInstance, *, logical_date: datetime | None) -> float:
    """Seconds between a failed try and the next. Without exponential backoff, the task's `retry_delay`. With it, at least
    retry_delay times multiplier^(try - 1), and less than twice that: a hash of the try's identity picks the value.

    The hash is Airflow's, so the scheduler, the execution API and Airflow compute the same moment. As in Airflow,
    `max_retry_delay` and `MAX_RETRY_DELAY` bound only delays with backoff.
    """
    multiplier = task.retry_exponential_backoff
    if multiplier <= 0 or multiplier == 1:
        return task.retry_delay
    least = _backoff(task.retry_delay, multiplier, instance.try_number)
    delay = min(least + _spread(instance, logical_date) % least, MAX_RETRY_DELAY)
    return delay if not task.max_retry_delay else min(delay, task.max_retry_delay)


def _backoff(base: float, multiplier: float, try_number: int) -> int:
    """Whole seconds, at least 1: the spread is taken modulo this, and must be in whole seconds too."""
    try:
        return max(1, math.ceil(base * multiplier ** (try_number - 1)))
    except OverflowError:
        return MAX_RETRY_DELAY


def _spread(instance: TaskInstance, logical_date: datetime | None) -> int:
    # The text is Airflow's, where the logical date prints as str(datetime) in UTC.
    name = f"{instance.dag_id}#{instance.task_id}#{logical_date}#{instance.try_number}"
    return int(hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest(), 16)


def lose_try(
    task: TaskSpec,
    run: DagRun,
    instance: TaskInstance,
    *,
    at: datetime,
    reason: str,
    outgrew: Limit | None = None,
    workers: Workers = LAMBDA_ALONE,
) -> transition.Transition:
    """The transition of an instance whose worker is gone: to up_for_retry while tries remain, else to failed. A
    `restarting` instance was cleared and only waited for its worker to end, so it runs again. `outgrew`: the limit of
    Lambda that ended it; if the next try gets a container of `workers` for that, the reason says so."""
    if instance.state is S.RESTARTING:
        return transition.restart(instance, at=at, retries=task.retries, reason=reason)
    retry_at = None
    if task.retries and is_eligible(instance):
        retry_at = next_retry_at(task, instance, logical_date=run.logical_date, failed_at=at)
        if outgrew is not None and isinstance(following := place(task, workers, outgrew), OnFargate):
            reason = f"{reason.rstrip('.')}. The next try runs on Fargate ({following.size})."
    lost = transition.lose(instance, at=at, reason=reason, retry_at=retry_at, outgrew=outgrew)
    return callback.with_task_callback(task, lost, emails=True)


def fail_try(task: TaskSpec, run: DagRun, instance: TaskInstance, *, at: datetime) -> transition.Transition:
    """The transition of a deferred instance whose trigger reports that the task failed: to up_for_retry while tries
    remain, else to failed."""
    if task.retries and is_eligible(instance):
        retry_at = next_retry_at(task, instance, logical_date=run.logical_date, failed_at=at)
        return callback.with_task_callback(task, transition.retry(instance, at=at, due_at=retry_at), emails=False)
    return callback.with_task_callback(task, transition.fail(instance, at=at), emails=False)


def start_trigger(task: TaskSpec, now: datetime) -> ParkedTrigger | None:
    """The trigger the task begins with instead of a worker; `None` for most.

    A mapped task's instances all begin with the arguments of the class, as in Airflow, which maps none into them.
    """
    arguments = task.start_trigger_args
    if not task.start_from_trigger or arguments is None:
        return None
    timeouts = [seconds for seconds in (arguments.get("timeout"), task.execution_timeout) if seconds is not None]
    return ParkedTrigger(
        classpath=arguments["trigger_cls"],
        kwargs=arguments.get("trigger_kwargs") or {},
        next_method=arguments["next_method"],
        next_kwargs=arguments.get("next_kwargs"),
        timeout_at=later(now, min(timeouts)) if timeouts else None,
    )
