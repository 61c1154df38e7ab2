"""Worker groups."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from gust.model.worker_group import WorkerGroup


class WorkerGroupStore(Protocol):
    """The registered worker groups: those that a DAG file may name, and those that are being removed."""

    def list_worker_groups(self) -> list[WorkerGroup]:
        """All groups, in order of their names."""

    def register_worker_group(self, group: WorkerGroup) -> None:
        """Create or replace the group. A stored sign of life stays: `heard_at` of `group` is not written."""

    def hear_of_worker_group(self, name: str, at: datetime) -> bool:
        """Note a sign of life of the group's workers. Returns whether the group is registered and stays; if not, writes
        nothing."""

    def close_worker_group(self, name: str) -> None:
        """Note that the group is being removed (`is_closing`). Closing one that is gone changes nothing; registering it
        opens it again."""

    def delete_worker_group(self, name: str) -> None:
        """Deleting a group that is gone changes nothing."""
