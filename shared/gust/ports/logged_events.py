"""The audit log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from gust.model.logged_event import LoggedEvent
from gust.model.window import OLDEST_FIRST, Window


class LoggedEventStore(Protocol):
<<<<<<< HEAD
    """The audit log, kept for a year."""

    def log_event(self, event: LoggedEvent) -> LoggedEvent:
        """Store the event and return it as stored: if another event has its moment, a microsecond later. Logging the same
        event again changes nothing."""
=======
    """The event log, kept for a year."""

    def log_event(self, event: LoggedEvent) -> LoggedEvent:
        """Store it and return the stored one: a microsecond later if another event has its moment. Repeating the very same
        event changes nothing."""
>>>>>>> w-words

    def get_logged_event(self, event_log_id: int) -> LoggedEvent | None:
        """`None` if there is no such event."""

    def logged_events(
        self,
        dag_id: str | None = None,
        window: Window = OLDEST_FIRST,
        *,
        run_id: str | None = None,
        limit: int | None = None,
    ) -> list[LoggedEvent]:
<<<<<<< HEAD
        """Events of the DAG and run, where given, whose moment lies in the window; at most `limit`, in order of time. Events
        of a DAG may lag by a moment."""
=======
        """Events in order of time, between the moments, which are not included. Events of a DAG may lag by a moment."""
>>>>>>> w-words

    def walk_logged_events(
        self, dag_id: str | None = None, window: Window = OLDEST_FIRST, *, run_id: str | None = None
    ) -> Iterator[LoggedEvent]:
<<<<<<< HEAD
        """As `logged_events`; reads as far as the caller iterates."""
=======
        """As `logged_events`: a lazy walk."""
>>>>>>> w-words

    def count_logged_events(
        self,
        dag_id: str | None = None,
        window: Window = OLDEST_FIRST,
        *,
        run_id: str | None = None,
        limit: int = 1000,
    ) -> int:
<<<<<<< HEAD
        """How many events `logged_events` lists, at most `limit`. May lag by a moment."""
=======
        """How many events `logged_events` would return, counted up to `limit`. May lag by a moment."""
>>>>>>> w-words
