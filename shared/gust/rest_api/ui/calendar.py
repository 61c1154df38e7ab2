"""`/ui/calendar`: the number of a DAG's past and planned runs in each hour or day."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Final, Literal

from gust.http.answer import Json, not_found
from gust.http.check import Query
from gust.model.dag import Dag
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec
from gust.model.window import Window
from gust.rest_api.http.request import Request
from gust.rest_api.http.routing import ui_operation
from gust.rest_api.lists.filters import Filters, between, query_of
from gust.rest_api.lists.history import window_of
from gust.scheduling import timetable
from gust.scheduling.timetable import DataInterval, NextRun
from gust.services.context import Services
from gust.services.specs import load_spec

MOST_PLANNED: Final = 2000
MOST_COUNTED: Final = 100_000
"""The latest runs that are counted by their states."""
MOST_READ: Final = 20_000
PLANNED: Final = "planned"
_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)


class _CalendarQuery(Query):
    granularity: Literal["hourly", "daily"] = "daily"


LOGICAL_DATES: Final = Filters[datetime | None](between("logical_date", datetime, lambda date: date))
PARTITION_DATES: Final = Filters[datetime | None](between("partition_date", datetime, lambda date: date))
CalendarQuery: Final = query_of(_CalendarQuery, LOGICAL_DATES, PARTITION_DATES)


@ui_operation("get_calendar")
def get_calendar(services: Services, request: Request) -> Json:
    query = request.query(CalendarQuery)
    dag = services.store.get_dag(request.path["dag_id"])
    if dag is None:
        raise not_found(f"The Dag with ID: `{request.path['dag_id']}` was not found")
    by_partition = PARTITION_DATES.predicate(query) is not None
    spec = load_spec(services.objects, dag.spec_key)
    if LOGICAL_DATES.predicate(query) and not by_partition and not spec.timetable.partitioned:
        cells, runs = _counted(services, dag.dag_id, query)
    else:
        cells, runs = _read(services, dag.dag_id, query, by_partition=by_partition)
    planned: Counter[datetime] = Counter()
    matches = (PARTITION_DATES if by_partition else LOGICAL_DATES).matches(query)
    for moment in _planned(dag, spec, runs, query.granularity, request.now):
        if matches(moment):
            planned[_cell(moment, query.granularity)] += 1
    cells += [{"date": date, "state": PLANNED, "count": count} for date, count in planned.items()]
    return {"total_entries": len(cells), "dag_runs": cells}


def _counted(services: Services, dag_id: str, query: _CalendarQuery) -> tuple[list[Json], list[DagRun]]:
    """Cells of past runs, counted by logical date and state without reading the runs, and the runs of the newest
    cell."""
    matches = LOGICAL_DATES.matches(query)
    dated = services.store.dates_of_runs(dag_id, _window(query))[-MOST_COUNTED:]
    dates = {key: date for date, key in dated if matches(date)}
    states = services.store.summaries_of_runs(list(dates))
    counts = Counter((_cell(dates[run.key], query.granularity), run.state.value) for run in states)
    newest = max((cell for cell, _ in counts), default=None)
    shown = [run.key for run in states if _cell(dates[run.key], query.granularity) == newest]
    return _cells(counts), services.store.get_runs(shown)


def _read(
    services: Services, dag_id: str, query: _CalendarQuery, *, by_partition: bool
) -> tuple[list[Json], list[DagRun]]:
    runs = [run for run in _runs(services, dag_id, query, by_partition) if _date(run) is not None]
    return _past(runs, query.granularity), runs


def _runs(services: Services, dag_id: str, query: _CalendarQuery, by_partition: bool) -> Iterator[DagRun]:
    matches = LOGICAL_DATES.predicate(query)
    if by_partition:
        of_partitions = PARTITION_DATES.matches(query)
        yield from (r for r in services.store.runs_of_partition(dag_id, None) if of_partitions(r.partition_date))
    elif matches is None:
        yield from services.store.list_runs(dag_id, limit=MOST_READ)
    else:
        runs = islice(services.store.runs_of_dates(dag_id, _window(query)), MOST_READ)
        yield from (run for run in runs if matches(run.logical_date))


def _window(query: _CalendarQuery) -> Window:
    return window_of(query, "logical_date").read(ascending=True)


def _date(run: DagRun) -> datetime | None:
    return run.partition_date or run.logical_date


def _cell(moment: datetime, granularity: str) -> datetime:
    moment = moment.astimezone(UTC)
    hour = moment.hour if granularity == "hourly" else 0
    return moment.replace(hour=hour, minute=0, second=0, microsecond=0)


def _past(runs: Iterable[DagRun], granularity: str) -> list[Json]:
    counts = Counter((_cell(date, granularity), run.state.value) for run in runs if (date := _date(run)) is not None)
    return _cells(counts)


def _cells(counts: Counter[tuple[datetime, str]]) -> list[Json]:
    return [{"date": date, "state": state, "count": count} for (date, state), count in sorted(counts.items())]


# --- planned runs -----------------------------------------------------------------------------------------------------


def _planned(dag: Dag, spec: DagSpec, runs: list[DagRun], granularity: str, now: datetime) -> Iterator[datetime]:
    """Runs of the timetable from the last run to the end of its year. None for a plugin's timetable, which only the
    parser can evaluate, run by run."""
    last = _last(runs, granularity)
    if last is None or not dag.timetable_periodic or not timetable.can_be_computed(spec.timetable):
        return
    if not spec.timetable.partitioned and last.data_interval is not None:
        moments = timetable.cron_moments(spec.timetable, last.data_interval.end)
        if moments is not None:
            year = last.data_interval.end.year
            for moment in islice(moments, MOST_PLANNED):
                if moment.year != year or (spec.end_date is not None and moment > spec.end_date):
                    return
                yield moment
            return
    yield from islice(_following(spec, last, now), MOST_PLANNED)


def _last(runs: list[DagRun], granularity: str) -> NextRun | None:
    """The latest interval or partition of the newest cell."""
    by_cell: dict[datetime, list[DagRun]] = defaultdict(list)
    for run in runs:
        by_cell[_cell(_date(run) or _EARLIEST, granularity)].append(run)
    newest = by_cell[max(by_cell)] if by_cell else []
    starts = [run.data_interval_start for run in newest if run.data_interval_start]
    ends = [run.data_interval_end for run in newest if run.data_interval_end]
    partitions = [run.partition_date for run in newest if run.partition_date]
    if partitions:
        return NextRun(max(run.run_after for run in newest), None, max(partitions))
    return NextRun(max(ends), DataInterval(max(starts), max(ends))) if starts and ends else None


def _following(spec: DagSpec, last: NextRun, now: datetime) -> Iterator[datetime]:
    year = (last.partition_date or last.run_after).year
    while True:
        following = timetable.next_dagrun(
            spec.timetable, last=last, earliest=spec.start_date, latest=spec.end_date, catchup=False, now=now
        )
        if following is None or following.run_after <= last.run_after:
            return
        date = following.partition_date or following.logical_date
        if date is None or date.year != year:
            return
        yield date
        last = following
