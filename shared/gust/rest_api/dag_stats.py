"""`/api/v2/dagStats`: how many runs of each DAG are in each state."""

from __future__ import annotations

from collections import Counter

from gust.model.dag import Dag
from gust.model.state import DagRunState
from gust.rest_api.request import Json, Query, Request
from gust.rest_api.routing import operation
from gust.services.context import Services


class DagStatsQuery(Query):
    dag_ids: list[str] = []


@operation("get_dag_stats")
def get_dag_stats(services: Services, request: Request) -> Json:
    """DAGs that never ran are not in it."""
    wanted = request.query(DagStatsQuery).dag_ids
    dags = [dag for dag in services.store.list_dags() if not wanted or dag.dag_id in wanted]
    counted = [(dag, Counter(run.state for run in services.store.list_runs(dag.dag_id))) for dag in dags]
    stats = [_stats(dag, states) for dag, states in counted if states]
    return {"dags": stats, "total_entries": len(stats)}


def _stats(dag: Dag, states: Counter[DagRunState]) -> Json:
    return {
        "dag_id": dag.dag_id,
        "dag_display_name": dag.dag_display_name or dag.dag_id,
        "stats": [{"state": state.value, "count": states[state]} for state in DagRunState],
    }
