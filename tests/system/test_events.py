"""Events from outside start DAGs, through every real part: a bucket, EventBridge, a queue, and the function behind it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from gust.cli import watch_bucket
from tests.system.local_gust import LocalGust

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

FILES = """
    from airflow.sdk import DAG, Asset, task

    with DAG("take_files", schedule=Asset("s3://raw-files/incoming/", extra={"glob": "*.csv"}), max_active_runs=1):

        @task
        def take(triggering_asset_events=None):
            for events in triggering_asset_events.values():
                print("took", sorted(event.extra["key"] for event in events), events[0].extra["size"])

        take()

    with DAG("handle_order", params={"order": 0}):

        @task
        def handle(params, dag_run=None):
            print("order", params["order"], dag_run.logical_date, dag_run.triggering_user_name)

        handle()
"""

EVENTS = """
    - source: shop
      pattern:
        detail: {total: [{numeric: [">", 100]}]}
      dag_id: handle_order
      conf: {order: "{% detail.order %}"}
      dedup_key: "{% 'order-' & detail.order %}"

    - source: shop
      pattern: {detail-type: [Lost]}
      dag_id: no_such_dag
"""

ORDERS = 200


@pytest.fixture(scope="module")
def watched(gust: LocalGust) -> LocalGust:
    """The stack with DAGs that wait for events, and a bucket that `./gust watch-bucket` has prepared."""
    gust.upload("files.py", FILES)
    gust.upload("team/events.yaml", EVENTS)
    gust.await_dag("take_files")
    gust._await(
        lambda: len(gust.services().store.list_event_files()) or None, 60, lambda: f"no entries: {gust.import_errors()}"
    )
    gust.stack.client("s3").create_bucket(Bucket="raw-files")
    change = watch_bucket.plan(gust.stack.client, "raw-files", "gust", follows_parameters=False)
    watch_bucket.make(gust.stack.client, change)
    return gust


def send(gust: LocalGust, detail_type: str, detail: dict[str, Any]) -> None:
    entry = {"Source": "shop", "DetailType": detail_type, "Detail": json.dumps(detail), "EventBusName": "gust"}
    assert gust.stack.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0


def put(gust: LocalGust, key: str) -> None:
    gust.stack.client("s3").put_object(Bucket="raw-files", Key=key, Body=b"a,b\n")


def test_an_event_that_matches_an_entry_starts_its_dag_once(watched: LocalGust) -> None:
    for order, total in ((1, 99), (2, 101), (2, 101)):
        send(watched, "Placed", {"order": order, "total": total})
    watched.await_runs("handle_order", 1, run_type="manual")
    watched.await_state("handle_order", "event__order-2", "success")
    watched.await_log("handle_order", "event__order-2", "handle", "order 2 None team/events.yaml:2")
    assert len(watched.await_runs("handle_order", 1, run_type="manual")) == 1


def test_an_event_that_cannot_be_followed_is_in_the_event_log(watched: LocalGust) -> None:
    send(watched, "Lost", {})
    (entry,) = watched._await(
        lambda: watched.api.pages("/api/v2/eventLogs", "event_logs", event="event_refused") or None,
        60,
        lambda: "no entry in the event log",
    )
    assert entry["dag_id"] == "no_such_dag"
    assert "not found" in json.loads(entry["extra"])["reason"]


def test_a_dropped_file_starts_its_dag_within_two_seconds(watched: LocalGust) -> None:
    put(watched, "other/first.csv")
    put(watched, "incoming/first.txt")
    dropped = datetime.now(UTC)
    put(watched, "incoming/2026/first.csv")
    (run,) = watched.await_runs("take_files", 1, run_type="asset_triggered")
    watched.await_state("take_files", run["dag_run_id"], "success")
    watched.await_log("take_files", run["dag_run_id"], "take", "took ['incoming/2026/first.csv'] 4")
    assert (datetime.fromisoformat(run["queued_at"]) - dropped).total_seconds() < 2


def test_a_flood_of_files_is_an_event_each_and_a_run_for_each_batch_that_waits(watched: LocalGust) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: put(watched, f"incoming/flood/{number:04}.csv"), range(ORDERS)))
    store = watched.services().store

    def stored() -> list[str]:
        events = store.list_asset_events()
        return sorted(event.extra["key"] for event in events if "/flood/" in event.extra.get("key", ""))

    watched._await(lambda: len(stored()) == ORDERS or None, 120, lambda: f"{len(stored())} of {ORDERS} events")
    assert stored() == [f"incoming/flood/{number:04}.csv" for number in range(ORDERS)]

    def consumed() -> list[int]:
        runs = watched.api.pages("/api/v2/dags/take_files/dagRuns", "dag_runs", run_type="asset_triggered")
        sizes = []
        for run in runs:
            path = f"/api/v2/dags/take_files/dagRuns/{run['dag_run_id'].replace('+', '%2B')}/upstreamAssetEvents"
            events = watched.api.call("GET", path)["asset_events"]
            sizes.append(sum("/flood/" in event["extra"]["key"] for event in events))
        return [size for size in sizes if size]

    watched._await(lambda: sum(consumed()) == ORDERS or None, 120, lambda: f"runs consumed {consumed()}")
    assert len(consumed()) < ORDERS / 2
