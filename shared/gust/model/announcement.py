"""What Gust tells the world: one event on the stack's bus for each transition."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID, uuid5

SOURCE: Final = "gust"
"""Of all events that Gust sends."""

TAG: Final = "gust:events"
"""A DAG's tag that has its events sent where the stack sends those of tagged DAGs alone."""

LONGEST_TEXT: Final = 10_000
"""Characters of a trace or a body; an event holds 256 KB."""

_NAMESPACE: Final = UUID("5f0a4c65-6a52-4f0e-8d3c-6a3f3a2c7a11")


class Kind(StrEnum):
    """The events' detail-types."""

    DAG_RUN = "DagRun State Change"
    TASK_INSTANCE = "TaskInstance State Change"
    DEADLINE = "Deadline Missed"
    REQUIRED_ACTION = "Required Action"
    IMPORT_ERROR = "Import Error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    event_id: str
    """Follows from the stream's record, which has the transition: a record that is delivered again has the same."""
    kind: Kind
    at: datetime
    detail: dict[str, Any] = field(default_factory=dict)
    """As docs/events.md describes it, apart from the fields that all events have."""

    @property
    def dag_id(self) -> str | None:
        """The DAG that it is about; an import error is about none."""
        return self.detail.get("dag_id")


def event_id_of(record_id: str) -> str:
    return str(uuid5(_NAMESPACE, record_id))
