"""Asset events that wait for DAGs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Protocol

from gust.model.asset import (
    AssetEvent,
    AssetKey,
    AssetQueue,
    AssetUpdate,
    PendingPartition,
)
from gust.model.dag_run import DagRun
from gust.model.keys import DagRunKey
from gust.scheduling.callback import CallbackMove


class AssetQueueStore(Protocol):
    """Events that wait for the DAGs whose schedules name their assets, and the runs made of them."""

    def put_asset_events(self, report_id: str, updates: Sequence[AssetUpdate]) -> None:
        """Store the events of one report and have them wait for the DAGs they go to: all in one transaction, or, where that
        is more than a hundred writes, in several, of which the first stores the report. The same report again changes
        nothing, but writes what was left.

        Raises StaleAssetQueue where a DAG has run for events up to the moment of one of these or a later one: they must be
        given a later moment, or would be passed over."""

    def asset_queue(self, dag_id: str) -> AssetQueue | None: ...

    def asset_queues(self, dag_ids: Collection[str]) -> list[AssetQueue]:
        """Those that there are, in the order of the ids."""

    def pending_partitions(self, dag_id: str) -> list[PendingPartition]:
        """Oldest first."""

    def create_asset_run(
        self,
        run: DagRun,
        *,
        consuming: AssetQueue | PendingPartition,
        events: Sequence[AssetEvent],
        callbacks: Sequence[CallbackMove] = (),
    ) -> None:
        """Store the run with the events it consumes, and take what it consumes from the queue, in one transaction.
        Raises StaleAssetQueue where events have come since `consuming` was read, AlreadyExists as `create_run` does."""

    def postpone(self, seen: AssetQueue | PendingPartition, *, due_at: datetime | None) -> None:
        """What waits cannot make a run now; look again at `due_at`, or (`None`) when the next event comes. Where events
        have come since `seen` was read nothing happens."""

    def unqueue(
        self, dag_id: str, *, assets: Iterable[AssetKey] | None = None, before: datetime | None = None
    ) -> list[AssetKey]:
        """Forget what waits for the DAG: of these assets alone, queued before that moment alone. The events stay and
        are consumed with the next run. Returns what was forgotten."""

    def drop_partition(self, seen: PendingPartition) -> None:
        """Forget a pending partition. Raises StaleAssetQueue where events have come since it was read."""

    def delete_asset_queues(self, dag_id: str) -> None:
        """Forget all that waits for the DAG, and what it has consumed."""

    def consumed_events(self, run: DagRunKey) -> list[AssetEvent]:
        """What the run was made of, in order of time; nothing for runs that no asset made."""

    def consumed_events_of(self, runs: Sequence[DagRunKey]) -> dict[DagRunKey, list[AssetEvent]]:
        """`consumed_events` of those runs that have some, read at once."""

    def note_consumers(self, run: DagRunKey, events: Sequence[AssetEvent]) -> None:
        """Note for each event that the run consumes it. Written before the run: who reads it checks that it exists."""

    def consumers_of(self, event_ids: Sequence[str]) -> dict[str, list[DagRunKey]]:
        """event id → runs that were to consume it."""
