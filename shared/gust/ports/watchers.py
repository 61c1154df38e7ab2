"""Asset watchers."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from gust.model.watcher import Watcher


class WatcherStore(Protocol):
    """Asset watchers."""

    def get_watcher(self, watcher_id: str) -> Watcher | None:
        """`None` if there is no such watcher."""

    def list_watchers(self) -> list[Watcher]:
        """All watchers, in order of their ids."""

    def put_watcher(self, before: Watcher | None, after: Watcher) -> None:
        """Create (`before` is `None`) or replace the watcher. Raises StaleWatcher if the stored one is not `before`;
        repeating the same write changes nothing."""

    def delete_watcher(self, before: Watcher) -> None:
        """Raises StaleWatcher if the stored watcher is not `before`. Deleting a watcher that is gone changes nothing."""

    def watched_sources(self) -> frozenset[str]:
        """The ARNs of the queues and streams that Lambda reads."""
        ...

    def watch_source(self, arn: str) -> None:
        """Add the queue or stream; adding it again changes nothing."""

    def unwatch_source(self, arn: str) -> None:
        """Take it back; one that is not watched changes nothing."""

    def due_backfills_and_watchers(
        self, until: datetime
    ) -> tuple[list[tuple[int, datetime]], list[tuple[str, datetime]]]:
        """`due_backfills`, and the ids and due times of watchers whose `due_at` is at or before `until`, earliest first. One
        query for both. May lag by a moment."""
        ...
