"""Backfills, their plans, and the runs they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from gust.errors import AlreadyExists, StaleBackfill
from gust.model.backfill import Backfill
from gust.scheduling.added_run import BackfillRun
from gust.store import fences, items, keyspace
from gust.store.dynamodb.callbacks import callback_writes
from gust.store.dynamodb.documents import Documents
from gust.store.dynamodb.history import DynamoDBHistory
from gust.store.dynamodb.runs import counted, new_run, raise_if_stale, raise_if_taken, run_update
from gust.store.items import Attribute, Item
from gust.store.table import ConditionFailed, Expression, Put, Table, Update, key_of

_SEQUENCE: Final = "backfill"


class DynamoDBBackfills(DynamoDBHistory):
    """Implements `ports.BackfillStore`."""

    _table: Table
    _documents: Documents

    def next_backfill_id(self) -> int:
        return self._table.count_up(keyspace.sequence(_SEQUENCE))

    def create_backfill(self, backfill: Backfill, plan: Sequence[Any]) -> None:
        where = keyspace.backfill_plan(backfill.backfill_id)
        indexes = {name: value for name, value in _due(backfill).items() if value is not None}
        its_id = {"backfill_id": items.number(backfill.backfill_id)}
        puts = [
            Put(
                keyspace.backfill(backfill.backfill_id), items.BACKFILL.item(backfill) | indexes, Expression().is_new()
            ),
            Put(where, self._documents.keep(where.pk, "plan", list(plan)), Expression().is_new()),
            Put(keyspace.backfill_of_dag(backfill.dag_id, backfill.backfill_id), its_id),
        ]
        # Not a field of the DAG's item, which every run and every deployment writes.
        the_only_one = Expression().still({"backfill_id": None}).change(its_id)
        try:
            self._table.transact(*puts, Update(keyspace.active_backfill(backfill.dag_id), the_only_one))
        except ConditionFailed as failed:
            if failed.failed(len(puts)):
                raise AlreadyExists(f"There is already a running backfill for dag {backfill.dag_id}") from failed
            raise AlreadyExists(f"There is a backfill {backfill.backfill_id} already") from failed

    def get_backfill(self, backfill_id: int) -> Backfill | None:
        item = self._table.get(keyspace.backfill(backfill_id))
        return None if item is None else _read(item)

    def backfill_plan(self, backfill_id: int) -> list[Any]:
        item = self._table.get(keyspace.backfill_plan(backfill_id))
        return [] if item is None else list(self._documents.read(item))

    def list_backfills(self, dag_id: str) -> list[Backfill]:
        found = self._table.query(keyspace.backfills_of_dag(dag_id))
        keys = [keyspace.backfill(int(item["backfill_id"]["N"])) for item in found]
        stored = self._table.get_all(keys)
        return [_read(stored[key]) for key in keys if key in stored]

    def all_backfills(self, *, active: bool = False) -> list[Backfill]:
        if active:
            active_ones = self._table.query(keyspace.ACTIVE_BACKFILLS)
            keys = [keyspace.backfill(int(item["backfill_id"]["N"])) for item in active_ones if "backfill_id" in item]
        else:
            counter = self._table.get(keyspace.sequence(_SEQUENCE))
            last = 0 if counter is None else int(counter["last"]["N"])
            keys = [keyspace.backfill(number) for number in range(1, last + 1)]
        stored = self._table.get_all(keys)
        return [_read(stored[key]) for key in sorted(stored, key=lambda key: keyspace.backfill_id(key.pk))]

    def due_backfills(self, until: datetime) -> list[tuple[int, datetime]]:
        found = self._table.query_index(keyspace.INDEX_DUE, keyspace.DUE_BACKFILLS, until=keyspace.moment(until))
        due = [
            (keyspace.backfill_id(key_of(item).pk), keyspace.moment_from(item["due_sk"]["S"]))
            for item in found
            if key_of(item).pk != keyspace.WATCHERS
        ]
        return sorted(due, key=lambda one: (one[1], one[0]))

    def update_backfill(self, before: Backfill, after: Backfill) -> None:
        self._write(before, after, Expression())

    def end_backfill(self, before: Backfill, after: Backfill, *, cancels: bool = False) -> None:
        all_ended = Expression() if cancels else Expression().below("unfinished_runs", 1)
        its_id = {"backfill_id": items.number(before.backfill_id)}
        no_more = Expression().still(its_id).change({"backfill_id": None})
        self._write(before, after, all_ended, Update(keyspace.active_backfill(before.dag_id), no_more))

    def _write(self, before: Backfill, after: Backfill, where: Expression, *with_it: Update) -> None:
        still = where.exists().still(items.BACKFILL.attributes(fences.backfill_fence(before)))
        update = Update(keyspace.backfill(before.backfill_id), _changing(still, before, after))
        try:
            self._table.transact(update, *with_it) if with_it else self._table.update(update.key, update.expression)
        except ConditionFailed as failed:
            raise StaleBackfill(f"backfill {before.backfill_id} moved on") from failed

    def add_to_backfill(self, backfill: Backfill, added: BackfillRun) -> None:
        before, run = added.before, added.run
        if before is None:
            self._note_day(run.run_after)
        self._note_days(added.callbacks)
        of_run: list[Put | Update] = [*new_run(run)] if before is None else [run_update(before, run)]
        still = Expression().exists().still(items.BACKFILL.attributes(fences.backfill_fence(backfill)))
        of_backfill = counted(before, run, _changing(still, backfill, replace(backfill, made=added.made)))
        try:
            self._table.transact(*of_run, *callback_writes(added.callbacks), *of_backfill)
        except ConditionFailed as failed:
            if failed.failed(-len(of_backfill)):
                raise StaleBackfill(f"backfill {backfill.backfill_id} moved on") from failed
            if before is None:
                raise_if_taken(run, failed)
            else:
                raise_if_stale(before, failed)
            raise

    def delete_backfills(self, dag_id: str) -> None:
        for listed in list(self._table.query(keyspace.backfills_of_dag(dag_id))):
            partition = keyspace.backfill_partition(int(listed["backfill_id"]["N"]))
            self._table.delete_all(key_of(item) for item in self._table.query(partition))
            self._documents.delete_all(partition)
            # Last: it is what leads here again after a crash.
            self._table.delete(key_of(listed))
        self._table.delete(keyspace.active_backfill(dag_id))


def _changing(expression: Expression, before: Backfill, after: Backfill) -> Expression:
    changes = items.BACKFILL.attributes(fences.changed_backfill_fields(before, after))
    was, becomes = _due(before), _due(after)
    return expression.change(changes | {name: value for name, value in becomes.items() if value != was[name]})


def _due(backfill: Backfill) -> dict[str, Attribute | None]:
    if backfill.due_at is None:
        return {"due_pk": None, "due_sk": None}
    return {"due_pk": items.text(keyspace.DUE_BACKFILLS), "due_sk": items.moment(backfill.due_at)}


def _read(item: Item) -> Backfill:
    return items.BACKFILL.read(item, backfill_id=keyspace.backfill_id(key_of(item).pk))
