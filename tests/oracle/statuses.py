"""Records refusals of real Airflow that its contract does not declare: `python -m tests.oracle.statuses`.

schemathesis draws requests from the contract, the same that `tests/conformance/test_contract.py` draws and more, and
asks them of Airflow's API server (SQLite, thrown away) with one of each thing in it, which is put back after every change.
Gust gets the same requests, and differing answers are printed. Airflow's answers are written to
`tests/conformance/airflow_answers.json`, and `test_contract.py` allows no others.

`--examples`: of each operation, within the contract and as many beside it. `--only`: of operations with such names, to
add to what was recorded.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.core.transport import Response
from schemathesis.generation import GenerationMode
from schemathesis.transport.requests import REQUESTS_TRANSPORT

from tests.conformance.server import KNOWN, Server
from tests.environment import of_a_user
from tests.oracle.server import ROOT, START_TIMEOUT, end_group, free_port
from tests.unit.rest_api import contract
from tests.unit.rest_api.recorded.record import prepare

RECORDED: Final = ROOT / "tests" / "conformance" / "airflow_answers.json"
SEED: Final = 7

Kinds = Mapping[str, list[str]]
"""By status how its bodies are made: see `kind_of`."""


# --- Airflow ----------------------------------------------------------------------------------------------------------


class Airflow:
    """An API server, and the database to which it is put back."""

    def __init__(self, url: str, database: Path) -> None:
        self.url = url
        self._database = database
        self._kept = database.with_suffix(".kept")
        self.http = httpx.Client(base_url=url, timeout=60)
        self.http.headers["authorization"] = f"Bearer {self.call('GET', '/auth/token')['access_token']}"
        self.known = furnish(self)
        self._copy(self._database, self._kept)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.http.request(method, path, json=body)
        if answer.is_error:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json() if answer.content else None

    def change(self, *statements: str) -> None:
        """What no request can bring about."""
        with sqlite3.connect(self._database, timeout=30) as connection:
            for statement in statements:
                connection.execute(statement)

    def ask(self, statement: str) -> Any:
        with sqlite3.connect(self._database, timeout=30) as connection:
            return connection.execute(statement).fetchone()[0]

    def begin(self) -> None:
        """Have all be as it was at first."""
        self._copy(self._kept, self._database)

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        with sqlite3.connect(source, timeout=30) as one, sqlite3.connect(target, timeout=30) as other:
            one.backup(other)


@contextmanager
def airflow() -> Iterator[Airflow]:
    with tempfile.TemporaryDirectory(prefix="gust-statuses-") as place:
        home, port, before = Path(place), free_port(), dict(os.environ)
        (home / "dags").mkdir()
        (home / "dags" / "broken.py").write_text("from airflow.sdk import dag, nothing_of_the_kind\n")
        (home / "dags" / "uses_assets.py").write_text(USES_ASSETS)
        prepare(home, "etl.py")
        # `prepare` has set what this Airflow shall be.
        of_airflow = {name: value for name, value in os.environ.items() if name.startswith("AIRFLOW")}
        variables = of_a_user(**of_airflow, AIRFLOW__API__BASE_URL=f"http://127.0.0.1:{port}")
        os.environ.clear()
        os.environ.update(before)
        command = [sys.executable, "-m", "airflow", "api-server", "--host", "127.0.0.1", "--port", str(port)]
        with (home / "airflow.log").open("wb") as log:
            process = subprocess.Popen(
                [*command, "--workers", "1"], env=variables, stdout=log, stderr=log, start_new_session=True
            )
        try:
            await_answer(f"http://127.0.0.1:{port}/api/v2/version", process, home / "airflow.log")
            yield Airflow(f"http://127.0.0.1:{port}", home / "airflow.db")
        finally:
            end_group(process)


def await_answer(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(httpx.HTTPError):
            if httpx.get(url, timeout=10).status_code == 200:
                return
        time.sleep(0.5)
    raise RuntimeError(log.read_text(errors="replace")[-3000:])


USES_ASSETS: Final = """
from airflow.sdk import Asset, dag, task

orders = Asset(name="orders", uri="s3://lake/orders")

@dag(schedule=[orders])
def uses_assets():
    @task(inlets=[orders])
    def use():
        pass

    use()

