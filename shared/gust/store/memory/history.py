"""Runs and failed task instances in order of time, in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime

from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.model.state import DagRunState, TaskInstanceState
from gust.store.memory.state import MemoryState


class MemoryHistory(MemoryState):
    """Implements `ports.HistoryStore`."""

    def walk_runs(
        self,
        dag_id: str | None = None,
        *,
        first: datetime | None = None,
        last: datetime | None = None,
        ascending: bool = False,
    ) -> Iterator[tuple[datetime, DagRunKey]]:
        with self._lock:
            found = sorted(
                (run.run_after, run.key)
                for run in self._runs.values()
                if dag_id in (None, run.dag_id)
                and (first is None or run.run_after >= first)
                and (last is None or run.run_after <= last)
            )
        return iter(found) if ascending else reversed(found)

    def walk_failed_runs(
        self, *, first: datetime | None = None, last: datetime | None = None, ascending: bool = False
    ) -> Iterator[tuple[datetime, DagRunKey]]:
        walk = self.walk_runs(first=first, last=last, ascending=ascending)
        with self._lock:
            return iter([found for found in walk if self._runs[found[1]].state is DagRunState.FAILED])

    def latest_runs(self, dag_ids: Collection[str], *, dated: bool = False) -> dict[str, tuple[datetime, DagRunKey]]:
        with self._lock:
            walk = self.walk_runs(ascending=True)
            return {
                key.dag_id: (run_after, key)
                for run_after, key in walk
                if key.dag_id in dag_ids and not (dated and self._runs[key].logical_date is None)
            }

    def walk_failed_instances(
        self, *, first: datetime | None = None, ascending: bool = False
    ) -> Iterator[tuple[datetime, TaskInstanceKey]]:
        with self._lock:
            found = sorted(
                (instance.end_date, instance.key)
                for instances in self._instances.values()
                for instance in instances.values()
                if instance.state is TaskInstanceState.FAILED
                and instance.end_date is not None
                and (first is None or instance.end_date >= first)
            )
        return iter(found) if ascending else reversed(found)
