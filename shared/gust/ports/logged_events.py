"""The audit log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from gust.model.history_query import ALL_EVENTS, LoggedEventQuery
from gust.model.logged_event import LoggedEvent


class LoggedEventStore(Protocol):
    """The audit log, kept for a year."""

    def log_event(self, event: LoggedEvent) -> LoggedEvent:
        """Store the event and return it as stored: if another event has its moment, a microsecond later. Logging the same
        event again changes nothing."""

    def get_logged_event(self, event_log_id: int) -> LoggedEvent | None:
        """`None` if there is no such event."""

    def logged_events(self, query: LoggedEventQuery = ALL_EVENTS, *, limit: int | None = None) -> list[LoggedEvent]:
        """At most `limit` events, in order of time. Events of a DAG may lag by a moment."""

    def walk_logged_events(self, query: LoggedEventQuery = ALL_EVENTS) -> Iterator[LoggedEvent]:
        """As `logged_events`; reads as far as the caller iterates."""

    def count_logged_events(self, query: LoggedEventQuery = ALL_EVENTS, *, limit: int = 1000) -> int:
        """How many events `logged_events` lists, at most `limit`. May lag by a moment."""
