"""What the lists of the API take over a long history: `./gust bench --only api`, or `python -m benches.api`.

The `api` function's own handler runs in this process against the emulator's DynamoDB and S3 in another, so that what is
measured is the function's time, without API Gateway, Lambda and the way there. Read units are worked out from what
DynamoDB answered (`meter.consumed`).
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import gzip
import json
import logging
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any, Final

import boto3
from botocore.config import Config

from benches.api_emulator import FILL
from benches.history import NEWEST, Size, dag_id_of, spec_key_of, spec_of
from benches.meter import consumed
from gust.aws.cipher import FernetCipher
from gust.aws.memory import MemoryQueues
from gust.aws.objects import S3Objects
from gust.aws.tokens import JwtTokens
from gust.rest_api.app import build
from gust.rest_api.auth import ALL_ADMINS, Authenticator
from gust.services.clock import ManualClock
from gust.services.context import Services
from gust.store.dynamodb import DynamoDBStore
from gust.store.keyspace import TABLE_DEFINITION

LIST_TARGET: Final = 0.3
"""Seconds, of a page of any list."""
DAGS_TARGET: Final = 1.0
"""Seconds, of `/ui/dags`."""
TABLE: Final = "gust"
_NO_STREAM: Final = {name: value for name, value in TABLE_DEFINITION.items() if name != "StreamSpecification"}
_PATIENCE: Final = 60.0

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Call:
    title: str
    path: str
    body: Any = None
    target: float | None = LIST_TARGET
    """Seconds at the 95th percentile; `None`: measured, and held to nothing."""


@dataclass(frozen=True, slots=True)
class Measured:
    call: Call
    seconds: tuple[float, ...]
    read_units: float
    calls: int
    status: int
    rows: int

    @property
    def p50(self) -> float:
        return median(self.seconds)

    @property
    def p95(self) -> float:
        return sorted(self.seconds)[max(0, -(-len(self.seconds) * 95 // 100) - 1)]

    @property
    def met(self) -> bool:
        return self.status == 200 and self.rows > 0 and (self.call.target is None or self.p95 <= self.call.target)


@dataclass
class ReadUnits:
    """A DynamoDB client that counts what its reads cost."""

    client: Any
    calls: int = 0
    units: float = 0.0

    def __getattr__(self, operation: str) -> Any:
        made = getattr(self.client, operation)
        if operation == "meta":
            return made
        name = "".join(part.capitalize() for part in operation.split("_"))

        def counted(**arguments: Any) -> Any:
            answer = made(**arguments)
            self.calls += 1
            if arguments.get("Select") == "COUNT":
                self.units += answer["Count"] * _COUNTED_ITEM / 4096 / 2
            else:
                self.units += consumed(name, arguments, 200, answer)[0]
            return answer

        return counted


_COUNTED_ITEM: Final = 250
"""Bytes, about, of a logged event: the only items that are counted without being answered."""


@dataclass
class Bench:
    handler: Handler
    units: ReadUnits
    measured: list[Measured] = field(default_factory=list)

    def measure(self, call: Call, times: int) -> Measured:
        self.handler(_event(call), None)  # what a warm function has read already
        seconds = []
        calls, units = self.units.calls, self.units.units
        answer: dict[str, Any] = {}
        for _ in range(times):
            started = time.perf_counter()
            answer = self.handler(_event(call), None)
            seconds.append(time.perf_counter() - started)
        return Measured(
            call,
            tuple(seconds),
            (self.units.units - units) / times,
            round((self.units.calls - calls) / times),
            answer["statusCode"],
            _rows(answer),
        )


def calls(size: Size) -> list[Call]:
    """Every list that grows with the history, as the web UI and the clients ask for it, and some as nobody does."""
    v2, one, busy = "/api/v2", dag_id_of(size.dags // 2), dag_id_of(0)
    day_ago = (NEWEST - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    run = f"scheduled__{(NEWEST + timedelta(minutes=size.dags // 2)).isoformat()}".replace("+", "%2B")
    all_runs, all_instances = f"{v2}/dags/~/dagRuns", f"{v2}/dags/~/dagRuns/~/taskInstances"
    window = f"start_date={day_ago}&end_date={(NEWEST + timedelta(days=1)).strftime('%Y-%m-%dT%H:%M:%SZ')}"
    return [
        Call("DAGs", f"{v2}/dags"),
        Call("DAGs, last run failed", f"{v2}/dags?last_dag_run_state=failed"),
        Call("DAGs by last start", f"{v2}/dags?order_by=-last_run_start_date"),
        Call("DAG tags", f"{v2}/dagTags"),
        Call("DAG stats", f"{v2}/dagStats"),
        Call("versions of all DAGs", f"{v2}/dags/~/dagVersions"),
        Call("versions of a DAG", f"{v2}/dags/{one}/dagVersions"),
        Call("runs of all DAGs, as the UI asks", f"{all_runs}?order_by=-run_after&cursor="),
        Call("… the page after", f"{all_runs}?order_by=-run_after&cursor=%NEXT%"),
        Call("… by offset", f"{all_runs}?order_by=-run_after&offset=100"),
        Call("… as clients ask (by id)", all_runs),
        Call("… failed", f"{all_runs}?state=failed&order_by=-run_after&limit=50"),
        Call("… running", f"{all_runs}?state=running&state=queued&order_by=-run_after"),
        Call("… of the last day", f"{all_runs}?order_by=-run_after&run_after_gte={day_ago}"),
        Call("… of DAGs by pattern", f"{all_runs}?order_by=-run_after&cursor=&dag_id_pattern=dag_07"),
        Call("… by start", f"{all_runs}?order_by=-start_date&limit=50"),
        Call("… in a batch", f"{all_runs}/list", {"page_limit": 100, "order_by": "-run_after"}),
        Call("runs of a DAG", f"{v2}/dags/{one}/dagRuns?order_by=-run_after&cursor="),
        Call("runs of a DAG with thousands", f"{v2}/dags/{busy}/dagRuns?order_by=-run_after&cursor="),
        Call("… by id, its 1,000th", f"{v2}/dags/{busy}/dagRuns?offset=1000"),
        Call("… failed", f"{v2}/dags/{busy}/dagRuns?state=failed&order_by=-run_after"),
        Call("… by end", f"{v2}/dags/{busy}/dagRuns?order_by=-end_date"),
        Call("task instances of a run", f"{v2}/dags/{one}/dagRuns/{run}/taskInstances"),
        Call("task instances of a DAG", f"{v2}/dags/{busy}/dagRuns/~/taskInstances?order_by=-run_after&cursor="),
        Call("task instances of all, as the UI asks", f"{all_instances}?order_by=-run_after&cursor="),
        Call("… as clients ask (by map index)", all_instances),
        Call("… failed", f"{all_instances}?state=failed&order_by=-run_after"),
        Call("… failed in the last day", f"{all_instances}?state=failed&order_by=-run_after&run_after_gte={day_ago}"),
        Call("… running", f"{all_instances}?state=running"),
        Call("… of one task id", f"{all_instances}?order_by=-run_after&cursor=&task_id=task_3"),
        Call("… by start", f"{all_instances}?order_by=-start_date"),
        Call("… in a batch", f"{all_instances}/list", {"page_limit": 100, "state": ["failed"], "order_by": "-id"}),
        Call("XComs of all", f"{v2}/dags/~/dagRuns/~/taskInstances/~/xcomEntries"),
        Call("XComs of a DAG", f"{v2}/dags/{busy}/dagRuns/~/taskInstances/~/xcomEntries"),
        Call("event log", f"{v2}/eventLogs?order_by=-when"),
        Call("event log of a DAG", f"{v2}/eventLogs?order_by=-when&dag_id={one}"),
        Call("UI: DAGs with their runs", "/ui/dags?dag_runs_limit=14", target=DAGS_TARGET),
        Call("UI: DAGs, last run failed", "/ui/dags?dag_runs_limit=14&last_dag_run_state=failed", target=DAGS_TARGET),
        Call("UI: numbers of the home page", f"/ui/dashboard/historical_metrics_data?{window}"),
        Call("UI: DAG numbers of the home page", "/ui/dashboard/dag_stats"),
        Call("UI: grid's runs", f"/ui/grid/runs/{busy}?limit=25&order_by=-run_after"),
        Call("UI: calendar of a year", f"/ui/calendar/{one}?logical_date_gte=2026-01-01T00:00:00Z"),
    ]


def run(size: Size, *, times: int, say: Callable[[str], None], only: str = "") -> list[Measured]:
    with emulator(size) as endpoint:
        bench = prepared(endpoint, size, say)
        measured = []
        for call in calls(size):
            if only not in call.title:
                continue
            if "%NEXT%" in call.path:
                before = bench.handler(_event(Call("", call.path.replace("%NEXT%", ""))), None)
                call = Call(call.title, call.path.replace("%NEXT%", _json(before)["next_cursor"]))  # noqa: PLW2901
            measured.append(found := bench.measure(call, times))
            say(line(found))
        return measured


def prepared(endpoint: str, size: Size, say: Callable[[str], None]) -> Bench:
    session: Any = boto3.Session("test", "test", region_name="us-east-1")
    config = Config(max_pool_connections=64)
    dynamodb, s3 = (session.client(service, endpoint_url=endpoint, config=config) for service in ("dynamodb", "s3"))
    dynamodb.create_table(TableName=TABLE, **_NO_STREAM)
    s3.create_bucket(Bucket="gust")
    objects = S3Objects("gust", s3)
    for number in range(size.dags):
        objects.put(spec_key_of(number), spec_of(number).model_dump_json().encode())
    with urllib.request.urlopen(urllib.request.Request(endpoint + FILL, method="POST"), timeout=1200) as answer:  # noqa: S310
        told = json.load(answer)
    say(f"{told['items']:,} items in {told['seconds']:.0f} s; the emulator takes {told['peak_mb']:,.0f} MB")
    units = ReadUnits(dynamodb)
    services = Services(
        store=DynamoDBStore(TABLE, units, objects),
        objects=objects,
        queues=MemoryQueues(),
        tokens=JwtTokens(lambda: "a key that signs nothing here, of thirty-two bytes"),
        clock=ManualClock(NEWEST + timedelta(hours=23)),
        logs=None,  # type: ignore[arg-type]  # no list reads logs
        cipher=FernetCipher(lambda: ""),
    )
    return Bench(build(services, Authenticator(ALL_ADMINS)), units)


@contextlib.contextmanager
def emulator(size: Size) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = ["--port", port, "--dags", size.dags, "--runs", size.runs]
    process = subprocess.Popen(
        [sys.executable, "-m", "benches.api_emulator", *map(str, arguments)], stdin=subprocess.PIPE
    )
    try:
        _await(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def line(found: Measured) -> str:
    target = "" if found.call.target is None else f"≤ {found.call.target * 1000:.0f}"
    verdict = "" if found.met else "  MISSED" if found.status == 200 else f"  {found.status}"
    return (
        f"{found.call.title:<40} {found.p50 * 1000:6.0f} {found.p95 * 1000:6.0f} ms {target:>7}"
        f" {found.read_units:7.1f} RRU {found.calls:4d} calls {found.rows:4d} rows{verdict}"
    )


def _event(call: Call) -> dict[str, Any]:
    path, _, query = call.path.partition("?")
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path.replace("%2B", "+"),
        "rawQueryString": query,
        "headers": {"accept": "*/*", "host": "localhost", "content-type": "application/json"},
        "requestContext": {
            "stage": "$default",
            "http": {
                "method": "GET" if call.body is None else "POST",
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
            },
        },
        "isBase64Encoded": False,
    }
    return event if call.body is None else event | {"body": json.dumps(call.body)}


def _json(answer: dict[str, Any]) -> Any:
    text = answer.get("body") or "null"
    return json.loads(gzip.decompress(base64.b64decode(text)) if answer.get("isBase64Encoded") else text)


def _rows(answer: dict[str, Any]) -> int:
    found = _json(answer) if answer["statusCode"] == 200 else None
    lists = [value for value in found.values() if isinstance(value, list)] if isinstance(found, dict) else [found or []]
    return len(lists[0]) if lists else 1


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("the emulator did not start")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benches.api", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    parser.add_argument("--dags", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=100_000, help="each has ten task instances")
    parser.add_argument("--calls", type=int, default=30, help="of each list (default 30)")
    parser.add_argument("--list", default="", help="only lists whose title holds this")
    parser.add_argument("--out", type=Path, help="write the results as JSON")
    options = parser.parse_args(arguments)
    logging.disable(logging.INFO)
    size = Size(options.dags, options.runs)
    print(f"{size.dags:,} DAGs, {size.runs:,} runs, {size.instances:,} task instances", flush=True)
    measured = run(size, times=options.calls, say=lambda text: print(text, flush=True), only=options.list)
    if options.out:
        options.out.write_text(json.dumps([_as_json(found) for found in measured], indent=1) + "\n")
    missed = [found for found in measured if not found.met]
    print(f"{len(measured) - len(missed)} of {len(measured)} met")
    return 1 if options.check and missed else 0


def _as_json(found: Measured) -> dict[str, Any]:
    return {
        "title": found.call.title,
        "path": found.call.path,
        "p50_ms": round(found.p50 * 1000, 1),
        "p95_ms": round(found.p95 * 1000, 1),
        "read_units": round(found.read_units, 1),
        "calls": found.calls,
        "rows": found.rows,
        "met": found.met,
    }


if __name__ == "__main__":
    sys.exit(main())
