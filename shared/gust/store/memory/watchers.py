"""Asset watchers, in memory."""

from __future__ import annotations

from datetime import datetime

from gust.errors import StaleWatcher
from gust.model.watcher import Watcher
from gust.store import items
from gust.store.fences import watcher_fence
from gust.store.memory.backfills import MemoryBackfills
from gust.store.memory.state import as_stored, atomic, check_fits


class MemoryWatchers(MemoryBackfills):
    """Implements `ports.WatcherStore`."""

    @atomic
    def get_watcher(self, watcher_id: str) -> Watcher | None:
        found = self._watchers.get(watcher_id)
        return None if found is None else as_stored(found)

    @atomic
    def list_watchers(self) -> list[Watcher]:
        return [as_stored(found) for _, found in sorted(self._watchers.items())]

    @atomic
    def watched_sources(self) -> frozenset[str]:
        return frozenset(self._watched_sources)

    @atomic
    def watch_source(self, arn: str) -> None:
        self._watched_sources.add(arn)

    @atomic
    def unwatch_source(self, arn: str) -> None:
        self._watched_sources.discard(arn)

    @atomic
    def due_backfills_and_watchers(
        self, until: datetime
    ) -> tuple[list[tuple[int, datetime]], list[tuple[str, datetime]]]:
        due = [(w.watcher_id, w.due_at) for w in self._watchers.values() if w.due_at and w.due_at <= until]
        return self.due_backfills(until), sorted(due, key=lambda found: (found[1], found[0]))

    @atomic
    def put_watcher(self, before: Watcher | None, after: Watcher) -> None:
        check_fits(items.WATCHER.item(after))
        current = self._watchers.get(after.watcher_id)
        if not _is_as_seen(current, before) and current != after:
            raise StaleWatcher(f"watcher {after.watcher_id} moved on")
        self._watchers[after.watcher_id] = as_stored(after)

    @atomic
    def delete_watcher(self, before: Watcher) -> None:
        current = self._watchers.get(before.watcher_id)
        if current is None:
            return
        if not _is_as_seen(current, before):
            raise StaleWatcher(f"watcher {before.watcher_id} moved on")
        del self._watchers[before.watcher_id]


def _is_as_seen(current: Watcher | None, before: Watcher | None) -> bool:
    if current is None or before is None:
        return current is None and before is None
    return watcher_fence(current) == watcher_fence(before)
