"""Callbacks that a run owes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from gust.errors import StaleCallback
from gust.model.callback import Callback, CallbackKind
from gust.model.keys import DagRunKey
from gust.model.window import OLDEST_FIRST, Window
from gust.scheduling.callback import CallbackMove
from gust.store import fences, items, keyspace
from gust.store.dynamodb.history import DynamoDBHistory, page_sizes
from gust.store.items import Attribute, Item
from gust.store.keyspace import Key
from gust.store.table import ConditionFailed, Delete, Expression, Put, Table, Update, key_of

_DEADLINES_AT_A_TIME: Final = (60, 200, 1000)


class DynamoDBCallbacks(DynamoDBHistory):
    """Implements `ports.CallbackStore`."""

    _table: Table

    def get_callback(self, run: DagRunKey, callback_id: str) -> Callback | None:
        item = self._table.get(keyspace.callback(run, callback_id))
        return None if item is None else read_callback(run, callback_id, item)

    def list_callbacks(self, run: DagRunKey) -> list[Callback]:
        found = self._table.query(keyspace.run_partition(run), begins_with=keyspace.CALLBACKS)
        return [read_callback(run, keyspace.callback_id(key_of(item)) or "", item) for item in found]

    def walk_deadlines(self, dag_id: str | None = None, window: Window = OLDEST_FIRST) -> Iterator[Callback]:
        keys = self._keys_of_deadlines(dag_id, window)
        for size in page_sizes(_DEADLINES_AT_A_TIME):
            if not (part := list(islice(keys, size))):
                return
            stored = self._table.get_all(part)
            for key in part:
                run, callback_id = keyspace.run_key(key.pk), keyspace.callback_id(key)
                if key in stored and run is not None and callback_id is not None:
                    yield read_callback(run, callback_id, stored[key])

    def _keys_of_deadlines(self, dag_id: str | None, window: Window) -> Iterator[Key]:
        if dag_id is None:
            found = self._of_days(keyspace.DEADLINES.of_day, window, pages=_DEADLINES_AT_A_TIME)
        else:
            of_dag = keyspace.DEADLINES.of_dag(dag_id)
            found = self._listed(keyspace.INDEX_LISTED, [of_dag], window, pages=_DEADLINES_AT_A_TIME)
        return (key for _, key in found)

    def move_callback(self, move: CallbackMove) -> None:
        self._note_days([move])
        write = callback_write(move)
        try:
            match write:
                case Put():
                    self._table.put(write.key, write.item, write.expression)
                case Update():
                    self._table.update(write.key, write.expression)
                case Delete():
                    self._table.transact(write)
        except ConditionFailed as failed:
            if move.after is not None and items.CALLBACK.holds(fences.repeated_callback(move.after), failed.item):
                return
            raise stale_callback(move, failed.item) from failed


def callback_writes(moves: Sequence[CallbackMove]) -> list[Put | Update | Delete]:
    """The callbacks' writes, for the transaction that makes them due."""
    return [callback_write(move) for move in moves]


def callback_write(move: CallbackMove) -> Put | Update | Delete:
    before, after = move.before, move.after
    known = after or before
    if known is None:
        raise ValueError("a move from nothing to nothing")
    key = keyspace.callback(known.run_key, known.callback_id)
    if before is None:
        listed = {name: attribute for name, attribute in _listing_of(known).items() if attribute is not None}
        return Put(key, items.CALLBACK.item(known) | listed, Expression().is_new())
    still = Expression().exists().still(items.CALLBACK.attributes(fences.callback_fence(before)))
    if after is None:
        return Delete(key, still)
    was, becomes = _listing_of(before), _listing_of(after)
    moved = {name: attribute for name, attribute in becomes.items() if attribute != was[name]}
    return Update(key, still.change(items.CALLBACK.attributes(fences.changed_callback_fields(before, after)) | moved))


def _listing_of(callback: Callback) -> dict[str, Attribute | None]:
    """The deadline's index keys, among the deadlines of all runs and of its DAG's runs."""
    if callback.kind is not CallbackKind.DEADLINE or callback.due_at is None:
        return dict.fromkeys(("recent_pk", "recent_sk", "listed_pk", "listed_sk"))
    order = items.text(keyspace.deadline_order(callback.due_at, callback.run_key, callback.callback_id))
    return {
        "recent_pk": items.text(keyspace.DEADLINES.of_day(keyspace.day(callback.due_at))),
        "recent_sk": order,
        "listed_pk": items.text(keyspace.DEADLINES.of_dag(callback.dag_id)),
        "listed_sk": order,
    }


def read_callback(run: DagRunKey, callback_id: str, item: Item) -> Callback:
    return items.CALLBACK.read(item, dag_id=run.dag_id, run_id=run.run_id, callback_id=callback_id)


def stale_callback(move: CallbackMove, found: Item | None) -> StaleCallback:
    known = move.after or move.before
    if known is None:
        raise ValueError("a move from nothing to nothing")
    current = None if found is None else read_callback(known.run_key, known.callback_id, found)
    return StaleCallback(f"callback {known.callback_id!r} of {known.run_key} moved on", current)
