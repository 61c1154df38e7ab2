"""Once a minute: hand everything that falls due in the next minute to SQS with its exact delay.

It reads only the sparse `due` index, so its cost grows with the items that are due and not with those that exist. A repeated
tick sends wake-ups twice, which is harmless; the next tick makes up for a missed one.
"""

from datetime import datetime, timedelta
from typing import Final

from gust.model.measurement import Measurement
from gust.model.workload import Wake, WakeBackfill, WakeDag, WakeRun, WakeWatcher
from gust.services.context import Services
from gust.services.wake import HORIZON

SLACK: Final = timedelta(seconds=5)
"""Ticks do not come at the exact second: look a little further than the next one."""


LATE: Final = 5.0
"""Seconds after which a tick's lateness is measured. Punctual ones are not: an idle stack sends no metric."""


def tick(services: Services, *, asked_at: str | None = None) -> int:
    """Returns how many wake-ups were sent. `asked_at`: when EventBridge sent the tick, in ISO 8601."""
    now = services.clock.now()
    late = (now - datetime.fromisoformat(asked_at)).total_seconds() if asked_at else 0.0
    if late > LATE:
        services.metrics.add([Measurement("TickLateness", late, "Seconds")])
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
