"""`/ui/dashboard`: the home page's numbers.

An ended run has the number of its instances in each state, so a window is counted by reading its runs; instances are
read only of unfinished runs. If a window has more runs than one answer reads, the newest are counted and the answer
says that its numbers are lower bounds, as Airflow's does beyond its own limit.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Final

from gust.http.answer import Json
from gust.http.check import Query
from gust.model.dag import Dag
from gust.model.run_state import RunSummary
from gust.model.state import FINISHED_RUN, DagRunState, TaskInstanceState
from gust.model.window import Window
from gust.rest_api.http.request import NamedMoment, Request
from gust.rest_api.http.routing import ui_operation
from gust.rest_api.lists.many import many
from gust.rest_api.lists.shown_run import load_view
from gust.scheduling.run_view import NO_STATUS, state_name
from gust.services.context import Services

COUNTED_RUNS: Final = 10_000
READ_RUNS: Final = 200
"""Runs whose instances are read for one answer: unfinished ones, and those with unfinished instances at their end."""

WALKED_FAILURES: Final = 3000


class HistoricalQuery(Query):
    start_date: NamedMoment
    end_date: NamedMoment | None = None


@ui_operation("historical_metrics")
def historical_metrics(services: Services, request: Request) -> Json:
    query = request.query(HistoricalQuery)
    window = Window(_utc(query.start_date), _utc(query.end_date or request.now), ascending=False)
    keys = [key for _, key in islice(services.store.walk_runs(window=window), COUNTED_RUNS + 1)]
    runs = services.store.summaries_of_runs(keys[:COUNTED_RUNS])
    instances: Counter[str] = Counter()
    unknown = []
    for run in runs:
        if run.state in FINISHED_RUN and run.instance_states:
            instances.update(run.instance_states)
        else:
            unknown.append(run)
    for states in many.map(partial(_states_in, services), unknown[:READ_RUNS]):
        instances.update(states)
    return {
        "dag_run_states": _every(DagRunState) | Counter(run.state.value for run in runs),
        "task_instance_states": {NO_STATUS: 0} | _every(TaskInstanceState) | instances,
        "dag_run_counts_are_lower_bounds": len(keys) > COUNTED_RUNS,
        "task_instance_counts_are_lower_bounds": len(keys) > COUNTED_RUNS or len(unknown) > READ_RUNS,
    }


def _every(states: type[DagRunState] | type[TaskInstanceState]) -> dict[str, int]:
    return {state.value: 0 for state in states}


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _states_in(services: Services, run: RunSummary) -> Counter[str]:
    view = load_view(services, run.key)
    return Counter() if view is None else Counter(state_name(found.instance) for found in view.instances)


@ui_operation("dag_stats")
def dag_stats(services: Services, request: Request) -> Json:  # noqa: ARG001 - a handler's signature
    dags = [dag for dag in services.store.list_dags() if not dag.is_stale]
    by_state = _unfinished(services, {dag.dag_id for dag in dags})
    by_state[DagRunState.RUNNING] |= {dag.dag_id for dag in dags if dag.running_runs}
    return {
        "active_dag_count": sum(not dag.is_paused for dag in dags),
        "failed_dag_count": _failed_last(services, dags),
        "running_dag_count": len(by_state[DagRunState.RUNNING]),
        "queued_dag_count": len(by_state[DagRunState.QUEUED]),
    }


def _failed_last(services: Services, dags: list[Dag]) -> int:
    """DAGs whose last run with a logical date failed. A DAG counts its failed runs: most have none. The last runs of
    the others are compared with the index of recent failures; older runs are read."""
    latest = services.store.latest_runs([dag.dag_id for dag in dags if dag.failed_runs], dated=True)
    if not latest:
        return 0
    oldest = min(run_after for run_after, _ in latest.values())
    walked = list(islice(services.store.walk_failed_runs(Window(oldest, ascending=False)), WALKED_FAILURES + 1))
    last_walked = walked[-1][0] if len(walked) > WALKED_FAILURES else None
    failed = {key for _, key in walked}
    of_old_ones = [key for at, key in latest.values() if last_walked is not None and at <= last_walked]
    failed |= {run.key for run in services.store.get_runs(of_old_ones) if run.state is DagRunState.FAILED}
    return sum(key in failed for _, key in latest.values())


def _unfinished(services: Services, dag_ids: set[str]) -> dict[DagRunState, set[str]]:
    """DAGs with runs in these states. The index of due runs holds every unfinished run, also of backfills."""
    due = [key for key, _ in services.store.due_runs(datetime.max.replace(tzinfo=UTC)) if key.dag_id in dag_ids]
    by_state: dict[DagRunState, set[str]] = {DagRunState.RUNNING: set(), DagRunState.QUEUED: set()}

    for run in services.store.get_runs(due[:COUNTED_RUNS]):
        if run.state in by_state:
            by_state[run.state].add(run.dag_id)
    return by_state
