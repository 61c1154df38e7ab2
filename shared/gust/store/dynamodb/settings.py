"""Variables, connections and key-value stores: named JSON documents that may expire."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, Final

from gust.errors import AlreadyExists, Stale
from gust.ports.clock import Clock
from gust.store import items, keyspace
from gust.store.dynamodb.documents import Documents
from gust.store.items import Attribute, Item
from gust.store.table import ConditionFailed, Expression, Table, Update, key_of

_DOCUMENT: Final = ("value", "spilled")


class DynamoDBSettings:
    """Implements `ports.SettingStore`. What has expired is hidden at once and deleted within days."""

    _table: Table
    _documents: Documents
    _clock: Clock

    def get_setting(self, namespace: str, name: str) -> Any | None:
        item = self._table.get(keyspace.setting(namespace, name))
        return None if item is None or not self._is_fresh(item) else self._documents.read(item)

    def put_setting(self, namespace: str, name: str, value: Any, *, expires_at: datetime | None = None) -> None:
        self._write_setting(namespace, name, value, Expression(), expires_at=expires_at)

    def create_setting(self, namespace: str, name: str, value: Any) -> None:
        try:
            self._write_setting(namespace, name, value, Expression().is_new())
        except ConditionFailed as failed:
            raise AlreadyExists(f"{namespace} has {name!r} already") from failed

    def change_setting(self, namespace: str, name: str, before: Any, after: Any) -> None:
        seen = self._setting_document(namespace, name, before)
        try:
            self._write_setting(namespace, name, after, Expression().exists().still(seen))
        except ConditionFailed as failed:
            raise Stale(f"{name!r} of {namespace} has changed since it was read") from failed

    def delete_setting(self, namespace: str, name: str) -> bool:
        deleted = self._table.delete(keyspace.setting(namespace, name))
        return deleted is not None and self._is_fresh(deleted)

    def list_settings(self, namespace: str, *, prefix: str = "") -> dict[str, Any]:
        found = self._table.query(keyspace.settings(namespace), begins_with=keyspace.escape(prefix))
        fresh = {keyspace.unescape(key_of(item).sk): item for item in found if self._is_fresh(item)}
        return {name: self._documents.read(item) for name, item in sorted(fresh.items())}

    def settings_by_age(self, namespace: str) -> dict[str, Any]:
        found = [item for item in self._table.query(keyspace.settings(namespace)) if self._is_fresh(item)]
        found.sort(key=lambda item: (item.get("made_at", {"S": ""})["S"], keyspace.unescape(key_of(item).sk)))
        return {keyspace.unescape(key_of(item).sk): self._documents.read(item) for item in found}

    def _write_setting(
        self, namespace: str, name: str, value: Any, expression: Expression, *, expires_at: datetime | None = None
    ) -> None:
        """Raises ConditionFailed."""
        write = self._setting_write(namespace, name, value, expression, expires_at=expires_at)
        self._table.update(write.key, write.expression)

    def _setting_write(
        self, namespace: str, name: str, value: Any, expression: Expression, *, expires_at: datetime | None = None
    ) -> Update:
        expression.change(self._setting_document(namespace, name, value))
        expression.change(
            {
                "expires_at": items.moment(expires_at) if expires_at else None,
                keyspace.TTL_ATTRIBUTE: items.number(math.ceil(expires_at.timestamp())) if expires_at else None,
            }
        )
        expression.keep({"made_at": items.moment(self._clock.now())})
        return Update(keyspace.setting(namespace, name), expression)

    def _setting_document(self, namespace: str, name: str, value: Any) -> dict[str, Attribute | None]:
        """All attributes that may hold the document: the one that does, and the other as absent."""
        kept = self._documents.keep(keyspace.setting(namespace, name).pk, "value", value)
        return {attribute: kept.get(attribute) for attribute in _DOCUMENT}

    def _is_fresh(self, item: Item) -> bool:
        expires_at = item.get("expires_at")
        return expires_at is None or keyspace.moment_from(expires_at["S"]) > self._clock.now()
