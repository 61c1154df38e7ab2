"""Asset watchers: few items, all read at once when a DAG with watchers changes."""

from __future__ import annotations

from datetime import datetime

from gust.errors import StaleWatcher
from gust.model.watcher import Watcher
from gust.store import fences, items, keyspace
from gust.store.items import Item
from gust.store.table import ConditionFailed, Delete, Expression, Table, key_of


class DynamoDBWatchers:
    """Implements `ports.WatcherStore`."""

    _table: Table

    def get_watcher(self, watcher_id: str) -> Watcher | None:
        item = self._table.get(keyspace.watcher(watcher_id))
        return None if item is None else _read(watcher_id, item)

    def list_watchers(self) -> list[Watcher]:
        return [_read(key_of(item).sk, item) for item in self._table.query(keyspace.WATCHERS)]

    def watched_sources(self) -> frozenset[str]:
        return frozenset(key_of(item).sk for item in self._table.query(keyspace.WATCHED_SOURCES))

    def watch_source(self, arn: str) -> None:
        self._table.put(keyspace.watched_source(arn), {})

    def unwatch_source(self, arn: str) -> None:
        self._table.delete(keyspace.watched_source(arn))

    def due_backfills_and_watchers(
        self, until: datetime
    ) -> tuple[list[tuple[int, datetime]], list[tuple[str, datetime]]]:
        found = self._table.query_index(keyspace.INDEX_DUE, keyspace.DUE_BACKFILLS, until=keyspace.moment(until))
        backfills: list[tuple[int, datetime]] = []
        watchers: list[tuple[str, datetime]] = []
        for item in found:
            key, due_at = key_of(item), keyspace.moment_from(item["due_sk"]["S"])
            if key.pk == keyspace.WATCHERS:
                watchers.append((key.sk, due_at))
            else:
                backfills.append((keyspace.backfill_id(key.pk), due_at))
        return sorted(backfills, key=lambda one: (one[1], one[0])), sorted(watchers, key=lambda one: (one[1], one[0]))

    def put_watcher(self, before: Watcher | None, after: Watcher) -> None:
        item = items.WATCHER.item(after)
        if after.due_at is not None:
            item |= {"due_pk": items.text(keyspace.DUE_BACKFILLS), "due_sk": items.moment(after.due_at)}
        try:
            self._table.put(keyspace.watcher(after.watcher_id), item, _as_seen(before))
        except ConditionFailed as failed:
            if failed.item is not None and _read(after.watcher_id, failed.item) == after:
                return
            raise StaleWatcher(f"watcher {after.watcher_id} moved on") from failed

    def delete_watcher(self, before: Watcher) -> None:
        try:
            self._table.transact(Delete(keyspace.watcher(before.watcher_id), _as_seen(before)))
        except ConditionFailed as failed:
            if failed.item is None:
                return
            raise StaleWatcher(f"watcher {before.watcher_id} moved on") from failed


def _as_seen(before: Watcher | None) -> Expression:
    if before is None:
        return Expression().is_new()
    return Expression().exists().still(items.WATCHER.attributes(fences.watcher_fence(before)))


def _read(watcher_id: str, item: Item) -> Watcher:
    return items.WATCHER.read(item, watcher_id=watcher_id)
