"""Events that wait for the DAGs whose schedules name their assets.

The queue of a DAG is one item, so that an event costs one write per DAG however long the queue is, and the transaction that
makes a run takes all of it. `arrivals` is its fence: making a run is conditional on having read every event. The other fence
is `consumed_until`: no event is stored with a moment that a run of the DAG has closed.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from gust.errors import AlreadyExists, StaleAssetQueue
from gust.model.asset import (
    AssetEvent,
    AssetKey,
    AssetQueue,
    AssetUpdate,
    PartitionEvent,
    PendingPartition,
    ToPartition,
    ToQueue,
)
from gust.model.dag_run import DagRun
from gust.model.keys import DagRunKey
from gust.scheduling.added_run import AssetRun
from gust.store import fences, items, keyspace
from gust.store.dynamodb.callbacks import callback_writes
from gust.store.dynamodb.documents import Documents
from gust.store.dynamodb.history import DynamoDBHistory
from gust.store.dynamodb.runs import new_run
from gust.store.items import Attribute, Item
from gust.store.keyspace import Key
from gust.store.parallel import Parallel
from gust.store.table import ConditionFailed, Delete, Expression, Put, Table, Update, key_of

NOTICED_WITHIN: Final = timedelta(seconds=60)
"""The stream tells the scheduler of an event at once. If that record is lost, the tick finds the event after this time."""

EDGE: Final = "asset_event"

_ROOM: Final = 99
"""Writes of a transaction in addition to the one that stores the report."""
_MOST_BYTES: Final = 3_000_000
"""Bytes of events in a transaction. DynamoDB takes 4 MB with all that the transaction changes."""
_NOTES: Final = 100
"""Notes of consumers that one thread writes: 20,000 one after another would take a third of a minute of the scheduler."""
_ATTEMPTS: Final = 20
_QUEUED: Final = "queued#"
_RECEIVED: Final = "received#"
_ONE: Final = items.number(1)


class DynamoDBAssetQueues(DynamoDBHistory):
    """Implements `ports.AssetQueueStore`, and `AssetStore.put_asset_events`."""

    _table: Table
    _documents: Documents
    _parallel: Parallel

    # --- events come --------------------------------------------------------------------------------------------------

    def put_asset_events(self, report_id: str, updates: Sequence[AssetUpdate]) -> None:
        writes = _writes(updates)
        for update in updates:
            self._note_day(update.event.timestamp)
        for _ in range(_ATTEMPTS):
            at_once, later = _split(writes)
            guard: Item = {"left": _names(later), "at": items.moment(updates[0].event.timestamp)} if later else {}
            try:
                self._table.transact(
                    Put(keyspace.asset_event(report_id), guard, Expression().is_new()), *self._built(at_once)
                )
            except ConditionFailed as failed:
                if failed.failed(0):
                    return self._go_on(report_id, updates, failed.found[0])
                _raise_if_closed(at_once, failed.found[1:])
                continue  # another event for the same partition came first
            return self._write_the_rest(report_id, later, guard) if later else None
        raise StaleAssetQueue(f"{report_id} met others at one of its partitions {_ATTEMPTS} times")

    def put_single_events(self, updates: Sequence[AssetUpdate]) -> None:
        for group in _groups(updates):
            if len(group) == 1:
                self.put_asset_events(group[0].event.event_id, group)
            else:
                self._put_group(group)

    def _put_group(self, group: Sequence[AssetUpdate]) -> None:
        """One transaction. Events that are stored already are left out, and the others are written again."""
        for update in group:
            self._note_day(update.event.timestamp)
        for _ in range(_ATTEMPTS + len(group)):
            if not group:
                return
            guards = [Put(keyspace.asset_event(update.event.event_id), {}, Expression().is_new()) for update in group]
            writes = _writes(group)
            try:
                self._table.transact(*guards, *self._built(writes))
            except ConditionFailed as failed:
                fresh = [update for number, update in enumerate(group) if not failed.failed(number)]
                if len(fresh) == len(group):
                    _raise_if_closed(writes, failed.found[len(group) :])
                group = fresh
                continue
            return
        raise StaleAssetQueue(f"{len(group)} events met others at one of their partitions again and again")

    def _go_on(self, report_id: str, updates: Sequence[AssetUpdate], guard: Item | None) -> None:
        """The same report was made before. Write its missing part with the moments that it gave the events."""
        if guard is None or "left" not in guard:
            return
        ago = updates[0].event.timestamp - keyspace.moment_from(guard["at"]["S"])
        as_stored = [
            replace(update, event=replace(update.event, timestamp=update.event.timestamp - ago)) for update in updates
        ]
        self._write_the_rest(report_id, _writes(as_stored), guard)

    def _write_the_rest(self, report_id: str, writes: Sequence[_Write], guard: Item) -> None:
        """Write it in transactions, each of which also notes that its part is done: a repeated report continues there."""
        left = guard["left"]
        todo: Sequence[_Write] = [write for write in writes if write.name in json.loads(left["S"])]
        for _ in range(_ATTEMPTS + len(todo)):
            if not todo:
                return
            chunk, rest = _split(todo)
            after = _names(rest) if rest else None
            noted = Expression().still({"left": left}).change({"left": after})
            try:
                self._table.transact(Update(keyspace.asset_event(report_id), noted), *self._built(chunk))
            except ConditionFailed as failed:
                if failed.failed(0):
                    return  # a concurrent report of the same events continues it
                closed = _closed(chunk, failed.found[1:])
                todo = [write for write in todo if write not in closed]
                continue
            todo, left = rest, after or left

    def _built(self, writes: Sequence[_Write]) -> list[Put | Update]:
        keys = [write.key for write in writes if isinstance(write, _ToPartition)]
        pending = self._table.get_all(keys) if keys else {}
        return [write.build(pending.get(write.key)) for write in writes]

    # --- what waits ---------------------------------------------------------------------------------------------------

    def asset_queue(self, dag_id: str) -> AssetQueue | None:
        item = self._table.get(keyspace.asset_queue(dag_id))
        return None if item is None else _read_queue(dag_id, item)

    def asset_queues(self, dag_ids: Collection[str]) -> list[AssetQueue]:
        places = {dag_id: keyspace.asset_queue(dag_id) for dag_id in dag_ids}
        found = self._table.get_all(list(places.values()))
        return [_read_queue(dag_id, found[key]) for dag_id, key in places.items() if key in found]

    def pending_partitions(self, dag_id: str) -> list[PendingPartition]:
        found = self._table.query(keyspace.asset_queues(dag_id), begins_with=keyspace.PARTITIONS)
        pending = [_read_partition(dag_id, item) for item in found]
        return sorted(pending, key=lambda partition: (partition.created_at, partition.partition_key))

    def close_part(self, seen: AssetQueue, *, after: datetime, until: datetime) -> AssetQueue:
        closed: dict[str, Attribute | None] = {"part_from": items.moment(after), "consumed_until": items.moment(until)}
        try:
            self._table.update(_key(seen), _as_closed(seen).change(closed))
        except ConditionFailed as failed:
            raise _moved_on(seen) from failed
        return replace(seen, part_from=after, consumed_until=until)

    def end_part(self, seen: AssetQueue) -> None:
        try:
            self._table.update(_key(seen), _as_closed(seen).change({"part_from": None}))
        except ConditionFailed as failed:
            raise _moved_on(seen) from failed

    def create_asset_run(self, made: AssetRun) -> None:
        run, consuming = made.run, made.consuming
        self._note_day(run.run_after)
        self._note_days(made.callbacks)
        where = keyspace.consumed_events(run.key)
        document = self._documents.keep(where.pk, "asset_events", [event_document(event) for event in made.events])
        try:
            self._table.transact(
                *new_run(run), Put(where, document), *callback_writes(made.callbacks), _consumption(run, consuming)
            )
        except ConditionFailed as failed:
            if failed.failed(-1):
                raise _moved_on(consuming) from failed
            raise AlreadyExists(f"DAG {run.dag_id!r} has a run {run.run_id!r} already") from failed

    def postpone(self, seen: AssetQueue | PendingPartition, *, due_at: datetime | None) -> None:
        due: dict[str, Attribute | None] = {"due_pk": None, "due_sk": None, "edge": None}
        if due_at is not None:
            due |= {"due_pk": items.text(keyspace.DUE_DAGS), "due_sk": items.moment(due_at)}
        try:
            self._table.update(_key(seen), _unchanged(seen).change(due))
        except ConditionFailed:
            return

    def unqueue(
        self,
        dag_id: str,
        *,
        assets: Iterable[AssetKey] | None = None,
        before: datetime | None = None,
        seen: AssetQueue | None = None,
    ) -> list[AssetKey]:
        wanted = None if assets is None else set(assets)
        while (queue := self.asset_queue(dag_id)) is not None:
            if seen is not None and queue.arrivals != seen.arrivals:
                raise _moved_on(seen)
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

    def delete_asset_queues(self, dag_id: str) -> None:
        self._table.delete_all(key_of(item) for item in self._table.query(keyspace.asset_queues(dag_id)))

    # --- what was consumed --------------------------------------------------------------------------------------------

    def consumed_events(self, run: DagRunKey) -> list[AssetEvent]:
        item = self._table.get(keyspace.consumed_events(run))
        return [] if item is None else [_event_of(document) for document in self._documents.read(item)]

    def consumed_events_of(self, runs: Sequence[DagRunKey]) -> dict[DagRunKey, list[AssetEvent]]:
        places = {run: keyspace.consumed_events(run) for run in runs}
        stored = self._table.get_all(list(places.values()))
        found = [run for run, key in places.items() if key in stored]
        read = self._parallel.map(lambda run: self._documents.read(stored[places[run]]), found)
        return {run: list(map(_event_of, documents)) for run, documents in zip(found, read, strict=True)}

    def note_consumers(self, run: DagRunKey, events: Sequence[AssetEvent]) -> None:
        ids = [event.event_id for event in events]
        groups = [ids[start : start + _NOTES] for start in range(0, len(ids), _NOTES)]
        self._parallel.map(
            lambda group: self._table.put_all((keyspace.consumer(event_id, run), {}) for event_id in group), groups
        )

    def consumers_of(self, event_ids: Sequence[str]) -> dict[str, list[DagRunKey]]:
        return dict(zip(event_ids, self._parallel.map(self._consumers_of, event_ids), strict=True))

    def _consumers_of(self, event_id: str) -> list[DagRunKey]:
        found = self._table.query(keyspace.asset_event(event_id).pk, begins_with=keyspace.CONSUMERS)
        return [run for item in found if (run := keyspace.run_key(key_of(item).sk))]


# --- what a report writes ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Stored:
    """An event, under its asset or under one of its aliases."""

    key: Key
    event: AssetEvent
    listed: bool
    """Only the item under the asset is in the indexes of all events and of its DAG."""

    @property
    def name(self) -> str:
        return f"{self.key.pk} {self.event.event_id}"

    @property
    def size(self) -> int:
        """Bytes that it adds to a transaction; not less."""
        return len(json.dumps(self.build(None).item))

    def build(self, _: Item | None) -> Put:
        return Put(self.key, items.ASSET_EVENT.item(self.event) | (listing_of_event(self.event) if self.listed else {}))


@dataclass(frozen=True, slots=True)
class _ToQueue:
    """The report's write to one DAG's queue."""

    dag_id: str
    events: tuple[tuple[AssetEvent, ToQueue], ...]

    @property
    def key(self) -> Key:
        return keyspace.asset_queue(self.dag_id)

    @property
    def name(self) -> str:
        return self.dag_id

    @property
    def first(self) -> datetime:
        return min(event.timestamp for event, _ in self.events)

    def build(self, _: Item | None) -> Update:
        expression = Expression().before("consumed_until", items.moment(self.first)).add("arrivals", _ONE)
        queued = {
            _queued(event.asset): items.moment(event.timestamp)
            for event, delivery in reversed(self.events)
            if delivery.queues
        }
        if queued:
            expression.keep(queued | _noticed(self.first)).change({"edge": items.text(EDGE)})
        return Update(self.key, expression)


@dataclass(frozen=True, slots=True)
class _ToPartition:
    """The report's write to one pending partition of a DAG."""

    dag_id: str
    partition_key: str
    events: tuple[tuple[AssetEvent, ToPartition], ...]

    @property
    def key(self) -> Key:
        return keyspace.pending_partition(self.dag_id, self.partition_key)

    @property
    def name(self) -> str:
        return f"{self.dag_id} {self.partition_key}"

    def build(self, pending: Item | None) -> Update:
        """The partition's date follows from all its events, so the write is conditional on the partition as read."""
        before = None if pending is None else _read_partition(self.dag_id, pending)
        date = before.partition_date if before else None
        received: dict[str, Attribute] = {}
        for event, delivery in self.events:
            date = fences.carried_date(date, delivery.partition_date)
            parts = map(keyspace.escape, (event.name, event.uri, delivery.source_key))
            received[f"{_RECEIVED}{event.event_id}"] = items.text("#".join((*parts, keyspace.moment(event.timestamp))))
        first, delivery = self.events[0]
        expression = _unchanged(before) if before else Expression().is_new()
        expression.keep(
            {"fingerprint": items.text(delivery.fingerprint), "created_at": items.moment(first.timestamp)}
            | received
            | _noticed(first.timestamp)
        )
        expression.change({"edge": items.text(EDGE), "partition_date": items.moment(date) if date else None})
        return Update(self.key, expression.add("arrivals", _ONE))


