"""Events that wait for the DAGs whose schedules name their assets.

What waits for a DAG is one item, so that an event costs one write per DAG however much waits already, and a run takes all
of it in the transaction that makes the run. `arrivals` is its fence: who makes a run has seen every event. The other one
is `consumed_until`: no event is stored with a moment that a run of the DAG has closed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from gust.errors import AlreadyExists, StaleAssetQueue
from gust.model.asset import (
    AssetEvent,
    AssetKey,
    AssetQueue,
    Delivery,
    PartitionEvent,
    PendingPartition,
    ToPartition,
    ToQueue,
)
from gust.model.dag_run import DagRun
from gust.model.keys import DagRunKey
from gust.store import fences, items, keyspace
from gust.store.dynamodb.documents import Documents
from gust.store.dynamodb.runs import new_run
from gust.store.items import Attribute, Item
from gust.store.keyspace import Key
from gust.store.parallel import Parallel
from gust.store.table import ConditionFailed, Delete, Expression, Put, Table, Update, key_of

NOTICED_WITHIN: Final = timedelta(seconds=60)
"""The stream tells the scheduler of an event at once. Should that word be lost, the tick finds it after this time."""

EDGE: Final = "asset_event"

_TRANSACTION: Final = 100
"""Writes that DynamoDB takes in one transaction."""
_ATTEMPTS: Final = 20
_QUEUED: Final = "queued#"
_RECEIVED: Final = "received#"
_ONE: Final = items.number(1)


class DynamoDBAssetQueues:
    """Implements `services.ports.AssetQueueStore`, and how `AssetStore.put_asset_event` delivers."""

    _table: Table
    _documents: Documents
    _parallel: Parallel

    # --- events come --------------------------------------------------------------------------------------------------

    def _store_and_deliver(self, event: AssetEvent, puts: Sequence[Put], deliveries: Sequence[Delivery]) -> None:
        """`puts`: what stores the event itself. All of it at once, as far as a transaction holds it."""
        room = _TRANSACTION - 1 - len(puts)
        for _ in range(_ATTEMPTS):
            at_once, later = deliveries[:room], deliveries[room:]
            guard: Item = {"timestamp": items.moment(event.timestamp)}
            if later:
                guard["undelivered"] = items.document("undelivered", [_name(delivery) for delivery in later])
            reported = Put(keyspace.asset_event(event.event_id), guard, Expression().is_new())
            try:
                self._table.transact(reported, *puts, *self._arrivals(event, at_once))
            except ConditionFailed as failed:
                if failed.failed(0):
                    return self._deliver_the_rest(event, deliveries, failed.found[0])
                _raise_if_closed(event, at_once, failed.found[1 + len(puts) :])
                continue  # another event for the same partition came first
            return self._deliver_the_rest(event, later, guard)
        raise StaleAssetQueue(f"{event.event_id} met others at one of its partitions {_ATTEMPTS} times")

    def _deliver_the_rest(self, event: AssetEvent, deliveries: Sequence[Delivery], guard: Item | None) -> None:
        """One transaction for each hundred, which also notes that they are done: who comes again goes on from there."""
        if guard is None or "undelivered" not in guard:
            return
        event = replace(event, timestamp=keyspace.moment_from(guard["timestamp"]["S"]))
        left = guard
        todo = [d for d in deliveries if _name(d) in set(_undelivered(guard))]
        attempts = 0
        while todo:
            chunk, rest = todo[: _TRANSACTION - 1], todo[_TRANSACTION - 1 :]
            after = items.document("undelivered", [_name(delivery) for delivery in rest]) if rest else None
            noted = Expression().still({"undelivered": left["undelivered"]}).change({"undelivered": after})
            try:
                self._table.transact(Update(keyspace.asset_event(event.event_id), noted), *self._arrivals(event, chunk))
            except ConditionFailed as failed:
                attempts += 1
                if failed.failed(0) or attempts > _ATTEMPTS:
                    return  # who repeats the same report at the same time goes on with it
                closed = _closed(event, chunk, failed.found[1:])
                todo = [delivery for delivery in todo if delivery not in closed]
                continue
            todo = rest
            if after is not None:
                left = {**left, "undelivered": after}

    def _arrivals(self, event: AssetEvent, deliveries: Sequence[Delivery]) -> list[Update]:
        partitions = [d for d in deliveries if isinstance(d, ToPartition)]
        keys = [keyspace.pending_partition(d.dag_id, d.partition_key) for d in partitions]
        pending = self._table.get_all(keys) if keys else {}
        updates = []
        for delivery in deliveries:
            match delivery:
                case ToQueue():
                    updates.append(_to_queue(event, delivery))
                case ToPartition():
                    where = keyspace.pending_partition(delivery.dag_id, delivery.partition_key)
                    updates.append(_to_partition(event, delivery, where, pending.get(where)))
        return updates

    # --- what waits ---------------------------------------------------------------------------------------------------

    def asset_queue(self, dag_id: str) -> AssetQueue | None:
        item = self._table.get(keyspace.asset_queue(dag_id))
        return None if item is None else _read_queue(dag_id, item)

    def pending_partitions(self, dag_id: str) -> list[PendingPartition]:
        found = self._table.query(keyspace.asset_queues(dag_id), begins_with=keyspace.PARTITIONS)
        pending = [_read_partition(dag_id, item) for item in found]
        return sorted(pending, key=lambda partition: (partition.created_at, partition.partition_key))

    def create_asset_run(
        self, run: DagRun, *, consuming: AssetQueue | PendingPartition, events: Sequence[AssetEvent]
    ) -> None:
        where = keyspace.consumed_events(run.key)
        document = self._documents.keep(where.pk, "asset_events", [_event_document(event) for event in events])
        try:
            self._table.transact(*new_run(run), Put(where, document), _consumption(run, consuming))
        except ConditionFailed as failed:
            if failed.failed(-1):
                raise _moved_on(consuming) from failed
            raise AlreadyExists(f"DAG {run.dag_id!r} has a run {run.run_id!r} already") from failed

    def settle(self, seen: AssetQueue | PendingPartition, *, due_at: datetime | None) -> None:
        due: dict[str, Attribute | None] = {"due_pk": None, "due_sk": None, "edge": None}
        if due_at is not None:
            due |= {"due_pk": items.text(keyspace.DUE_DAGS), "due_sk": items.moment(due_at)}
        expression = Expression().still({"arrivals": items.number(seen.arrivals)}).change(due)
        try:
            self._table.update(_key(seen), expression)
        except ConditionFailed:
            return

    def unqueue(
        self, dag_id: str, *, assets: Iterable[AssetKey] | None = None, before: datetime | None = None
    ) -> list[AssetKey]:
        wanted = None if assets is None else set(assets)
        while (queue := self.asset_queue(dag_id)) is not None:
            gone = fences.unqueued(queue, assets=wanted, before=before)
            if not gone:
                return []
            change: dict[str, Attribute | None] = {_queued(asset): None for asset in gone}
            if len(gone) == len(queue.queued):
                change |= {"due_pk": None, "due_sk": None, "edge": None}
            expression = Expression().still({"arrivals": items.number(queue.arrivals)}).change(change)
            try:
                self._table.update(keyspace.asset_queue(dag_id), expression.add("arrivals", _ONE))
            except ConditionFailed:
                continue
            return gone
        return []

    def drop_partition(self, seen: PendingPartition) -> None:
        try:
            self._table.transact(Delete(_key(seen), _unchanged(seen)))
        except ConditionFailed as failed:
            raise _moved_on(seen) from failed

    # --- what was consumed --------------------------------------------------------------------------------------------

    def consumed_events(self, run: DagRunKey) -> list[AssetEvent]:
        item = self._table.get(keyspace.consumed_events(run))
        return [] if item is None else [_event_of(document) for document in self._documents.read(item)]

    def note_consumers(self, run: DagRunKey, events: Sequence[AssetEvent]) -> None:
        self._table.put_all((keyspace.consumer(event.event_id, run), {}) for event in events)

    def consumers_of(self, event_ids: Sequence[str]) -> dict[str, list[DagRunKey]]:
        return dict(zip(event_ids, self._parallel.map(self._consumers_of, event_ids), strict=True))

    def _consumers_of(self, event_id: str) -> list[DagRunKey]:
        found = self._table.query(keyspace.asset_event(event_id).pk, begins_with=keyspace.CONSUMERS)
        return [run for item in found if (run := keyspace.run_key(key_of(item).sk))]


# --- what is written --------------------------------------------------------------------------------------------------


def _to_queue(event: AssetEvent, delivery: ToQueue) -> Update:
    moment = items.moment(event.timestamp)
    expression = Expression().before("consumed_until", moment).add("arrivals", _ONE)
    if delivery.queues:
        expression.keep({_queued(event.asset): moment} | _noticed(event)).change({"edge": items.text(EDGE)})
    return Update(keyspace.asset_queue(delivery.dag_id), expression)


def _to_partition(event: AssetEvent, delivery: ToPartition, where: Key, pending: Item | None) -> Update:
    """The partition's date is made of what the events say, so it is written only over what was read."""
    before = None if pending is None else _read_partition(delivery.dag_id, pending)
    date = fences.carried_date(before, delivery)
    expression = Expression().still({"arrivals": items.number(before.arrivals) if before else None})
    received = items.text(
        "#".join(
            (*map(keyspace.escape, (event.name, event.uri, delivery.source_key)), keyspace.moment(event.timestamp))
        )
    )
    expression.keep(
        {"fingerprint": items.text(delivery.fingerprint), "created_at": items.moment(event.timestamp)}
        | {f"{_RECEIVED}{event.event_id}": received}
        | _noticed(event)
    )
    expression.change({"edge": items.text(EDGE), "partition_date": items.moment(date) if date else None})
    return Update(where, expression.add("arrivals", _ONE))


