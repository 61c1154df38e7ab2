"""The short form of a run in lists of DAGs, and statistics of run durations."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Final

from gust.http.answer import Json
from gust.model.asset import number_of
from gust.model.dag_run import DagRun
from gust.model.keys import DagRunKey
from gust.rest_api.http.request import Request
from gust.rest_api.http.routing import ui_operation
from gust.rest_api.public.dag_run import existing_run
from gust.services.context import Services
from gust.services.runs.public_form import duration

LAST_RUNS: Final = 100
"""Ended runs in the statistics."""


def light_run_response(run: DagRun) -> Json:
    return {
        "id": number_of(run.dag_id, run.run_id),
        "dag_id": run.dag_id,
        "run_id": run.run_id,
        "logical_date": run.logical_date,
        "run_after": run.run_after,
        "start_date": run.start_date,
        "end_date": run.end_date,
        "state": run.state.value,
        "duration": duration(run),
    }


@ui_operation("get_dag_run_stats")
def get_dag_run_stats(services: Services, request: Request) -> Json:
    dag_id, run_id = request.path["dag_id"], request.path["dag_run_id"]
    existing_run(services, DagRunKey(dag_id, run_id))
    # Airflow uses the last hundred ended runs; reading twice as many covers those that still run.
    ended = [run for run in services.store.list_runs(dag_id, limit=2 * LAST_RUNS) if run.is_finished]
    durations = [taken for run in ended[:LAST_RUNS] if (taken := duration(run)) is not None]
    return {"duration": duration_stats(durations)}


def duration_stats(durations: Sequence[float]) -> Json | None:
    """Mean, percentiles, and as mode the most frequent whole second; no mode if all differ. `None` without
    durations."""
    if not durations:
        return None
    ascending = sorted(durations)
    seconds = Counter(round(taken) for taken in ascending)
    longest = max(seconds.values())
    mode = float(min(second for second, times in seconds.items() if times == longest)) if longest > 1 else None
    return {
        "mean": round(statistics.mean(ascending), 3),
        "mode": mode,
        **{f"p{percent}": round(_percentile(ascending, percent), 3) for percent in (50, 90, 95, 99)},
    }


def _percentile(ascending: Sequence[float], percent: int) -> float:
    """The percentile, interpolated between its two neighbours."""
    place = (len(ascending) - 1) * percent / 100
    below = int(place)
    above = min(below + 1, len(ascending) - 1)
    return ascending[below] + (ascending[above] - ascending[below]) * (place - below)
