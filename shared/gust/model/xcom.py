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
    """The part of a branch's or short-circuit's value that the scheduler needs: which tasks to skip."""
    dag_result: bool = False
    dispatch_count: int | None = None
    """The dispatch that pushed it. `None`: an API user did."""
