"""Worker groups, in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from gust.model.worker_group import WorkerGroup
from gust.store.memory.state import MemoryState, atomic


class MemoryWorkerGroups(MemoryState):
    """Implements `ports.WorkerGroupStore`."""

    @atomic
    def list_worker_groups(self) -> list[WorkerGroup]:
        return [group for _, group in sorted(self._worker_groups.items())]

    @atomic
    def register_worker_group(self, group: WorkerGroup) -> None:
        before = self._worker_groups.get(group.name)
        self._worker_groups[group.name] = replace(group, heard_at=before.heard_at if before else None)

    @atomic
    def hear_of_worker_group(self, name: str, at: datetime) -> bool:
        group = self._worker_groups.get(name)
        if group is None or group.is_closing:
            return False
        self._worker_groups[name] = replace(group, heard_at=at)
        return True

    @atomic
    def close_worker_group(self, name: str) -> None:
        if (group := self._worker_groups.get(name)) is not None:
            self._worker_groups[name] = replace(group, is_closing=True)

    @atomic
    def delete_worker_group(self, name: str) -> None:
        self._worker_groups.pop(name, None)
