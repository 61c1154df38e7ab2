"""`./gust record-golden`: run the compared DAGs on real Airflow several times and write `tests/system/golden/*.json`.

Read the difference before committing it: where Airflow itself disagrees from one recording to the next, the file has
several answers, and each must be one that is right. (Airflow 3.3.2 now and then fails a task that comes back too soon from
its trigger or reschedule, through a stale event of its executor. It notes where it does; such runs are made again.)
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Final, NamedTuple

from tests.oracle import features, logs, ours, wheel
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
    run_path,
)
from tests.oracle.golden import Golden, dag_of, merge
from tests.oracle.server import ROOT, real_airflow

GOLDEN: Final = ROOT / "tests" / "system" / "golden"

PARSING_ORDERS: Final = ("modified_time", "alphabetical")
"""Taken in turn. Of two assets that share a URI under different names, the one that is parsed first becomes active, and
tasks that name the other fail: both outcomes are Airflow's, and both shall be recorded."""


SPOILED: Final = re.compile(r"finished with state success, but .* state attribute is (queued|scheduled)")
"""What Airflow notes when it takes the end of a worker that left its task deferred or rescheduled for the end of the task
itself, which is queued again by then, and fails it."""

ATTEMPTS_AT_SPOILED: Final = 4

LOGS: Final = "logs"
"""The set of DAGs of which the tasks' whole logs are kept, and nothing else."""


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
    arguments.add_argument("--only", choices=[*sorted(SUBJECTS), LOGS], help="record one set of DAGs")
    arguments.add_argument(
        "--dags", default="", help="record DAGs with such ids only (a regular expression); keep the rest"
    )
    options = arguments.parse_args()
    if options.only in (LOGS, None):
        logs.record(options.dags, times=options.times)
    for name in sorted(SUBJECTS) if options.only is None else {options.only} - {LOGS}:
        subject, recordings = SUBJECTS[name], []
        with tempfile.TemporaryDirectory(prefix="gust-dags-") as folder:
            dags = Path(folder)
            dags.chmod(0o755)
            subject.prepare(dags)
            for number in range(1, options.times + 1):
                order = PARSING_ORDERS[number % len(PARSING_ORDERS)]
                title = f"{name} {number}/{options.times}"
                recordings.append(record(subject, dags, title, order, wanted=re.compile(options.dags)))
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


def record(subject: Subject, dags: Path, title: str, parsing_order: str, *, wanted: re.Pattern[str]) -> Recording:
    """Every run of the subject's wanted DAGs on an Airflow that is made for it and thrown away."""

    def say(line: str) -> None:
        print(f"{title}  {line}", flush=True)

    order = {"AIRFLOW__DAG_PROCESSOR__FILE_PARSING_SORT_MODE": parsing_order}
    with subject.surroundings(dags) as environment, real_airflow(dags, environment | order) as url:
        client = ApiClient(url)
        await_dags(client)
        if broken := import_errors(client):
            raise SystemExit(f"Airflow cannot import {broken}")
        plan = subject.plan(client).of(lambda dag_id: bool(wanted.search(dag_id)))
        seen = without_spoiled(client, plan, run_all(client, plan, say=say), say=say)
        for name, run in seen.items():
            for task, error in errors_of(client, name, run).items():
                say(f"{name} {task} failed: {error}"[:400])
        recording = Recording(all_dag_ids(client), seen)
        client.close()
        return recording


def without_spoiled(
    client: ApiClient, plan: Plan, seen: dict[str, ObservedRun], *, say: Callable[[str], None]
) -> dict[str, ObservedRun]:
    """What was seen, where Airflow spoiled nothing by its race: what it did is run again, with fewer beside it, and what
    cannot be run again or was spoiled again is left out."""
    known: set[int] = set()
    for attempts_left in range(ATTEMPTS_AT_SPOILED - 1, -1, -1):
        rows = client.pages("/api/v2/eventLogs", "event_logs", event="state mismatch")
        spoiled = {
            row["dag_id"] for row in rows if row["event_log_id"] not in known and SPOILED.search(row["extra"] or "")
        }
        known |= {row["event_log_id"] for row in rows}
        seen = {name: run for name, run in seen.items() if dag_of(name) not in spoiled}
        again = plan.of(lambda dag_id: dag_id in spoiled and dag_id not in plan.once)  # noqa: B023
        again = replace(again, targets=(), opening=(), at_once=2)
        say(f"spoiled by a stale event: {sorted(spoiled) or 'nothing'}")
        if not any(again.batches) or not attempts_left:
            return seen
        for dag_id in (dag_id for batch in again.batches for dag_id in batch):
            client.call("DELETE", run_path(dag_id))
        seen |= run_all(client, again, say=say)
    return seen


if __name__ == "__main__":
    main()
