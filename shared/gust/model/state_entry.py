"""One entry of a task's or an asset's state store: a value that code keeps for the next try or run, apart from XComs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class StateEntry:
    key: str
    value: Any
    """A JSON value."""
    updated_at: datetime
    """UTC."""
    expires_at: datetime | None = None
    """Of a task's entry: hidden from readers from then on. `None`: never."""
    last_updated_by: dict[str, Any] | None = None
    """Of an asset's entry: `kind` (task, watcher, api), and the task if a task wrote it."""
