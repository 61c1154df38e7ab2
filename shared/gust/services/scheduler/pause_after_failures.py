"""`max_consecutive_failed_dag_runs`: a DAG whose last runs all failed is paused, as `DagRun.update_state` does it.

The transaction that ends the run pauses the DAG: once, never for a run that ended long ago, and never against a person's
unpause since.
"""

from __future__ import annotations

from datetime import datetime

from gust.model.dag_run import DagRun
from gust.model.logged_event import LoggedEvent
from gust.model.run_state import LastRuns
from gust.model.state import DagRunState
from gust.scheduling.stages import RunWrite
from gust.services.context import Services
from gust.services.specs import load_spec


def last_runs(services: Services, run: DagRun, written: RunWrite, *, now: datetime) -> LastRuns | None:
    """What the end of the run means for its DAG; `None` where it means nothing. A run that ends by its timeout or in a
    deadlock does not pause its DAG, but counts when the next run ends."""
    ended = written.run
    if ended.state is not DagRunState.FAILED or not written.is_complete:
        return None
    limit = load_spec(services.objects, run.spec_key).max_consecutive_failed_dag_runs
    if limit <= 0:
        return None
    # Counted first: another run that ends while the runs are read changes the count, and this decision is made again.
    running = running_beside(services, run)
    latest = services.store.list_runs(run.dag_id, limit=limit)
    states = [ended.state if other.key == run.key else other.state for other in latest]
    pauses = len(states) >= limit and all(state is DagRunState.FAILED for state in states)
    return LastRuns(running, paused_event(run.dag_id, now) if pauses else None)


def running_beside(services: Services, run: DagRun) -> int:
    """How many runs of the same lane are running, this one included."""
    if run.backfill_id is not None:
        backfill = services.store.get_backfill(run.backfill_id)
        return backfill.running_runs if backfill else 0
    dag = services.store.get_dag(run.dag_id)
    return dag.running_runs if dag else 0


def paused_event(dag_id: str, now: datetime) -> LoggedEvent:
    return LoggedEvent(
        when=now,
        event="paused",
        dag_id=dag_id,
        owner="scheduler",
        owner_display_name="Scheduler",
        extra=f"[('dag_id', '{dag_id}'), ('is_paused', True)]",
    )