_Write = _Stored | _ToQueue | _ToPartition


def _writes(updates: Sequence[AssetUpdate]) -> list[_Write]:
    return [*_stored(updates), *_arrivals(updates)]


def _groups(updates: Sequence[AssetUpdate]) -> Iterator[list[AssetUpdate]]:
    """The updates in parts that one transaction takes, each event with a report of its own; a larger update is alone."""
    group: list[AssetUpdate] = []
    size = 0
    for update in updates:
        bytes_ = sum(write.size for write in _stored([update]))
        with_it = [*group, update]
        if group and (size + bytes_ > _MOST_BYTES or len(with_it) + len(_writes(with_it)) > _ROOM + 1):
            yield group
            with_it, size = [update], 0
        group, size = with_it, size + bytes_
    if group:
        yield group


def _split(writes: Sequence[_Write]) -> tuple[Sequence[_Write], Sequence[_Write]]:
    """What one transaction takes, at least one write, and the others."""
    size = 0
    for number, write in enumerate(writes[:_ROOM]):
        size += write.size if isinstance(write, _Stored) else 0
        if number and size > _MOST_BYTES:
            return writes[:number], writes[number:]
    return writes[:_ROOM], writes[_ROOM:]


def _stored(updates: Sequence[AssetUpdate]) -> list[_Stored]:
    found = []
    for update in updates:
        event = update.event
        order = keyspace.event_order(event.timestamp, event.event_id)
        found.append(_Stored(Key(keyspace.events_of_asset(event.name), order), event, listed=True))
        for alias in sorted(set(event.source_aliases)):
            found.append(_Stored(Key(keyspace.events_of_alias(alias), order), event, listed=False))
    return found


