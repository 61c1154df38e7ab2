"""Events from outside start DAGs, through every real part: a bucket, EventBridge, a queue, and the function behind it."""

from __future__ import annotations

import time

import pytest

from gust.cli import watch_bucket
from tests.system.local_gust import LocalGust

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

FILES = """
    from airflow.sdk import DAG, Asset, task

    with DAG("take_orders", schedule=Asset("s3://raw-orders/incoming/", extra={"glob": "*.csv"})):

        @task
        def take(triggering_asset_events=None):
            for asset, events in triggering_asset_events.items():
                for event in events:
                    print("took", event.extra["key"], event.extra["size"])

        take()
"""


@pytest.fixture(scope="module")
def watched(gust: LocalGust) -> LocalGust:
    """The stack with a DAG that waits for files of a bucket, which `./gust watch-bucket` has prepared."""
    gust.upload("take_orders.py", FILES)
    gust.await_dag("take_orders")
    gust.stack.client("s3").create_bucket(Bucket="raw-orders")
    change = watch_bucket.plan(gust.stack.client, "raw-orders", "gust", follows_parameters=False)
    watch_bucket.make(gust.stack.client, change)
    return gust


def test_a_dropped_file_starts_its_dag(watched: LocalGust) -> None:
    dropped = time.time()
    watched.stack.client("s3").put_object(Bucket="raw-orders", Key="incoming/2026/first.csv", Body=b"a,b\n")
    (run,) = watched.await_runs("take_orders", 1, run_type="asset_triggered")
    watched.await_state("take_orders", run["dag_run_id"], "success")
    print("from the file to the run", time.time() - dropped, run["queued_at"])
    watched.await_log("take_orders", run["dag_run_id"], "take", "took incoming/2026/first.csv 4")