uses_assets()
"""


def furnish(airflow: Airflow) -> dict[str, Any]:
    """One of each thing, as `tests.conformance.server` has it; what a path must say to name it."""
    runs = "/api/v2/dags/etl/dagRuns"
    one = f"{runs}/manual__1"
    body = {"dag_run_id": "manual__1", "logical_date": "2026-03-04T12:00:00Z", "conf": {"n": 3}}
    airflow.call("POST", runs, body)
    for task, state in (("extract", "success"), ("load", "failed")):
        airflow.call("PATCH", f"{one}/taskInstances/{task}", {"new_state": state})
    airflow.change("update task_instance set try_number = 1, start_date = '2026-03-04 12:00:00.000000'")
    airflow.change(
        "insert into hitl_detail (ti_id, options, subject, multiple, params, params_input, assignees, created_at) "
        "select id, '[\"yes\", \"no\"]', 'Go on?', 0, '{}', '{}', '[]', '2026-03-04 12:00:00.000000' "
        "from task_instance where task_id = 'extract'",
        "insert into dag_warning (dag_id, warning_type, message, timestamp) "
        "values ('etl', 'non-existent pool', 'no such pool', '2026-03-04 12:00:00.000000')",
    )
    asset = airflow.ask("select id from asset where name = 'orders'")
    for path, sent in {
        f"{one}/taskInstances/extract/xcomEntries": {"key": "return_value", "value": {"rows": [1, 2]}},
        "/api/v2/assets/events": {"asset_id": asset, "extra": {}},
        "/api/v2/backfills": {
            "dag_id": "etl", "from_date": "2026-02-01T00:00:00Z", "to_date": "2026-02-02T00:00:00Z",
        },
        "/api/v2/connections": {"connection_id": "warehouse", "conn_type": "postgres", "password": "p", "extra": "{}"},
        "/api/v2/variables": {"key": "color", "value": "green", "description": "of the door"},
        "/api/v2/pools": {"name": "slow", "slots": 2},
    }.items():  # fmt: skip
        airflow.call("POST", path, sent)
    for path in (f"{one}/taskInstances/extract", f"/api/v2/assets/{asset}"):
        airflow.call("PUT", f"{path}/state-store/cursor", {"value": 1})
    return {
        **KNOWN,
        "asset_id": asset,
        "backfill_id": airflow.ask("select max(id) from backfill"),
        "event_log_id": airflow.ask("select max(id) from log"),
        "import_error_id": airflow.ask("select max(id) from import_error"),
    }


# --- asking -----------------------------------------------------------------------------------------------------------


def kind_of(response: Response) -> str:
    """`list`: FastAPI's, of what is wrong in the request; `sentence` or `object`: what Airflow says itself; `none`."""
    if not response.content:
        return "none"
    try:
        body = response.json()
    except ValueError:
        return "text"
    detail = body.get("detail") if isinstance(body, dict) else None
    return {list: "list", str: "sentence", dict: "object"}.get(type(detail), "other")


DOCUMENTED: Final = {
    operation["operationId"]: set(operation["responses"])
    for file in (contract.FILE, contract.UI_FILE)
    for methods in contract.raw(file)["paths"].values()
    for operation in methods.values()
}


class Record:
    """What was answered, by operation, status and kind."""

    def __init__(self) -> None:
        self.seen: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
        self.differing: dict[str, Counter[str]] = defaultdict(Counter)

    def note(self, operation_id: str, theirs: Response, mine: Response, case: schemathesis.Case) -> None:
        status, kind = theirs.status_code, kind_of(theirs)
        self.seen[operation_id][str(status)][kind] += 1
        if mine.status_code != status:
            named = f"Airflow {status} {kind}, Gust {mine.status_code}"
            if not self.differing[operation_id][named]:
                print(f"{operation_id}: {named}\n    {told(case)}\n    {theirs.text[:200]}\n    {mine.text[:200]}")
            self.differing[operation_id][named] += 1

    def answers(self) -> dict[str, Any]:
        return {
            operation_id: {
                status: sorted(kinds)
                for status, kinds in sorted(statuses.items())
                if 400 <= int(status) < 500 or (int(status) < 400 and status not in DOCUMENTED[operation_id])
            }
            for operation_id, statuses in sorted(self.seen.items())
        }

    def failures(self) -> dict[str, int]:
        """How often Airflow itself failed, by operation."""
        return {name: sum(s["500"].values()) for name, s in sorted(self.seen.items()) if "500" in s}


def told(case: schemathesis.Case) -> str:
    body = repr(case.body)
    return f"{case.method} {case.formatted_path} {case.query or ''} {body[:300]}"


