"""The audit log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from gust.model.logged_event import LoggedEvent
from gust.model.window import OLDEST_FIRST, Window


class LoggedEventStore(Protocol):
    """The event log, kept for a year."""

    def log_event(self, event: LoggedEvent) -> LoggedEvent:
        """Store it and return the stored one: a microsecond later if another event has its moment. Repeating the very same
        event changes nothing."""

    def get_logged_event(self, event_log_id: int) -> LoggedEvent | None: ...

    def logged_events(
        self,
        dag_id: str | None = None,
        window: Window = OLDEST_FIRST,
        *,
        run_id: str | None = None,
        limit: int | None = None,
    ) -> list[LoggedEvent]:
        """Events in order of time, between the moments, which are not included. Events of a DAG may lag by a moment."""

    def walk_logged_events(
        self, dag_id: str | None = None, window: Window = OLDEST_FIRST, *, run_id: str | None = None
    ) -> Iterator[LoggedEvent]:
        """As `logged_events`: a lazy walk."""

    def count_logged_events(
        self,
        dag_id: str | None = None,
        window: Window = OLDEST_FIRST,
        *,
        run_id: str | None = None,
        limit: int = 1000,
    ) -> int:
        """How many events `logged_events` would return, counted up to `limit`. May lag by a moment."""
