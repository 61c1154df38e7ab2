"""Measures the API's lists over a long history: `./gust bench --only api`, or `python -m benches.api`.

The `api` function's own handler runs in this process against the emulator's DynamoDB and S3 in another, so that the bench
measures the function's time, without API Gateway, Lambda and the network. It computes read units from DynamoDB's answers
(`meter.consumed`).
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
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, Final

import boto3
from botocore.config import Config

from benches.api_emulator import FILL
from benches.beside import put_beside
from benches.history import (
    NEWEST,
    Size,
    asset_of,
    dag_id_of,
    run_ids_of,
    serialized_key_of,
    serialized_of,
    spec_key_of,
    spec_of,
)
from benches.meter import consumed
from gust.aws import clients
from gust.aws.cipher import FernetCipher
from gust.aws.memory import MemoryQueues
from gust.aws.objects import S3Objects
from gust.aws.tokens import JwtTokens
from gust.model.asset import number_of
from gust.ports.clock import ManualClock
from gust.rest_api.access.auth import ALL_ADMINS, Authenticator
from gust.rest_api.app import build
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
    """Seconds at the 95th percentile; `None`: measured without a target."""
    may_be_empty: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    call: Call
    seconds: tuple[float, ...]
    own: float
    """Processor seconds of a call in this process: everything except the emulator's part."""
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
        has_rows = self.rows > 0 or self.call.may_be_empty
        return self.status == 200 and has_rows and (self.call.target is None or self.p95 <= self.call.target)


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
        calls, units, own = self.units.calls, self.units.units, time.process_time()
        answer: dict[str, Any] = {}
        for _ in range(times):
            started = time.perf_counter()
            answer = self.handler(_event(call), None)
            seconds.append(time.perf_counter() - started)
        return Measured(
            call,
            tuple(seconds),
            (time.process_time() - own) / times,
            (self.units.units - units) / times,
            round((self.units.calls - calls) / times),
            answer["statusCode"],
            _rows(answer),
        )


def calls(size: Size) -> list[Call]:
    """Every list of the REST API and of the web UI, as the UI and the clients request it; lists that grow with the history
    also with rare orders and filters. A test compares them with the contract."""
    return [
        *_of_dags(size),
        *_of_runs(size),
        *_of_instances(size),
        *_of_assets(size),
        *_of_the_rest(size),
        *_of_ui(size),
    ]


