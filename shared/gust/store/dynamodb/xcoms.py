"""XComs: values in the item or in the bucket, lengths on the task instance."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from gust.errors import AlreadyExists, StaleTaskInstance
from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.model.state import TaskInstanceState
from gust.model.xcom import XCom
from gust.store import items, keyspace
from gust.store.dynamodb.documents import Documents
from gust.store.dynamodb.task_instances import read_instance
from gust.store.items import Attribute, Item
from gust.store.parallel import Parallel
from gust.store.table import ConditionFailed, Expression, Table, key_of

EDITED: Final = "edit_xcom"
"""The last thing that happened to an instance, in `edge`: the stream's filter lets it through (ADR 4)."""


class DynamoDBXComs:
    """Implements `ports.XComStore`."""

    _table: Table
    _documents: Documents
    _parallel: Parallel

    def put_xcom(self, xcom: XCom) -> None:
        """Write the task instance first: a worker that lost its instance is refused before it replaces a value. A crash in
        between leaves a length without a value; the try has not succeeded then, and the next one pushes again."""
        if xcom.mapped_length is not None or xcom.skip_decision is not None:
            self._note_push(xcom)
        where = keyspace.xcom(xcom.key, xcom.name)
        try:
            self._table.put(
                where,
                self._documents.keep(where.pk, "value", xcom.value) | _facts(xcom),
                _unless_later(xcom.dispatch_count),
            )
        except ConditionFailed as failed:
            raise _replaced(xcom.key, xcom.name) from failed

    def create_xcom(self, xcom: XCom) -> None:
        where = keyspace.xcom(xcom.key, xcom.name)
        item = self._documents.keep(where.pk, "value", xcom.value) | _facts(xcom)
        try:
            self._table.put(where, item, Expression().is_new())
        except ConditionFailed as failed:
            raise AlreadyExists(f"{xcom.key} has an XCom {xcom.name!r} already") from failed

    def note_xcom(
        self, key: TaskInstanceKey, name: str, *, is_pushed: bool | None, skip_decision: dict[str, Any] | None
    ) -> None:
        note = Expression().exists().change({"edge": items.text(EDITED)})
        if is_pushed is not None:
            names: Attribute = {"SS": [name]}
            note = note.add("pushed_keys", names) if is_pushed else note.take_out("pushed_keys", names)
        if skip_decision is not None:
            note = note.change(items.TASK_INSTANCE.attributes({"skip_decision": skip_decision}))
        with suppress(ConditionFailed):
            self._table.update(keyspace.instance(key), note)

    def get_xcom(self, key: TaskInstanceKey, name: str) -> XCom | None:
        item = self._table.get(keyspace.xcom(key, name))
        return None if item is None else self._read(item)

    def list_xcoms(
        self, run: DagRunKey, *, task_id: str | None = None, map_index: int | None = None, name: str | None = None
    ) -> list[XCom]:
        found = self._table.query(keyspace.run_partition(run), begins_with=keyspace.xcoms(task_id, map_index))
        wanted = [item for item in found if _is_wanted(item, map_index, name)]
        inline = [self._read(item) for item in wanted if "spilled" not in item]
        fetched = self._parallel.map(self._read, [item for item in wanted if "spilled" in item])
        return sorted(inline + fetched, key=lambda xcom: (xcom.key, xcom.name))

    def delete_xcom(self, key: TaskInstanceKey, name: str | None = None, *, dispatch_count: int | None = None) -> None:
        if name is not None:
            try:
                self._table.delete(keyspace.xcom(key, name), _unless_later(dispatch_count))
            except ConditionFailed as failed:
                raise _replaced(key, name) from failed
            return
        found = self._table.query(
            keyspace.run_partition(key.run), begins_with=keyspace.xcoms(key.task_id, key.map_index)
        )
        self._table.delete_all(key_of(item) for item in found)

    def _note_push(self, xcom: XCom) -> None:
        note = Expression().still({"state": items.text(TaskInstanceState.RUNNING.value)})
        if xcom.dispatch_count is not None:
            note.still({"dispatch_count": items.number(xcom.dispatch_count)})
        if xcom.mapped_length is not None:
            length = items.number(xcom.mapped_length)
            note = note.change({items.length_of(xcom.name): length}).add("pushed_keys", {"SS": [xcom.name]})
        if xcom.skip_decision is not None:
            note = note.change(items.TASK_INSTANCE.attributes({"skip_decision": xcom.skip_decision}))
        try:
            self._table.update(keyspace.instance(xcom.key), note)
        except ConditionFailed as failed:
            current = None if failed.item is None else read_instance(xcom.key, failed.item)
            raise StaleTaskInstance(f"put_xcom: {xcom.key} is not running", current) from failed

    def _read(self, item: Item) -> XCom:
        key, name = _key_and_name(item)
        return XCom(
            key=key,
            name=name,
            value=self._documents.read(item),
            timestamp=keyspace.moment_from(item["timestamp"]["S"]),
            mapped_length=int(item["mapped_length"]["N"]) if "mapped_length" in item else None,
            dag_result="dag_result" in item,
            dispatch_count=int(item["dispatch_count"]["N"]) if "dispatch_count" in item else None,
        )


def _facts(xcom: XCom) -> Item:
    facts = {"timestamp": items.moment(xcom.timestamp)}
    if xcom.mapped_length is not None:
        facts["mapped_length"] = items.number(xcom.mapped_length)
    if xcom.dag_result:
        facts["dag_result"] = {"BOOL": True}
    if xcom.dispatch_count is not None:
        facts["dispatch_count"] = items.number(xcom.dispatch_count)
    return facts


def _unless_later(dispatch_count: int | None) -> Expression:
    """The XCom is not one that a later dispatch pushed."""
    return Expression() if dispatch_count is None else Expression().below("dispatch_count", dispatch_count + 1)


def _replaced(key: TaskInstanceKey, name: str) -> StaleTaskInstance:
    return StaleTaskInstance(f"{key}: a later dispatch has pushed {name!r}", None)


def _is_wanted(item: Item, map_index: int | None, name: str | None) -> bool:
    key, its_name = _key_and_name(item)
    return map_index in (None, key.map_index) and name in (None, its_name)


def _key_and_name(item: Item) -> tuple[TaskInstanceKey, str]:
    found = keyspace.xcom_name(key_of(item))
    if found is None:
        raise ValueError(f"{key_of(item)} is not an XCom")
    return found
