"""CloudWatch's alarms for the local stack, as AWS evaluates them.

MiniStack's own alarms take all values of a name together, whatever their dimensions, and forget about periods and missing
values: an error of any function would set off the alarm of the scheduler, and a tick that does not come would set off none.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, get_args

State = Literal["OK", "ALARM", "INSUFFICIENT_DATA"]

COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}

MADE_AT: Final = "AlarmConfigurationUpdatedTimestamp"

Statistic = Literal["Sum", "Maximum", "Minimum", "Average", "SampleCount"]
"""Percentiles are not evaluated."""


class Point(NamedTuple):
    """A value of a metric that came `times` times at a moment."""

    at: float
    """Seconds since 1970."""
    value: float
    times: float = 1.0


class Verdict(NamedTuple):
    state: State
    reason: str


def can_evaluate(alarm: Mapping[str, Any]) -> bool:
    """Whether the alarm watches one metric by one of the statistics, and compares it with a number."""
    return alarm.get("ComparisonOperator") in COMPARISONS and alarm.get("Statistic") in get_args(Statistic)


def evaluate(alarm: Mapping[str, Any], points: Sequence[Point], *, now: float, minute: float = 60.0) -> Verdict:
    """`alarm`: as `DescribeAlarms` answers. `points`: of its metric, in any order. `minute`: how many seconds a minute of
    its periods takes, for tests that cannot wait.

    The periods end at `now`, and at every whole period before. A period without a value is judged by `TreatMissingData`, one
    that began before the alarm was made by nothing: AWS waits for the alarm's first values, too."""
    period = alarm["Period"] / 60 * minute
    number = alarm["EvaluationPeriods"]
    needed = alarm.get("DatapointsToAlarm") or number
    compare, threshold = COMPARISONS[alarm["ComparisonOperator"]], alarm["Threshold"]
    missing = alarm.get("TreatMissingData") or "missing"
    breaching, known = 0, 0
    worst: float | None = None
    for place in range(number):
        end = now - place * period
        within = [point for point in points if end - period < point.at <= end]
        if within:
            value = statistic(alarm["Statistic"], within)
            known += 1
            if compare(value, threshold):
                breaching += 1
                worst = value if worst is None else worst
        elif missing in ("breaching", "notBreaching") and end - period >= alarm.get(MADE_AT, 0):
            known += 1
            breaching += missing == "breaching"
    if breaching >= needed:
        seen = f"{worst:g}" if worst is not None else "no value"
        return Verdict("ALARM", f"Threshold Crossed: {breaching} of {number} periods, last with {seen}")
    if known:
        return Verdict("OK", f"{breaching} of {number} periods crossed the threshold {threshold:g}")
    if missing == "ignore":
        return Verdict(alarm["StateValue"], alarm.get("StateReason", ""))
    return Verdict("INSUFFICIENT_DATA", "There is no value yet")


def statistic(name: Statistic, points: Sequence[Point]) -> float:
    """Of at least one point."""
    count = sum(point.times for point in points)
    total = sum(point.value * point.times for point in points)
    match name:
        case "Sum":
            return total
        case "SampleCount":
            return count
        case "Average":
            return total / count
        case "Maximum":
            return max(point.value for point in points)
        case "Minimum":
            return min(point.value for point in points)
