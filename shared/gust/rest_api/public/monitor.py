"""`/api/v2/monitor/health`, for a system whose parts run only when there is something to do.

Airflow checks the last heartbeat of each process. Here only the scheduler has one (the minute's tick), so:

- metadatabase is healthy when the table answers;
- scheduler is healthy when its last tick is no older than `TICK_OVERDUE`;
- dag_processor is healthy when no upload waits to be processed for the first time: a bundle is active, or nothing has
  been uploaded. Its heartbeat is the last time it processed an upload;
- triggerer is healthy when no run has been overdue for `TICK_OVERDUE`: parked triggers stand in the same index of due
  moments as all other timers, so the index shows one that is not resumed. Its heartbeat is the last time it ran a trigger.

A part that has never had work has no heartbeat, and says so with null.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from gust.http.answer import Json
from gust.model import bucket_keys
from gust.rest_api.http.request import Request
from gust.rest_api.http.routing import operation
from gust.services.context import Services

TICK_OVERDUE: Final = timedelta(seconds=150)
"""Two ticks have been missed, and the third is late."""

HEALTHY: Final = "healthy"
UNHEALTHY: Final = "unhealthy"


@operation("get_health")
def get_health(services: Services, request: Request) -> Json:
    overdue_since = request.now - TICK_OVERDUE
    try:
        alive = services.store.last_alive()
        ticked = alive.get("scheduler")
        triggers_stuck = bool(services.store.due_runs(overdue_since))
        unprocessed = services.store.active_bundle() is None and bool(services.objects.list(bucket_keys.DAGS))
    except Exception:  # any error of the table is reported as unhealthy
        return _report(False, {}, scheduler=False, triggerer=False, dag_processor=False)
    return _report(
        True,
        alive,
        scheduler=ticked is not None and ticked >= overdue_since,
        triggerer=not triggers_stuck,
        dag_processor=not unprocessed,
    )


def _report(
    metadatabase: bool, alive: Mapping[str, datetime], *, scheduler: bool, triggerer: bool, dag_processor: bool
) -> Json:
    parts = {"scheduler": scheduler, "triggerer": triggerer, "dag_processor": dag_processor}
    return {"metadatabase": {"status": _status(metadatabase)}} | {
        name: {
            "status": _status(healthy),
            f"latest_{name}_heartbeat": alive[name].isoformat() if name in alive else None,
        }
        for name, healthy in parts.items()
    }


def _status(healthy: bool) -> str:
    return HEALTHY if healthy else UNHEALTHY
