"""What a task costs whose DAG file imports heavy packages, beside the same tasks without imports, on Gust and on Airflow.

    python -m benches.imports [--runs 2] [--only gust] [--check]     # needs PYTHONPATH=shared:.; some minutes

The DAG folder has a `requirements.txt` with pandas, numpy and pyarrow (boto3 is Airflow's own), and two chains of twenty
tasks that do nothing; the file of one imports all four. Real Airflow needs these packages in its own environment: name one
in `GUST_ORACLE_VENV`. Three runs of each chain warm the server up. Measured is processor time, of all of a server's
processes but PostgreSQL, and for Gust of the workers alone, too.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from benches.__main__ import ROOT
from benches.measure import run_once
from gust.local.stack import running
from tests.oracle.drive import ApiClient, await_dags
from tests.oracle.server import real_airflow

TASKS: Final = 20
WARM_UPS: Final = 3
"""Runs of each chain before it is measured: a busy server hands tasks to several workers, and each warms up alone."""
TIMES_LESS: Final = 8
"""Target: processor of a task with imports, Airflow's to Gust's."""
MS_MORE: Final = 15
"""Target: milliseconds that a task with imports takes longer than one without, in Gust's workers."""

IMPORTS: Final = "import boto3\nimport numpy\nimport pandas\nimport pyarrow\n"
CHAIN: Final = """
from airflow.sdk import DAG, chain, task

with DAG("{dag_id}", schedule=None):

    @task
    def nothing():
        pass

    chain(*(nothing.override(task_id=f"task_{{i:02}}")() for i in range({tasks})))
"""
HEAVY, LIGHT = "bench_heavy", "bench_light"
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2, help="of each chain (default 2)")
    parser.add_argument("--only", choices=("gust", "airflow"))
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed or was not measured")
    options = parser.parse_args()
    spent: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="gust-bench-") as folder:
        dags = Path(folder) / "dags"
        dags.mkdir()
        (dags / "requirements.txt").write_text("pandas\nnumpy\npyarrow\n")
        (dags / "heavy.py").write_text(IMPORTS + CHAIN.format(dag_id=HEAVY, tasks=TASKS))
        (dags / "light.py").write_text(CHAIN.format(dag_id=LIGHT, tasks=TASKS))
        if options.only != "airflow":
            with running(root=ROOT, data=Path(folder) / "data", dags=dags) as stack:
                counted = {"Gust": is_of_gust, "Gust, workers": is_worker}
                spent |= told(per_task(stack.url, counted, options.runs))
        if options.only != "gust":
            with real_airflow(dags, {"GUST_BENCH": folder}) as url:
                counted = {"Airflow": has_variable(f"GUST_BENCH={folder}")}
                spent |= told(per_task(url, counted, options.runs))
    return 0 if all(list(met(spent))) or not options.check else 1


def told(spent: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    for name, by_dag in spent.items():
        line = f"{by_dag[HEAVY]:8.1f} ms of a core per task with imports, {by_dag[LIGHT]:8.1f} ms without"
        print(f"{name:14} {line}", flush=True)
    return spent


def met(spent: dict[str, dict[str, float]]) -> Iterator[bool]:
    if "Gust" in spent:
        more = spent["Gust, workers"][HEAVY] - spent["Gust, workers"][LIGHT]
        print(f"with imports {more:.1f} ms more in the workers; target: {MS_MORE}")
        yield more <= MS_MORE
    if "Gust" in spent and "Airflow" in spent:
        times = spent["Airflow"][HEAVY] / spent["Gust"][HEAVY]
        print(f"{times:.1f} times less than Airflow; target: {TIMES_LESS}")
        yield times >= TIMES_LESS
    else:
        yield False


def per_task(url: str, counted: dict[str, Callable[[Path], bool]], runs: int) -> dict[str, dict[str, float]]:
    """Milliseconds of a core for each task, by what is counted and by DAG."""
    spent: dict[str, dict[str, float]] = {name: dict.fromkeys((HEAVY, LIGHT), 0.0) for name in counted}
    with a_client(url) as client:
        await_dags(client, [HEAVY, LIGHT])
        for dag_id in (HEAVY, LIGHT):
            client.call("PATCH", f"/api/v2/dags/{dag_id}", body={"is_paused": False})
            for number in range(WARM_UPS):
                run_once(client, dag_id, f"warm_up_{number}")
        for number in range(runs):  # in turns: the machine's speed changes
            for dag_id in (HEAVY, LIGHT):
                before = {name: usage(is_counted) for name, is_counted in counted.items()}
                run_once(client, dag_id, f"run_{number}", poll_every=2)
                for name, is_counted in counted.items():
                    spent[name][dag_id] += seconds_between(before[name], usage(is_counted)) / (runs * TASKS) * 1000
    return spent


@contextmanager
def a_client(url: str) -> Iterator[ApiClient]:
    client = ApiClient(url)
    try:
        yield client
    finally:
        client.close()


def has_variable(setting: str) -> Callable[[Path], bool]:
    """Whether a process was started with this variable, by its folder in /proc."""
    return lambda folder: setting.encode() in (folder / "environ").read_bytes().split(b"\0")


def is_worker(folder: Path) -> bool:
    return title(folder) == "gust-worker"


def is_of_gust(folder: Path) -> bool:
    """Whether it is the emulator: functions descend from it."""
    return "gust.local.emulator" in title(folder)


def title(folder: Path) -> str:
    """A process's command line; of a function's process its name (`gust.local.zygote`)."""
    return (folder / "cmdline").read_bytes().rstrip(b"\0").decode(errors="replace").replace("\0", " ")


Usage = dict[int, tuple[float, int]]
"""Process → its processor time, with that of its children that have ended, and its parent."""


def usage(is_counted: Callable[[Path], bool]) -> Usage:
    """Of all such processes and their descendants."""
    found, roots = Usage(), set[int]()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                # After the name in parentheses, which may hold anything: state, parent, … (man 5 proc)
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                found[int(folder.name)] = sum(map(int, fields[11:15])) / _TICKS, int(fields[1])
                if is_counted(folder):
                    roots.add(int(folder.name))
    parents = {pid: parent for pid, (_, parent) in found.items()}
    return {pid: spent for pid, spent in found.items() if is_below(pid, roots, parents)}


def seconds_between(before: Usage, after: Usage) -> float:
    """A process that has ended meanwhile is in its parent's time, all of it."""
    spent = sum(used - before.get(pid, (0.0, 0))[0] for pid, (used, _) in after.items())
    return spent - sum(used for pid, (used, parent) in before.items() if pid not in after and parent in after)


def is_below(pid: int, roots: set[int], parents: dict[int, int]) -> bool:
    while pid:
        if pid in roots:
            return True
        pid = parents.get(pid, 0)
    return False


if __name__ == "__main__":
    sys.exit(main())
