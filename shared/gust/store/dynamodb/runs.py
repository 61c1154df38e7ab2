"""DagRuns."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain, islice, repeat
from typing import Any, Final

from gust.errors import AlreadyExists, LimitReached, NotFound, StaleDag, StaleDagRun
from gust.model.callback import Callback
from gust.model.dag import Dag
from gust.model.dag_run import DagRun
from gust.model.keys import DagRunKey
from gust.model.logged_event import LoggedEvent
from gust.model.run_state import LastRuns, RunState, RunSummary
from gust.model.state import DagRunState
from gust.model.task_instance import TaskInstance
from gust.model.window import OLDEST_FIRST, Window
from gust.scheduling import measure
from gust.scheduling.callback import CallbackMove
from gust.store import fences, items, keyspace
from gust.store.dynamodb.callbacks import callback_writes, read_callback
from gust.store.dynamodb.dags import due_of_dag, read_dag
from gust.store.dynamodb.documents import Documents
from gust.store.dynamodb.history import sort_bounds
from gust.store.dynamodb.logged_events import put_event
from gust.store.dynamodb.task_instances import DynamoDBTaskInstances, read_instance, read_run
from gust.store.items import Attribute, Item
from gust.store.parallel import Parallel
from gust.store.table import ConditionFailed, Delete, Expression, Put, Table, Update, key_of

_AT_A_TIME: Final = (2, 10, 50, 100)
"""Runs read at a time by a walk: few at first, because mostly the nearest run is the wanted one."""


class DynamoDBRuns(DynamoDBTaskInstances):
    """Implements `ports.RunStore`."""

    _table: Table
    _documents: Documents
    _parallel: Parallel

    def load_run(self, key: DagRunKey) -> RunState | None:
        run: DagRun | None = None
        instances: dict[tuple[str, int], TaskInstance] = {}
        callbacks: list[Callback] = []
        for item in self._table.query(keyspace.run_partition(key), begins_with=keyspace.SCHEDULING):
            where = key_of(item)
            if (its_key := keyspace.instance_key(where)) is not None:
                instances[its_key.task_id, its_key.map_index] = read_instance(its_key, item)
            elif (callback_id := keyspace.callback_id(where)) is not None:
                callbacks.append(read_callback(key, callback_id, item))
            else:
                run = read_run(key, item)
        return None if run is None else RunState(run, instances, tuple(callbacks))

    def load_runs(self, keys: Sequence[DagRunKey]) -> list[RunState]:
        return [state for state in self._parallel.map(self.load_run, keys) if state is not None]

    def get_runs(self, keys: Sequence[DagRunKey]) -> list[DagRun]:
        parts = [keys[start : start + _AT_A_TIME[-1]] for start in range(0, len(keys), _AT_A_TIME[-1])]
        return [run for part in self._parallel.map(self._get_runs, parts) for run in part]

    def _get_runs(self, keys: Sequence[DagRunKey]) -> list[DagRun]:
        stored = self._table.get_all([keyspace.run(key) for key in keys])
        return [read_run(key, stored[at]) for key in keys if (at := keyspace.run(key)) in stored]

    def summaries_of_runs(self, keys: Sequence[DagRunKey]) -> list[RunSummary]:
        parts = [keys[start : start + _AT_A_TIME[-1]] for start in range(0, len(keys), _AT_A_TIME[-1])]
        return [count for part in self._parallel.map(self._summaries_of, parts) for count in part]

    def _summaries_of(self, keys: Sequence[DagRunKey]) -> list[RunSummary]:
        places = [keyspace.run(key) for key in keys]
        stored = self._table.get_all(places, only=("state", "start_date", "end_date", "instance_states"))
        return [_summary(key, stored[place]) for key, place in zip(keys, places, strict=True) if place in stored]

    def get_run(self, key: DagRunKey) -> DagRun | None:
        item = self._table.get(keyspace.run(key))
        return None if item is None else read_run(key, item)

    def create_run(
        self, run: DagRun, *, moving: tuple[Dag, Dag] | None = None, callbacks: Sequence[CallbackMove] = ()
    ) -> None:
        self._note_day(run.run_after)
        self._note_days(callbacks)
        puts, with_it, of_dag = new_run(run), callback_writes(callbacks), _dag_update(run, moving)
        try:
            if puts[1:] or with_it or of_dag:
                self._table.transact(*puts, *with_it, *of_dag)
            else:
                self._table.put(*_parts(puts[0]))
        except ConditionFailed as failed:
            if moving and failed.failed(-1):
                current = failed.found[-1]
                dag = None if current is None else read_dag(current)
                raise StaleDag(f"DAG {run.dag_id!r} moved on", dag) from failed
            raise_if_taken(run, failed)
            raise NotFound(f"no DAG {run.dag_id!r}") from failed

    def start_run(
        self, before: DagRun, after: DagRun, *, max_active_runs: int, callbacks: Sequence[CallbackMove] = ()
    ) -> None:
        fences.check_starts(before, after)
        limit = Expression().exists().below("running_runs", max_active_runs)
        if before.backfill_id is not None:
            limit.still({"is_paused": None})
        try:
            self._table.transact(run_update(before, after), *counted(before, after, limit), *callback_writes(callbacks))
        except ConditionFailed as failed:
            raise_if_stale(before, failed)
            _raise_if_callbacks_stale(before, failed)
            if failed.found[1] is None:
                raise _no_owner(before) from failed
            raise LimitReached(f"max_active_runs of {owner(before)} is {max_active_runs}") from failed

    def finish_run(
        self, before: DagRun, after: DagRun, *, last: LastRuns | None = None, callbacks: Sequence[CallbackMove] = ()
    ) -> None:
        fences.check_finishes(before, after)
        of_owner = Expression().exists()
        if last:
            of_owner.still({"running_runs": items.number(last.running_runs)})
        counting = counted(before, after, of_owner)
        # A transaction writes the DAG's item only once: the pause goes with the count.
        with_it = _pausing(last.pauses, counting[-1]) if last and last.pauses else []
        self._end_running(before, after, counting, [*callback_writes(callbacks), *with_it])
        self._metrics.add(measure.of_finished_run(after))

    def requeue_run(self, before: DagRun, after: DagRun) -> None:
        fences.check_requeues(before, after)
        self._end_running(before, after, counted(before, after, Expression().exists()))

    def _end_running(
        self,
        before: DagRun,
        after: DagRun,
        counting: Sequence[Update],
        with_it: Sequence[Put | Update | Delete] = (),
    ) -> None:
        try:
            self._table.transact(run_update(before, after), *counting, *with_it)
        except ConditionFailed as failed:
            raise_if_stale(before, failed)
            _raise_if_callbacks_stale(before, failed)
            if failed.found[1] is None:
                raise _no_owner(before) from failed
            raise StaleDagRun(f"runs beside {before.run_id!r} of {before.dag_id!r} moved on", None) from failed

    def delete_run(self, run: DagRun) -> None:
        pk = keyspace.run_partition(run.key)
        itself = keyspace.run(run.key)
        self._table.delete_all(key for item in self._table.query(pk) if (key := key_of(item)) != itself)
        self._documents.delete_all(pk)
        deletes: list[Delete | Update] = [
            Delete(itself, Expression().exists().still(items.DAG_RUN.attributes(fences.run_fence(run))))
        ]
        if run.logical_date:
            deletes.append(Delete(keyspace.logical_date(run.dag_id, run.logical_date)))
        if run.partition_date:
            deletes.append(Delete(keyspace.run_of_partition(run.dag_id, run.partition_date, run.run_id)))
        counting = counted(run, None, Expression().exists())
        try:
            self._table.transact(*deletes, *counting)
        except ConditionFailed as failed:
            if failed.failed(0) and failed.item is None:
                return
            raise_if_stale(run, failed)
            if fences.counts(run, None):
                raise _no_owner(run) from failed
            # The DAG is gone, and its counts with it.
            self._table.transact(*deletes)

    def update_run(self, before: DagRun, after: DagRun) -> None:
        fences.check_neither_starts_nor_finishes(before, after)
        update = run_update(before, after, fences.update_fence(before, after))
        counting, leaves = counted(before, after, Expression().exists()), _leaves_partition(before, after)
        with_it: list[Update | Delete] = [*counting, *leaves]
        try:
            self._table.transact(update, *with_it) if with_it else self._table.update(update.key, update.expression)
        except ConditionFailed as failed:
            if items.DAG_RUN.holds(fences.changed_run_fields(before, after), failed.item):
                return
            raise_if_stale(before, failed)
            if fences.counts(before, after):
                raise _no_owner(before) from failed
            # The DAG is gone, and its counts with it.
            self._table.transact(update, *leaves)

    def list_runs(self, dag_id: str, *, limit: int | None = None) -> list[DagRun]:
        found = self._table.query_index(keyspace.INDEX_LISTED, keyspace.escape(dag_id), ascending=False, limit=limit)
        return self.get_runs([_run_key(key_of(item)) for item in found])

    def runs_before(self, dag_id: str, logical_date: datetime | None) -> Iterator[DagRun]:
        last = keyspace.LATEST if logical_date is None else keyspace.moment(logical_date)
        return self._runs_between(dag_id, keyspace.EARLIEST, last, ascending=False)

    def runs_after(self, dag_id: str, logical_date: datetime) -> Iterator[DagRun]:
        return self._runs_between(dag_id, keyspace.moment(logical_date), keyspace.LATEST, ascending=True)

    def runs_of_dates(self, dag_id: str, window: Window = OLDEST_FIRST) -> Iterator[DagRun]:
        first, last = sort_bounds(window)
        return self._runs_between(dag_id, first, last, ascending=window.ascending, with_both=True)

    def dates_of_runs(self, dag_id: str, window: Window = OLDEST_FIRST) -> list[tuple[datetime, DagRunKey]]:
        dates = keyspace.logical_dates(dag_id)
        taken = self._table.query_between(dates, *sort_bounds(window), ascending=window.ascending)
        return [(keyspace.moment_from(key_of(item).sk), DagRunKey(dag_id, item["run_id"]["S"])) for item in taken]

    def _runs_between(
        self, dag_id: str, first: str, last: str, *, ascending: bool, with_both: bool = False
    ) -> Iterator[DagRun]:
        """Runs with a logical date between, the first and the last of them included or not."""
        pk = keyspace.logical_dates(dag_id)
        taken = self._table.query_between(pk, first, last, ascending=ascending, pages=_page_sizes())
        between = (item for item in taken if with_both or key_of(item).sk not in (first, last))
        for size in _page_sizes():
            named = [DagRunKey(dag_id, item["run_id"]["S"]) for item in islice(between, size)]
            if not named:
                return
            stored = self._table.get_all([keyspace.run(key) for key in named])
            yield from (read_run(key, stored[keyspace.run(key)]) for key in named if keyspace.run(key) in stored)

    def runs_of_partition(self, dag_id: str, date: datetime | None) -> list[DagRun]:
        found = self._table.query(
            keyspace.runs_of_partitions(dag_id), begins_with="" if date is None else f"{keyspace.moment(date)}#"
        )
        named = [DagRunKey(dag_id, item["run_id"]["S"]) for item in found]
        stored = self._table.get_all([keyspace.run(key) for key in named])
        return [read_run(key, stored[keyspace.run(key)]) for key in named if keyspace.run(key) in stored]

    def queued_runs(
        self, dag_id: str, *, limit: int, backfill_id: int | None = None, up_to: DagRun | None = None
    ) -> list[DagRunKey]:
        waiting = keyspace.escape(dag_id) if backfill_id is None else keyspace.backfill_partition(backfill_id)
        place = None if up_to is None else _indexes_of_run(up_to)["by_state_sk"]
        until = None if place is None else str(place["S"])
        found = self._table.query_index(keyspace.INDEX_BY_STATE, waiting, limit=limit, until=until)
        return [_run_key(key_of(item)) for item in found]

    def due_runs(self, until: datetime) -> list[tuple[DagRunKey, datetime]]:
        found = self._table.query_index(keyspace.INDEX_DUE, keyspace.DUE_RUNS, until=keyspace.moment(until))
        due = [(_run_key(key_of(item)), keyspace.moment_from(item["due_sk"]["S"])) for item in found]
        return sorted(due, key=lambda one: (one[1], one[0]))


# --- writes -----------------------------------------------------------------------------------------------------------


def new_run(run: DagRun) -> list[Put]:
    """The run's item first, then what makes it found by its dates."""
    indexes = {name: attribute for name, attribute in _indexes_of_run(run).items() if attribute is not None}
    puts = [Put(keyspace.run(run.key), items.DAG_RUN.item(run) | indexes, Expression().is_new())]
    named = {"run_id": items.text(run.run_id)}
    if run.logical_date:
        puts.append(Put(keyspace.logical_date(run.dag_id, run.logical_date), named, Expression().is_new()))
    if run.partition_date:
        puts.append(Put(keyspace.run_of_partition(run.dag_id, run.partition_date, run.run_id), named))
    return puts


