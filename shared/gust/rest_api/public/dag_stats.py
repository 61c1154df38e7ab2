"""`/api/v2/dagStats`: how many runs of each DAG are in each state."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Final

from gust.http.answer import Json
from gust.http.check import Query
from gust.model.dag import Dag
from gust.model.state import DagRunState
from gust.rest_api.http.request import Request
from gust.rest_api.http.routing import operation
from gust.rest_api.lists.filters import Filters, one_of, query_of
from gust.services.context import Services

_EVER: Final = datetime.max.replace(tzinfo=UTC)


FILTERS: Final = Filters[Dag](one_of("dag_ids", str, lambda dag: dag.dag_id))
DagStatsQuery: Final = query_of(Query, FILTERS)


@operation("get_dag_stats")
def get_dag_stats(services: Services, request: Request) -> Json:
    """DAGs without runs are left out. A DAG counts its ended runs by state; unfinished runs are read."""
    dags = list(filter(FILTERS.matches(request.query(DagStatsQuery)), services.store.list_dags()))
    shown = {dag.dag_id for dag in dags}
    due = [key for key, _ in services.store.due_runs(_EVER) if key.dag_id in shown]
    unfinished = Counter((run.dag_id, run.state) for run in services.store.get_runs(due) if not run.is_finished)
    stats = [_stats(dag, states) for dag in dags if any((states := _states(dag, unfinished)).values())]
    return {"dags": stats, "total_entries": len(stats)}


def _states(dag: Dag, unfinished: Counter[tuple[str, DagRunState]]) -> dict[DagRunState, int]:
    ended = {DagRunState.SUCCESS: dag.success_runs, DagRunState.FAILED: dag.failed_runs}
    return {state: ended.get(state, unfinished[dag.dag_id, state]) for state in DagRunState}


def _stats(dag: Dag, states: dict[DagRunState, int]) -> Json:
    return {
        "dag_id": dag.dag_id,
        "dag_display_name": dag.dag_display_name or dag.dag_id,
        "stats": [{"state": state.value, "count": states[state]} for state in DagRunState],
    }
