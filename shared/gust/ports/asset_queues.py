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
from gust.model.keys import DagRunKey
from gust.scheduling.added_run import AssetRun


class AssetQueueStore(Protocol):
    """Asset events that wait for DAGs whose schedules name the assets, and the events that each run consumed."""

    def put_asset_events(self, report_id: str, updates: Sequence[AssetUpdate]) -> None:
        """Store the events of one report and queue them for the DAGs that listen. One transaction; a report of more than a
        hundred writes takes several, of which the first stores the report. Repeating a report changes nothing but completes
        what was left.

        Raises StaleAssetQueue if a DAG has already run for events up to the moment of one of these or later: give them a
        later moment, or that DAG never sees them."""

    def put_single_events(self, updates: Sequence[AssetUpdate]) -> None:
        """Store events that have nothing to do with each other, each once by its id, and queue them for the DAGs that
        listen: as `put_asset_events` for each with its id as report, in fewer transactions. No two updates have the same id.

        Raises StaleAssetQueue as `put_asset_events` does; some of the events may be stored then. Repeating all with later
        moments stores the others."""

    def asset_queue(self, dag_id: str) -> AssetQueue | None:
        """`None` if nothing was ever queued for the DAG."""

    def asset_queues(self, dag_ids: Collection[str]) -> list[AssetQueue]:
        """The queues that exist, in the order of the ids."""

    def pending_partitions(self, dag_id: str) -> list[PendingPartition]:
        """The DAG's partitions for which events wait, oldest first."""

    def close_part(self, seen: AssetQueue, *, after: datetime, until: datetime) -> AssetQueue:
        """Make the events after `after` and up to `until` a part: no other can join them, and the next run takes them alone.
        Returns the queue with the part. Raises StaleAssetQueue if a run has consumed events, or another part was closed,
        since `seen` was read; events that have come do not matter."""

    def end_part(self, seen: AssetQueue) -> None:
        """Make no run of the part. Raises StaleAssetQueue as `close_part` does."""

    def create_asset_run(self, made: AssetRun) -> None:
        """Store the run with the events that it consumes, and take them from the queue, in one transaction. A run of a part
        leaves the queue for the rest, at which the scheduler looks next, by the run's `due_at` at the latest. Raises
        StaleAssetQueue if events have come since `consuming` was read or, of a part, if it has a run already; AlreadyExists
        as `create_run` does."""

    def postpone(self, seen: AssetQueue | PendingPartition, *, due_at: datetime | None) -> None:
        """Set when the scheduler looks at the waiting events again, which make no run now; `None`: when the next event
        comes. Changes nothing if events have come since `seen` was read."""

    def unqueue(
        self,
        dag_id: str,
        *,
        assets: Iterable[AssetKey] | None = None,
        before: datetime | None = None,
        seen: AssetQueue | None = None,
    ) -> list[AssetKey]:
        """Remove what waits for the DAG, restricted to these assets and to events queued before that moment, where given.
        The events themselves stay, and the DAG's next run consumes them. Returns the removed assets. Raises StaleAssetQueue
        if events have come since `seen` was read."""

    def drop_partition(self, seen: PendingPartition) -> None:
        """Delete a pending partition. Raises StaleAssetQueue if events have come since it was read."""

    def delete_asset_queues(self, dag_id: str) -> None:
        """Delete all that waits for the DAG, and how far it has consumed events."""

    def consumed_events(self, run: DagRunKey) -> list[AssetEvent]:
        """The events that the run consumed, in order of time; empty for a run that no asset triggered."""

    def consumed_events_of(self, runs: Sequence[DagRunKey]) -> dict[DagRunKey, list[AssetEvent]]:
        """run → `consumed_events`, for the runs that have any, read in parallel."""

    def note_consumers(self, run: DagRunKey, events: Sequence[AssetEvent]) -> None:
        """Note for each event that the run consumes it. The note is written before the run: its reader checks that the run
        exists."""

    def consumers_of(self, event_ids: Sequence[str]) -> dict[str, list[DagRunKey]]:
        """event id → keys of the runs noted for it. A run may not exist."""
