"""Worker groups: few items, all read at once by a decision on a DAG that names one."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Final

from gust.model.worker_group import WorkerGroup
from gust.store import items, keyspace
from gust.store.table import ConditionFailed, Expression, Table, key_of

TOLD: Final = ("queue_url", "memory", "architecture", "task_role", "is_closing")
"""What `register_worker_group` writes: all but the sign of life."""


class DynamoDBWorkerGroups:
    """Implements `ports.WorkerGroupStore`."""

    _table: Table

    def list_worker_groups(self) -> list[WorkerGroup]:
        found = self._table.query(keyspace.WORKER_GROUPS)
        return [items.WORKER_GROUP.read(item, name=key_of(item).sk) for item in found]

    def register_worker_group(self, group: WorkerGroup) -> None:
        told = {name: getattr(group, name) for name in TOLD}
        changes = Expression().change(items.WORKER_GROUP.attributes(told))
        self._table.update(keyspace.worker_group(group.name), changes)

    def hear_of_worker_group(self, name: str, at: datetime) -> bool:
        heard = Expression().exists().still({"is_closing": None}).change({"heard_at": items.moment(at)})
        try:
            self._table.update(keyspace.worker_group(name), heard)
        except ConditionFailed:
            return False
        return True

    def close_worker_group(self, name: str) -> None:
        closed = Expression().exists().change(items.WORKER_GROUP.attributes({"is_closing": True}))
        with suppress(ConditionFailed):
            self._table.update(keyspace.worker_group(name), closed)

    def delete_worker_group(self, name: str) -> None:
        self._table.delete(keyspace.worker_group(name))