def _leaves_partition(before: DagRun, after: DagRun) -> list[Delete]:
    """The delete of the run's partition entry, if the run loses its partition date."""
    if before.partition_date is None or after.partition_date == before.partition_date:
        return []
    return [Delete(keyspace.run_of_partition(before.dag_id, before.partition_date, before.run_id))]


def run_update(before: DagRun, after: DagRun, fence: fences.Changes | None = None) -> Update:
    changes = items.DAG_RUN.attributes(fences.changed_run_fields(before, after))
    was, becomes = _indexes_of_run(before), _indexes_of_run(after)
    moved = {name: attribute for name, attribute in becomes.items() if attribute != was[name]}
    waits_no_more: dict[str, Attribute | None] = {} if after.can_be_due else {"due_pk": None, "due_sk": None}
    still = Expression().exists().still(items.DAG_RUN.attributes(fence or fences.run_fence(before)))
    return Update(keyspace.run(before.key), still.change(changes | moved | waits_no_more))


def _indexes_of_run(run: DagRun) -> dict[str, Attribute | None]:
    dated = run.logical_date is not None
    dag_id = items.text(keyspace.escape(run.dag_id))
    order = items.text(keyspace.run_order(run.run_after, run.run_id, dated=dated))
    is_due = run.due_at is not None and run.can_be_due
    across = items.text(keyspace.recent_order(run.run_after, run.key, dated=dated))
    day = keyspace.day(run.run_after)
    is_listed = run.state in (DagRunState.QUEUED, DagRunState.FAILED)
    waiting = dag_id, order
    if run.state is DagRunState.FAILED:
        waiting = items.text(keyspace.FAILURES.of_day(day[:7])), across
    elif run.backfill_id is not None:
        in_its_order = keyspace.backfill_order(run.backfill_ordinal, run.run_id)
        waiting = items.text(keyspace.backfill_partition(run.backfill_id)), items.text(in_its_order)
    return {
        "listed_pk": dag_id,
        "listed_sk": order,
        "recent_pk": items.text(keyspace.RUNS.of_day(day)),
        "recent_sk": across,
        "by_state_pk": waiting[0] if is_listed else None,
        "by_state_sk": waiting[1] if is_listed else None,
        "due_pk": items.text(keyspace.DUE_RUNS) if is_due else None,
        "due_sk": items.moment(run.due_at) if is_due and run.due_at else None,
    }


