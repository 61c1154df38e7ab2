"""Which events start what: an item for each `events.yaml`, all read at once."""

from __future__ import annotations

from gust.model.event_rule import EventFile
from gust.store import items, keyspace
from gust.store.table import Table, key_of


class DynamoDBEventRules:
    """Implements `ports.EventRuleStore`."""

    _table: Table

    def put_event_file(self, file: EventFile) -> None:
        self._table.put(keyspace.event_file(file.filename), items.EVENT_FILE.item(file))

    def list_event_files(self) -> list[EventFile]:
        found = self._table.query(keyspace.EVENT_FILES)
        files = [items.EVENT_FILE.read(item, filename=keyspace.unescape(key_of(item).sk)) for item in found]
        return sorted(files, key=lambda file: file.filename)

    def delete_event_file(self, filename: str) -> None:
        self._table.delete(keyspace.event_file(filename))
