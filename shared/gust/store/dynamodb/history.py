"""Runs, and task instances that failed, in order of time across DAGs.

The index `recent` has a partition for each day, so that none grows with the history, and none takes all writes. Each process
stores a day before it writes its first run of that day, so that a walk through the history queries no empty day.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Final

from gust.model.callback import CallbackKind
from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.model.window import NEWEST_FIRST, Window
from gust.scheduling.callback import CallbackMove
from gust.store import keyspace
from gust.store.parallel import Parallel
from gust.store.table import Table, key_of

_DAYS: Final = (2, 6, 24, 100)
"""Days queried at a time."""
_AT_A_TIME: Final = (120, 400, 1000)
_FEW: Final = 20
"""Up to this many DAGs have their last run queried one by one."""
_WALKED_PER_DAG: Final = 3
"""For more DAGs, this many runs are walked first: most DAGs' last run is among them."""


class DynamoDBHistory:
    """Implements `ports.HistoryStore`."""

    _table: Table
    _parallel: Parallel
    _days: set[str]

    def walk_runs(
        self, dag_id: str | None = None, window: Window = NEWEST_FIRST
    ) -> Iterator[tuple[datetime, DagRunKey]]:
        return (_of_run(order, key) for order, key in self._walk(dag_id, window))

    def _walk(self, dag_id: str | None, window: Window) -> Iterator[tuple[str, keyspace.Key]]:
        """Where the runs stand in the index."""
        if dag_id is not None:
            return self._listed(keyspace.INDEX_LISTED, [keyspace.escape(dag_id)], window)
        return self._of_days(keyspace.RUNS.of_day, window)

    def walk_failed_runs(self, window: Window = NEWEST_FIRST) -> Iterator[tuple[datetime, DagRunKey]]:
        months = dict.fromkeys(day[:7] for day in self._known_days(window))
        for order, key in self._listed(keyspace.INDEX_BY_STATE, map(keyspace.FAILURES.of_day, months), window):
            yield _of_run(order, key)

    def latest_runs(self, dag_ids: Collection[str], *, dated: bool = False) -> dict[str, tuple[datetime, DagRunKey]]:
        found: dict[str, tuple[datetime, DagRunKey]] = {}
        missing = set(dag_ids)

        def of_dag(dag_id: str) -> tuple[datetime, DagRunKey] | None:
            return next(self._latest(dag_id, dated=dated), None)

        if len(missing) > _FEW:
            for run_after, key in islice(self._latest(None, dated=dated), _WALKED_PER_DAG * len(missing)):
                if key.dag_id in missing:
                    found[key.dag_id] = run_after, key
                    missing.discard(key.dag_id)
                    if not missing:
                        return found
        newest = self._parallel.map(of_dag, sorted(missing))
        return found | {one[1].dag_id: one for one in newest if one is not None}

    def _latest(self, dag_id: str | None, *, dated: bool) -> Iterator[tuple[datetime, DagRunKey]]:
        for order, key in self._walk(dag_id, NEWEST_FIRST):
            if not dated or keyspace.is_dated(order):
                yield _of_run(order, key)

    def walk_failed_instances(self, window: Window = NEWEST_FIRST) -> Iterator[tuple[datetime, TaskInstanceKey]]:
        for order, key in self._of_days(keyspace.FAILURES.of_day, window):
            if (instance := keyspace.instance_key(key)) is not None:
                yield keyspace.moment_from(order), instance

    def _of_days(
        self, partition_of: Callable[[str], str], window: Window, *, pages: Sequence[int] = _AT_A_TIME
    ) -> Iterator[tuple[str, keyspace.Key]]:
        """What the index `recent` lists in the partitions of the window's days."""
        return self._listed(keyspace.INDEX_RECENT, map(partition_of, self._known_days(window)), window, pages=pages)

    def _listed(
        self, index: str, partitions: Iterable[str], window: Window, *, pages: Sequence[int] = _AT_A_TIME
    ) -> Iterator[tuple[str, keyspace.Key]]:
        """What the partitions of an index list in the window, one partition after the other: sort key and item's key."""
        first, last = bounds(window)
        for partition in partitions:
            found = self._table.query_index_between(
                index, partition, first, last, ascending=window.ascending, pages=page_sizes(pages)
            )
            for item in found:
                yield item[keyspace.INDEX_KEYS[index][1]]["S"], key_of(item)

    def _known_days(self, window: Window) -> Iterator[str]:
        start = keyspace.EARLIEST if window.first is None else keyspace.day(window.first)
        end = keyspace.LATEST if window.last is None else keyspace.day(window.last)
        days = self._table.query_between(keyspace.DAYS, start, end, ascending=window.ascending, pages=page_sizes(_DAYS))
        for item in days:
            yield key_of(item).sk

    def _note_days(self, callbacks: Sequence[CallbackMove]) -> None:
        """Store the days of the deadlines among the callbacks."""
        for move in callbacks:
            if move.after is not None and move.after.kind is CallbackKind.DEADLINE and move.after.due_at is not None:
                self._note_day(move.after.due_at)

    def _note_day(self, moment: datetime) -> None:
        """Store the day before the item that is listed under it; a day that stays empty costs a walk one query."""
        day = keyspace.day(moment)
        if day not in self._days:
            self._table.put(keyspace.known_day(day), {})
            self._days.add(day)


def page_sizes(sizes: Sequence[int]) -> Iterator[int]:
    yield from sizes
    while True:
        yield sizes[-1]


def sort_bounds(window: Window) -> tuple[str, str]:
    """The first and the last sort key of the window, where sort keys begin with a moment."""
    return (
        keyspace.EARLIEST if window.first is None else keyspace.moment(window.first),
        keyspace.LATEST if window.last is None else keyspace.moment(window.last) + keyspace.LATEST,
    )


def bounds(window: Window) -> tuple[str, str] | tuple[None, None]:
    """`sort_bounds`, or no bounds for a whole partition of an index."""
    return (None, None) if window.is_unbounded else sort_bounds(window)


def _of_run(order: str, key: keyspace.Key) -> tuple[datetime, DagRunKey]:
    run = keyspace.run_key(key.pk)
    if run is None:
        raise ValueError(f"{key} is not in a run's partition")
    return keyspace.moment_from(order.partition("#")[0]), run
