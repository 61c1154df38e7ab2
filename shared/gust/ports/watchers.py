"""Asset watchers."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from gust.model.watcher import Watcher


class WatcherStore(Protocol):
    """Triggers that watch for events of assets."""

    def get_watcher(self, watcher_id: str) -> Watcher | None: ...

    def list_watchers(self) -> list[Watcher]: ...

    def put_watcher(self, before: Watcher | None, after: Watcher) -> None:
        """Write it if it is as `before` says, or (`None`) new. The same again is no error. Raises StaleWatcher."""

    def delete_watcher(self, before: Watcher) -> None:
        """Raises StaleWatcher; one that is gone is no error."""

    def due_backfills_and_watchers(
        self, until: datetime
    ) -> tuple[list[tuple[int, datetime]], list[tuple[str, datetime]]]:
        """`due_backfills`, and in the same query the watchers that are to be looked after by `until`, earliest first."""
        ...
