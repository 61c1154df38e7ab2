"""Sends wake-ups for runs and timetables that become due before the next tick.

The tick sends wake-ups for everything that is due within the next minute at that moment. A writer that makes something due
before the next tick sends the wake-up itself. A superfluous wake-up finds nothing to do.
"""

from datetime import datetime, timedelta
from typing import Final

from gust.model.dag import Dag
from gust.model.keys import DagRunKey
from gust.model.workload import WakeDag, WakeRun
from gust.services.context import Services

HORIZON: Final = timedelta(seconds=60)
"""The time between two ticks. The next tick finds everything that is due later."""


def wake_run(services: Services, key: DagRunKey, at: datetime, *, now: datetime) -> None:
    if at < now + HORIZON:
        wake = WakeRun(dag_id=key.dag_id, run_id=key.run_id, at=at, is_timer=True)
        services.queues.wake(wake, delay=max(0.0, (at - now).total_seconds()))


def look_soon(services: Services, key: DagRunKey, *, delay: float = 0) -> None:
    """Have the run looked at again, `delay` seconds from now."""
    services.queues.wake(WakeRun(dag_id=key.dag_id, run_id=key.run_id, at=services.clock.now()), delay=delay)


def wake_timetable(services: Services, dag: Dag, *, now: datetime) -> None:
    """Send a wake-up for the DAG's next run. Every writer of a `next_run_after` calls this after the write."""
    at = dag.next_run_after
    if at is not None and at < now + HORIZON and not dag.is_paused:
        services.queues.wake(WakeDag(dag_id=dag.dag_id, at=at), delay=max(0.0, (at - now).total_seconds()))


def wake_for_assets(services: Services, dag: Dag, *, now: datetime) -> None:
    """Send a wake-up at once if asset events may wait that could not make a run before."""
    if dag.is_asset_triggered and not dag.is_paused:
        services.queues.wake(WakeDag(dag_id=dag.dag_id, at=now))
