"""Asset events that wait for DAGs, in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from gust.errors import StaleAssetQueue
from gust.model.asset import (
    AssetEvent,
    AssetKey,
    AssetQueue,
    AssetUpdate,
    Delivery,
    PartitionEvent,
    PendingPartition,
    ToPartition,
    ToQueue,
)
from gust.model.keys import DagRunKey
from gust.scheduling.added_run import AssetRun
from gust.store import fences
from gust.store.memory.runs import MemoryRuns
from gust.store.memory.state import as_stored, atomic

NOTICED_WITHIN = timedelta(seconds=60)


class MemoryAssetQueues(MemoryRuns):
    """Implements `ports.AssetQueueStore`."""

    @atomic
    def put_asset_events(self, report_id: str, updates: Sequence[AssetUpdate]) -> None:
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

    def put_single_events(self, updates: Sequence[AssetUpdate]) -> None:
        for update in updates:
            self.put_asset_events(update.event.event_id, [update])

    @atomic
    def asset_queue(self, dag_id: str) -> AssetQueue | None:
        return self._queues.get(dag_id)

    def asset_queues(self, dag_ids: Collection[str]) -> list[AssetQueue]:
        return [queue for dag_id in dag_ids if (queue := self.asset_queue(dag_id)) is not None]

    @atomic
    def pending_partitions(self, dag_id: str) -> list[PendingPartition]:
        pending = [partition for key, partition in self._partitions.items() if key[0] == dag_id]
        return sorted(pending, key=lambda partition: (partition.created_at, partition.partition_key))

    @atomic
    def close_part(self, seen: AssetQueue, *, after: datetime, until: datetime) -> AssetQueue:
        part = replace(self._as_closed(seen), part_from=after.astimezone(UTC), consumed_until=until.astimezone(UTC))
        self._queues[seen.dag_id] = part
        return part

    @atomic
    def end_part(self, seen: AssetQueue) -> None:
        self._queues[seen.dag_id] = replace(self._as_closed(seen), part_from=None)

    @atomic
    def create_asset_run(self, made: AssetRun) -> None:
        run, consuming = made.run, made.consuming
        part = consuming if isinstance(consuming, AssetQueue) and consuming.part_from is not None else None
        rest = self._as_closed(part) if part else None
        if part is None:
            self._check_unchanged(consuming)
        self.create_run(run, callbacks=made.callbacks)
        self._consumed[run.key] = [as_stored(event) for event in made.events]
        if isinstance(consuming, PendingPartition):
            del self._partitions[consuming.dag_id, consuming.partition_key]
        elif rest is not None:
            self._queues[consuming.dag_id] = replace(
                rest, part_from=None, arrivals=rest.arrivals + 1, last_run_id=run.run_id, due_at=run.due_at
            )
        else:
            self._queues[consuming.dag_id] = replace(
                consuming,
                queued={},
                arrivals=consuming.arrivals + 1,
                consumed_until=run.run_after.astimezone(UTC),
                last_run_id=run.run_id,
                due_at=None,
            )

    @atomic
    def postpone(self, seen: AssetQueue | PendingPartition, *, due_at: datetime | None) -> None:
        try:
            self._check_unchanged(seen)
        except StaleAssetQueue:
            return
        if isinstance(seen, PendingPartition):
            self._partitions[seen.dag_id, seen.partition_key] = replace(seen, due_at=due_at)
        else:
            self._queues[seen.dag_id] = replace(seen, due_at=due_at)

    @atomic
    def unqueue(
        self,
        dag_id: str,
        *,
        assets: Iterable[AssetKey] | None = None,
        before: datetime | None = None,
        seen: AssetQueue | None = None,
    ) -> list[AssetKey]:
        queue = self._queues.get(dag_id, AssetQueue(dag_id=dag_id))
        if seen is not None and queue.arrivals != seen.arrivals:
            raise StaleAssetQueue(f"events have come for {dag_id!r}")
        gone = fences.unqueued(queue, assets=None if assets is None else set(assets), before=before)
        if gone:
            left = {asset: at for asset, at in queue.queued.items() if asset not in gone}
            self._queues[dag_id] = replace(
                queue, queued=left, arrivals=queue.arrivals + 1, due_at=queue.due_at if left else None
            )
        return gone

    @atomic
    def drop_partition(self, seen: PendingPartition) -> None:
        self._check_unchanged(seen)
        del self._partitions[seen.dag_id, seen.partition_key]

    @atomic
    def delete_asset_queues(self, dag_id: str) -> None:
        self._queues.pop(dag_id, None)
        for key in [key for key in self._partitions if key[0] == dag_id]:
            del self._partitions[key]

    @atomic
    def consumed_events(self, run: DagRunKey) -> list[AssetEvent]:
        return [as_stored(event) for event in self._consumed.get(run, ())]

    @atomic
    def consumed_events_of(self, runs: Sequence[DagRunKey]) -> dict[DagRunKey, list[AssetEvent]]:
        return {run: self.consumed_events(run) for run in runs if run in self._consumed}

    @atomic
    def note_consumers(self, run: DagRunKey, events: Sequence[AssetEvent]) -> None:
        for event in events:
            self._consumers[event.event_id].add(run)

    @atomic
    def consumers_of(self, event_ids: Sequence[str]) -> dict[str, list[DagRunKey]]:
        return {event_id: sorted(self._consumers.get(event_id, ())) for event_id in event_ids}

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

    def _as_closed(self, seen: AssetQueue) -> AssetQueue:
        """The queue as it is. Raises StaleAssetQueue unless the same time is closed as in `seen`."""
        current = self._queues.get(seen.dag_id)
        if current is None or fences.closed_time(current) != fences.closed_time(seen):
            raise StaleAssetQueue(f"a run or a part of DAG {seen.dag_id!r} was made meanwhile")
        return current

    def _check_unchanged(self, seen: AssetQueue | PendingPartition) -> None:
        current: AssetQueue | PendingPartition | None
        if isinstance(seen, PendingPartition):
            current = self._partitions.get((seen.dag_id, seen.partition_key))
        else:
            current = self._queues.get(seen.dag_id)
        if current is None or current.arrivals != seen.arrivals or _birth(current) != _birth(seen):
            raise StaleAssetQueue(f"events came for DAG {seen.dag_id!r} meanwhile")
        if isinstance(seen, AssetQueue):
            self._as_closed(seen)


def _deliveries(updates: Sequence[AssetUpdate]) -> list[tuple[AssetEvent, Delivery]]:
    return [(update.event, delivery) for update in updates for delivery in update.deliveries]


def _target(delivery: Delivery) -> tuple[str, str | None]:
    return delivery.dag_id, delivery.partition_key if isinstance(delivery, ToPartition) else None


def _birth(of: AssetQueue | PendingPartition) -> datetime | None:
    return of.created_at if isinstance(of, PendingPartition) else None


def _noticed(event: AssetEvent) -> datetime:
    return event.timestamp.astimezone(UTC) + NOTICED_WITHIN
