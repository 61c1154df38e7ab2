"""`./gust record-golden`: run the compared DAGs on real Airflow several times and write `tests/system/golden/*.json`.

Read the difference before committing it: where Airflow itself disagrees from one recording to the next, the file has
several answers, and each must be one that is right. (Airflow 3.3.2 now and then fails a task that defers or reschedules
twice within a second, through a stale event of its executor: record again.)
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final, NamedTuple

from tests.oracle import features, ours, wheel
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
from tests.oracle.golden import Golden, merge
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
    plan: Callable[[ApiClient], Plan]
    surroundings: Callable[[Path], AbstractContextManager[dict[str, str]]]
    """Yields environment variables for a server over these DAGs."""


SUBJECTS: Final = {
    "wheel_examples": Subject(
        excluded=wheel.EXCLUDED,
        prepare=wheel.prepare,
        plan=lambda client: wheel.plan(all_dag_ids(client)),
        surroundings=lambda _: nullcontext({}),
    ),
    "examples": Subject(
        excluded=ours.EXCLUDED,
        prepare=ours.prepare,
        plan=lambda client: ours.plan(all_dag_ids(client)),
        surroundings=lambda _: ours.emulator(),
    ),
    "features": Subject(
        excluded=features.EXCLUDED, prepare=features.prepare, plan=features.plan, surroundings=features.surroundings
    ),
}


class Recording(NamedTuple):
    dag_ids: list[str]
    """Of every DAG that the server had, those included that were not wanted or never ran."""
    runs: dict[str, ObservedRun]


def main() -> None:
    arguments = argparse.ArgumentParser(prog="gust record-golden", description=(__doc__ or "").split("\n", 1)[0])
    arguments.add_argument("--times", type=int, default=3, help="recordings to merge (default 3)")
    arguments.add_argument("--only", choices=sorted(SUBJECTS), help="record one set of DAGs")
    arguments.add_argument(
        "--dags", default="", help="record DAGs with such ids only (a regular expression); keep the rest"
    )
    options = arguments.parse_args()
    for name in [options.only] if options.only else sorted(SUBJECTS):
        recordings: list[Recording] = []
        for number in range(1, options.times + 1):
            order = PARSING_ORDERS[number % len(PARSING_ORDERS)]
            title = f"{name} {number}/{options.times}"
            recordings.append(record(SUBJECTS[name], title, order, wanted=re.compile(options.dags)))
        keep(name, recordings, wanted=options.dags)


def keep(name: str, recordings: Sequence[Recording], *, wanted: str) -> None:
    """Write what the recordings have in common, over what was kept of the DAGs that were not wanted."""
    about = {
        "airflow": version("apache-airflow-core"),
        "recordings": len(recordings),
        "logical_date": LOGICAL_DATE,
        "excluded": SUBJECTS[name].excluded,
        "dags": recordings[0].dag_ids,
    }
    target = GOLDEN / f"{name}.json"
    golden = merge([recording.runs for recording in recordings], about)
    if wanted:
        golden = golden.over(Golden.load(target), lambda dag_id: not re.search(wanted, dag_id))
    golden.save(target)
    print(f"{target.relative_to(ROOT)}: {len(golden.runs)} runs")
    for run, answers in golden.runs.items():
        if len(answers) > 1:
            print(f"  {run} has {len(answers)} answers: look at them")


def record(subject: Subject, title: str, parsing_order: str, *, wanted: re.Pattern[str]) -> Recording:
    """Every run of the subject's wanted DAGs on an Airflow that is made for it and thrown away."""
    with tempfile.TemporaryDirectory(prefix="gust-dags-") as folder:
        dags = Path(folder)
        dags.chmod(0o755)
        subject.prepare(dags)
        order = {"AIRFLOW__DAG_PROCESSOR__FILE_PARSING_SORT_MODE": parsing_order}
        with subject.surroundings(dags) as environment, real_airflow(dags, environment | order) as url:
            client = ApiClient(url)
            await_dags(client)
            if broken := import_errors(client):
                raise SystemExit(f"Airflow cannot import {broken}")
            plan = subject.plan(client).of(lambda dag_id: bool(wanted.search(dag_id)))
            seen = run_all(client, plan, say=lambda line: print(f"{title}  {line}"))
            for dag_id, run in seen.items():
                for name, error in errors_of(client, dag_id, run).items():
                    print(f"{title}  {dag_id} {name} failed: {error}"[:400], flush=True)
            recording = Recording(all_dag_ids(client), seen)
            client.close()
            return recording


if __name__ == "__main__":
    main()