def _arrivals(updates: Sequence[AssetUpdate]) -> list[_ToQueue | _ToPartition]:
    """One write for each DAG and each partition, since a transaction takes no two of one item."""
    queues: dict[str, list[tuple[AssetEvent, ToQueue]]] = {}
    partitions: dict[tuple[str, str], list[tuple[AssetEvent, ToPartition]]] = {}
    for update in updates:
        for delivery in update.deliveries:
            match delivery:
                case ToQueue(dag_id=dag_id):
                    queues.setdefault(dag_id, []).append((update.event, delivery))
                case ToPartition(dag_id=dag_id, partition_key=key):
                    partitions.setdefault((dag_id, key), []).append((update.event, delivery))
    return [
        *(_ToQueue(dag_id, tuple(events)) for dag_id, events in queues.items()),
        *(_ToPartition(*key, tuple(events)) for key, events in partitions.items()),
    ]


def listing_of_event(event: AssetEvent) -> Item:
    order = items.text(keyspace.event_order(event.timestamp, event.event_id))
    across = items.text(keyspace.ASSET_EVENTS.of_day(keyspace.day(event.timestamp)))
    listed: Item = {"recent_pk": across, "recent_sk": order}
    if event.source_dag_id is None:
        return listed
    of_dag = keyspace.ASSET_EVENTS.of_dag(event.source_dag_id)
    return listed | {"listed_pk": items.text(of_dag), "listed_sk": order}


