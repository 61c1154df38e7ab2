"""Runs of partitions: the runs that a request selects, and detaching a run from its partition."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from gust.errors import Conflict, StaleDagRun
from gust.model.dag_run import DagRun
from gust.model.dag_spec import TimetableSpec
from gust.model.keys import DagRunKey
from gust.scheduling.timetable import partition_moment
from gust.services.context import Services

ATTEMPTS: Final = 10
_LAST: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class PartitionWindow:
    """Partition dates from `start` to `end`, UTC; a bound that is `None` bounds nothing, a run without a date is outside."""

    start: datetime | None = None
    end: datetime | None = None
    excludes_end: bool = False

    @classmethod
    def between(
        cls, timetable: TimetableSpec, start: datetime | None, end: datetime | None, *, excludes_end: bool = False
    ) -> PartitionWindow:
        """The window of a request, whose times are on the clock of the timetable's zone."""
        return cls(
            start=None if start is None else partition_moment(timetable, start),
            end=None if end is None else partition_moment(timetable, end),
            excludes_end=excludes_end,
        )

    def holds(self, run: DagRun) -> bool:
        date = run.partition_date
        if date is None:
            return False
        if self.start is not None and date < self.start:
            return False
        return self.end is None or date < self.end or (date == self.end and not self.excludes_end)


def runs_in_window(services: Services, dag_id: str, window: PartitionWindow) -> list[DagRun]:
    """In Airflow's order."""
    return in_order(run for run in services.store.runs_of_partition(dag_id, None) if window.holds(run))


def runs_of_key(services: Services, dag_id: str, partition_key: str) -> list[DagRun]:
    return in_order(run for run in services.store.list_runs(dag_id) if run.partition_key == partition_key)


def in_order(runs: Iterable[DagRun]) -> list[DagRun]:
    return sorted(runs, key=lambda run: (run.partition_date or _LAST, run.run_id))


def forget_partition(services: Services, key: DagRunKey) -> None:
    """Detach the run from its partition; its instances stay. Repeating it changes nothing. Raises Conflict if other writers
    kept changing the run."""
    for _ in range(ATTEMPTS):
        run = services.store.get_run(key)
        if run is None or (run.partition_key is None and run.partition_date is None):
            return
        try:
            services.store.update_run(run, replace(run, partition_key=None, partition_date=None))
        except StaleDagRun:
            continue
        return
    raise Conflict(f"The DagRun `{key.run_id}` of `{key.dag_id}` keeps changing; try again")
