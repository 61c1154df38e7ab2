"""The local stack beside real Airflow, as a DAG author has them: idle memory and processor, how soon a saved file is there
and a triggered run starts.

    python -m benches.local [--repeat 5] [--only gust] [--check]    # needs PYTHONPATH=shared:. and GUST_ORACLE_VENV, Linux

Each server in turn has one DAG file, runs one task, and is then left alone for a minute; the next minute is measured. Memory
is the proportional share of every process (PSS): pages that processes share are counted once. PostgreSQL is not counted.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

import httpx
import psutil

from benches.imports import has_variable, seconds_between, title, usage
from tests.environment import of_a_user
from tests.oracle.drive import ApiClient, ApiError, await_dags, run_path
from tests.oracle.server import free_port, real_airflow

ROOT: Final = Path(__file__).parents[1]
SETTLE: Final = 60.0
"""Seconds from the last run to the measurement."""
IDLE: Final = 60.0
"""Seconds of the measurement."""
PATIENCE: Final = 600.0

DAG: Final = """
from airflow.sdk import dag, task

@dag("{dag_id}", schedule=None)
def nothing():
    @task
    def noop():
        return 1
    noop()
nothing()
"""


@dataclass(frozen=True, slots=True)
class Server:
    url: str
    dags: Path
    is_its: Callable[[Path], bool]
    """Whether a folder of /proc is that of one of its processes; their descendants are its, too."""


@dataclass(frozen=True, slots=True)
class Figures:
    start: float
    """Seconds until the API answers."""
    processor: float
    """Seconds of a core until then, of which two cores need at least half."""
    visible: float
    """Median seconds from saving a new file until the API has its DAG."""
    first_task: float
    """Median seconds from asking for a run to the start of its first task, by the server's own timestamp."""
    processes: int
    megabytes: float
    percent: float
    """Of one core."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5, help="files and runs (default 5)")
    parser.add_argument("--only", choices=("gust", "airflow"))
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed or was not measured")
    options = parser.parse_args()
    found: dict[str, Figures] = {}
    for name, serve in (("Gust", gust), ("Airflow", airflow)):
        if options.only in (None, name.lower()):
            found[name] = measured(serve, options.repeat)
            print(name, found[name], f"load {os.getloadavg()[0]:.1f}", flush=True)
    met = list(told(found))
    return 0 if (met and all(met)) or not options.check else 1


def told(found: Mapping[str, Figures]) -> Iterator[bool]:
    """Prints the table and gives for each target whether it is met."""
    if len(found) < 2:
        return
    ours, theirs = found["Gust"], found["Airflow"]
    rows = [
        ("idle memory", "half", "{:.0f} MB", ours.megabytes, theirs.megabytes, ours.megabytes * 2 <= theirs.megabytes),
        ("idle processor", "below 2 % of a core", "{:.1f} %", ours.percent, theirs.percent, ours.percent < 2),
        ("a saved file is there", "5×", "{:.1f} s", ours.visible, theirs.visible, ours.visible * 5 <= theirs.visible),
        (
            "trigger to first task",
            "10×",
            "{:.2f} s",
            ours.first_task,
            theirs.first_task,
            ours.first_task * 10 <= theirs.first_task,
        ),
    ]
    print("| | Gust | Airflow | target | |\n|---|---|---|---|---|")
    for what, target, unit, mine, other, is_met in rows:
        figures = f"{unit.format(mine)} | {unit.format(other)}"
        print(f"| {what} | {figures} | {target} | {'met' if is_met else 'missed'} |")
        yield is_met


Serve = Callable[[Path, Path], Any]


def measured(serve: Serve, repeat: int) -> Figures:
    with tempfile.TemporaryDirectory(prefix="gust-bench-") as folder:
        dags = Path(folder) / "dags"
        dags.mkdir()
        (dags / "first.py").write_text(DAG.format(dag_id="first"))
        began = time.monotonic()
        with serve(Path(folder), dags) as server:
            started = time.monotonic() - began
            processor = sum(spent for spent, _ in usage(server.is_its).values())
            client = ApiClient(server.url)
            try:
                await_dags(client, ["first"])
                client.call("PATCH", "/api/v2/dags/first", body={"is_paused": False})
                first_tasks = [wait_of_run(client, number) for number in range(repeat + 1)][1:]
                visible = [wait_of_file(client, server.dags, number) for number in range(repeat)]
            finally:
                client.close()
            time.sleep(SETTLE)
            before, at = usage(server.is_its), time.monotonic()
            time.sleep(IDLE)
            after, passed = usage(server.is_its), time.monotonic() - at
            shares = [share_of(pid) for pid in after]
            for pid, share in sorted(zip(after, shares, strict=True), key=lambda each: -each[1]):
                print(f"  {share / 2**20:6.0f} MB  {name_of(pid)}", flush=True)
            return Figures(
                started,
                processor,
                median(visible),
                median(first_tasks),
                len(shares),
                sum(shares) / 2**20,
                seconds_between(before, after) / passed * 100,
            )


def wait_of_file(client: ApiClient, dags: Path, number: int) -> float:
    saved, dag_id = time.monotonic(), f"file_{number}"
    (dags / f"{dag_id}.py").write_text(DAG.format(dag_id=dag_id))
    while time.monotonic() < saved + PATIENCE:
        with suppress(ApiError):
            client.call("GET", f"/api/v2/dags/{dag_id}")
            return time.monotonic() - saved
        time.sleep(0.1)
    raise TimeoutError(f"{dag_id} is not there after {PATIENCE:.0f} s")


def wait_of_run(client: ApiClient, number: int) -> float:
    asked, run_id = datetime.now(UTC), f"bench_{number}"
    client.call("POST", "/api/v2/dags/first/dagRuns", body={"dag_run_id": run_id, "logical_date": None})
    end = time.monotonic() + PATIENCE
    while client.call("GET", run_path("first", run_id))["state"] != "success":
        if time.monotonic() > end:
            raise TimeoutError(f"{run_id} has not succeeded after {PATIENCE:.0f} s")
        time.sleep(0.2)
    (row,) = client.pages(f"{run_path('first', run_id)}/taskInstances", "task_instances")
    return (datetime.fromisoformat(row["start_date"]) - asked).total_seconds()


def share_of(pid: int) -> int:
    """Bytes."""
    with suppress(psutil.Error):
        return int(psutil.Process(pid).memory_full_info().pss)
    return 0


def name_of(pid: int) -> str:
    with suppress(OSError):
        return title(Path(f"/proc/{pid}"))[:80]
    return "it has ended"


@contextmanager
def gust(folder: Path, dags: Path) -> Iterator[Server]:
    """`./gust local`, as a process of its own."""
    port = free_port()
    command = [sys.executable, "-m", "gust.cli", "local", "--dags", str(dags), "--data", str(folder / "data")]
    environment = of_a_user(PYTHONPATH=f"{ROOT / 'shared'}:{ROOT}")
    with (folder / "gust.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port)], cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        await_answer(url, process)
        yield Server(url, dags, lambda folder: int(folder.name) == process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@contextmanager
def airflow(folder: Path, dags: Path) -> Iterator[Server]:
    with real_airflow(dags, {"GUST_BENCH": str(folder)}) as url:
        yield Server(url, dags, has_variable(f"GUST_BENCH={folder}"))


def await_answer(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        with suppress(httpx.HTTPError):
            if httpx.get(f"{url}/api/v2/version").status_code == 200:
                return
        time.sleep(0.2)
    raise TimeoutError(f"./gust local does not answer; it ended: {process.poll()}")


if __name__ == "__main__":
    sys.exit(main())
