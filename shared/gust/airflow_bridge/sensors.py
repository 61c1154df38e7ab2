"""Sensors that poke hold their worker meanwhile: the log tells for how long, and an option has them give it back.

The option is `[gust] reschedule_sensors_from`, in seconds: a sensor that pokes at such an interval or a longer one runs in
mode `reschedule`. Parser and worker change it alike, as one of Airflow's cluster policies.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, Final

from airflow import settings
from airflow.configuration import conf
from airflow.policies import hookimpl as policy_hook
from airflow.sdk import BaseSensorOperator

SECTION: Final = "gust"
OPTION: Final = "reschedule_sensors_from"

MARK: Final = "__tells_how_long_it_poked__"

TOLD_FROM: Final = 60.0
"""Seconds. Of less a log says nothing."""


def watch() -> None:
    """In this process, and in those forked from it. May be called again."""
    policies = settings.get_policy_plugin_manager()
    if not policies.has_plugin(_LongIntervalsAreRescheduled.__name__):
        policies.register(_LongIntervalsAreRescheduled, _LongIntervalsAreRescheduled.__name__)
    if not hasattr(BaseSensorOperator.execute, MARK):
        BaseSensorOperator.execute = told(BaseSensorOperator.execute)


class _LongIntervalsAreRescheduled:
    @staticmethod
    @policy_hook  # type: ignore[untyped-decorator]
    def task_policy(task: Any) -> None:
        limit = conf.getfloat(SECTION, OPTION, fallback=0.0)
        if limit <= 0:
            return
        if isinstance(task, BaseSensorOperator):
            if task.mode == "poke" and task.poke_interval >= limit and not _must_poke(type(task)):
                task.mode = "reschedule"
        elif _is_mapped_sensor(task):
            arguments = task.partial_kwargs
            if "mode" not in arguments and _seconds(arguments.get("poke_interval", 60.0)) >= limit:
                arguments["mode"] = "reschedule"


def _is_mapped_sensor(task: Any) -> bool:
    kind = getattr(task, "operator_class", None)
    return isinstance(kind, type) and issubclass(kind, BaseSensorOperator) and not _must_poke(kind)


def _must_poke(kind: type) -> bool:
    """Airflow's `poke_mode_only` has made the mode a property that allows no other."""
    return isinstance(getattr(kind, "mode", None), property)


def _seconds(interval: Any) -> float:
    return float(interval.total_seconds() if hasattr(interval, "total_seconds") else interval)


def told(execute: Callable[..., Any], *, clock: Callable[[], float] = time.monotonic) -> Callable[..., Any]:
    """`execute` of a sensor, which logs how long it has poked."""

    @functools.wraps(execute)
    def execute_and_tell(self: Any, context: Any) -> Any:
        began = clock()
        try:
            return execute(self, context)
        finally:
            seconds = clock() - began
            if self.mode == "poke" and seconds >= TOLD_FROM:
                self.log.info(
                    'The sensor held its worker while it poked; mode="reschedule" or deferrable=True hold none.',
                    dag_id=self.dag_id,
                    seconds_poked=round(seconds),
                )

    setattr(execute_and_tell, MARK, True)
    return execute_and_tell
