"""The event log: all events in one partition in order of time, and those of a DAG through the index `listed`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

from gust.errors import ServiceUnavailable
from gust.model.history_query import ALL_EVENTS, LoggedEventQuery
from gust.model.logged_event import KEPT_FOR, TICK, LoggedEvent
from gust.store import items, keyspace
from gust.store.dynamodb.history import page_sizes
from gust.store.keyspace import Key
from gust.store.table import ConditionFailed, Expression, Put, Table, key_of

ATTEMPTS: Final = 100
"""Events of the same microsecond."""
FEW: Final = 200
PAGE: Final = 2500
"""Events read at a time."""


class DynamoDBLoggedEvents:
    """Implements `ports.LoggedEventStore`."""

    _table: Table

    def log_event(self, event: LoggedEvent) -> LoggedEvent:
        for later in range(ATTEMPTS):
            kept = replace(event, when=event.when + later * TICK)
            put = put_event(kept)
            try:
                self._table.put(put.key, put.item, put.expression)
            except ConditionFailed as failed:
                if failed.item is None or items.LOGGED_EVENT.read(failed.item) != kept:
                    continue
            return kept
        raise ServiceUnavailable(f"{ATTEMPTS} events of one moment: {event.when}")

    def get_logged_event(self, event_log_id: int) -> LoggedEvent | None:
        item = self._table.get(keyspace.logged_event(event_log_id))
        return None if item is None else items.LOGGED_EVENT.read(item)

    def logged_events(self, query: LoggedEventQuery = ALL_EVENTS, *, limit: int | None = None) -> list[LoggedEvent]:
        walk = self._walk_events(query, pages=(limit or PAGE, PAGE))
        return list(islice(walk, limit))

    def walk_logged_events(self, query: LoggedEventQuery = ALL_EVENTS) -> Iterator[LoggedEvent]:
        return self._walk_events(query, pages=(FEW, PAGE))

    def _walk_events(self, query: LoggedEventQuery, *, pages: Sequence[int]) -> Iterator[LoggedEvent]:
        dag_id, run_id, window = query.dag_id, query.run_id, query.window
        first, last = keyspace.event_bounds(window)
        if first > last:
            return
        if dag_id is None:
            found = self._table.query_between(
                keyspace.LOGGED_EVENTS, first, last, ascending=window.ascending, pages=page_sizes(pages)
            )
            events = (items.LOGGED_EVENT.read(item) for item in found)
            yield from (event for event in events if run_id in (None, event.run_id))
            return
        keys = self._keys_of_events(dag_id, run_id, first, last, ascending=window.ascending)
        for size in page_sizes(pages):
            if not (part := list(islice(keys, size))):
                return
            read = self._table.get_all(part)
            for event in (items.LOGGED_EVENT.read(read[key]) for key in part if key in read):
                if event.dag_id == dag_id and run_id in (None, event.run_id):
                    yield event

    def count_logged_events(self, query: LoggedEventQuery = ALL_EVENTS, *, limit: int = 1000) -> int:
        first, last = keyspace.event_bounds(query.window)
        if first > last:
            return 0
        if query.dag_id is not None:
            keys = self._keys_of_events(query.dag_id, query.run_id, first, last, ascending=True)
            return sum(1 for _ in islice(keys, limit))
        if query.run_id is not None:
            return len(self.logged_events(query, limit=limit))
        return self._table.count_between(keyspace.LOGGED_EVENTS, first, last, limit=limit)

    def _keys_of_events(
        self, dag_id: str, run_id: str | None, first: str, last: str, *, ascending: bool
    ) -> Iterator[Key]:
        """Of the DAG's events, or of those of a run alone; the index's own key says which they are."""
        of_run = None if run_id is None else keyspace.event_of_run(run_id)
        found = self._table.query_index(
            keyspace.INDEX_LISTED, keyspace.events_of_dag(dag_id), until=keyspace.event_until(last), ascending=ascending
        )
        for item in found:
            event, _, its_run = item["listed_sk"]["S"].partition("#")
            if first <= event <= last and of_run in (None, its_run):
                yield key_of(item)


def put_event(event: LoggedEvent) -> Put:
    """The event's write. Its condition fails if another event has its moment."""
    item = items.LOGGED_EVENT.item(event)
    item[keyspace.TTL_ATTRIBUTE] = items.number(math.ceil((event.when + KEPT_FOR).timestamp()))
    if event.dag_id is not None:
        item["listed_pk"] = items.text(keyspace.events_of_dag(event.dag_id))
        item["listed_sk"] = items.text(keyspace.logged_event_order(event))
    return Put(keyspace.logged_event(event.event_log_id), item, Expression().is_new())
