"""Whole logs of tries: real Airflow's log for each way in which a try ends, line by line.

`./gust record-golden --only logs` records them in `tests/system/golden/logs.json`; `tests/system/test_logs.py` runs the same
DAGs on the local stack and compares. A log is compared whole: which lines, in which order, in which groups, by which logger,
at which level, with which fields and tracebacks. Only what cannot be the same twice is replaced by a name: times, ids,
process ids, durations, and where files lie.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from tests.oracle.drive import ApiClient, Plan, all_dag_ids, await_dags, import_errors, instance_name, run_all, run_path
from tests.oracle.features import mark
from tests.oracle.server import ROOT, real_airflow

DAGS: Final = ROOT / "tests" / "system" / "log_dags"
GOLDEN: Final = ROOT / "tests" / "system" / "golden" / "logs.json"

STEPS: Final = {"log_of_a_marked_one": (replace(mark("marked", "failed", when=("marked", "running")), after=4.0),)}
"""dag_id → what a person does to its run."""

AS_ON_A_WORKER: Final = {
    # A bundle is whole: Gust does not come again to look whether a DAG is there now.
    "AIRFLOW__WORKERS__MISSING_DAG_RETRIES": "0",
}

PATIENCE: Final = 40.0
"""Seconds until a log that has an end must show it."""

Line = dict[str, Any]


def prepare(dags: Path) -> None:
    """Fill the folder `dags` with the files whose tasks' logs are compared."""
    shutil.copytree(DAGS, dags, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))


def logs_of(client: ApiClient, dags: Path, wanted: str = "") -> dict[str, list[Line]]:
    """Run every DAG once, or those whose ids match. By `dag_id/task_id[map_index] try`: the lines of that try's log,
    comparable."""
    ids = [dag_id for dag_id in all_dag_ids(client) if re.search(wanted, dag_id)]
    run_all(client, Plan(batches=(tuple(ids),), steps=STEPS, at_once=3, timeout=600), say=print)
    found = {}
    for dag_id in ids:
        for row in client.pages(f"{run_path(dag_id)}/taskInstances", "task_instances"):
            for number in range(min(1, row["try_number"]), row["try_number"] + 1):
                lines = whole_log(client, row, number)
                found[f"{dag_id}/{instance_name(row)} {number}"] = [comparable(line, dags) for line in lines]
    return found


def whole_log(client: ApiClient, row: Mapping[str, Any], number: int) -> list[Line]:
    """The log of one try, once it is whole."""
    path = f"{run_path(row['dag_id'])}/taskInstances/{quote(row['task_id'])}/logs/{number}"
    deadline = time.monotonic() + PATIENCE
    lines: list[Line] = []
    token = None
    while True:
        query = {"map_index": row["map_index"], "full_content": True} | ({"token": token} if token else {})
        answer = client.call("GET", path, query=query)
        lines += answer["content"]
        token = answer["continuation_token"]
        if token is None:
            return lines
        if time.monotonic() > deadline:
            raise TimeoutError(f"{path} has no end")
        time.sleep(0.5)


# --- what cannot be the same twice ------------------------------------------------------------------------------------

_PATTERNS: Final = (
    (re.compile(r"/\S*/gust-bundles[^/]*/[0-9a-f]{64}"), "<dags>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?"), "<time>"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<hash>"),
    (re.compile(r"unusual_prefix_[0-9a-f]+_"), "unusual_prefix_<hash>_"),
    (re.compile(r"/\S*/site-packages/"), "<packages>/"),
    (re.compile(r"/\S*/lib/python3\.\d+/"), "<python>/"),
    (re.compile(rf"{re.escape(tempfile.gettempdir())}/[^\s'\"]*?(?=[/'\"\s]|$)"), "<tmp>"),
    (re.compile(r"\b0x[0-9a-f]+"), "<address>"),
    (re.compile(r"(?<=PID: )\d+"), "<number>"),
    (re.compile(r"(?<=Tmp dir root location: )\S+"), "<tmp>"),
    (re.compile(r"(?<=version=)(None|'<hash>')"), "<version>"),
    (re.compile(r"\b\d+\.\d+ ?(s|seconds)\b"), "<seconds>"),
)

_NAMED: Final = {
    "pid": "<number>",
    "bundle_prepare_ms": "<number>",
    "dag_file_parse_ms": "<number>",
    "bundle_version": "<version>",
    "ti": "<instance>",
}
"""Fields whose values are replaced. An instance shows its ids, its host and its bundle."""


def comparable(line: Line, dags: Path) -> Line:
    """The line with names in place of what differs from run to run; when it was written is left out."""
    return {
        name: _NAMED.get(name) or _comparable(value, dags)
        for name, value in sorted(line.items())
        if name != "timestamp"
    }