def _names(writes: Sequence[_Write]) -> Attribute:
    return items.document("left", [write.name for write in writes])


def _noticed(at: datetime) -> dict[str, Attribute]:
    return {"due_pk": items.text(keyspace.DUE_DAGS), "due_sk": items.moment(at + NOTICED_WITHIN)}


# --- what a run takes -------------------------------------------------------------------------------------------------


def _consumption(run: DagRun, consuming: AssetQueue | PendingPartition) -> Update | Delete:
    if isinstance(consuming, PendingPartition):
        return Delete(_key(consuming), _unchanged(consuming))
    if consuming.part_from is not None:
        due = items.moment(run.due_at) if run.due_at else None
        of_part: dict[str, Attribute | None] = {
            "part_from": None,
            "last_run_id": items.text(run.run_id),
            "due_pk": items.text(keyspace.DUE_DAGS) if due else None,
            "due_sk": due,
            "edge": items.text(EDGE),  # the stream has the scheduler look at the rest
        }
        return Update(_key(consuming), _as_closed(consuming).change(of_part).add("arrivals", _ONE))
    change: dict[str, Attribute | None] = {
        "consumed_until": items.moment(run.run_after),
        "last_run_id": items.text(run.run_id),
        **{_queued(asset): None for asset in consuming.queued},
        "due_pk": None,
        "due_sk": None,
        "edge": None,
    }
    return Update(_key(consuming), _unchanged(consuming).change(change).add("arrivals", _ONE))


