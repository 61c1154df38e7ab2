"""A flood of objects into a watched bucket, on the local stack: how many become events and runs, and when.

    python -m benches.flood [--objects 1000] [--paused]      # needs PYTHONPATH=shared; half a minute for each thousand

With `--paused` the DAG is paused until all events are stored, so that one batch waits. The bench fails if an object has
another number of events than one, or an event another number of runs.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from gust.aws.objects import S3Objects
from gust.cli import watch_bucket
from gust.local.stack import LocalStack, running
from gust.model.history_query import AssetEventSource
from gust.store.dynamodb import DynamoDBStore

ROOT: Final = Path(__file__).parents[1]

BUCKET: Final = "flood"
ASSET: Final = "s3://flood/incoming"
DAG_ID: Final = "take_files"

DAG: Final = f"""
from airflow.sdk import DAG, Asset, task

with DAG({DAG_ID!r}, schedule=Asset({ASSET!r}), max_active_runs=1):

    @task
    def take(triggering_asset_events=None):
        return sum(len(events) for events in triggering_asset_events.values())

    take()
"""

PATIENCE: Final = 900.0
"""Seconds until a wait fails."""


@dataclass(frozen=True, slots=True)
class Flood:
    objects: int
    written: float
    """Seconds until the last object was written."""
    stored: float
    """Seconds until the last event was stored."""
    taken: float
    """Seconds until runs had consumed all events, and ended."""
    runs: list[int]
    """How many events each run consumed, in the order of the runs."""

    def lines(self) -> list[str]:
        return [
            f"{self.objects:,} objects written in {self.written:.0f} s, stored as events after {self.stored:.0f} s, "
            f"consumed by {len(self.runs)} runs after {self.taken:.0f} s",
            f"events of a run: {', '.join(f'{number:,}' for number in self.runs)}",
        ]


def flood(stack: LocalStack, objects: int, *, paused: bool) -> Flood:
    store = DynamoDBStore(
        stack.outputs["TableName"],
        stack.client("dynamodb"),
        S3Objects(stack.outputs["BucketName"], stack.client("s3")),
    )
    _await(lambda: store.get_dag(DAG_ID) is not None, "the DAG")
    s3 = stack.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    watch_bucket.make(stack.client, watch_bucket.plan(stack.client, BUCKET, "gust", follows_parameters=False))
    if paused:
        _pause(stack, True)
    keys = [f"incoming/{number:06}.csv" for number in range(objects)]
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: s3.put_object(Bucket=BUCKET, Key=key, Body=b"a,b\n"), keys))
    written = time.monotonic() - began
    source = AssetEventSource(name=ASSET)
    _await(lambda: len(store.list_asset_events(source)) >= objects, "the events")
    stored = time.monotonic() - began
    if paused:
        _pause(stack, False)
        # A paused DAG's events make no run: one more does, and takes them.
        keys.append("incoming/last.csv")
        s3.put_object(Bucket=BUCKET, Key=keys[-1], Body=b"a,b\n")
    consumed: dict[str, list[str]] = {}

    def are_taken() -> bool:
        runs = sorted(store.list_runs(DAG_ID), key=lambda run: run.run_after)
        for run in runs:
            if run.run_id not in consumed:
                consumed[run.run_id] = [event.extra["key"] for event in store.consumed_events(run.key)]
        return sum(map(len, consumed.values())) >= len(keys) and all(run.is_finished for run in runs)

    _await(are_taken, "the runs")
    taken = time.monotonic() - began
    events = Counter(event.extra["key"] for event in store.list_asset_events(source))
    assert events == Counter(keys), "an object has another number of events than one"
    assert Counter(key for of_run in consumed.values() for key in of_run) == events, "an event is not in one run"
    return Flood(objects, written, stored, taken, [len(of_run) for of_run in consumed.values()])


def _pause(stack: LocalStack, is_paused: bool) -> None:
    httpx.patch(f"{stack.url}/api/v2/dags/{DAG_ID}", json={"is_paused": is_paused}).raise_for_status()


def _await(is_there: Callable[[], Any], what: str) -> None:
    until = time.monotonic() + PATIENCE
    while not is_there():
        if time.monotonic() > until:
            raise TimeoutError(f"{what} did not come within {PATIENCE:.0f} s")
        time.sleep(1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benches.flood")
    parser.add_argument("--objects", type=int, default=1000)
    parser.add_argument("--paused", action="store_true")
    options = parser.parse_args()
    environment = {name: value for name, value in os.environ.items() if not re.match(r"AWS_|AIRFLOW|GUST|PYTEST", name)}
    with tempfile.TemporaryDirectory() as home:
        dags = Path(home) / "dags"
        dags.mkdir()
        (dags / "take_files.py").write_text(DAG)
        with running(root=ROOT, data=Path(home) / "data", dags=dags, workers=2, environment=environment) as stack:
            stop = threading.Event()
            keeper = threading.Thread(target=stack.run, args=(stop,))
            keeper.start()
            try:
                found = flood(stack, options.objects, paused=options.paused)
            finally:
                stop.set()
                keeper.join()
    print(*found.lines(), sep="\n")


if __name__ == "__main__":
    main()