def _noticed(event: AssetEvent) -> dict[str, Attribute]:
    return {"due_pk": items.text(keyspace.DUE_DAGS), "due_sk": items.moment(event.timestamp + NOTICED_WITHIN)}


def _consumption(run: DagRun, consuming: AssetQueue | PendingPartition) -> Update | Delete:
    if isinstance(consuming, PendingPartition):
        return Delete(_key(consuming), _unchanged(consuming))
    change: dict[str, Attribute | None] = {
        "consumed_until": items.moment(run.run_after),
        "last_run_id": items.text(run.run_id),
        **{_queued(asset): None for asset in consuming.queued},
        "due_pk": None,
        "due_sk": None,
        "edge": None,
    }
    return Update(_key(consuming), _unchanged(consuming).change(change))


def _unchanged(seen: AssetQueue | PendingPartition) -> Expression:
    return Expression().still({"arrivals": items.number(seen.arrivals)})


def _key(of: AssetQueue | PendingPartition) -> Key:
    if isinstance(of, PendingPartition):
        return keyspace.pending_partition(of.dag_id, of.partition_key)
    return keyspace.asset_queue(of.dag_id)


def _queued(asset: AssetKey) -> str:
    return f"{_QUEUED}{keyspace.escape(asset.name)}#{keyspace.escape(asset.uri)}"