def _unchanged(seen: AssetQueue | PendingPartition) -> Expression:
    """The partition is as read. A partition that ran and began anew counts its events from the start: `created_at` tells it
    apart."""
    still: dict[str, Attribute | None] = {"arrivals": items.number(seen.arrivals)}
    if isinstance(seen, PendingPartition):
        still["created_at"] = items.moment(seen.created_at)
        return Expression().still(still)
    return _as_closed(seen).still(still)


def _as_closed(seen: AssetQueue) -> Expression:
    closed = fences.closed_time(seen)
    return Expression().exists().still({name: items.moment(at) if at else None for name, at in closed.items()})


def _key(of: AssetQueue | PendingPartition) -> Key:
    if isinstance(of, PendingPartition):
        return keyspace.pending_partition(of.dag_id, of.partition_key)
    return keyspace.asset_queue(of.dag_id)


def _queued(asset: AssetKey) -> str:
    return f"{_QUEUED}{keyspace.escape(asset.name)}#{keyspace.escape(asset.uri)}"


# --- reads ------------------------------------------------------------------------------------------------------------


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
        part_from=_moment(item, "part_from"),
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


def event_document(event: AssetEvent) -> dict[str, Any]:
    return items.ASSET_EVENT.item(event)


def _event_of(document: dict[str, Any]) -> AssetEvent:
    return items.ASSET_EVENT.read(document)


# --- what was found instead -------------------------------------------------------------------------------------------


def _closed(writes: Sequence[_Write], found: Sequence[Item | None]) -> list[_Write]:
    """Deliveries to DAGs whose runs have consumed events up to the moment of one of these or a later one."""
    return [
        write
        for write, item in zip(writes, found, strict=True)
        if isinstance(write, _ToQueue) and item and (until := _moment(item, "consumed_until")) and until >= write.first
    ]


def _raise_if_closed(writes: Sequence[_Write], found: Sequence[Item | None]) -> None:
    moments = [_moment(item, "consumed_until") for item in found if item]
    if _closed(writes, found):
        closed_until = max(moment for moment in moments if moment)
        raise StaleAssetQueue("an event comes too late for a run", closed_until=closed_until)


def _moved_on(seen: AssetQueue | PendingPartition) -> StaleAssetQueue:
    return StaleAssetQueue(f"events came for DAG {seen.dag_id!r} meanwhile")
