"""The state stores of task instances and assets."""

from __future__ import annotations

from typing import Protocol

from gust.model.asset import (
    AssetKey,
)
from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.model.state_entry import StateEntry


class StateStore(Protocol):
    """What tasks, watchers and people keep for a task instance (all its tries alike) or for an asset. Writes replace."""

    def put_task_state(self, key: TaskInstanceKey, entry: StateEntry) -> None: ...

    def get_task_state(self, key: TaskInstanceKey, name: str) -> StateEntry | None: ...

    def list_task_state(self, key: TaskInstanceKey) -> list[StateEntry]:
        """By key."""

    def delete_task_state(self, key: TaskInstanceKey, name: str) -> None:
        """Deleting what is not there is no error."""

    def clear_task_state(self, run: DagRunKey, task_id: str, map_index: int | None) -> None:
        """`None`: of all map indexes."""

    def put_asset_state(self, asset: AssetKey, entry: StateEntry) -> None: ...

    def get_asset_state(self, asset: AssetKey, name: str) -> StateEntry | None: ...

    def list_asset_state(self, asset: AssetKey) -> list[StateEntry]:
        """By key."""

    def delete_asset_state(self, asset: AssetKey, name: str) -> None: ...

    def clear_asset_state(self, asset: AssetKey) -> None: ...
