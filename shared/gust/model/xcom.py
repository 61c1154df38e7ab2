"""One XCom."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gust.model.keys import TaskInstanceKey


@dataclass(frozen=True, slots=True)
class XCom:
    key: TaskInstanceKey
    name: str
    """Airflow's XCom key."""
    value: Any
    """What the Task SDK sent: a JSON value, already serialized by Airflow's XCom backend."""
    timestamp: datetime
    mapped_length: int | None = None
    skip_decision: dict[str, Any] | None = None
    """What the scheduler must know of the value, where it says whom a branch skips."""
    dag_result: bool = False
    dispatch_count: int | None = None
    """Of the dispatch that pushed it. `None`: a person did."""
