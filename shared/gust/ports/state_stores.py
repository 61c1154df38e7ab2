"""The state stores of task instances and assets."""

from __future__ import annotations

from typing import Protocol

from gust.model.asset import (
    AssetKey,
)
from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.model.state_entry import StateEntry


class StateStore(Protocol):
    """Airflow's state stores: values that tasks, watchers and API users keep for a task instance (across its tries) or for
    an asset. A write replaces; deleting nothing is no error; an expired entry is not returned."""

    def put_task_state(self, key: TaskInstanceKey, entry: StateEntry) -> None:
        """Store or replace the instance's entry of this key."""

    def get_task_state(self, key: TaskInstanceKey, name: str) -> StateEntry | None:
        """`None` if there is no entry, or if it has expired."""

    def list_task_state(self, key: TaskInstanceKey) -> list[StateEntry]:
        """The instance's entries, in order of their keys."""

    def delete_task_state(self, key: TaskInstanceKey, name: str) -> None:
        """Delete the instance's entry of this key."""

    def clear_task_state(self, run: DagRunKey, task_id: str, map_index: int | None) -> None:
        """Delete all entries of the task's instance; `None`: of all its map indexes."""

    def put_asset_state(self, asset: AssetKey, entry: StateEntry) -> None:
        """Store or replace the asset's entry of this key."""

    def get_asset_state(self, asset: AssetKey, name: str) -> StateEntry | None:
        """`None` if there is no entry, or if it has expired."""

    def list_asset_state(self, asset: AssetKey) -> list[StateEntry]:
        """The asset's entries, in order of their keys."""

    def delete_asset_state(self, asset: AssetKey, name: str) -> None:
        """Delete the asset's entry of this key."""

    def clear_asset_state(self, asset: AssetKey) -> None:
        """Delete all entries of the asset."""
