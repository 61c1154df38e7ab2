"""States of DagRuns and task instances, spelled as Airflow spells them, and the sets that rules are written in.

`None` is a task instance state of its own: the scheduler has not moved the instance yet. Gust stores no item for such an
instance (a write would cost money and say nothing), so "no item" and `None` are the same thing everywhere.
"""

from enum import StrEnum


class TaskInstanceState(StrEnum):
    """State of one task instance. Source: `airflow.utils.state.TaskInstanceState`."""

    REMOVED = "removed"
    """The task, or this map index of it, vanished from the DAG after the instance was created."""
    SCHEDULED = "scheduled"
    """The scheduler decided that it runs. Dies here: the stream delivers the same record again, and it is sent again."""
    QUEUED = "queued"
    """SQS accepted the message. Dies here: the message is delivered again."""
    RUNNING = "running"
    """A worker started the try. Dies here: redelivery, dead-letter queue or the heartbeat deadline fails the try."""
    SUCCESS = "success"
    RESTARTING = "restarting"
    """Was cleared while running; goes back to no state once its worker has stopped."""
    FAILED = "failed"
    UP_FOR_RETRY = "up_for_retry"
    """The try failed and tries remain; leaves when its `due_at` comes."""
    UP_FOR_RESCHEDULE = "up_for_reschedule"
    """A sensor gave its slot back; the same try continues when its `due_at` comes."""
    UPSTREAM_FAILED = "upstream_failed"
    SKIPPED = "skipped"
    DEFERRED = "deferred"
    """A trigger waits in its place; leaves when the trigger fires or `due_at` (the trigger's timeout) comes."""
    AWAITING_INPUT = "awaiting_input"
    """It has asked people a question; leaves when one answers or `due_at` comes."""


class DagRunState(StrEnum):
    """State of one DagRun. Source: `airflow.utils.state.DagRunState`."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"


class DagRunType(StrEnum):
    """How a DagRun came to be. Source: `airflow.utils.types.DagRunType`."""

    SCHEDULED = "scheduled"
    MANUAL = "manual"
    OPERATOR_TRIGGERED = "operator_triggered"
    BACKFILL_JOB = "backfill"
    ASSET_TRIGGERED = "asset_triggered"
    ASSET_MATERIALIZATION = "asset_materialization"


class DagRunTriggeredByType(StrEnum):
    """The origin of a DagRun. Source: `airflow.utils.types.DagRunTriggeredByType`."""

    CLI = "cli"
    OPERATOR = "operator"
    REST_API = "rest_api"
    UI = "ui"
    TEST = "test"
    TIMETABLE = "timetable"
    ASSET = "asset"
    BACKFILL = "backfill"


class TriggerRule(StrEnum):
    """When a task may run, given its upstreams. Source: `airflow.sdk.TriggerRule`."""

    ALL_SUCCESS = "all_success"
    ALL_FAILED = "all_failed"
    ALL_DONE = "all_done"
    ALL_DONE_MIN_ONE_SUCCESS = "all_done_min_one_success"
    ALL_DONE_SETUP_SUCCESS = "all_done_setup_success"
    ONE_SUCCESS = "one_success"
    ONE_FAILED = "one_failed"
    ONE_DONE = "one_done"
    NONE_FAILED = "none_failed"
    NONE_SKIPPED = "none_skipped"
    ALWAYS = "always"
    NONE_FAILED_MIN_ONE_SUCCESS = "none_failed_min_one_success"
    ALL_SKIPPED = "all_skipped"


S = TaskInstanceState

FINISHED: frozenset[S | None] = frozenset({S.SUCCESS, S.FAILED, S.SKIPPED, S.UPSTREAM_FAILED, S.REMOVED})
"""Nothing more happens to these unless a person clears them."""

UNFINISHED: frozenset[S | None] = frozenset({None, *S} - FINISHED)

SUCCESSFUL: frozenset[S | None] = frozenset({S.SUCCESS, S.SKIPPED})
FAILED_STATES: frozenset[S | None] = frozenset({S.FAILED, S.UPSTREAM_FAILED})

SCHEDULABLE: frozenset[S | None] = frozenset({None, S.UP_FOR_RETRY, S.UP_FOR_RESCHEDULE})
"""From these the scheduler may move an instance to `scheduled`."""

IN_FLIGHT: frozenset[S | None] = frozenset({S.SCHEDULED, S.QUEUED, S.RUNNING, S.RESTARTING})
"""With a worker, or on the way to one: these count against concurrency limits."""

FINISHED_RUN: frozenset[DagRunState] = frozenset({DagRunState.SUCCESS, DagRunState.FAILED})
