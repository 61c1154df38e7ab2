"""Once a minute: hand everything that falls due in the next minute to SQS with its exact delay.

It reads only the sparse `due` index, so its cost grows with the items that are due and not with those that exist. A repeated
tick sends wake-ups twice, which is harmless; the next tick makes up for a missed one.
"""

from datetime import timedelta
from typing import Final

from gust.model.workload import Wake, WakeBackfill, WakeDag, WakeRun, WakeWatcher
from gust.services.context import Services
from gust.services.wake import HORIZON

SLACK: Final = timedelta(seconds=5)
"""Ticks do not come at the exact second: look a little further than the next one."""


def tick(services: Services) -> int:
    """Returns how many wake-ups were sent."""
    now = services.clock.now()
    until = now + HORIZON + SLACK
    backfills, watchers = services.store.due_backfills_and_watchers(until)
    wakes: list[WakeRun | WakeDag | WakeBackfill | WakeWatcher] = [
        *(WakeDag(dag_id=dag_id, at=at) for dag_id, at in services.store.due_dags(until)),
        *(
            WakeRun(dag_id=key.dag_id, run_id=key.run_id, at=at, is_timer=True)
            for key, at in services.store.due_runs(until)
        ),
        *(WakeBackfill(backfill_id=backfill_id, at=at) for backfill_id, at in backfills),
        *(WakeWatcher(watcher_id=watcher_id, at=at) for watcher_id, at in watchers),
    ]
    delayed: list[tuple[Wake, float]] = [(wake, max(0.0, (wake.at - now).total_seconds())) for wake in wakes]
    services.queues.wake_all(delayed)
    services.store.set_alive("scheduler", now)
    return len(wakes)