def _comparable(value: Any, dags: Path) -> Any:
    match value:
        case str():
            value = value.replace(str(dags.resolve()), "<dags>")
            for pattern, name in _PATTERNS:
                value = pattern.sub(name, value)
            return value
        case list():
            return [_comparable(each, dags) for each in value]
        case {"filename": str(), "lineno": int(), "name": str()}:
            frame = {name: _comparable(each, dags) for name, each in value.items()}
            return frame | ({"lineno": 0} if frame["filename"].startswith("<python>") else {})
        case dict():
            return {name: _comparable(each, dags) for name, each in value.items()}
        case _:
            return value


# --- where Gust differs -----------------------------------------------------------------------------------------------

DIFFERENCES: Final[dict[str, Callable[[Line], bool]]] = {
    "where the lines lie": lambda line: "logger" not in line and "filename" not in line and "::" not in line["event"],
    "what the control plane knows of the try's end": lambda line: line.get("logger") == "gust",
    "warnings of providers' modules, which a worker of Gust imports once": lambda line: (
        line.get("logger") == "py.warnings" and line["filename"].startswith("<packages>/airflow/providers/")
    ),
    "what the triggerer says of the trigger": lambda line: (
        line.get("filename") in ("triggerer_job_runner.py", "trigger.py")
    ),
    "what a trigger says, which begins anew when it was parked": lambda line: line.get("logger", "").startswith(
        ("waits.", "shop.trigger", "airflow.providers.standard.triggers.")
    ),
    "what a trigger prints, which goes to the triggerer's own log": lambda line: (
        line["event"] == "printed by the trigger"
    ),
}
"""Reason → the lines of either log that are not compared. `docs/airflow-differences.md` lists them."""


def told(lines: list[Line]) -> dict[str, list[Line]]:
    """What of a log is compared: every line but for `DIFFERENCES`. Airflow mixes what a task prints and what it logs in the
    order in which its supervisor happens to find them, so these are compared side by side."""
    compared = [_shortened(line) for line in lines if not any(differs(line) for differs in DIFFERENCES.values())]
    return {
        way: [line for line in compared if (line.get("logger") if _is_printed(line) else "log") == way]
        for way in ("log", "task.stdout", "task.stderr")
    }


def _is_printed(line: Line) -> bool:
    return line.get("logger") in ("task.stdout", "task.stderr")


def _shortened(line: Line) -> Line:
    """Without the frames of who ran a trigger that broke: its own module, in either."""
    if not line["event"].startswith("Trigger failed:"):
        return line
    return line | {"event": re.sub(r"(?s)Traceback.*?(?=  File \"<dags>)", "", line["event"])}


# --- recording --------------------------------------------------------------------------------------------------------


def record(wanted: str = "", *, times: int = 2) -> None:
    """Write the golden file; of DAGs that are not wanted it keeps what it has.

    On a busy machine Airflow loses lines, and never makes any up: of several recordings of a try the longest counts."""
    logs: dict[str, list[Line]] = {}
    for _ in range(times):
        for name, lines in _recorded(wanted).items():
            logs[name] = max(logs.get(name, []), lines, key=len)
    kept = json.loads(GOLDEN.read_text())["logs"] if wanted else {}
    save({name: lines for name, lines in kept.items() if not re.search(wanted, name.partition("/")[0])} | logs)


def _recorded(wanted: str) -> dict[str, list[Line]]:
    """The logs of a fresh Airflow."""
    with tempfile.TemporaryDirectory(prefix="gust-logs-") as folder:
        dags = Path(folder) / "dags"
        prepare(dags)
        # A home without settings for shells: `bash` would read them out.
        environment = {**AS_ON_A_WORKER, "PYTHONPATH": str(dags.resolve()), "HOME": str(dags.parent)}
        with real_airflow(dags, environment) as url:
            client = ApiClient(url)
            await_dags(client)
            if broken := import_errors(client):
                raise SystemExit(f"Airflow cannot import {broken}")
            logs = logs_of(client, dags, wanted)
            client.close()
    return logs


def save(logs: Mapping[str, list[Line]], target: Path = GOLDEN) -> None:
    """One line of the file for each line of a log, so that differences can be read."""
    about = {"airflow": version("apache-airflow-core")}
    parts = [
        f" {json.dumps(name)}: [\n"
        + ",\n".join(f"  {json.dumps(line, ensure_ascii=False, sort_keys=True)}" for line in lines)
        + "\n ]"
        for name, lines in sorted(logs.items())
    ]
    target.write_text(f'{{"about": {json.dumps(about)}, "logs": {{\n' + ",\n".join(parts) + "\n}}\n")
    print(f"{target.relative_to(ROOT) if target.is_relative_to(ROOT) else target}: {len(logs)} logs")
