"""Which events start what."""

from __future__ import annotations

from typing import Protocol

from gust.model.event_rule import EventFile


class EventRuleStore(Protocol):
    """The entries of all `events.yaml` files."""

    def put_event_file(self, file: EventFile) -> None:
        """Store or replace the file's entries."""

    def list_event_files(self) -> list[EventFile]:
        """In order of their names."""

    def delete_event_file(self, filename: str) -> None:
        """Deleting a file that is not stored changes nothing."""
