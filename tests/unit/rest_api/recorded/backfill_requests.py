"""The requests about backfills, in this order: later ones see the effects of earlier ones."""

from __future__ import annotations

from typing import Any

from tests.unit.rest_api.recorded.requests import Asked, get, send

BACKFILLS = "/api/v2/backfills"
JANUARY = {"from_date": "2026-01-05T00:00:00Z", "to_date": "2026-01-07T00:00:00Z"}


def asked(dag_id: str, **fields: Any) -> dict[str, Any]:
    return {"dag_id": dag_id, **JANUARY, **fields}


def both(*bodies: Any) -> list[Asked]:
    """Tried, then done."""
    return [asked for body in bodies for path in ("/dry_run", "") for asked in send("POST", f"{BACKFILLS}{path}", body)]


def runs(dag_id: str) -> str:
    return f"/api/v2/dags/{dag_id}/dagRuns?order_by=run_after&order_by=id"


REQUESTS: list[Asked] = [
    # What is refused
    *both({}, {"dag_id": 1, **JANUARY}, asked("daily", reprocess_behavior="all"), asked("daily", foo=1)),
    *both(asked("nope"), asked("refusing"), asked("once"), asked("never")),
    *both(asked("daily", from_date="2026-01-09T00:00:00+01:00"), asked("daily", from_date="x")),
    *both(asked("daily", from_date="2090-01-05T00:00:00Z", to_date="2090-01-07T00:00:00Z")),
    *both(asked("daily", dag_run_conf={"n": 0}), asked("daily", max_active_runs="many")),
    *both(asked("daily", from_date="2026-01-05T01:00:00Z", to_date="2026-01-05T02:00:00+00:00")),
    *both(asked("past"), asked("past", run_backwards=True, reprocess_behavior="failed")),
    *get(BACKFILLS, f"{BACKFILLS}?dag_id=nope", f"{BACKFILLS}/1", f"{BACKFILLS}/x", f"{BACKFILLS}/-1"),
    *send("PUT", f"{BACKFILLS}/1/pause", None),
    *send("PUT", f"{BACKFILLS}/x/unpause", None),
    # One after the other
    *send("POST", "/api/v2/dags/daily/dagRuns", {"logical_date": "2026-01-06T00:00:00Z", "dag_run_id": "mine"}),
    *both(asked("daily", dag_run_conf={"n": 5})),
    *send("POST", BACKFILLS, asked("daily")),
    *get(f"{BACKFILLS}?dag_id=daily", f"{BACKFILLS}/1", runs("daily"), f"{BACKFILLS}?dag_id=daily&order_by=dag_id"),
    *send("PUT", f"{BACKFILLS}/1/pause", None, None),
    *send("PUT", f"{BACKFILLS}/1/unpause", None, None),
    *send("PUT", f"{BACKFILLS}/1/cancel", None, None),
    *send("PUT", f"{BACKFILLS}/1/pause", None),
    *send("PUT", f"{BACKFILLS}/1/unpause", None),
    *get(f"{BACKFILLS}/1", runs("daily")),
    # Again, backwards
    *both(asked("daily", reprocess_behavior="none", to_date="2026-01-06T00:00:00Z")),
    *send("PUT", f"{BACKFILLS}/2/cancel", None),
    *both(asked("daily", reprocess_behavior="failed", run_backwards=True, max_active_runs=2)),
    *get(runs("daily")),
    *send("PUT", f"{BACKFILLS}/3/cancel", None),
    *both(asked("daily", reprocess_behavior="completed", to_date="2026-01-08T00:00:00Z", dag_run_conf={"n": 7})),
    *get(runs("daily"), f"{BACKFILLS}?dag_id=daily&order_by=-id&limit=2", f"{BACKFILLS}?dag_id=daily&offset=3"),
    # Data intervals, and a stretch in a zone of its own
    *both(asked("intervals", from_date="2026-03-28T00:00:00+01:00", to_date="2026-03-30T23:59:59")),
    *get(runs("intervals")),
    # Partitions
    *both(asked("partitions", from_date="2026-01-05T00:00:00Z", to_date="2026-01-05T12:00:00Z")),
    *get("/api/v2/dags/partitions/dagRuns?order_by=run_after"),
    *send("PUT", f"{BACKFILLS}/6/cancel", None),
    *both(asked("partitions", from_date="2026-01-05T06:00:00Z", to_date="2026-01-05T06:00:00Z")),
    *send("PUT", f"{BACKFILLS}/7/cancel", None),
    *both(asked("days", from_date="2026-01-05T00:00:00+09:00", to_date="2026-01-06T00:00:00Z", run_backwards=True)),
    *get("/api/v2/dags/days/dagRuns?order_by=run_after"),
    # Runs of partitions that people ask for
    *send("POST", "/api/v2/dags/daily/dagRuns", {"logical_date": None, "partition_key": "x"}),
    *send("POST", "/api/v2/dags/days/dagRuns", {"logical_date": None, "partition_key": " "}),
    *send("POST", "/api/v2/dags/days/dagRuns", {"logical_date": None, "partition_key": "x" * 251}),
    *send("POST", "/api/v2/dags/days/dagRuns", {"logical_date": None, "partition_key": "2026-13-01"}),
    *send("POST", "/api/v2/dags/days/dagRuns", {"logical_date": None, "partition_key": "2026-03-29"}),
    *send("POST", "/api/v2/dags/days/dagRuns", {"logical_date": "2026-03-01T00:00:00Z"}),
    *send("POST", "/api/v2/dags/runtime/dagRuns", {"logical_date": None, "partition_key": "x", "dag_run_id": "r"}),
]
