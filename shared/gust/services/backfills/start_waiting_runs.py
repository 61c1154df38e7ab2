"""Starts the runs that wait for the place of a run that ended."""

from itertools import islice

from gust.model.dag_run import DagRun
from gust.model.state import DagRunState
from gust.services.backfills.advance_backfill import advance_backfill
from gust.services.context import Services
from gust.services.runs.create_dag_run import create_due_runs
from gust.services.wake import look_soon


def start_waiting_runs(services: Services, finished: DagRun) -> None:
    """Wake the runs that take the finished run's place: queued runs in the order of `run_after`, then the timetable's due
    ones; after a backfill's run, the backfill's next one."""
    if finished.backfill_id is not None:
        return advance_backfill(services, finished.backfill_id)
    dag_id = finished.dag_id
    dag = services.store.get_dag(dag_id)
    if dag is None or dag.is_paused or dag.is_stale:
        return None
    create_due_runs(services, dag_id)
    # The index may still show runs that have just been started: `running_runs` counts them.
    shown = services.store.queued_runs(dag_id, limit=dag.max_active_runs)
    waiting = (key for key in shown if (run := services.store.get_run(key)) and run.state is DagRunState.QUEUED)
    for key in islice(waiting, max(0, dag.max_active_runs - dag.running_runs)):
        look_soon(services, key)
    return None
