"""Tests of connections. Few, short, and forgotten by the table's own expiry."""

from __future__ import annotations

import math
from dataclasses import fields
from datetime import datetime

from gust.errors import AlreadyExists, Stale
from gust.model.connection_test import ConnectionTest
from gust.model.setting import SettingChange
from gust.store import items, keyspace
from gust.store.dynamodb.settings import DynamoDBSettings
from gust.store.items import Attribute, Item
from gust.store.table import ConditionFailed, Delete, Expression, Put, Update


class DynamoDBConnectionTests(DynamoDBSettings):
    """Implements `ports.ConnectionTestStore`."""

    def create_connection_test(self, test: ConnectionTest, *, instead_of: str | None = None) -> None:
        expiry = _expiry(test.expires_at)
        may_take_place = Expression().is_new() if instead_of is None else _of(instead_of)
        try:
            self._table.transact(
                Put(
                    keyspace.connection_test(test.test_id),
                    items.CONNECTION_TEST.item(test) | expiry,
                    Expression().is_new(),
                ),
                Put(
                    keyspace.active_connection_test(test.connection_id),
                    {"test_id": items.text(test.test_id)} | expiry,
                    may_take_place,
                ),
            )
        except ConditionFailed as failed:
            raise AlreadyExists(f"A test of {test.connection_id!r} has not ended") from failed

    def get_connection_test(self, test_id: str) -> ConnectionTest | None:
        item = self._table.get(keyspace.connection_test(test_id))
        found = None if item is None else _read(test_id, item)
        return None if found is None or found.expires_at <= self._clock.now() else found

    def active_connection_test(self, connection_id: str) -> str | None:
        item = self._table.get(keyspace.active_connection_test(connection_id))
        return None if item is None else item["test_id"]["S"]

    def move_connection_test(
        self, before: ConnectionTest, after: ConnectionTest, *, commit: SettingChange | None = None
    ) -> None:
        codec = items.CONNECTION_TEST
        fence = Expression().exists().still(codec.attributes({"state": before.state, "updated_at": before.updated_at}))
        changes: dict[str, Attribute | None] = codec.attributes(_changed(before, after))
        key = keyspace.connection_test(before.test_id)
        try:
            if not after.has_ended:
                self._table.update(key, fence.change(changes))
                return
            self._table.transact(
                Update(key, fence.change(changes)),
                Delete(keyspace.active_connection_test(before.connection_id), _of(before.test_id)),
                *([] if commit is None else [self._committed(commit)]),
            )
        except ConditionFailed as failed:
            if failed.failed(0) and failed.item is not None and _read(before.test_id, failed.item) == after:
                return
            raise Stale(f"the test {before.test_id}, or what it is about, moved on") from failed

    def _committed(self, change: SettingChange) -> Update:
        if change.before is None:
            seen = Expression().is_new()
        else:
            seen = Expression().exists().still(self._setting_document(change.namespace, change.name, change.before))
        return self._setting_write(change.namespace, change.name, change.after, seen)


def _of(test_id: str) -> Expression:
    return Expression().exists().still({"test_id": items.text(test_id)})


def _expiry(at: datetime) -> Item:
    return {keyspace.TTL_ATTRIBUTE: items.number(math.ceil(at.timestamp()))}


def _changed(before: ConnectionTest, after: ConnectionTest) -> dict[str, object]:
    names = [field.name for field in fields(ConnectionTest) if field.name != "test_id"]
    return {name: getattr(after, name) for name in names if getattr(after, name) != getattr(before, name)}


def _read(test_id: str, item: Item) -> ConnectionTest:
    return items.CONNECTION_TEST.read(item, test_id=test_id)
