"""Pause and unpause a DAG."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from gust.errors import NotFound, StaleDag
from gust.model.dag import Dag
from gust.model.state import DagRunType
from gust.model.workload import WakeDag
from gust.scheduling.timetable import DataInterval
from gust.services.context import Services
from gust.services.create_dag_run import with_next_run
from gust.services.specs import load_spec

NEXT_TICK: Final = timedelta(seconds=60)
"""Runs due later than this are in the reach of a tick to come."""


def set_paused(services: Services, dag_id: str, is_paused: bool) -> Dag:
    """Have the DAG's timetable make runs, or not; runs that exist go on either way. Returns the DAG as stored.

    A DAG without `catchup` whose next run came due while it was paused gets the newest of the runs it missed, as in
    Airflow; with `catchup` it gets them all. A run due within the minute is made at its time and not at the next tick.
    Raises NotFound. Setting what is set changes nothing.
    """
    now = services.clock.now()
    while True:
        before = services.store.get_dag(dag_id)
        if before is None:
            raise NotFound(f"Dag with id: {dag_id} was not found")
        if before.is_paused == is_paused:
            return before
        after = replace(before, is_paused=is_paused)
        if not is_paused and _missed_a_run(before, now):
            spec = load_spec(services.objects, before.spec_key)
            if not spec.catchup:
                after = with_next_run(after, spec, last=_last_automated_interval(services, dag_id), now=now)
        try:
            services.store.put_dag(before, after)
        except StaleDag:
            continue
        break
    if not is_paused and after.next_run_after is not None and after.next_run_after <= now + NEXT_TICK:
        delay = max(0.0, (after.next_run_after - now).total_seconds())
        services.queues.wake(WakeDag(dag_id=dag_id, at=after.next_run_after), delay=delay)
    return after


def _missed_a_run(dag: Dag, now: datetime) -> bool:
    return dag.next_run_after is not None and dag.next_run_after <= now


def _last_automated_interval(services: Services, dag_id: str) -> DataInterval | None:
    for run in services.store.list_runs(dag_id):
        automated = run.run_type in (DagRunType.SCHEDULED, DagRunType.BACKFILL_JOB)
        if automated and run.data_interval_start and run.data_interval_end:
            return DataInterval(run.data_interval_start, run.data_interval_end)
    return None
