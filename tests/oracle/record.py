"""`./gust record-golden`: run the compared DAGs on real Airflow several times and write `tests/system/golden/*.json`.

Read the difference before committing it: where Airflow itself disagrees from one recording to the next, the file has
several answers, and each must be one that is right. (Airflow 3.3.2 now and then fails a task that defers or reschedules
twice within a second, through a stale event of its executor: record again.)
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from tests.oracle import ours, wheel
from tests.oracle.drive import (
    LOGICAL_DATE,
    ApiClient,
    ObservedRun,
    Plan,
    all_dag_ids,
    await_dags,
    errors_of,
    import_errors,
    run_all,
)
from tests.oracle.golden import merge
from tests.oracle.server import ROOT, real_airflow

GOLDEN: Final = ROOT / "tests" / "system" / "golden"

PARSING_ORDERS: Final = ("modified_time", "alphabetical")
"""Taken in turn. Of two assets that share a URI under different names, the one that is parsed first becomes active, and
tasks that name the other fail: both outcomes are Airflow's, and both shall be recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One set of DAGs and what they need around them."""

    excluded: dict[str, str]
    prepare: Callable[[Path], None]
    plan: Callable[[Iterable[str]], Plan]
    surroundings: Callable[[], AbstractContextManager[dict[str, str]]]
    """Yields environment variables for the server."""


SUBJECTS: Final = {
    "wheel_examples": Subject(
        excluded=wheel.EXCLUDED, prepare=wheel.prepare, plan=wheel.plan, surroundings=lambda: nullcontext({})
    ),
    "examples": Subject(excluded=ours.EXCLUDED, prepare=ours.prepare, plan=ours.plan, surroundings=ours.emulator),
}


def main() -> None:
    arguments = argparse.ArgumentParser(prog="gust record-golden", description=(__doc__ or "").split("\n", 1)[0])
    arguments.add_argument("--times", type=int, default=3, help="recordings to merge (default 3)")
    arguments.add_argument("--only", choices=sorted(SUBJECTS), help="record one set of DAGs")
    options = arguments.parse_args()
    for name in [options.only] if options.only else sorted(SUBJECTS):
        recordings = [
            record(SUBJECTS[name], f"{name} {number}/{options.times}", PARSING_ORDERS[number % len(PARSING_ORDERS)])
            for number in range(1, options.times + 1)
        ]
        about = {
            "airflow": version("apache-airflow-core"),
            "recordings": options.times,
            "logical_date": LOGICAL_DATE,
            "excluded": SUBJECTS[name].excluded,
        }
        target = GOLDEN / f"{name}.json"
        golden = merge(recordings, about)
        golden.save(target)
        print(f"{target.relative_to(ROOT)}: {len(golden.runs)} runs")
        for dag_id, answers in golden.runs.items():
            if len(answers) > 1:
                print(f"  {dag_id} has {len(answers)} answers: look at them")


def record(subject: Subject, title: str, parsing_order: str) -> dict[str, ObservedRun]:
    """Every run of the subject's DAGs on an Airflow that is made for it and thrown away."""
    with tempfile.TemporaryDirectory(prefix="gust-dags-") as folder:
        dags = Path(folder)
        dags.chmod(0o755)
        subject.prepare(dags)
        order = {"AIRFLOW__DAG_PROCESSOR__FILE_PARSING_SORT_MODE": parsing_order}
        with subject.surroundings() as environment, real_airflow(dags, environment | order) as url:
            client = ApiClient(url)
            await_dags(client)
            if broken := import_errors(client):
                raise SystemExit(f"Airflow cannot import {broken}")
            seen = run_all(client, subject.plan(all_dag_ids(client)), say=lambda line: print(f"{title}  {line}"))
            for dag_id, run in seen.items():
                for name, error in errors_of(client, dag_id, run).items():
                    print(f"{title}  {dag_id} {name} failed: {error}"[:400], flush=True)
            client.close()
            return seen


if __name__ == "__main__":
    main()
