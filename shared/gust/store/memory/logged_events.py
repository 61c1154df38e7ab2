"""The audit log, in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gust.model.logged_event import TICK, LoggedEvent
from gust.model.window import OLDEST_FIRST, Window
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
    def logged_events(
        self,
        dag_id: str | None = None,
        window: Window = OLDEST_FIRST,
        *,
        run_id: str | None = None,
        limit: int | None = None,
    ) -> list[LoggedEvent]:
        found = [
            event
            for _, event in sorted(self._logged_events.items(), reverse=not window.ascending)
            if dag_id in (None, event.dag_id) and run_id in (None, event.run_id) and window.holds(event.when)
        ]
        return found[:limit]

    def walk_logged_events(
        self, dag_id: str | None = None, window: Window = OLDEST_FIRST, *, run_id: str | None = None
    ) -> Iterator[LoggedEvent]:
        return iter(self.logged_events(dag_id, window, run_id=run_id))

    def count_logged_events(
        self,
        dag_id: str | None = None,
        window: Window = OLDEST_FIRST,
        *,
        run_id: str | None = None,
        limit: int = 1000,
    ) -> int:
        return len(self.logged_events(dag_id, window, run_id=run_id, limit=limit))
