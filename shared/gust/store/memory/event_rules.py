"""Which events start what, in memory."""

from __future__ import annotations

from gust.model.event_rule import EventFile
from gust.store import items, keyspace
from gust.store.memory.state import MemoryState, as_stored, atomic, check_fits


class MemoryEventRules(MemoryState):
    """Implements `ports.EventRuleStore`."""

    @atomic
    def put_event_file(self, file: EventFile) -> None:
        keyspace.event_file(file.filename)
        check_fits(items.EVENT_FILE.item(file))
        self._event_files[file.filename] = as_stored(file)

    @atomic
    def list_event_files(self) -> list[EventFile]:
        return [as_stored(file) for _, file in sorted(self._event_files.items())]

    @atomic
    def delete_event_file(self, filename: str) -> None:
        self._event_files.pop(filename, None)
