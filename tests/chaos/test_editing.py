"""A person at work: files are saved, broken, mended and deleted while `./gust local` watches; then it is ended."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from gust.local import processes
from tests.chaos.commanded import CommandedGust
from tests.environment import of_a_user
from tests.system.local_gust import LocalGust

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

EDITED = """
from datetime import datetime
from airflow.sdk import dag, task

@dag(schedule=None, start_date=datetime(2026, 1, 1), tags=["{tag}"])
def edited():
    @task
    def says():
        return "{tag}"
    says()

edited()
"""

PROMISED = 5.0
"""Seconds from saving a file to seeing it in the API, on a machine that is otherwise idle."""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandedGust]:
    home = tmp_path_factory.mktemp("watched")
    stack = CommandedGust(home / "data", home / "dags")
    stack.start()
    yield stack
    stack.kill()


def seconds_until(condition: Callable[[], bool], otherwise: str) -> float:
    started = time.monotonic()
    LocalGust._await(lambda: condition() or None, 60, lambda: otherwise)
    return time.monotonic() - started


def tags(gust: LocalGust, dag_id: str) -> list[str]:
    found = gust._find(f"/api/v2/dags/{dag_id}")
    return [tag["name"] for tag in found["tags"]] if found else []


def test_an_edit_shows_within_seconds(watched: CommandedGust) -> None:
    took = []
    for number in range(4):
        tag = f"tag_{number}"
        watched.upload("edited.py", EDITED.format(tag=tag))
        took.append(seconds_until(lambda tag=tag: tags(watched, "edited") == [tag], f"{tag} does not show"))
    print(f"saved → shown: {', '.join(f'{seconds:.1f} s' for seconds in took)}")
    assert min(took) < 2 * PROMISED, "the quickest of them: other programs of this machine may delay any one"


def test_a_run_keeps_the_version_it_began_with(watched: CommandedGust, tmp_path: Path) -> None:
    text = EDITED.replace("edited", "versioned").replace(
        "        return",
        f"        import pathlib, time\n        while not pathlib.Path({str(tmp_path / 'go on')!r}).exists():"
        "\n            time.sleep(0.05)\n        return",
    )
    watched.upload("versioned.py", text.format(tag="old"))
    watched.await_dag("versioned")
    run_id = watched.trigger("versioned")
    watched.await_state("versioned", run_id, "running", task="says", within=120)
    watched.upload("versioned.py", text.format(tag="new"))
    seconds_until(lambda: tags(watched, "versioned") == ["new"], "the new version does not show")
    (tmp_path / "go on").touch()
    watched.await_state("versioned", run_id, "success", within=120)
    assert watched.xcom("versioned", run_id, "says") == "old"
    again = watched.trigger("versioned")
    watched.await_state("versioned", again, "success", within=120)
    assert watched.xcom("versioned", again, "says") == "new"


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ("def broken(:", "SyntaxError"),
        ("import a_module_that_nobody_has", "a_module_that_nobody_has"),
        ("import os; os._exit(3)", "exit code 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("hoard = bytearray(2**40)", "MemoryError"),
    ],
    ids=["syntax", "import", "exit", "killed", "memory"],
)
def test_a_broken_edit_hides_nothing_and_is_told(watched: CommandedGust, broken: str, told: str) -> None:
    watched.upload("sound.py", EDITED.replace("edited", "sound").format(tag="sound"))
    watched.upload("fragile.py", EDITED.replace("edited", "fragile").format(tag="good"))
    seconds_until(lambda: tags(watched, "fragile") == ["good"] and tags(watched, "sound") == ["sound"], "not there")

    watched.upload("fragile.py", EDITED.replace("edited", "fragile").format(tag="bad") + broken + "\n")
    assert told in watched.await_import_error("fragile.py")
    assert tags(watched, "fragile") == ["good"], "the last good version stays"
    assert tags(watched, "sound") == ["sound"]
    run_id = watched.trigger("sound")
    watched.await_state("sound", run_id, "success", within=120)

    watched.upload("fragile.py", EDITED.replace("edited", "fragile").format(tag="mended"))
    seconds_until(lambda: tags(watched, "fragile") == ["mended"], "the mended version does not show")
    seconds_until(lambda: "fragile.py" not in watched.import_errors(), "the error stays")


def test_a_deleted_file_takes_its_dags_along(watched: CommandedGust) -> None:
    watched.upload("leaving.py", EDITED.replace("edited", "leaving").format(tag="x"))
    watched.await_dag("leaving")
    watched.delete("leaving.py")
    watched.await_gone("leaving")


def test_who_comes_second_learns_who_was_first(watched: CommandedGust) -> None:
    second = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "gust.cli", "local", "--data", str(watched.data), "--dags", str(watched.dags)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=of_a_user(PYTHONPATH="shared"),
    )
    assert second.returncode == 1
    assert f"in use by a local stack (process {watched.process.pid}, {watched.url})" in second.stderr


def test_sigterm_leaves_nothing_behind_also_in_the_middle_of_a_task(watched: CommandedGust, tmp_path: Path) -> None:
    """The last one here: it ends the stack."""
    text = f"""
from airflow.sdk import DAG
from airflow.providers.standard.operators.bash import BashOperator

with DAG("busy", schedule=None):
    BashOperator(task_id="sleeps", bash_command="echo $$ > {tmp_path}/pid; sleep 1000 & wait")
"""
    watched.upload("busy.py", text)
    watched.await_dag("busy")
    run_id = watched.trigger("busy")
    watched.await_state("busy", run_id, "running", task="sleeps", within=120)
    pid = tmp_path / "pid"
    seconds_until(lambda: pid.exists() and bool(pid.read_text().strip()), "the task does not begin")
    family = [*watched.family(), psutil.Process(int(pid.read_text()))]
    assert len(family) >= 5

    watched.process.terminate()
    assert watched.process.wait(60) == 0

    assert [process for process in family if processes._lives(process)] == []
    assert watched.family() == []