V2: Final = "/api/v2"
DAY_AGO: Final = (NEWEST - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
TOMORROW: Final = (NEWEST + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
BUSY: Final = dag_id_of(0)


def newest_run(size: Size, number: int) -> str:
    return next(run_ids_of(size, number)).run_id.replace("+", "%2B")


def _of_dags(size: Size) -> list[Call]:
    one = dag_id_of(size.dags // 2)
    return [
        Call("DAGs", f"{V2}/dags"),
        Call("DAGs, last run failed", f"{V2}/dags?last_dag_run_state=failed"),
        Call("DAGs by last start", f"{V2}/dags?order_by=-last_run_start_date"),
        Call("DAG tags", f"{V2}/dagTags"),
        Call("DAG stats", f"{V2}/dagStats"),
        Call("versions of all DAGs", f"{V2}/dags/~/dagVersions"),
        Call("versions of a DAG", f"{V2}/dags/{one}/dagVersions"),
        Call("tasks of a DAG", f"{V2}/dags/{one}/tasks"),
        Call("DAG warnings", f"{V2}/dagWarnings"),
        Call("import errors", f"{V2}/importErrors"),
    ]


def _of_runs(size: Size) -> list[Call]:
    one, all_runs = dag_id_of(size.dags // 2), f"{V2}/dags/~/dagRuns"
    return [
        Call("runs of all DAGs, as the UI asks", f"{all_runs}?order_by=-run_after&cursor="),
        Call("… the page after", f"{all_runs}?order_by=-run_after&cursor=%NEXT%"),
        Call("… by offset", f"{all_runs}?order_by=-run_after&offset=100"),
        Call("… as clients ask (by id)", all_runs),
        Call("… failed", f"{all_runs}?state=failed&order_by=-run_after&limit=50"),
        Call("… running", f"{all_runs}?state=running&state=queued&order_by=-run_after"),
        Call("… of the last day", f"{all_runs}?order_by=-run_after&run_after_gte={DAY_AGO}"),
        Call("… of DAGs by pattern", f"{all_runs}?order_by=-run_after&cursor=&dag_id_pattern=dag_07"),
        Call("… by start", f"{all_runs}?order_by=-start_date&limit=50"),
        Call("… in a batch", f"{all_runs}/list", {"page_limit": 100, "order_by": "-run_after"}),
        Call("runs of a DAG", f"{V2}/dags/{one}/dagRuns?order_by=-run_after&cursor="),
        Call("runs of a DAG with thousands", f"{V2}/dags/{BUSY}/dagRuns?order_by=-run_after&cursor="),
        Call("… by id, its 1,000th", f"{V2}/dags/{BUSY}/dagRuns?offset=1000"),
        Call("… failed", f"{V2}/dags/{BUSY}/dagRuns?state=failed&order_by=-run_after"),
        Call("… by end", f"{V2}/dags/{BUSY}/dagRuns?order_by=-end_date"),
    ]


def _of_instances(size: Size) -> list[Call]:
    one, number = dag_id_of(size.dags // 2), size.dags // 2
    of_run = f"{V2}/dags/{one}/dagRuns/{newest_run(size, number)}/taskInstances"
    of_mapped = f"{V2}/dags/{dag_id_of(size.dags - 1)}/dagRuns/{newest_run(size, size.dags - 1)}/taskInstances/mapped"
    all_instances, all_xcoms = f"{V2}/dags/~/dagRuns/~/taskInstances", "taskInstances/~/xcomEntries"
    questions = f"{V2}/dags/~/dagRuns/~/hitlDetails"
    return [
        Call("task instances of a run", of_run),
        Call("task instances of a DAG", f"{V2}/dags/{BUSY}/dagRuns/~/taskInstances?order_by=-run_after&cursor="),
        Call("task instances of all, as the UI asks", f"{all_instances}?order_by=-run_after&cursor="),
        Call("… as clients ask (by map index)", all_instances),
        Call("… failed", f"{all_instances}?state=failed&order_by=-run_after"),
        Call("… failed in the last day", f"{all_instances}?state=failed&order_by=-run_after&run_after_gte={DAY_AGO}"),
        Call("… running", f"{all_instances}?state=running"),
        Call("… of one task id", f"{all_instances}?order_by=-run_after&cursor=&task_id=task_3"),
        Call("… by start", f"{all_instances}?order_by=-start_date"),
        Call("… in a batch", f"{all_instances}/list", {"page_limit": 100, "state": ["failed"], "order_by": "-id"}),
        Call("mapped task instances", f"{of_mapped}/listMapped"),
        Call("tries of a task instance", f"{of_run}/task_3/tries"),
        Call("tries of a mapped one", f"{of_mapped}/3/tries"),
        Call("extra links of a task instance", f"{of_run}/task_3/links"),
        Call("state store of a task instance", f"{of_run}/task_3/state-store"),
        Call("XComs of all", f"{V2}/dags/~/dagRuns/~/{all_xcoms}"),
        Call("XComs of a DAG", f"{V2}/dags/{BUSY}/dagRuns/~/{all_xcoms}"),
        Call("questions to people, as the UI asks", f"{questions}?response_received=false&state=awaiting_input"),
        Call("… all, as clients ask", questions),
        Call("… answered, the newest", f"{questions}?response_received=true&order_by=-created_at"),
        Call("… of a DAG", f"{V2}/dags/{dag_id_of(3)}/dagRuns/~/hitlDetails"),
        Call("… by who answered", f"{questions}?order_by=responded_by_user_name"),
    ]


def _of_assets(size: Size) -> list[Call]:
    number = size.dags // 2 // 5 * 5
    maker, taker, event = dag_id_of(number), dag_id_of(number + 1), f"{V2}/assets/events"
    asset_id, busy_id = (number_of(*asset_of(n).key) for n in (number, 0))
    return [
        Call("assets", f"{V2}/assets"),
        Call("asset aliases", f"{V2}/assets/aliases"),
        Call("events of assets, as the UI asks", f"{event}?order_by=-timestamp&limit=6&timestamp_gte={DAY_AGO}"),
        Call("… as clients ask (the oldest first)", event),
        Call("… of an asset with thousands", f"{event}?asset_id={busy_id}&order_by=-timestamp"),
        Call("… of a DAG", f"{event}?source_dag_id={maker}&order_by=-timestamp&limit=6&timestamp_gte={DAY_AGO}"),
        Call("… of a run", f"{event}?source_dag_id={maker}&source_run_id={newest_run(size, number)}"),
        Call("… by name", f"{event}?name_pattern=asset_01&order_by=-timestamp"),
        Call("… by task", f"{event}?order_by=source_task_id"),
        Call("events that made a run", f"{V2}/dags/{taker}/dagRuns/{newest_run(size, number + 1)}/upstreamAssetEvents"),
        Call("events that wait for a DAG", f"{V2}/dags/{dag_id_of(number + 1)}/assets/queuedEvents"),
        Call("events that wait, of an asset", f"{V2}/assets/{asset_id}/queuedEvents"),
        Call("state store of an asset", f"{V2}/assets/{busy_id}/state-store"),
    ]


def _of_the_rest(size: Size) -> list[Call]:
    one, log = dag_id_of(size.dags // 2), f"{V2}/eventLogs"
    return [
        Call("event log, as the UI asks", f"{log}?order_by=-when"),
        Call("… as clients ask", log),
        Call("… of a DAG", f"{log}?order_by=-when&dag_id={one}"),
        Call("… of a user", f"{log}?order_by=-when&owner=user_7"),
        Call("… of users by pattern", f"{log}?order_by=-when&owner_pattern=ser_4"),
        Call("… of one kind", f"{log}?order_by=-when&event=trigger_dag_run"),
        Call("… by owner", f"{log}?order_by=owner"),
        Call("backfills of a DAG", f"{V2}/backfills?dag_id={dag_id_of(1)}"),
        Call("variables", f"{V2}/variables"),
        Call("connections", f"{V2}/connections"),
        Call("pools", f"{V2}/pools"),
        Call("jobs", f"{V2}/jobs", may_be_empty=True),
    ]


def _of_ui(size: Size) -> list[Call]:
    one, number = dag_id_of(size.dags // 2), size.dags // 2
    run_id, partitions = newest_run(size, number), dag_id_of(6)
    runs = "&".join(f"run_ids={key.run_id}".replace("+", "%2B") for key in islice(run_ids_of(size, number), 25))
    window = f"start_date={DAY_AGO}&end_date={TOMORROW}"
    return [
        Call("UI: DAGs with their runs", "/ui/dags?dag_runs_limit=14", target=DAGS_TARGET),
        Call("UI: DAGs, last run failed", "/ui/dags?dag_runs_limit=14&last_dag_run_state=failed", target=DAGS_TARGET),
        Call("UI: DAGs with a failed run", "/ui/dags?dag_runs_limit=14&dag_run_state=failed", target=DAGS_TARGET),
        Call("UI: DAGs with questions", "/ui/dags?dag_runs_limit=14&has_pending_actions=true", target=DAGS_TARGET),
        Call("UI: last run of a DAG", f"/ui/dags/{BUSY}/latest_run"),
        Call("UI: numbers of the home page", f"/ui/dashboard/historical_metrics_data?{window}"),
        Call("UI: DAG numbers of the home page", "/ui/dashboard/dag_stats"),
        Call("UI: grid's structure", f"/ui/grid/structure/{BUSY}?limit=25&order_by=-run_after"),
        Call("UI: grid's runs", f"/ui/grid/runs/{BUSY}?limit=25&order_by=-run_after"),
        Call("UI: grid's runs, with deadlines", f"/ui/grid/runs/{dag_id_of(2)}?limit=25&order_by=-run_after"),
        Call("UI: grid's squares of 25 runs", f"/ui/grid/ti_summaries/{one}?{runs}"),
        Call("UI: numbers of a run", f"/ui/dags/{one}/dagRuns/{run_id}/stats"),
        Call("UI: Gantt chart", f"/ui/gantt/{one}/{run_id}"),
        Call("UI: graph of a DAG", f"/ui/structure/structure_data?dag_id={one}"),
        Call("UI: … with what it depends on", f"/ui/structure/structure_data?dag_id={one}&external_dependencies=true"),
        Call("UI: graph of all DAGs", "/ui/dependencies"),
        Call("UI: calendar of a year", f"/ui/calendar/{one}?logical_date_gte=2026-01-01T00:00:00Z"),
        Call("UI: … of a DAG with thousands", f"/ui/calendar/{BUSY}?logical_date_gte=2026-01-01T00:00:00Z"),
        Call("UI: backfills", "/ui/backfills"),
        Call("UI: active backfills", "/ui/backfills?active=true"),
        Call("UI: deadlines missed", "/ui/dags/~/dagRuns/~/deadlines?missed=true&order_by=-deadline_time&limit=10"),
        Call("UI: deadlines to come", f"/ui/dags/~/dagRuns/~/deadlines?missed=false&deadline_time_gte={DAY_AGO}"),
        Call("UI: deadlines, as clients ask", "/ui/dags/~/dagRuns/~/deadlines"),
        Call("UI: deadlines of a DAG", f"/ui/dags/{dag_id_of(2)}/dagRuns/~/deadlines"),
        Call("UI: deadline alerts of a DAG", f"/ui/dags/{dag_id_of(2)}/deadlineAlerts"),
        Call("UI: assets of a DAG's next run", f"/ui/next_run_assets/{dag_id_of(number // 5 * 5 + 1)}"),
        Call("UI: partitions that wait", "/ui/partitioned_dag_runs?has_created_dag_run_id=false"),
        Call("UI: partitions", "/ui/partitioned_dag_runs"),
        Call("UI: partitions of a DAG", f"/ui/partitioned_dag_runs?dag_id={partitions}"),
        Call("UI: a partition", f"/ui/pending_partitioned_dag_run/{partitions}?partition_key=key_3"),
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
    config = clients.CONFIG.merge(Config(user_agent=clients.user_agent("")))
    dynamodb, s3 = (session.client(service, endpoint_url=endpoint, config=config) for service in ("dynamodb", "s3"))
    dynamodb.create_table(TableName=TABLE, **_NO_STREAM)
    s3.create_bucket(Bucket="gust")
    objects = S3Objects("gust", s3)
    for number in range(size.dags):
        objects.put(spec_key_of(number), spec_of(number, size).model_dump_json().encode())
        objects.put(serialized_key_of(number), json.dumps(serialized_of(number)).encode())
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
        cipher=FernetCipher(lambda: "a key of the bench"),
    )
    put_beside(services, size)
    units.calls, units.units = 0, 0.0
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
        f" {found.own * 1000:5.0f} ours {found.read_units:7.1f} RRU {found.calls:4d} calls {found.rows:4d} rows{verdict}"
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


def _text(answer: dict[str, Any]) -> str:
    text = answer.get("body") or "null"
    return gzip.decompress(base64.b64decode(text)).decode() if answer.get("isBase64Encoded") else text


def _json(answer: dict[str, Any]) -> Any:
    return json.loads(_text(answer))


def _rows(answer: dict[str, Any]) -> int:
    if answer["statusCode"] != 200:
        return 0
    if "ndjson" in str(answer.get("headers")):
        return len(_text(answer).splitlines())
    found = _json(answer)
    lists = [value for value in found.values() if isinstance(value, list)] if isinstance(found, dict) else [found or []]
    return max(map(len, lists), default=1)


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
        "own_ms": round(found.own * 1000, 1),
        "read_units": round(found.read_units, 1),
        "calls": found.calls,
        "rows": found.rows,
        "met": found.met,
    }


if __name__ == "__main__":
    sys.exit(main())
