"""Runs and failed task instances in order of time, in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime

from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.model.state import DagRunState, TaskInstanceState
from gust.model.window import NEWEST_FIRST, OLDEST_FIRST, Window
from gust.store.memory.state import MemoryState, atomic


class MemoryHistory(MemoryState):
    """Implements `ports.HistoryStore`."""

    @atomic
    def walk_runs(
        self, dag_id: str | None = None, window: Window = NEWEST_FIRST
    ) -> Iterator[tuple[datetime, DagRunKey]]:
        found = sorted(
            (run.run_after, run.key)
            for run in self._runs.values()
            if dag_id in (None, run.dag_id) and window.holds(run.run_after)
        )
        return window.in_order(found)

    @atomic
    def walk_failed_runs(self, window: Window = NEWEST_FIRST) -> Iterator[tuple[datetime, DagRunKey]]:
        walk = self.walk_runs(window=window)
        return iter([found for found in walk if self._runs[found[1]].state is DagRunState.FAILED])

    @atomic
    def latest_runs(self, dag_ids: Collection[str], *, dated: bool = False) -> dict[str, tuple[datetime, DagRunKey]]:
        walk = self.walk_runs(window=OLDEST_FIRST)
        return {
            key.dag_id: (run_after, key)
            for run_after, key in walk
            if key.dag_id in dag_ids and not (dated and self._runs[key].logical_date is None)
        }

    @atomic
    def walk_failed_instances(self, window: Window = NEWEST_FIRST) -> Iterator[tuple[datetime, TaskInstanceKey]]:
        found = sorted(
            (instance.end_date, instance.key)
            for instances in self._instances.values()
            for instance in instances.values()
            if instance.state is TaskInstanceState.FAILED
            and instance.end_date is not None
            and window.holds(instance.end_date)
        )
        return window.in_order(found)
