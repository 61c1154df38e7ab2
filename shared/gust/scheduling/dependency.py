"""The kinds of things that keep a task instance from running."""

from enum import StrEnum


class Dependency(StrEnum):
    """What an instance waits for, as Airflow names it (`ti_deps.deps`)."""

    TRIGGER_RULE = "Trigger Rule"
    BRANCH = "Not Previously Skipped"
    MAPPED_SOURCES = "Mapped dependencies have succeeded"
    LOGICAL_DATE = "Logical Date"
    PREVIOUS_RUN = "Previous Dagrun State"
    RETRY_PERIOD = "Not In Retry Period"
    RESCHEDULE = "Ready To Reschedule"
    RUN_SLOTS = "Task Instance Slots Available"
    TASK_CONCURRENCY = "Task Concurrency"
    POOL_SLOTS = "Pool Slots Available"
    RUN_RUNS = "Dagrun Running"
    DAG_IS_ON = "Dag Not Paused"
    STATE = "Task Instance State"
