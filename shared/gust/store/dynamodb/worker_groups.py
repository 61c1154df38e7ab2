"""Worker groups: few items, all read at once by a decision on a DAG that names one."""

from __future__ import annotations

from datetime import datetime

from gust.model.worker_group import WorkerGroup
from gust.store import items, keyspace
from gust.store.table import ConditionFailed, Expression, Table, key_of


class DynamoDBWorkerGroups:
    """Implements `ports.WorkerGroupStore`."""

    _table: Table

    def list_worker_groups(self) -> list[WorkerGroup]:
        found = self._table.query(keyspace.WORKER_GROUPS)
        return [items.WORKER_GROUP.read(item, name=key_of(item).sk) for item in found]

    def register_worker_group(self, group: WorkerGroup) -> None:
        told = {"queue_url": group.queue_url, "memory": group.memory}
        changes = Expression().change(items.WORKER_GROUP.attributes(told))
        self._table.update(keyspace.worker_group(group.name), changes)

    def hear_of_worker_group(self, name: str, at: datetime) -> bool:
        heard = Expression().exists().change({"heard_at": items.moment(at)})
        try:
            self._table.update(keyspace.worker_group(name), heard)
        except ConditionFailed:
            return False
        return True

    def delete_worker_group(self, name: str) -> None:
        self._table.delete(keyspace.worker_group(name))
