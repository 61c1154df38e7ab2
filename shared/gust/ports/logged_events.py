"""The audit log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from gust.model.logged_event import LoggedEvent
from gust.model.window import OLDEST_FIRST, Window


class LoggedEventStore(Protocol):
    """Who did what, for a year."""

    def log_event(self, event: LoggedEvent) -> LoggedEvent:
        """Keep it and return it as it is kept: a microsecond later where another event has its moment. The very same event
        again changes nothing."""

    def get_logged_event(self, event_log_id: int) -> LoggedEvent | None: ...

    def logged_events(
        self,
        dag_id: str | None = None,
        window: Window = OLDEST_FIRST,
        *,
        run_id: str | None = None,
        limit: int | None = None,
    ) -> list[LoggedEvent]:
        """In order of time, between the moments, which are not included. Those of a DAG may lag by a moment."""

    def walk_logged_events(
        self, dag_id: str | None = None, window: Window = OLDEST_FIRST, *, run_id: str | None = None
    ) -> Iterator[LoggedEvent]:
        """As `logged_events`, read as far as they are asked for."""

    def count_logged_events(
        self,
        dag_id: str | None = None,
        window: Window = OLDEST_FIRST,
        *,
        run_id: str | None = None,
        limit: int = 1000,
    ) -> int:
        """How many `logged_events` would list, but no more than `most`. May lag by a moment."""
