"""The audit log, in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gust.model.history_query import ALL_EVENTS, LoggedEventQuery
from gust.model.logged_event import TICK, LoggedEvent
from gust.store.memory.state import MemoryState, as_stored, atomic


class MemoryLoggedEvents(MemoryState):
    """Implements `ports.LoggedEventStore`."""

    @atomic
    def log_event(self, event: LoggedEvent) -> LoggedEvent:
        kept = as_stored(event)
        while self._logged_events.get(kept.event_log_id, kept) != kept:
            kept = replace(kept, when=kept.when + TICK)
        self._logged_events[kept.event_log_id] = kept
        return kept

    @atomic
    def get_logged_event(self, event_log_id: int) -> LoggedEvent | None:
        return self._logged_events.get(event_log_id)

    @atomic
    def logged_events(self, query: LoggedEventQuery = ALL_EVENTS, *, limit: int | None = None) -> list[LoggedEvent]:
        found = [
            event
            for _, event in sorted(self._logged_events.items(), reverse=not query.window.ascending)
            if query.dag_id in (None, event.dag_id)
            and query.run_id in (None, event.run_id)
            and query.window.holds(event.when)
        ]
        return found[:limit]

    def walk_logged_events(self, query: LoggedEventQuery = ALL_EVENTS) -> Iterator[LoggedEvent]:
        return iter(self.logged_events(query))

    def count_logged_events(self, query: LoggedEventQuery = ALL_EVENTS, *, limit: int = 1000) -> int:
        return len(self.logged_events(query, limit=limit))
