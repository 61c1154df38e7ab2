"""Pause and unpause a DAG."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from gust.errors import NotFound, StaleDag
from gust.model.dag import Dag
from gust.model.state import DagRunState
from gust.model.workload import WakeBackfill
from gust.services.assets.watchers import wake_watchers
from gust.services.context import Services
from gust.services.runs.load_past import last_automated_run
from gust.services.runs.next_run import with_next_run
from gust.services.specs import load_spec
from gust.services.wake import look_soon, wake_for_assets, wake_timetable


def set_paused(services: Services, dag_id: str, is_paused: bool) -> Dag:
    """Have the DAG's timetable make runs, or not; existing runs continue either way. Returns the DAG as stored.

    A DAG without `catchup` whose next run came due while it was paused gets the newest of the runs it missed, as in
    Airflow; with `catchup` it gets them all. A run due within the minute is made at its time and not at the next tick.
    Unpausing wakes the runs and asset events that waited for it. Repeating a pause changes nothing; repeating an unpause
    wakes them once more, in case the first request died before it did. Raises NotFound.
    """
    now = services.clock.now()
    dag = _store(services, dag_id, is_paused, now=now)
    if not is_paused:
        wake_runs(services, dag, now=now)
        wake_timetable(services, dag, now=now)
        wake_for_assets(services, dag, now=now)
        wake_watchers(services, dag)
    return dag


def _store(services: Services, dag_id: str, is_paused: bool, *, now: datetime) -> Dag:
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
                last = last_automated_run(services, dag_id, partitioned=spec.timetable.partitioned)
                after = with_next_run(services, after, spec, last=last, now=now)
        try:
            services.store.put_dag(before, after)
        except StaleDag:
            continue
        return after


def wake_runs(services: Services, dag: Dag, *, now: datetime) -> None:
    """Wake the running runs and as many queued ones as may start; the others follow when these finish. Runs of backfills
    start in their backfill's order."""
    unfinished = [run for run in services.store.list_runs(dag.dag_id) if not run.is_finished]
    running = [run for run in unfinished if run.state is DagRunState.RUNNING]
    waiting = [run for run in unfinished if run.state is DagRunState.QUEUED]
    queued = sorted((run for run in waiting if run.backfill_id is None), key=lambda run: run.run_after)
    for run in running + queued[: dag.max_active_runs]:
        look_soon(services, run.key)
    for backfill_id in sorted({run.backfill_id for run in waiting if run.backfill_id is not None}):
        services.queues.wake(WakeBackfill(backfill_id=backfill_id, at=now))


def _missed_a_run(dag: Dag, now: datetime) -> bool:
    return dag.next_run_after is not None and dag.next_run_after <= now
