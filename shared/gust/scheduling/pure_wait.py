"""Triggers that only wait for a moment: the scheduler wakes their tasks itself, and nothing runs meanwhile.

These are `DateTimeTrigger` and `TimeDeltaTrigger` of the standard provider, which every time sensor ends up with. Their
arguments come as the Task SDK's serde encodes them. Arguments that cannot be read here (a template, say) are no pure
wait: the triggerer makes sense of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from gust.model.task_instance import ParkedTrigger

DATE_TIME_TRIGGERS: Final = frozenset(
    f"airflow.{package}.temporal.{name}"
    for package in ("providers.standard.triggers", "triggers")
    for name in ("DateTimeTrigger", "TimeDeltaTrigger")
)
"""The second package is where they were before the standard provider; Airflow still forwards it."""


@dataclass(frozen=True, slots=True)
class PureWait:
    until: datetime
    event: Any
    """The payload the trigger would give, as serde encodes it."""
    ends_task: bool
    """The task succeeds at that moment without a worker (`end_from_trigger`)."""


def pure_wait(trigger: ParkedTrigger, *, since: datetime | None) -> PureWait | None:
    """What `trigger` waits for; `None` if it has to be run. `since` is when the wait began, where that matters."""
    if trigger.classpath not in DATE_TIME_TRIGGERS:
        return None
    kwargs = trigger.kwargs
    if not isinstance(kwargs, dict):
        return None
    try:
        until = _until(kwargs, since)
    except (OverflowError, ValueError, OSError):
        return None  # No calendar has the moment. The trigger itself says so when it is run, and its task fails.
    if until is None:
        return None
    return PureWait(until=until, event=encoded_moment(until), ends_task=kwargs.get("end_from_trigger") is True)


def _until(kwargs: dict[str, Any], since: datetime | None) -> datetime | None:
    until = _moment(kwargs.get("moment")) or _moment(kwargs.get("target_time"))
    if until is None and since is not None and (delta := _delta(kwargs.get("delta"))) is not None:
        until = since + delta
    return until


def encoded_moment(moment: datetime, *, classname: str = "pendulum.datetime.DateTime") -> dict[str, Any]:
    """A UTC moment as serde encodes the `pendulum.DateTime` that the trigger would have given, or another class's."""
    zone = {
        "__classname__": "builtins.tuple",
        "__version__": 1,
        "__data__": ["UTC", "pendulum.tz.timezone.Timezone", 1, True],
    }
    return {
        "__classname__": classname,
        "__version__": 2,
        "__data__": {"timestamp": moment.timestamp(), "tz": zone},
    }


def _moment(value: Any) -> datetime | None:
    match value:
        case {"__classname__": str(), "__data__": {"timestamp": int() | float() as timestamp}}:
            return datetime.fromtimestamp(timestamp, tz=UTC)
        case str():
            return _parsed(value)
        case _:
            return None


def _parsed(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    # Airflow reads a moment without zone in its default time zone, UTC unless configured otherwise.
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _delta(value: Any) -> timedelta | None:
    match value:
        case {"__classname__": "datetime.timedelta", "__data__": int() | float() as seconds}:
            return timedelta(seconds=seconds)
        case _:
            return None