def look_at_what_exists(context: Any, strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Two of three requests are about what exists, whatever the server that is asked calls it: see `with_known`."""

    def choose(drawn: tuple[Any, int]) -> Any:
        parameters, which = drawn
        if not which or not isinstance(parameters, Mapping):
            return parameters
        return {name: MARK.format(name) if name in KNOWN else value for name, value in parameters.items()}

    return st.tuples(strategy, st.integers(0, 2)).map(choose)


MARK: Final = "gust-known-{}"
MARKED: Final = re.compile(r"gust-known-(\w+)")


def with_known(case: schemathesis.Case, known: Mapping[str, Any]) -> None:
    """Fill in what the server calls the thing that exists."""
    case.path_parameters = {
        name: known[found[1]] if isinstance(value, str) and (found := MARKED.fullmatch(value)) else value
        for name, value in (case.path_parameters or {}).items()
    }


def record(airflow: Airflow, options: argparse.Namespace) -> Record:
    seen = Record()
    for file in (contract.FILE, contract.UI_FILE):
        gust = Server(contract.raw(file))
        schema = schemathesis.openapi.from_wsgi("/openapi.json", gust)
        schema.hook("before_generate_path_parameters")(look_at_what_exists)
        for operation_id in sorted(contract.operations(file)):
            if not re.search(options.only, operation_id) or operation_id in NEVER:
                continue
            began = time.monotonic()
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                if mode is GenerationMode.POSITIVE or operation_id not in NOTHING_TO_GET_WRONG:
                    cases = schema.find_operation_by_id(operation_id).as_strategy(generation_mode=mode)
                    ask(cases, options.examples, partial(ask_both, airflow, gust, seen, operation_id))
            print(f"{operation_id} {time.monotonic() - began:.1f} s", flush=True)
    return seen


def ask(cases: st.SearchStrategy[schemathesis.Case], examples: int, of: Callable[[schemathesis.Case], None]) -> None:
    @seed(SEED)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(case=cases)
    def each(case: schemathesis.Case) -> None:
        of(case)

    each()


def ask_both(airflow: Airflow, gust: Server, seen: Record, operation_id: str, case: schemathesis.Case) -> None:
    marked = dict(case.path_parameters or {})
    with_known(case, airflow.known)
    try:
        airflow.change(*BEFORE.get(operation_id, ()))
        theirs = REQUESTS_TRANSPORT.send(case, base_url=airflow.url, timeout=60)  # `case.call` would ask Gust
    finally:
        if case.method.upper() != "GET" or operation_id in BEFORE:
            airflow.begin()
    case.path_parameters = marked
    with_known(case, KNOWN)
    gust.begin()
    seen.note(operation_id, theirs, case.call(), case)


BEFORE: Final = {"wait_dag_run_until_finished": ("update dag_run set state = 'failed'",)}
"""What is changed first, lest the answer take for ever."""

NEVER: Final = frozenset({"hook_meta_data"})
"""Answered with a file of the layer."""

NOTHING_TO_GET_WRONG: Final = frozenset({"get_health", "get_version"})


def beside(before: dict[str, Any], seen: dict[str, Any]) -> dict[str, Any]:
    """What was recorded before, and what was seen now."""
    answers: dict[str, dict[str, list[str]]] = before["answers"]
    for operation_id, statuses in seen["answers"].items():
        kept = answers.setdefault(operation_id, {})
        for status, kinds in statuses.items():
            kept[status] = sorted({*kinds, *kept.get(status, ())})
    return {**before, "answers": answers, "fails": before["fails"] | seen["fails"]}


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m tests.oracle.statuses", description=__doc__)
    arguments.add_argument("--examples", type=int, default=12)
    arguments.add_argument("--only", default="")
    options = arguments.parse_args()
    logging.disable(logging.INFO)
    with airflow() as real:
        seen = record(real, options)
    about = {"examples": options.examples, "seed": SEED, "airflow": "3.3.2"}
    whole = {"about": about, "answers": seen.answers(), "fails": seen.failures()}
    if options.only:
        whole = beside(json.loads(RECORDED.read_text()), whole)
    RECORDED.write_text(json.dumps(whole, indent=1, sort_keys=True) + "\n")
    for operation_id, named in sorted(seen.differing.items()):
        print(operation_id, dict(named))


if __name__ == "__main__":
    main()
