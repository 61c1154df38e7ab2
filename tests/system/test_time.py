"""Time on the local stack: runs start when their timetable says, and backfills run to their end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.oracle.drive import ApiError
from tests.system.local_gust import PATIENCE, LocalGust

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DAY_BY_DAY = """
    from datetime import datetime, timedelta
    from airflow.sdk import dag, task

    @dag(schedule="0 0 * * *", start_date=datetime(2090, 1, 1), max_active_runs=1, is_paused_upon_creation=False)
    def day_by_day():
        @task(retries=0)
        def work(data_interval_start=None, dag_run=None):
            if dag_run.conf.get("fails") == data_interval_start.day and dag_run.clear_number == 0:
                raise RuntimeError("as asked")
            return [data_interval_start.isoformat(), dag_run.run_type, dag_run.conf.get("n")]

        work()

    day_by_day()
"""

TICKING = """
    from datetime import datetime
    from airflow.sdk import DAG, CronTriggerTimetable, task

    with DAG("{dag_id}", schedule=CronTriggerTimetable("* * * * * */15", timezone="Europe/Zurich"), catchup=True,
             start_date=datetime.fromisoformat("{start}"), end_date=datetime.fromisoformat("{end}")):
        @task
        def tick():
            return 1

        tick()
"""

FAILING = """
    from airflow.sdk import dag, task

    @dag(schedule=None, max_consecutive_failed_dag_runs=2)
    def failing():
        @task
        def fail():
            raise RuntimeError

        fail()

    failing()
"""


def await_backfill(gust: LocalGust, backfill_id: int, *, within: float = 120) -> dict[str, Any]:
    """The backfill, once it has completed."""

    def look() -> dict[str, Any] | None:
        seen = gust.api.call("GET", f"/api/v2/backfills/{backfill_id}")
        return seen if seen["completed_at"] else None

    return gust._await(look, within, lambda: str(runs_of(gust, "day_by_day")))


def runs_of(gust: LocalGust, dag_id: str, **query: Any) -> list[dict[str, Any]]:
    return gust.api.call("GET", f"/api/v2/dags/{dag_id}/dagRuns", query={"order_by": "run_after", **query})["dag_runs"]


def test_a_backfill_runs_to_its_end_and_what_failed_runs_again(gust: LocalGust) -> None:
    gust.upload("day_by_day.py", DAY_BY_DAY)
    gust.await_dag("day_by_day")
    asked = {
        "dag_id": "day_by_day",
        "from_date": "2026-01-01T00:00:00Z",
        "to_date": "2026-01-06T00:00:00Z",
        "max_active_runs": 2,
        "dag_run_conf": {"n": 5, "fails": 3},
    }
    tried = gust.api.call("POST", "/api/v2/backfills/dry_run", body=asked)
    assert tried["total_entries"] == 6
    made = gust.api.call("POST", "/api/v2/backfills", body=asked)
    with pytest.raises(ApiError, match="409"):
        gust.api.call("POST", "/api/v2/backfills", body=asked)
    await_backfill(gust, made["id"])
    runs = runs_of(gust, "day_by_day")
    assert [run["dag_run_id"] for run in runs] == [f"backfill__2026-01-0{day}T00:00:00+00:00" for day in range(1, 7)]
    assert [run["state"] for run in runs] == ["success", "success", "failed", "success", "success", "success"]
    assert most_at_once(runs) <= 2
    assert gust.xcom("day_by_day", runs[0]["dag_run_id"], "work") == ["2026-01-01T00:00:00+00:00", "backfill", 5]

    again = asked | {"reprocess_behavior": "failed", "run_backwards": True}
    made = gust.api.call("POST", "/api/v2/backfills", body=again)
    await_backfill(gust, made["id"])
    runs = runs_of(gust, "day_by_day")
    assert [run["state"] for run in runs] == ["success"] * 6
    tries = gust.tries("day_by_day", runs[2]["dag_run_id"], "work")
    assert [one["state"] for one in tries] == ["failed", "success"]


def test_runs_start_within_two_seconds_of_their_time(gust: LocalGust) -> None:
    late = how_late(gust, "ticking")
    if max(late) >= timedelta(seconds=2):  # the machine was busy with something else; being late stays so
        late = [min(each) for each in zip(late, how_late(gust, "ticking_again"), strict=False)]
    assert all(timedelta() <= by < timedelta(seconds=2) for by in late), late


def how_late(gust: LocalGust, dag_id: str) -> list[timedelta]:
    """By how much each of five or six runs of a DAG that runs every 15 seconds starts after its time."""
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=20)
    end = start + timedelta(seconds=75)
    gust.upload(f"{dag_id}.py", TICKING.format(dag_id=dag_id, start=start.isoformat(), end=end.isoformat()))
    gust.await_dag(dag_id)
    first = start + timedelta(seconds=-start.second % 15)
    expected = []
    while first <= end:
        expected.append(first)
        first += timedelta(seconds=15)

    def all_done() -> list[dict[str, Any]] | None:
        runs = runs_of(gust, dag_id)
        return runs if len([run for run in runs if run["state"] == "success"]) == len(expected) else None

    runs = gust._await(all_done, 180, lambda: str(runs_of(gust, dag_id)))
    assert [moment(run["run_after"]) for run in runs] == expected
    assert [run["dag_run_id"] for run in runs] == [f"scheduled__{at.isoformat()}" for at in expected]
    return [moment(run["start_date"]) - moment(run["run_after"]) for run in runs]


def test_too_many_failures_pause_the_dag(gust: LocalGust) -> None:
    gust.upload("failing.py", FAILING)
    gust.await_dag("failing")
    for _ in range(2):
        gust.await_state("failing", gust.trigger("failing"), "failed")
    gust._await(lambda: gust.await_dag("failing")["is_paused"] or None, PATIENCE, lambda: "it is not paused")


def most_at_once(runs: list[dict[str, Any]]) -> int:
    """How many of the finished runs ran at the same moment."""
    spans = [(moment(run["start_date"]), moment(run["end_date"])) for run in runs]
    return max(sum(start <= at < end for start, end in spans) for at, _ in spans)


moment: Callable[[str], datetime] = datetime.fromisoformat