def _name(delivery: Delivery) -> str:
    return delivery.dag_id if isinstance(delivery, ToQueue) else f"{delivery.dag_id}\x1f{delivery.partition_key}"


# --- what is read -----------------------------------------------------------------------------------------------------


def _read_queue(dag_id: str, item: Item) -> AssetQueue:
    queued = {}
    for name, value in item.items():
        if name.startswith(_QUEUED):
            asset, uri = name.removeprefix(_QUEUED).split("#")
            queued[AssetKey(keyspace.unescape(asset), keyspace.unescape(uri))] = keyspace.moment_from(value["S"])
    return AssetQueue(
        dag_id=dag_id,
        queued=dict(sorted(queued.items())),
        consumed_until=_moment(item, "consumed_until"),
        last_run_id=item["last_run_id"]["S"] if "last_run_id" in item else None,
        arrivals=int(item["arrivals"]["N"]),
        due_at=_moment(item, "due_sk"),
    )


def _read_partition(dag_id: str, item: Item) -> PendingPartition:
    received = []
    for attribute, value in item.items():
        if attribute.startswith(_RECEIVED):
            name, uri, source_key, moment = map(keyspace.unescape, value["S"].split("#"))
            event_id = attribute.removeprefix(_RECEIVED)
            received.append(PartitionEvent(name, uri, source_key, keyspace.moment_from(moment), event_id))
    return PendingPartition(
        dag_id=dag_id,
        partition_key=keyspace.unescape(key_of(item).sk.removeprefix(keyspace.PARTITIONS)),
        fingerprint=item["fingerprint"]["S"],
        created_at=keyspace.moment_from(item["created_at"]["S"]),
        partition_date=_moment(item, "partition_date"),
        received=tuple(sorted(received, key=lambda event: (event.timestamp, event.event_id))),
        arrivals=int(item["arrivals"]["N"]),
        due_at=_moment(item, "due_sk"),
    )


def _moment(item: Item, name: str) -> datetime | None:
    return keyspace.moment_from(item[name]["S"]) if name in item else None


def _undelivered(guard: Item) -> list[str]:
    return list(json.loads(guard["undelivered"]["S"]))


def _event_document(event: AssetEvent) -> dict[str, Any]:
    return items.ASSET_EVENT.item(event)


def _event_of(document: dict[str, Any]) -> AssetEvent:
    return items.ASSET_EVENT.read(document)


# --- what was found instead -------------------------------------------------------------------------------------------


def _closed(event: AssetEvent, deliveries: Sequence[Delivery], found: Sequence[Item | None]) -> list[Delivery]:
    """Deliveries to DAGs that have run for events up to this one's moment or a later one."""
    return [
        delivery
        for delivery, item in zip(deliveries, found, strict=True)
        if isinstance(delivery, ToQueue)
        and item
        and (until := _moment(item, "consumed_until")) is not None
        and until >= event.timestamp
    ]


def _raise_if_closed(event: AssetEvent, deliveries: Sequence[Delivery], found: Sequence[Item | None]) -> None:
    closed = [
        moment
        for delivery, item in zip(deliveries, found, strict=True)
        if isinstance(delivery, ToQueue) and item and (moment := _moment(item, "consumed_until"))
    ]
    if closed:
        raise StaleAssetQueue(f"{event.event_id} comes too late for a run", closed_until=max(closed))


def _moved_on(seen: AssetQueue | PendingPartition) -> StaleAssetQueue:
    return StaleAssetQueue(f"events came for DAG {seen.dag_id!r} meanwhile")
