"""One backfill: runs of a DAG for a stretch of the past, made by a person's request and run under a limit of its own."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class ReprocessBehavior(StrEnum):
    """Which existing runs the backfill runs again. Source: `airflow.models.backfill.ReprocessBehavior`."""

    FAILED = "failed"
    COMPLETED = "completed"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backfill:
    """All moments are aware datetimes in UTC."""

    backfill_id: int
    dag_id: str
    from_date: datetime
    to_date: datetime
    dag_run_conf: dict[str, Any] | None = None
    is_paused: bool = False
    """Its queued runs do not start; its running ones continue. A cancelled backfill stays paused, as in Airflow."""
    reprocess_behavior: ReprocessBehavior = ReprocessBehavior.NONE
    max_active_runs: int = 10
    run_on_latest_version: bool = True
    """Whether existing runs are run again on the DAG's newest version or on their own."""
    triggering_user_name: str | None = None
    correlation_id: str | None = None
    """Of the request that made it; its runs have it, too."""
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None = None
    """When all its runs had ended, or it was cancelled. Until then it is the DAG's active one."""
    version_number: int
    spec_key: str
    bundle_version: str | None = None
    """Bundle of its runs; with the two fields above, the DAG's newest version when the backfill was created."""
    planned: int
    """How many runs its plan has. The plan is made once and never changes."""
    made: int = 0
    """How many of these have been made, run again or left alone, in the plan's order."""
    running_runs: int = 0
    """How many of its runs are `running`; changed in the transaction that moves the run."""
    unfinished_runs: int = 0
    """How many of its runs are `queued` or `running`; changed in the transaction that moves the run."""
    due_at: datetime | None = None
    """When the tick looks at it, in case a wake-up was lost; `None` once it is completed."""

    @property
    def is_active(self) -> bool:
        return self.completed_at is None

    @property
    def is_made(self) -> bool:
        return self.made >= self.planned
