"""Variables, connections and key-value stores: named JSON documents that may expire."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

from gust.services.ports import Clock
from gust.store import items, keyspace
from gust.store.dynamodb.documents import Documents
from gust.store.items import Item
from gust.store.table import Table, key_of


class DynamoDBSettings:
    """Implements `services.ports.SettingStore`. What has expired is hidden at once and deleted within days."""

    _table: Table
    _documents: Documents
    _clock: Clock

    def get_setting(self, namespace: str, name: str) -> Any | None:
        item = self._table.get(keyspace.setting(namespace, name))
        return None if item is None or not self._is_fresh(item) else self._documents.read(item)

    def put_setting(self, namespace: str, name: str, value: Any, *, expires_at: datetime | None = None) -> None:
        where = keyspace.setting(namespace, name)
        expiry: Item = {}
        if expires_at is not None:
            expiry["expires_at"] = items.moment(expires_at)
            expiry[keyspace.TTL_ATTRIBUTE] = items.number(math.ceil(expires_at.timestamp()))
        self._table.put(where, self._documents.keep(where.pk, "value", value) | expiry)

    def delete_setting(self, namespace: str, name: str) -> bool:
        deleted = self._table.delete(keyspace.setting(namespace, name))
        return deleted is not None and self._is_fresh(deleted)

    def list_settings(self, namespace: str, *, prefix: str = "") -> dict[str, Any]:
        found = self._table.query(keyspace.settings(namespace), begins_with=keyspace.escape(prefix))
        fresh = {keyspace.unescape(key_of(item).sk): item for item in found if self._is_fresh(item)}
        return {name: self._documents.read(item) for name, item in sorted(fresh.items())}

    def _is_fresh(self, item: Item) -> bool:
        expires_at = item.get("expires_at")
        return expires_at is None or keyspace.moment_from(expires_at["S"]) > self._clock.now()
