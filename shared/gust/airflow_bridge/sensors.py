"""Sensors that poke hold their worker meanwhile: the log tells for how long, and an option has them give it back.

The option is `[gust] reschedule_sensors_from`, in seconds: a sensor that pokes at such an interval or a longer one runs in
mode `reschedule`. Parser and worker change it alike, as one of Airflow's cluster policies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from airflow import settings
from airflow.configuration import conf
from airflow.policies import hookimpl as policy_hook
from airflow.sdk import BaseSensorOperator

SECTION: Final = "gust"
OPTION: Final = "reschedule_sensors_from"

TOLD_FROM: Final = 60.0
"""Seconds. Of less a log says nothing."""


def watch() -> None:
    """In this process, and in those forked from it. May be called again."""
    policies = settings.get_policy_plugin_manager()
    if not policies.has_plugin(_LongIntervalsAreRescheduled.__name__):
        policies.register(_LongIntervalsAreRescheduled, _LongIntervalsAreRescheduled.__name__)


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
            given = {"mode": "poke", "poke_interval": 60.0, **task.partial_kwargs}
            if given["mode"] == "poke" and _seconds(given["poke_interval"]) >= limit and not _may_differ(task):
                task.partial_kwargs["mode"] = "reschedule"


def _is_mapped_sensor(task: Any) -> bool:
    kind = getattr(task, "operator_class", None)
    return isinstance(kind, type) and issubclass(kind, BaseSensorOperator) and not _must_poke(kind)


def _may_differ(task: Any) -> bool:
    """Whether each of the mapped sensors may have a mode or interval of its own. Airflow fails one that gets two modes."""
    expanded = task.expand_input.value
    return not isinstance(expanded, Mapping) or not expanded.keys().isdisjoint({"mode", "poke_interval"})


def _must_poke(kind: type) -> bool:
    """Airflow's `poke_mode_only` has made the mode a property that allows no other."""
    return isinstance(getattr(kind, "mode", None), property)


def _seconds(interval: Any) -> float:
    return float(interval.total_seconds() if hasattr(interval, "total_seconds") else interval)


def tell_if_long(task: Any, seconds: float, log: Any) -> None:
    """Write into the task's log how long a sensor has held its worker, if it did for a minute or longer."""
    if isinstance(task, BaseSensorOperator) and task.mode == "poke" and seconds >= TOLD_FROM:
        log.info(
            'The sensor held its worker while it poked; mode="reschedule" or deferrable=True hold none.',
            dag_id=task.dag_id,
            seconds_poked=round(seconds),
        )
