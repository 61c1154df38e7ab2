"""The audit log, in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from gust.model.logged_event import TICK, LoggedEvent
from gust.store.memory.state import MemoryState, as_stored


class MemoryLoggedEvents(MemoryState):
    """Implements `ports.LoggedEventStore`."""

    def log_event(self, event: LoggedEvent) -> LoggedEvent:
        with self._lock:
            kept = as_stored(event)
            while self._logged_events.get(kept.event_log_id, kept) != kept:
                kept = replace(kept, when=kept.when + TICK)
            self._logged_events[kept.event_log_id] = kept
            return kept

    def get_logged_event(self, event_log_id: int) -> LoggedEvent | None:
        with self._lock:
            return self._logged_events.get(event_log_id)

    def logged_events(
        self,
        dag_id: str | None = None,
        *,
        run_id: str | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
        ascending: bool = True,
        limit: int | None = None,
    ) -> list[LoggedEvent]:
        with self._lock:
            found = [
                event
                for _, event in sorted(self._logged_events.items(), reverse=not ascending)
                if dag_id in (None, event.dag_id)
                and run_id in (None, event.run_id)
                and (after is None or event.when > after)
                and (before is None or event.when < before)
            ]
            return found[:limit]

    def walk_logged_events(
        self,
        dag_id: str | None = None,
        *,
        run_id: str | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
        ascending: bool = True,
    ) -> Iterator[LoggedEvent]:
        return iter(self.logged_events(dag_id, run_id=run_id, after=after, before=before, ascending=ascending))

    def count_logged_events(
        self,
        dag_id: str | None = None,
        *,
        run_id: str | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
        most: int = 1000,
    ) -> int:
        return len(self.logged_events(dag_id, run_id=run_id, after=after, before=before, limit=most))
