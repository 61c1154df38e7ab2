"""`kill -9` of everything in the middle of two runs; started again, both go to their end from where they were."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.chaos.commanded import CommandedGust
from tests.system.local_gust import LocalGust

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

JOURNALLED = '''
import time
from datetime import datetime, timedelta
from pathlib import Path
from airflow.sdk import dag, task, get_current_context


def write_down(what):
    """One line per beginning and end of a task's code: what really ran, whatever the table says."""
    context = get_current_context()
    ti = context["ti"]
    with open(context["dag_run"].conf["journal"], "a") as journal:
        journal.write(f"{context['dag'].dag_id}/{ti.task_id}/{ti.map_index} {ti.try_number} {what} {time.time()}\\n")


def patient(**given):
    return {"retries": 3, "retry_delay": timedelta(seconds=1), **given}


@dag(schedule=None, start_date=datetime(2026, 1, 1), default_args=patient())
def long_chain():
    before = None
    for number in range(20):
        @task(task_id=f"link_{number:02}")
        def link(value):
            write_down("began")
            time.sleep(1)
            write_down("ended")
            return (value or 0) + 1

        before = link(before)


@dag(schedule=None, start_date=datetime(2026, 1, 1), default_args=patient())
def fan_out():
    @task
    def numbers():
        write_down("began")
        write_down("ended")
        return list(range(12))

    @task
    def square(number):
        write_down("began")
        time.sleep(2)
        write_down("ended")
        return number * number

    @task
    def total(squares):
        write_down("began")
        write_down("ended")
        return sum(squares)

    total(square.expand(number=numbers()))


long_chain()
fan_out()
'''

LOST_AT_MOST = timedelta(seconds=10)
"""On a machine that has the time to write a checkpoint down."""


def test_what_was_done_stays_done_and_the_rest_is_done(commanded: CommandedGust, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    commanded.start()
    commanded.upload("journalled.py", JOURNALLED)
    for dag_id in ("long_chain", "fan_out"):
        commanded.await_dag(dag_id)
    conf = {"journal": str(journal)}
    runs = {dag_id: commanded.trigger(dag_id, conf=conf) for dag_id in ("long_chain", "fan_out")}
    await_line(journal, "long_chain/link_13/-1 1 began")

    successes = finished_by_now(commanded, runs)
    killed = datetime.now(UTC)
    commanded.kill()
    ran_before = began(journal)
    assert not commanded.family()
    settled_by = min(killed - LOST_AT_MOST, written_before_the_last(commanded))
    settled = {name for name, ended in successes.items() if ended < settled_by}
    assert len(settled) >= 3, "the test must have something to lose"

    commanded.start()
    ready = time.monotonic()
    for dag_id, run_id in runs.items():
        commanded.await_state(dag_id, run_id, "success", within=400)
    took = time.monotonic() - ready

    again = Counter(began(journal)) - Counter(ran_before)
    repeated = {name for name in again if name in successes}
    print(
        f"{len(successes)} tasks had succeeded, {len(settled)} of them more than 10 s before; "
        f"{len(repeated)} of the others ran once more; all done {took:.0f} s after the restart"
    )
    assert not settled & again.keys(), "a task that had succeeded long before ran again"
    for dag_id, run_id in runs.items():
        assert set(commanded.states(dag_id, run_id).values()) == {"success"}
    assert commanded.xcom("long_chain", runs["long_chain"], "link_19") == 20
    assert commanded.xcom("fan_out", runs["fan_out"], "total") == sum(n * n for n in range(12))
    assert_tries_are_whole(commanded, runs)


def written_before_the_last(gust: LocalGust) -> datetime:
    """When the checkpoint before the last one was written: whatever had ended by then is in the last one."""
    *_, before, _ = sorted(path for path in (gust.data / "state").iterdir() if path.name.isdigit())
    return datetime.fromtimestamp((before / "manifest.json").stat().st_mtime, UTC)


def finished_by_now(gust: LocalGust, runs: dict[str, str]) -> dict[str, datetime]:
    """When each instance succeeded that has, as the API tells it."""
    return {
        f"{dag_id}/{row['task_id']}/{row['map_index']}": datetime.fromisoformat(row["end_date"])
        for dag_id, run_id in runs.items()
        for row in gust.task_instances(dag_id, run_id)
        if row["state"] == "success"
    }


def assert_tries_are_whole(gust: LocalGust, runs: dict[str, str]) -> None:
    """The history of every instance counts from one, and all but its last try failed."""
    for dag_id, run_id in runs.items():
        for row in gust.task_instances(dag_id, run_id):
            if row["try_number"] > 1:
                tries = gust.tries(dag_id, run_id, row["task_id"], row["map_index"])
                assert [each["try_number"] for each in tries] == list(range(1, row["try_number"] + 1))
                assert [each["state"] for each in tries] == ["failed"] * (len(tries) - 1) + ["success"]


def began(journal: Path) -> list[str]:
    return [words[0] for line in journal.read_text().splitlines() if (words := line.split())[2] == "began"]


def await_line(journal: Path, start: str) -> None:
    def look() -> bool | None:
        lines = journal.read_text().splitlines() if journal.exists() else []
        return any(line.startswith(start) for line in lines) or None

    LocalGust._await(look, 300, lambda: f"no {start!r}: {journal.read_text() if journal.exists() else ''}")