def _dag_update(run: DagRun, moving: tuple[Dag, Dag] | None) -> list[Update]:
    """The changes that a new run makes to its DAG: the next run, and the counts."""
    expression = Expression()
    if moving:
        before, after = moving
        expression.exists().still(items.DAG.attributes(fences.next_run_fence(before)))
        expression.change(items.DAG.attributes(fences.next_run(after)) | due_of_dag(after))
    if run.state is DagRunState.RUNNING or run.is_finished:
        expression.exists().add(f"{run.state.value}_runs", items.number(1))
    return [Update(keyspace.dag(run.dag_id), expression)] if expression.conditions else []


def counted(before: DagRun | None, after: DagRun | None, owner: Expression) -> list[Update]:
    """What a run's move changes of what limits it, written if `owner` holds; then of how many have ended, which the DAG
    counts. Of most runs that is one write; nothing where nothing is counted."""
    changes, ended, run = fences.counts(before, after), fences.counts_of_ended(before, after), after or before
    if run is None or not (changes or ended):
        return []
    of_dag = run.backfill_id is None
    for name, change in (changes | (ended if of_dag else {})).items():
        owner.add(name, items.number(change))
    where = keyspace.dag(run.dag_id) if of_dag else keyspace.backfill(run.backfill_id or 0)
    updates = [Update(where, owner)] if changes or of_dag else []
    if ended and not of_dag:
        counting = Expression().exists()
        for name, change in ended.items():
            counting.add(name, items.number(change))
        updates.append(Update(keyspace.dag(run.dag_id), counting))
    return updates


