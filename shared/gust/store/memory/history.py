"""The twin's walks through its history."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime

from gust.model.dag_run import DagRun
from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.model.run_state import RunState, RunSummary
from gust.model.state import DagRunState, TaskInstanceState
from gust.model.task_instance import TaskInstance
from gust.store.memory.state import MemoryPart, as_stored


class MemoryHistory(MemoryPart):
    """Part of `MemoryStore`, whose state this is."""

    _runs: dict[DagRunKey, DagRun]
    _instances: dict[DagRunKey, dict[tuple[str, int], TaskInstance]]

    def get_runs(self, keys: Sequence[DagRunKey]) -> list[DagRun]:
        with self._lock:
            return [as_stored(self._runs[key]) for key in keys if key in self._runs]

    def summaries_of_runs(self, keys: Sequence[DagRunKey]) -> list[RunSummary]:
        return [
            RunSummary(run.key, run.state, run.start_date, run.end_date, run.instance_states)
            for run in self.get_runs(keys)
        ]

    def dates_of_runs(self, dag_id: str, first: datetime, last: datetime) -> list[tuple[datetime, DagRunKey]]:
        with self._lock:
            return sorted(
                (run.logical_date, run.key)
                for run in self._runs.values()
                if run.dag_id == dag_id and run.logical_date is not None and first <= run.logical_date <= last
            )

    def load_runs(self, keys: Sequence[DagRunKey]) -> list[RunState]:
        with self._lock:
            return [state for key in keys if (state := self.load_run(key)) is not None]

    def get_instances(self, keys: Sequence[TaskInstanceKey]) -> list[TaskInstance]:
        with self._lock:
            found = (self._instances.get(key.run, {}).get((key.task_id, key.map_index)) for key in keys)
            return [as_stored(instance) for instance in found if instance is not None]

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
