"""The entries of `events.yaml` files."""

from __future__ import annotations

from gust.model.event_rule import EventFile
from gust.ports.store import Store


def test_files_are_replaced_listed_by_name_and_deleted(store: Store) -> None:
    one = EventFile(filename="team #1/events.yaml", entries={"3": {"pattern": {"source": ["a"]}, "dag_id": "d"}})
    other = EventFile(filename="events.yaml", entries={"10": {"pattern": {"source": ["é"]}, "asset": "x"}})
    store.put_event_file(EventFile(filename=one.filename))
    store.put_event_file(one)
    store.put_event_file(other)
    assert store.list_event_files() == [other, one]
    store.delete_event_file(other.filename)
    store.delete_event_file(other.filename)
    assert store.list_event_files() == [one]
