"""Further workers of a stack, which take tasks off a queue of their own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

ELSEWHERE: Final = "elsewhere/"
"""The hostname of a try that a host runs begins so."""

AWAY_AFTER: Final = timedelta(minutes=3)
"""Workers elsewhere show each minute that they are there. After this time without a sign they are away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerGroup:
    name: str
    """The queue that a DAG file names."""
    queue_url: str
    memory: int = 0
    """MB of one of its Lambda workers; 0 for workers elsewhere."""
    architecture: str = ""
    """Of its workers, by Lambda's name; empty for the stack's own."""
    task_role: str = ""
    """ARN of the AWS role of tasks that run there, unless the access document gives their DAG another; empty: as
    elsewhere in the stack."""
    is_closing: bool = False
    """It is being removed: it takes no further tasks, and those that it has end as if it were not."""
    heard_at: datetime | None = None
    """Of workers elsewhere: the last sign of life. `None` before the first."""

    @property
    def is_elsewhere(self) -> bool:
        """Its workers are processes on hosts of the operator's, and no Lambda functions."""
        return not self.memory
