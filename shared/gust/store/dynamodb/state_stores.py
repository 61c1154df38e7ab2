"""State stores of task instances and assets: small named JSON documents. A task instance's entries are in its run's
partition, and are deleted with it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable

from gust.model.asset import AssetKey
from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.model.state_entry import StateEntry
from gust.ports.clock import Clock
from gust.store import items, keyspace
from gust.store.dynamodb.documents import Documents
from gust.store.items import Item
from gust.store.keyspace import Key
from gust.store.parallel import Parallel
from gust.store.table import Table, key_of


class DynamoDBStateStores:
    """Implements `ports.StateStore`. What has expired is hidden at once and deleted within days."""

    _table: Table
    _documents: Documents
    _parallel: Parallel
    _clock: Clock

    def put_task_state(self, key: TaskInstanceKey, entry: StateEntry) -> None:
        self._put_state(keyspace.task_state(key, entry.key), entry)

    def get_task_state(self, key: TaskInstanceKey, name: str) -> StateEntry | None:
        return self._get_state(keyspace.task_state(key, name))

    def list_task_state(self, key: TaskInstanceKey) -> list[StateEntry]:
        begins_with = keyspace.task_states(key.task_id, key.map_index)
        return self._list_states(self._table.query(keyspace.run_partition(key.run), begins_with=begins_with))

    def delete_task_state(self, key: TaskInstanceKey, name: str) -> None:
        self._table.delete(keyspace.task_state(key, name))

    def clear_task_state(self, run: DagRunKey, task_id: str, map_index: int | None) -> None:
        begins_with = keyspace.task_states(task_id, map_index)
        self._clear_states(self._table.query(keyspace.run_partition(run), begins_with=begins_with))

    def put_asset_state(self, asset: AssetKey, entry: StateEntry) -> None:
        self._put_state(keyspace.asset_state(*asset, entry.key), entry)

    def get_asset_state(self, asset: AssetKey, name: str) -> StateEntry | None:
        return self._get_state(keyspace.asset_state(*asset, name))

    def list_asset_state(self, asset: AssetKey) -> list[StateEntry]:
        return self._list_states(self._table.query(keyspace.asset_states(*asset)))

    def delete_asset_state(self, asset: AssetKey, name: str) -> None:
        self._table.delete(keyspace.asset_state(*asset, name))

    def clear_asset_state(self, asset: AssetKey) -> None:
        self._clear_states(self._table.query(keyspace.asset_states(*asset)))

    def _put_state(self, where: Key, entry: StateEntry) -> None:
        item = self._documents.keep(where.pk, "value", entry.value) | {"updated_at": items.moment(entry.updated_at)}
        if entry.expires_at is not None:
            item["expires_at"] = items.moment(entry.expires_at)
            item[keyspace.TTL_ATTRIBUTE] = items.number(math.ceil(entry.expires_at.timestamp()))
        if entry.last_updated_by is not None:
            item["last_updated_by"] = items.document("last_updated_by", entry.last_updated_by)
        self._table.put(where, item)

    def _get_state(self, where: Key) -> StateEntry | None:
        item = self._table.get(where)
        return None if item is None or not self._is_kept(item) else self._read_state(item)

    def _list_states(self, found: Iterable[Item]) -> list[StateEntry]:
        entries = self._parallel.map(self._read_state, [item for item in found if self._is_kept(item)])
        return sorted(entries, key=lambda entry: entry.key)

    def _clear_states(self, found: Iterable[Item]) -> None:
        self._table.delete_all([key_of(item) for item in found])

    def _is_kept(self, item: Item) -> bool:
        return "expires_at" not in item or keyspace.moment_from(item["expires_at"]["S"]) > self._clock.now()

    def _read_state(self, item: Item) -> StateEntry:
        return StateEntry(
            key=keyspace.state_name(key_of(item)),
            value=self._documents.read(item),
            updated_at=keyspace.moment_from(item["updated_at"]["S"]),
            expires_at=keyspace.moment_from(item["expires_at"]["S"]) if "expires_at" in item else None,
            last_updated_by=json.loads(item["last_updated_by"]["S"]) if "last_updated_by" in item else None,
        )
