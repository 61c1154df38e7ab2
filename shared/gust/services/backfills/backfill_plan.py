"""The plan of a backfill's runs: made when the backfill is created, stored beside it, and never changed.

Rules: `airflow/models/backfill.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from gust.model.backfill import ReprocessBehavior
from gust.model.dag import Dag
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec
from gust.model.state import DagRunState
from gust.model.window import Window
from gust.scheduling.timetable import DataInterval, NextRun
from gust.services.context import Services
from gust.services.runs.next_run import runs_between

FEW: Final = 100
"""Up to this many partitions are looked up one by one; for more, all of the DAG's are read."""


def planned_runs(
    services: Services, dag: Dag, spec: DagSpec, earliest: datetime, latest: datetime, *, now: datetime
) -> Iterator[NextRun]:
    """The runs, earliest first. A run whose data interval is not over yet is not included, so the walk ends at the present,
    however far in the future `latest` is."""
    if not spec.timetable.partitioned:
        latest = min(latest, now)
    for run in runs_between(services, dag, spec, earliest=earliest, latest=latest, now=now):
        if spec.timetable.partitioned or (run.data_interval and run.data_interval.end < now):
            yield run


def existing_runs(services: Services, dag_id: str, plan: Sequence[NextRun]) -> dict[datetime, DagRun]:
    """The DAG's runs for these dates, by date. If a partition has several runs, the one that started last."""
    dates = [date_of(run) for run in plan]
    if not dates:
        return {}
    if plan[0].partition_date is None:
        between = services.store.runs_of_dates(dag_id, Window(min(dates), max(dates), ascending=True))
        return {run.logical_date: run for run in between if run.logical_date is not None}
    found: dict[datetime, list[DagRun]] = {date: [] for date in dates}
    if len(dates) > FEW:
        for run in services.store.runs_of_partition(dag_id, None):
            if run.partition_date in found:
                found[run.partition_date].append(run)
    else:
        found = {date: services.store.runs_of_partition(dag_id, date) for date in dates}
    return {date: max(runs, key=started_last) for date, runs in found.items() if runs}


def started_last(run: DagRun) -> tuple[bool, datetime]:
    return run.start_date is not None, run.start_date or run.queued_at


def date_of(run: NextRun) -> datetime:
    """The date that identifies the run in the plan: its partition's date, or its logical date."""
    return run.partition_date or run.logical_date or run.run_after


def is_made(existing: DagRun | None, behavior: ReprocessBehavior) -> bool:
    """Whether the backfill makes the run, or runs it again; otherwise the existing run is left alone."""
    if existing is None:
        return True
    match behavior:
        case ReprocessBehavior.NONE:
            return False
        case ReprocessBehavior.FAILED:
            return existing.state is DagRunState.FAILED
        case ReprocessBehavior.COMPLETED:
            return existing.is_finished


def written(run: NextRun) -> list[str | None]:
    """A line of the stored plan."""
    covered = run.data_interval
    moments = (run.run_after, covered and covered.start, covered and covered.end, run.partition_date)
    return [*(moment.isoformat() if moment else None for moment in moments), run.partition_key]


def read(line: list[str | None]) -> NextRun:
    """What `written` wrote."""
    run_after, start, end, date = (datetime.fromisoformat(text) if text else None for text in line[:4])
    if run_after is None:
        raise ValueError(f"{line} is no line of a plan")
    return NextRun(run_after, DataInterval(start, end) if start and end else None, date, line[4])