def _pausing(event: LoggedEvent, of_dag: Update) -> list[Put]:
    """The write that counts the run and pauses its DAG."""
    of_dag.expression.change({"is_paused": {"BOOL": True}, "due_pk": None, "due_sk": None})
    return [put_event(event)]


def owner(run: DagRun) -> str:
    """The item with the `max_active_runs` that limits the run: the DAG's or the backfill's."""
    return f"DAG {run.dag_id!r}" if run.backfill_id is None else f"backfill {run.backfill_id}"


def _parts(put: Put) -> tuple[Any, Item, Expression]:
    return put.key, put.item, put.expression


# --- what was found instead -------------------------------------------------------------------------------------------


def raise_if_taken(run: DagRun, failed: ConditionFailed) -> None:
    """Raises AlreadyExists if the new run's id or its logical date is taken."""
    if failed.failed(0):
        raise AlreadyExists(f"DAG {run.dag_id!r} has a run {run.run_id!r} already") from failed
    if run.logical_date and failed.failed(1):
        date = run.logical_date.isoformat()
        raise AlreadyExists(f"DAG {run.dag_id!r} has a run of logical date {date} already") from failed


def raise_if_stale(before: DagRun, failed: ConditionFailed) -> None:
    if failed.failed(0):
        current = None if failed.item is None else read_run(before.key, failed.item)
        raise StaleDagRun(f"DagRun {before.run_id!r} of {before.dag_id!r} moved on", current) from failed


def _no_owner(run: DagRun) -> NotFound:
    return NotFound(f"no {owner(run)}")


# --- reads ------------------------------------------------------------------------------------------------------------


def _page_sizes() -> Iterator[int]:
    return chain(_AT_A_TIME, repeat(_AT_A_TIME[-1]))


def _run_key(key: keyspace.Key) -> DagRunKey:
    found = keyspace.run_key(key.pk)
    if found is None:
        raise ValueError(f"{key} is not in a run's partition")
    return found


def _summary(key: DagRunKey, item: Item) -> RunSummary:
    start, end = (
        keyspace.moment_from(item[name]["S"]) if name in item else None for name in ("start_date", "end_date")
    )
    counts = json.loads(item["instance_states"]["S"]) if "instance_states" in item else {}
    return RunSummary(key, DagRunState(item["state"]["S"]), start, end, counts)


def _raise_if_callbacks_stale(before: DagRun, failed: ConditionFailed) -> None:
    """Raises StaleDagRun if one of the run's callbacks has moved, though the run itself has not."""
    if any(failed.failed(index) for index in range(2, len(failed.found))):
        raise StaleDagRun(f"Callbacks of DagRun {before.run_id!r} of {before.dag_id!r} moved on", None) from failed
