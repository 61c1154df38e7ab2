"""Have a run, or a DAG's timetable, looked at when its time comes, where no tick to come would see it early enough.

A tick hands over what falls due within the next minute, as it finds it then. What is written between two ticks, and falls
due before the second, is handed over by who writes it. A wake-up too many finds nothing to do.
"""

from datetime import datetime, timedelta
from typing import Final

from gust.model.dag import Dag
from gust.model.keys import DagRunKey
from gust.model.workload import WakeDag, WakeRun
from gust.services.context import Services

HORIZON: Final = timedelta(seconds=60)
"""From one tick to the next. What falls due later is in the reach of a tick to come."""


def wake_run(services: Services, key: DagRunKey, at: datetime, *, now: datetime) -> None:
    if at < now + HORIZON:
        wake = WakeRun(dag_id=key.dag_id, run_id=key.run_id, at=at, is_timer=True)
        services.queues.wake(wake, delay=max(0.0, (at - now).total_seconds()))


def look_soon(services: Services, key: DagRunKey, *, delay: float = 0) -> None:
    """Have the run looked at again, `delay` seconds from now."""
    services.queues.wake(WakeRun(dag_id=key.dag_id, run_id=key.run_id, at=services.clock.now()), delay=delay)


def wake_timetable(services: Services, dag: Dag, *, now: datetime) -> None:
    """At the DAG's next run. Whoever writes a `next_run_after` calls this after it."""
    at = dag.next_run_after
    if at is not None and at < now + HORIZON and not dag.is_paused:
        services.queues.wake(WakeDag(dag_id=dag.dag_id, at=at), delay=max(0.0, (at - now).total_seconds()))


def wake_for_assets(services: Services, dag: Dag, *, now: datetime) -> None:
    """At once, where events may wait for the DAG that nobody could make a run of before."""
    if dag.is_asset_triggered and not dag.is_paused:
        services.queues.wake(WakeDag(dag_id=dag.dag_id, at=now))
