"""`/ui/dashboard`: the home page's numbers.

How many instances are in each state is counted run by run, from each run's partition. A finished run is counted once in a
warm function. Where a window holds more runs than are read for one answer, the newest are counted, and the answer says that
its numbers are lower bounds, as Airflow's does beyond its own limit.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from threading import Lock
from typing import Any, Final

from gust.model.dag_run import DagRun
from gust.model.state import DagRunState, TaskInstanceState
from gust.rest_api.dags import latest_runs
from gust.rest_api.request import Json, NamedMoment, Query, Request
from gust.rest_api.routing import ui_operation
from gust.rest_api.run_view import load_view
from gust.rest_api.ui.many import many
from gust.services.context import Services

COUNTED_RUNS: Final = 10_000
READ_RUNS: Final = 500
"""Runs whose instances are read for one answer, beside those whose counts are known."""

NO_STATUS: Final = "no_status"
KEPT: Final = 20_000

_known: OrderedDict[tuple[Any, ...], Counter[str]] = OrderedDict()
_lock = Lock()


class HistoricalQuery(Query):
    start_date: NamedMoment
    end_date: NamedMoment | None = None


@ui_operation("historical_metrics")
def historical_metrics(services: Services, request: Request) -> Json:
    query = request.query(HistoricalQuery)
    first, last = _utc(query.start_date), _utc(query.end_date or request.now)
    keys = [key for _, key in islice(services.store.walk_runs(first=first, last=last), COUNTED_RUNS + 1)]
    runs = services.store.get_runs(keys[:COUNTED_RUNS])
    unknown = [run for run in runs if _mark(run) not in _known]
    counted = [run for run in runs if _mark(run) in _known] + unknown[:READ_RUNS]
    instances: Counter[str] = Counter()
    for states in many.map(partial(_states_in, services), counted):
        instances.update(states)
    return {
        "dag_run_states": _every(DagRunState) | Counter(run.state.value for run in runs),
        "task_instance_states": {NO_STATUS: 0} | _every(TaskInstanceState) | instances,
        "dag_run_counts_are_lower_bounds": len(keys) > COUNTED_RUNS,
        "task_instance_counts_are_lower_bounds": len(keys) > COUNTED_RUNS or len(runs) > len(counted),
    }


def _every(states: type[DagRunState] | type[TaskInstanceState]) -> dict[str, int]:
    return {state.value: 0 for state in states}


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _mark(run: DagRun) -> tuple[Any, ...]:
    """Changes when a finished run's instances may have."""
    return (run.dag_id, run.run_id, run.clear_number, run.end_date, run.state)


def _states_in(services: Services, run: DagRun) -> Counter[str]:
    with _lock:
        if (known := _known.get(_mark(run))) is not None:
            return known
    view = load_view(services, run.key)
    if view is None:
        return Counter()
    states = Counter(v.instance.state.value if v.instance.state else NO_STATUS for v in view.instances)
    if view.run.is_finished:
        with _lock:
            _known[_mark(view.run)] = states
            while len(_known) > KEPT:
                _known.popitem(last=False)
    return states


@ui_operation("dag_stats")
def dag_stats(services: Services, request: Request) -> Json:  # noqa: ARG001 - a handler's signature
    dags = [dag for dag in services.store.list_dags() if not dag.is_stale]
    states = _last_states(services, [dag.dag_id for dag in dags])
    by_state = _unfinished(services, {dag.dag_id for dag in dags})
    by_state[DagRunState.RUNNING] |= {dag.dag_id for dag in dags if dag.running_runs}
    return {
        "active_dag_count": sum(not dag.is_paused for dag in dags),
        "failed_dag_count": sum(state is DagRunState.FAILED for state in states),
        "running_dag_count": len(by_state[DagRunState.RUNNING]),
        "queued_dag_count": len(by_state[DagRunState.QUEUED]),
    }


def _last_states(services: Services, dag_ids: list[str]) -> list[DagRunState | None]:
    """Of each DAG's run with the latest logical date, which mostly is its newest."""
    newest = latest_runs(services, dag_ids)
    without_date = [run.dag_id for run in newest.values() if run.logical_date is None]
    earlier = many.map(lambda dag_id: next(services.store.runs_before(dag_id, None), None), without_date)
    found = newest | dict(zip(without_date, earlier, strict=True))
    return [run.state if (run := found.get(dag_id)) else None for dag_id in dag_ids]


def _unfinished(services: Services, dag_ids: set[str]) -> dict[DagRunState, set[str]]:
    """DAGs with runs in these states. Every unfinished run stands in the index of what is due, backfills' too."""
    due = [key for key, _ in services.store.due_runs(datetime.max.replace(tzinfo=UTC)) if key.dag_id in dag_ids]
    by_state: dict[DagRunState, set[str]] = {DagRunState.RUNNING: set(), DagRunState.QUEUED: set()}

    for run in services.store.get_runs(due[:COUNTED_RUNS]):
        if run.state in by_state:
            by_state[run.state].add(run.dag_id)
    return by_state
