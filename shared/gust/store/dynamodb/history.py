"""Runs, and task instances that failed, in order of time across DAGs.

The index `recent` has a partition for each day, so that none grows with the history, and none takes all writes. Which
days there are is kept beside it: a day is noted before the first run of it is written, once by each process that writes
one, so that a walk through the history asks for no day that holds nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.store import keyspace
from gust.store.table import Table, key_of

_DAYS: Final = (2, 6, 24, 100)
"""Days that are asked for at a time."""
_AT_A_TIME: Final = (100, 400, 1000)


class DynamoDBHistory:
    """Implements `services.ports.HistoryStore`."""

    _table: Table
    _days: set[str]

    def walk_runs(
        self,
        dag_id: str | None = None,
        *,
        first: datetime | None = None,
        last: datetime | None = None,
        ascending: bool = False,
    ) -> Iterator[tuple[datetime, DagRunKey]]:
        start, end = _bounds(first, last)
        if dag_id is not None:
            found = self._table.query_index_between(
                keyspace.INDEX_RUNS, keyspace.escape(dag_id), start, end, ascending=ascending, pages=_pages(_AT_A_TIME)
            )
            for item in found:
                yield _of_run(item["runs_sk"]["S"], key_of(item))
            return
        for day in self._known_days(first, last, ascending=ascending):
            found = self._table.query_index_between(
                keyspace.INDEX_RECENT, keyspace.runs_of_day(day), start, end, ascending=ascending,
                pages=_pages(_AT_A_TIME),
            )  # fmt: skip
            for item in found:
                yield _of_run(item["recent_sk"]["S"], key_of(item))

    def walk_failed_instances(
        self, *, first: datetime | None = None, ascending: bool = False
    ) -> Iterator[tuple[datetime, TaskInstanceKey]]:
        start, end = _bounds(first, None)
        for day in self._known_days(first, None, ascending=ascending):
            found = self._table.query_index_between(
                keyspace.INDEX_RECENT, keyspace.failures_of_day(day), start, end, ascending=ascending,
                pages=_pages(_AT_A_TIME),
            )  # fmt: skip
            for item in found:
                if (key := keyspace.instance_key(key_of(item))) is not None:
                    yield keyspace.moment_from(item["recent_sk"]["S"]), key

    def _known_days(self, first: datetime | None, last: datetime | None, *, ascending: bool) -> Iterator[str]:
        start = keyspace.EARLIEST if first is None else keyspace.day(first)
        end = keyspace.LATEST if last is None else keyspace.day(last)
        days = self._table.query_between(keyspace.DAYS, start, end, ascending=ascending, pages=_pages(_DAYS))
        for item in days:
            yield key_of(item).sk

    def _note_day(self, moment: datetime) -> None:
        """Before what is found by its day is written; a day that holds nothing after all costs a walk one query."""
        day = keyspace.day(moment)
        if day not in self._days:
            self._table.put(keyspace.known_day(day), {})
            self._days.add(day)


def _pages(sizes: Sequence[int]) -> Iterator[int]:
    yield from sizes
    while True:
        yield sizes[-1]


def _bounds(first: datetime | None, last: datetime | None) -> tuple[str, str]:
    """Of sort keys that begin with a moment, both included."""
    return (
        keyspace.EARLIEST if first is None else keyspace.moment(first),
        keyspace.LATEST if last is None else keyspace.moment(last) + keyspace.LATEST,
    )


def _of_run(order: str, key: keyspace.Key) -> tuple[datetime, DagRunKey]:
    run = keyspace.run_key(key.pk)
    if run is None:
        raise ValueError(f"{key} is not in a run's partition")
    return keyspace.moment_from(order.partition("#")[0]), run
