"""When a failed try is tried again. Rules: `TaskInstance.next_retry_datetime` and `is_eligible_to_retry` of Airflow."""

from __future__ import annotations

import hashlib
import math
from datetime import datetime
from typing import Final

from gust.model.dag_spec import TaskSpec
from gust.model.moment import later
from gust.model.task_instance import TaskInstance

MAX_RETRY_DELAY: Final = 24 * 60 * 60
"""Seconds; Airflow's `[core] max_task_retry_delay`, at its default."""


def is_eligible(instance: TaskInstance) -> bool:
    """Whether another try remains after the one that `instance` is at."""
    return instance.max_tries > 0 and instance.try_number <= instance.max_tries


def next_retry_at(
    task: TaskSpec,
    instance: TaskInstance,
    *,
    logical_date: datetime | None,
    failed_at: datetime,
    delay_override: float | None = None,
) -> datetime:
    """When the try after `instance`'s may start. `delay_override` (seconds) is what a retry policy said."""
    if delay_override is not None:
        return later(failed_at, delay_override)
    return later(failed_at, retry_delay(task, instance, logical_date=logical_date))


def retry_delay(task: TaskSpec, instance: TaskInstance, *, logical_date: datetime | None) -> float:
    """Seconds. Constant, or the base times multiplier^(try - 1) and up to as much again, spread by the try's identity.

    The spread is a hash and not a die: every party computes the same moment, and it is the one Airflow computes. As in
    Airflow, `max_retry_delay` bounds growing delays only.
    """
    multiplier = task.retry_exponential_backoff
    if multiplier <= 0 or multiplier == 1:
        return task.retry_delay
    least = _backoff(task.retry_delay, multiplier, instance.try_number)
    delay = min(least + _spread(instance, logical_date) % least, MAX_RETRY_DELAY)
    return delay if not task.max_retry_delay else min(delay, task.max_retry_delay)


def _backoff(base: float, multiplier: float, try_number: int) -> int:
    """At least 1: an int, so that what is added modulo it is whole seconds too."""
    try:
        return max(1, math.ceil(base * multiplier ** (try_number - 1)))
    except OverflowError:
        return MAX_RETRY_DELAY


def _spread(instance: TaskInstance, logical_date: datetime | None) -> int:
    # The text is Airflow's, where the logical date prints as str(datetime) in UTC.
    name = f"{instance.dag_id}#{instance.task_id}#{logical_date}#{instance.try_number}"
    return int(hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest(), 16)
