"""Task instances, their finished tries and their rendered fields."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from gust.errors import StaleTaskInstance
from gust.model.dag_run import DagRun
from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.model.state import TaskInstanceState
from gust.model.task_instance import TaskInstance
from gust.ports.limits import DagAndPools
from gust.ports.metrics import Metrics
from gust.ports.task_instances import RunAndInstances
from gust.scheduling import measure
from gust.scheduling.callback import CallbackMove
from gust.scheduling.run_view import InstanceId
from gust.scheduling.transition import Transition
from gust.store import fences, items, keyspace
from gust.store.dynamodb.callbacks import callback_write
from gust.store.dynamodb.documents import Documents
from gust.store.dynamodb.history import DynamoDBHistory
from gust.store.dynamodb.hitl import answered_already, hitl_write
from gust.store.dynamodb.limits import (
    dag_and_pools,
    failure_listed_at,
    instance_update,
    limit_updates,
    places_of_dag,
)
from gust.store.items import Item
from gust.store.keyspace import Key
from gust.store.parallel import Parallel
from gust.store.table import Check, ConditionFailed, Delete, Expression, Put, Table, Update, key_of


class DynamoDBTaskInstances(DynamoDBHistory):
    """Implements `ports.TaskInstanceStore`."""

    _table: Table
    _documents: Documents
    _parallel: Parallel
    _metrics: Metrics

    def get_instance(self, key: TaskInstanceKey) -> TaskInstance | None:
        item = self._table.get(keyspace.instance(key))
        return None if item is None else read_instance(key, item)

    def get_instances(self, keys: Sequence[TaskInstanceKey]) -> list[TaskInstance]:
        stored = self._table.get_all([keyspace.instance(key) for key in keys])
        return [read_instance(key, stored[at]) for key in keys if (at := keyspace.instance(key)) in stored]

    def get_instance_and_run(self, key: TaskInstanceKey) -> tuple[TaskInstance | None, DagRun | None]:
        at, of_run = keyspace.instance(key), keyspace.run(key.run)
        found = self._table.get_all([at, of_run])
        return (
            read_instance(key, found[at]) if at in found else None,
            read_run(key.run, found[of_run]) if of_run in found else None,
        )

    def get_run_and_instances(self, key: DagRunKey, instances: Sequence[InstanceId]) -> RunAndInstances:
        return _run_and_instances(key, instances, self._table.get_all(_places_in_run(key, instances)))

    def get_dag_and_run(
        self, key: DagRunKey, *, pools: Collection[str], instances: Sequence[InstanceId]
    ) -> tuple[DagAndPools, RunAndInstances]:
        found = self._table.get_all([*places_of_dag(key.dag_id, pools), *_places_in_run(key, instances)])
        return dag_and_pools(key.dag_id, pools, found), _run_and_instances(key, instances, found)

    def move(self, transition: Transition) -> None:
        if (failed_at := failure_listed_at(transition.after)) is not None:
            self._note_day(failed_at)
        counted = limit_updates(transition)
        changed = instance_update(transition)
        writes: list[Put | Update | Delete | Check] = [changed, *counted]
        if finished := transition.finished_try:
            kept = keyspace.finished_try(finished.key, finished.try_number)
            writes.append(Put(kept, items.TASK_INSTANCE.item(finished)))
        if transition.callback is not None:
            writes.append(callback_write(CallbackMove(None, transition.callback)))
        if transition.hitl is not None:
            writes.append(hitl_write(transition.before.key, transition.hitl))
        try:
            if len(writes) > 1:
                self._table.transact(*writes)
            else:
                self._table.update(changed.key, changed.expression)
        except ConditionFailed as failed:
            if items.TASK_INSTANCE.holds(fences.repeated_move(transition), failed.item):
                return
            if transition.hitl is not None and failed.failed(-1) and not failed.failed(0):
                raise answered_already(transition.before.key) from failed
            stale = _stale(transition.edge, transition.before.key, failed)
            if (again := fences.with_what_it_holds(transition, stale.current)) is None:
                raise stale from failed
            self.move(again)
        else:
            self._metrics.add(measure.of_move(transition))

    def move_unread(self, transition: Transition) -> TaskInstance | None:
        changed = instance_update(transition, fences.unread_fence)
        try:
            item = self._table.updated(changed.key, changed.expression)
        except ConditionFailed:
            return None
        return read_instance(transition.before.key, item)

    def move_all(self, transitions: Sequence[Transition]) -> list[Transition]:
        were_stale = self._parallel.map(self._is_stale, transitions)
        return [transition for transition, is_stale in zip(transitions, were_stale, strict=True) if is_stale]

    def _is_stale(self, transition: Transition) -> bool:
        try:
            self.move(transition)
        except StaleTaskInstance:
            return True
        return False

    def heartbeat(self, key: TaskInstanceKey, *, try_number: int, dispatch_count: int, at: datetime) -> None:
        this_dispatch = {
            "state": TaskInstanceState.RUNNING,
            "try_number": try_number,
            "dispatch_count": dispatch_count,
        }
        still = Expression().still(items.TASK_INSTANCE.attributes(this_dispatch))
        try:
            self._table.update(keyspace.instance(key), still.change({"heartbeat_at": items.moment(at)}))
        except ConditionFailed as failed:
            raise _stale("heartbeat", key, failed) from failed

    def list_tries(self, key: TaskInstanceKey) -> list[TaskInstance]:
        found = self._table.query(keyspace.run_partition(key.run), begins_with=keyspace.finished_tries(key))
        return [read_instance(key, item) for item in found]

    def tries_of_run(self, key: DagRunKey) -> dict[tuple[str, int], list[TaskInstance]]:
        found: dict[tuple[str, int], list[TaskInstance]] = {}
        for item in self._table.query(keyspace.run_partition(key), begins_with=keyspace.FINISHED_TRIES):
            task_id, map_index = keyspace.finished_try_of(key_of(item))
            found.setdefault((task_id, map_index), []).append(
                read_instance(key.task_instance(task_id, map_index), item)
            )
        return found

    def delete_history(self, key: TaskInstanceKey) -> None:
        pk = keyspace.run_partition(key.run)
        beginnings = (
            keyspace.finished_tries(key),
            keyspace.xcoms(key.task_id, key.map_index),
            keyspace.hitl_details(key),
        )
        found = [key_of(item) for start in beginnings for item in self._table.query(pk, begins_with=start)]
        self._table.delete_all([*found, keyspace.rendered_fields(key)])

    def put_rendered_fields(self, key: TaskInstanceKey, fields: Mapping[str, Any], *, dispatch_count: int) -> None:
        where = keyspace.rendered_fields(key)
        item = self._documents.keep(where.pk, "rendered_fields", dict(fields))
        not_of_a_later_one = Expression().below("dispatch_count", dispatch_count + 1)
        try:
            self._table.put(where, item | {"dispatch_count": items.number(dispatch_count)}, not_of_a_later_one)
        except ConditionFailed as failed:
            raise StaleTaskInstance(f"rendered fields: {key} was dispatched again", None) from failed

    def get_rendered_fields(self, key: TaskInstanceKey) -> dict[str, Any] | None:
        return self.get_many_rendered_fields([key]).get(key)

    def get_many_rendered_fields(self, keys: Collection[TaskInstanceKey]) -> dict[TaskInstanceKey, dict[str, Any]]:
        places = {key: (keyspace.instance(key), keyspace.rendered_fields(key)) for key in keys}
        found = self._table.get_all([place for both in places.values() for place in both])
        read = {key: self._last_rendered(found.get(its), found.get(beside)) for key, (its, beside) in places.items()}
        return {key: fields for key, fields in read.items() if fields is not None}

    def list_rendered_fields(self, key: DagRunKey) -> dict[tuple[str, int], dict[str, Any]]:
        pk = keyspace.run_partition(key)
        of_instances = {
            (its.task_id, its.map_index): item
            for item in self._table.query(pk, begins_with=keyspace.INSTANCES)
            if RENDERED_BY in item and (its := keyspace.instance_key(key_of(item))) is not None
        }
        beside = {
            keyspace.rendered_fields_of(key_of(item)): item
            for item in self._table.query(pk, begins_with=keyspace.RENDERED_FIELDS)
        }
        read = {
            which: self._last_rendered(of_instances.get(which), beside.get(which)) for which in of_instances | beside
        }
        return {which: fields for which, fields in read.items() if fields is not None}

    def _last_rendered(self, instance: Item | None, beside: Item | None) -> dict[str, Any] | None:
        """The fields of the later dispatch, from the instance's item or from the one beside it. Where one dispatch has
        stored both, those beside the instance came later."""
        if instance is not None and _dispatch(instance, RENDERED_BY) > _dispatch(beside or {}, "dispatch_count"):
            return dict(json.loads(instance[RENDERED]["S"])) if RENDERED in instance else {}
        return None if beside is None else self._documents.read(beside)


RENDERED: Final = "rendered_fields"
RENDERED_BY: Final = "rendered_by"


def _dispatch(item: Item, attribute: str) -> int:
    return int(item[attribute]["N"]) if attribute in item else 0


def _places_in_run(key: DagRunKey, instances: Sequence[InstanceId]) -> list[Key]:
    return [keyspace.run(key), *(keyspace.instance(key.task_instance(*instance)) for instance in instances)]


def _run_and_instances(key: DagRunKey, instances: Sequence[InstanceId], found: Mapping[Key, Item]) -> RunAndInstances:
    of_run, *places = _places_in_run(key, instances)
    stored = {
        instance: read_instance(key.task_instance(*instance), found[at])
        for instance, at in zip(instances, places, strict=True)
        if at in found
    }
    return read_run(key, found[of_run]) if of_run in found else None, stored


def read_run(key: DagRunKey, item: Item) -> DagRun:
    return items.DAG_RUN.read(item, dag_id=key.dag_id, run_id=key.run_id)


def read_instance(key: TaskInstanceKey, item: Item) -> TaskInstance:
    return items.TASK_INSTANCE.read(
        item, dag_id=key.dag_id, run_id=key.run_id, task_id=key.task_id, map_index=key.map_index
    )


def _stale(edge: str, key: TaskInstanceKey, failed: ConditionFailed) -> StaleTaskInstance:
    current = None if failed.item is None else read_instance(key, failed.item)
    return StaleTaskInstance(f"{edge}: {key} moved on", current)
