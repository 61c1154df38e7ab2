"""One value of a metric, under the name that Amazon MWAA's users know, where MWAA has it."""

from typing import Final, Literal, NamedTuple

NAMESPACE: Final = "Gust"
"""Of all metrics in CloudWatch."""

Name = Literal[
    "TaskInstanceSuccesses",
    "TaskInstanceFailures",
    "TaskInstanceDuration",
    "TaskInstanceQueuedDuration",
    "ZombiesKilled",
    "DAGDurationSuccess",
    "DAGDurationFailed",
    "DAGScheduleDelay",
    "ImportErrors",
    "TickLateness",
    "EventsRefused",
    "EventsWaiting",
]
"""The first ten are as many as CloudWatch's free tier has; the last two are measured where an event is refused or waits.
docs/monitoring.md says what each tells."""

Unit = Literal["Count", "Seconds"]
"""CloudWatch's names."""


class Measurement(NamedTuple):
    name: Name
    value: float
    unit: Unit = "Count"
    dag_id: str | None = None
    """The DAG that it is about, if it is about one."""
