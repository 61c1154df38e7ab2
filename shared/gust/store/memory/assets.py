"""Assets, their events and what waits for DAGs, in memory: the part of the twin in `memory.py` that keeps them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from gust.errors import StaleAssetQueue
from gust.model.asset import (
    Asset,
    AssetAlias,
    AssetEvent,
    AssetKey,
    AssetQueue,
    AssetReference,
    AssetUpdate,
    Delivery,
    PartitionEvent,
    PendingPartition,
    ToPartition,
    ToQueue,
)
from gust.model.dag_run import DagRun
from gust.model.keys import DagRunKey
from gust.scheduling.callback import CallbackMove
from gust.store import fences, items, keyspace
from gust.store.memory.state import MemoryPart, as_stored, check_fits

NOTICED_WITHIN = timedelta(seconds=60)

_ReferenceKey = tuple[str, str, str, str, str, str]


class MemoryAssets(MemoryPart):
    """Implements `ports.AssetStore`, `AssetReferenceStore` and `AssetQueueStore`; the runs are kept by whom this is
    mixed into."""

    _runs: dict[DagRunKey, DagRun]

    def __init__(self) -> None:
        self._assets: dict[tuple[str, str], Asset] = {}
        self._aliases: dict[str, AssetAlias] = {}
        self._of_alias: dict[str, set[AssetKey]] = defaultdict(set)
        self._reports: set[str] = set()
        self._asset_events: dict[str, AssetEvent] = {}
        self._references: dict[_ReferenceKey, AssetReference] = {}
        self._queues: dict[str, AssetQueue] = {}
        self._partitions: dict[tuple[str, str], PendingPartition] = {}
        self._consumed: dict[DagRunKey, list[AssetEvent]] = {}
        self._consumers: dict[str, set[DagRunKey]] = defaultdict(set)

    # --- assets and aliases -------------------------------------------------------------------------------------------

    def put_asset(self, asset: Asset) -> None:
        keyspace.asset(asset.name, asset.uri)
        check_fits(items.ASSET.item(asset))
        with self._lock:
            current = self._assets.get((asset.name, asset.uri))
            if current is not None:
                asset = replace(asset, asset_id=current.asset_id, created_at=current.created_at or asset.created_at)
            self._assets[asset.name, asset.uri] = as_stored(asset)

    def get_asset(self, *, name: str | None = None, uri: str | None = None) -> Asset | None:
        with self._lock:
            found = (a for _, a in sorted(self._assets.items()) if name in (None, a.name) and uri in (None, a.uri))
            first = None if name is None and uri is None else next(found, None)
            return None if first is None else as_stored(first)

    def list_assets(self, *, name: str | None = None, uri: str | None = None) -> list[Asset]:
        with self._lock:
            return [
                as_stored(asset)
                for _, asset in sorted(self._assets.items())
                if name in (None, asset.name) and uri in (None, asset.uri)
            ]

    def put_asset_alias(self, alias: AssetAlias) -> None:
        with self._lock:
            self._aliases[alias.name] = alias

    def list_asset_aliases(self) -> list[AssetAlias]:
        with self._lock:
            return [alias for _, alias in sorted(self._aliases.items())]

    def associate_alias(self, alias: str, asset: AssetKey) -> None:
        with self._lock:
            self._of_alias[alias].add(AssetKey(*asset))

    def assets_of_alias(self, alias: str) -> list[AssetKey]:
        with self._lock:
            return sorted(self._of_alias[alias])

    def assets_of_aliases(self) -> dict[str, list[AssetKey]]:
        with self._lock:
            return {alias: sorted(assets) for alias, assets in self._of_alias.items() if assets}

    # --- events -------------------------------------------------------------------------------------------------------

    def put_asset_events(self, report_id: str, updates: Sequence[AssetUpdate]) -> None:
        with self._lock:
            if report_id in self._reports:
                return
            for event, delivery in _deliveries(updates):
                until = self._queues.get(delivery.dag_id, AssetQueue(dag_id=delivery.dag_id)).consumed_until
                if isinstance(delivery, ToQueue) and until and until >= event.timestamp:
                    raise StaleAssetQueue("an event comes too late for a run", closed_until=until)
            self._reports.add(report_id)
            for update in updates:
                self._asset_events[update.event.event_id] = as_stored(update.event)
            # What comes together arrives once.
            arrived = {_target(delivery): 1 for _, delivery in _deliveries(updates)}
            for event, delivery in _deliveries(updates):
                by = arrived.pop(_target(delivery), 0)
                match delivery:
                    case ToQueue():
                        self._to_queue(event, delivery, by)
                    case ToPartition():
                        self._to_partition(event, delivery, by)

    def list_asset_events(
        self,
        *,
        name: str | None = None,
        uri: str | None = None,
        alias: str | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
        ascending: bool = True,
        limit: int | None = None,
    ) -> list[AssetEvent]:
        with self._lock:
            known = {asset.name for asset in self._assets.values() if uri in (None, asset.uri)}
            found = [
                as_stored(event)
                for event in self._asset_events.values()
                if (name == event.name if name is not None else alias is not None or event.name in known)
                and uri in (None, event.uri)
                and (alias is None or alias in event.source_aliases)
                and (after is None or event.timestamp >= after)
                and (before is None or event.timestamp <= before)
            ]
        return sorted(found, key=lambda e: (e.timestamp, e.event_id), reverse=not ascending)[:limit]

    def walk_asset_events(
        self,
        asset: AssetKey | None = None,
        *,
        source_dag_id: str | None = None,
        first: datetime | None = None,
        last: datetime | None = None,
        ascending: bool = True,
    ) -> Iterator[AssetEvent]:
        with self._lock:
            found = [
                as_stored(event)
                for event in self._asset_events.values()
                if asset in (None, event.asset)
                and source_dag_id in (None, event.source_dag_id)
                and (first is None or event.timestamp >= first)
                and (last is None or event.timestamp <= last)
            ]
        return iter(sorted(found, key=lambda e: (e.timestamp, e.event_id), reverse=not ascending))

    def count_asset_events(
        self,
        asset: AssetKey | None = None,
        *,
        source_dag_id: str | None = None,
        first: datetime | None = None,
        last: datetime | None = None,
        most: int = 1000,
    ) -> int:
        return len(list(self.walk_asset_events(asset, source_dag_id=source_dag_id, first=first, last=last))[:most])

    def _to_queue(self, event: AssetEvent, delivery: ToQueue, arrivals: int) -> None:
        queue = self._queues.get(delivery.dag_id, AssetQueue(dag_id=delivery.dag_id))
        queue = replace(queue, arrivals=queue.arrivals + arrivals)
        if delivery.queues:
            queued = {event.asset: event.timestamp.astimezone(UTC)} | queue.queued
            queue = replace(queue, queued=dict(sorted(queued.items())), due_at=queue.due_at or _noticed(event))
        self._queues[delivery.dag_id] = queue

    def _to_partition(self, event: AssetEvent, delivery: ToPartition, arrivals: int) -> None:
        key = (delivery.dag_id, delivery.partition_key)
        pending = self._partitions.get(key) or PendingPartition(
            dag_id=delivery.dag_id,
            partition_key=delivery.partition_key,
            fingerprint=delivery.fingerprint,
            created_at=event.timestamp.astimezone(UTC),
        )
        received = PartitionEvent(
            event.name, event.uri, delivery.source_key, event.timestamp.astimezone(UTC), event.event_id
        )
        by_time = sorted((*pending.received, received), key=lambda one: (one.timestamp, one.event_id))
        self._partitions[key] = replace(
            pending,
            received=tuple(by_time),
            partition_date=fences.carried_date(pending.partition_date, delivery.partition_date),
            arrivals=pending.arrivals + arrivals,
            due_at=pending.due_at or _noticed(event),
        )

    # --- references ---------------------------------------------------------------------------------------------------

    def put_asset_reference(self, reference: AssetReference) -> None:
        with self._lock:
            self._references.setdefault(_reference_key(reference), reference)

    def delete_asset_reference(self, reference: AssetReference) -> None:
        with self._lock:
            self._references.pop(_reference_key(reference), None)

    def stored_references(self, references: Iterable[AssetReference]) -> list[AssetReference]:
        with self._lock:
            keys = sorted({_reference_key(reference) for reference in references})
            return [self._references[key] for key in keys if key in self._references]

    def references_to_asset(self, asset: AssetKey) -> list[AssetReference]:
        with self._lock:
            return [found for _, found in sorted(self._references.items()) if _names(found, asset)]

    def references_to_assets(self, assets: Sequence[AssetKey]) -> dict[AssetKey, list[AssetReference]]:
        return {asset: self.references_to_asset(asset) for asset in assets}

    def schedules_on_asset(self, asset: AssetKey) -> list[AssetReference]:
        return [found for found in self.references_to_asset(asset) if found.use == "schedule"]

    def schedules_on_alias(self, alias: str) -> list[AssetReference]:
        with self._lock:
            of_alias = [r for _, r in sorted(self._references.items()) if r.what == "alias" and r.name == alias]
        return [found for found in of_alias if found.use == "schedule"]

    # --- what waits ---------------------------------------------------------------------------------------------------

    def asset_queue(self, dag_id: str) -> AssetQueue | None:
        with self._lock:
            return self._queues.get(dag_id)

    def asset_queues(self, dag_ids: Collection[str]) -> list[AssetQueue]:
        return [queue for dag_id in dag_ids if (queue := self.asset_queue(dag_id)) is not None]

    def pending_partitions(self, dag_id: str) -> list[PendingPartition]:
        with self._lock:
            pending = [partition for key, partition in self._partitions.items() if key[0] == dag_id]
        return sorted(pending, key=lambda partition: (partition.created_at, partition.partition_key))

    def create_asset_run(
        self,
        run: DagRun,
        *,
        consuming: AssetQueue | PendingPartition,
        events: Sequence[AssetEvent],
        callbacks: Sequence[CallbackMove] = (),
    ) -> None:
        with self._lock:
            self._check_unchanged(consuming)
            self.create_run(run, callbacks=callbacks)
            self._consumed[run.key] = [as_stored(event) for event in events]
            if isinstance(consuming, PendingPartition):
                del self._partitions[consuming.dag_id, consuming.partition_key]
            else:
                self._queues[consuming.dag_id] = replace(
                    consuming,
                    queued={},
                    arrivals=consuming.arrivals + 1,
                    consumed_until=run.run_after.astimezone(UTC),
                    last_run_id=run.run_id,
                    due_at=None,
                )

    def settle(self, seen: AssetQueue | PendingPartition, *, due_at: datetime | None) -> None:
        with self._lock:
            try:
                self._check_unchanged(seen)
            except StaleAssetQueue:
                return
            if isinstance(seen, PendingPartition):
                self._partitions[seen.dag_id, seen.partition_key] = replace(seen, due_at=due_at)
            else:
                self._queues[seen.dag_id] = replace(seen, due_at=due_at)

    def unqueue(
        self, dag_id: str, *, assets: Iterable[AssetKey] | None = None, before: datetime | None = None
    ) -> list[AssetKey]:
        with self._lock:
            queue = self._queues.get(dag_id, AssetQueue(dag_id=dag_id))
            gone = fences.unqueued(queue, assets=None if assets is None else set(assets), before=before)
            if gone:
                left = {asset: at for asset, at in queue.queued.items() if asset not in gone}
                self._queues[dag_id] = replace(
                    queue, queued=left, arrivals=queue.arrivals + 1, due_at=queue.due_at if left else None
                )
            return gone

    def drop_partition(self, seen: PendingPartition) -> None:
        with self._lock:
            self._check_unchanged(seen)
            del self._partitions[seen.dag_id, seen.partition_key]

    def delete_asset_queues(self, dag_id: str) -> None:
        with self._lock:
            self._queues.pop(dag_id, None)
            for key in [key for key in self._partitions if key[0] == dag_id]:
                del self._partitions[key]

    def _check_unchanged(self, seen: AssetQueue | PendingPartition) -> None:
        current: AssetQueue | PendingPartition | None
        if isinstance(seen, PendingPartition):
            current = self._partitions.get((seen.dag_id, seen.partition_key))
        else:
            current = self._queues.get(seen.dag_id)
        if current is None or current.arrivals != seen.arrivals or _birth(current) != _birth(seen):
            raise StaleAssetQueue(f"events came for DAG {seen.dag_id!r} meanwhile")

    def _due_queues(self, until: datetime) -> list[tuple[str, datetime]]:
        waiting: list[AssetQueue | PendingPartition] = [*self._queues.values(), *self._partitions.values()]
        return [(found.dag_id, found.due_at) for found in waiting if found.due_at and found.due_at <= until]

    # --- what was consumed --------------------------------------------------------------------------------------------

    def consumed_events(self, run: DagRunKey) -> list[AssetEvent]:
        with self._lock:
            return [as_stored(event) for event in self._consumed.get(run, ())]

    def consumed_events_of(self, runs: Sequence[DagRunKey]) -> dict[DagRunKey, list[AssetEvent]]:
        with self._lock:
            return {run: self.consumed_events(run) for run in runs if run in self._consumed}

    def note_consumers(self, run: DagRunKey, events: Sequence[AssetEvent]) -> None:
        with self._lock:
            for event in events:
                self._consumers[event.event_id].add(run)

    def consumers_of(self, event_ids: Sequence[str]) -> dict[str, list[DagRunKey]]:
        with self._lock:
            return {event_id: sorted(self._consumers.get(event_id, ())) for event_id in event_ids}


def _deliveries(updates: Sequence[AssetUpdate]) -> list[tuple[AssetEvent, Delivery]]:
    return [(update.event, delivery) for update in updates for delivery in update.deliveries]


def _target(delivery: Delivery) -> tuple[str, str | None]:
    return delivery.dag_id, delivery.partition_key if isinstance(delivery, ToPartition) else None


def _birth(of: AssetQueue | PendingPartition) -> datetime | None:
    return of.created_at if isinstance(of, PendingPartition) else None


def _noticed(event: AssetEvent) -> datetime:
    return event.timestamp.astimezone(UTC) + NOTICED_WITHIN


def _reference_key(reference: AssetReference) -> _ReferenceKey:
    by = {"asset": "NAME", "name_ref": "NAME", "uri_ref": "URI", "alias": "ALIAS"}[reference.what]
    named = reference.uri if by == "URI" else reference.name
    uri = reference.uri if reference.what == "asset" else ""
    return by, named, reference.use, uri, reference.dag_id, reference.task_id


def _names(reference: AssetReference, asset: AssetKey) -> bool:
    match reference.what:
        case "asset":
            return reference.asset == asset
        case "name_ref":
            return reference.name == asset.name
        case "uri_ref":
            return reference.uri == asset.uri
        case "alias":
            return False
