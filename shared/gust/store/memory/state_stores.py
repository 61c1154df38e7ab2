"""The state stores of task instances and assets, in memory."""

from __future__ import annotations

import json
from collections.abc import Hashable
from dataclasses import replace
from typing import TypeVar

from gust.model.asset import AssetKey
from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.model.state_entry import StateEntry
from gust.store.memory.state import MemoryState, atomic

K = TypeVar("K", bound=Hashable)


class MemoryStateStores(MemoryState):
    """Implements `ports.StateStore`."""

    @atomic
    def put_task_state(self, key: TaskInstanceKey, entry: StateEntry) -> None:
        self._task_states.setdefault(key, {})[entry.key] = _copy(entry)

    def get_task_state(self, key: TaskInstanceKey, name: str) -> StateEntry | None:
        return next((entry for entry in self.list_task_state(key) if entry.key == name), None)

    @atomic
    def list_task_state(self, key: TaskInstanceKey) -> list[StateEntry]:
        return self._fresh(self._task_states, key)

    @atomic
    def delete_task_state(self, key: TaskInstanceKey, name: str) -> None:
        self._task_states.get(key, {}).pop(name, None)

    @atomic
    def clear_task_state(self, run: DagRunKey, task_id: str, map_index: int | None) -> None:
        for key in list(self._task_states):
            if key.run == run and key.task_id == task_id and map_index in (None, key.map_index):
                del self._task_states[key]

    @atomic
    def put_asset_state(self, asset: AssetKey, entry: StateEntry) -> None:
        self._asset_states.setdefault(asset, {})[entry.key] = _copy(entry)

    def get_asset_state(self, asset: AssetKey, name: str) -> StateEntry | None:
        return next((entry for entry in self.list_asset_state(asset) if entry.key == name), None)

    @atomic
    def list_asset_state(self, asset: AssetKey) -> list[StateEntry]:
        return self._fresh(self._asset_states, asset)

    @atomic
    def delete_asset_state(self, asset: AssetKey, name: str) -> None:
        self._asset_states.get(asset, {}).pop(name, None)

    @atomic
    def clear_asset_state(self, asset: AssetKey) -> None:
        self._asset_states.pop(asset, None)

    def _fresh(self, of: dict[K, dict[str, StateEntry]], key: K) -> list[StateEntry]:
        now = self._clock.now()
        return [
            _copy(entry)
            for _, entry in sorted(of.get(key, {}).items())
            if entry.expires_at is None or entry.expires_at > now
        ]


def _copy(entry: StateEntry) -> StateEntry:
    return replace(
        entry,
        value=json.loads(json.dumps(entry.value)),
        last_updated_by=json.loads(json.dumps(entry.last_updated_by)),
    )
