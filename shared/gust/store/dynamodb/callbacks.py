"""Callbacks that a run owes."""

from __future__ import annotations

from collections.abc import Sequence

from gust.errors import StaleCallback
from gust.model.callback import Callback
from gust.model.keys import DagRunKey
from gust.scheduling.callback import CallbackMove
from gust.store import fences, items, keyspace
from gust.store.items import Item
from gust.store.table import ConditionFailed, Delete, Expression, Put, Table, Update, key_of


class DynamoDBCallbacks:
    """Implements `services.ports.CallbackStore`."""

    _table: Table

    def get_callback(self, run: DagRunKey, callback_id: str) -> Callback | None:
        item = self._table.get(keyspace.callback(run, callback_id))
        return None if item is None else read_callback(run, callback_id, item)

    def list_callbacks(self, run: DagRunKey) -> list[Callback]:
        found = self._table.query(keyspace.run_partition(run), begins_with=keyspace.CALLBACKS)
        return [read_callback(run, keyspace.callback_id(key_of(item)) or "", item) for item in found]

    def move_callback(self, move: CallbackMove) -> None:
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
    """For the transaction of what they belong to."""
    return [callback_write(move) for move in moves]


def callback_write(move: CallbackMove) -> Put | Update | Delete:
    before, after = move.before, move.after
    known = after or before
    if known is None:
        raise ValueError("a move from nothing to nothing")
    key = keyspace.callback(known.run_key, known.callback_id)
    if before is None:
        return Put(key, items.CALLBACK.item(known), Expression().is_new())
    still = Expression().exists().still(items.CALLBACK.attributes(fences.callback_fence(before)))
    if after is None:
        return Delete(key, still)
    return Update(key, still.change(items.CALLBACK.attributes(fences.changed_callback_fields(before, after))))


def read_callback(run: DagRunKey, callback_id: str, item: Item) -> Callback:
    return items.CALLBACK.read(item, dag_id=run.dag_id, run_id=run.run_id, callback_id=callback_id)


def stale_callback(move: CallbackMove, found: Item | None) -> StaleCallback:
    known = move.after or move.before
    if known is None:
        raise ValueError("a move from nothing to nothing")
    current = None if found is None else read_callback(known.run_key, known.callback_id, found)
    return StaleCallback(f"callback {known.callback_id!r} of {known.run_key} moved on", current)
