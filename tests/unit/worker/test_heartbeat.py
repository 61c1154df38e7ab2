"""Signs of life. Airflow reads their interval once per process, so each case has a process of its own."""

import json
import subprocess
import sys
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gust.airflow_bridge.supervisor import if_it_lasts
from tests.environment import of_a_user

ROOT = Path(__file__).parents[3]

CASE = """
import json, os, sys
from pathlib import Path
from gust.airflow_bridge import warm
warm.set_environment(Path(os.environ["AIRFLOW_HOME"]) / "bundles")
from tests.unit.worker.control_plane import ControlPlane, Site
site = Site(Path(os.environ["AIRFLOW_HOME"]) / "bundles", ControlPlane(should_retry=True))
site.control_plane.refusals["heartbeat"] = json.loads(sys.argv[1])
site.upload("one", {"d.py": sys.argv[2]})
site.run("one")
print(json.dumps({
    "heartbeats": len(site.control_plane.asked("heartbeat")),
    "reported": site.control_plane.reported,
    "said to be gone": len(site.control_plane.asked("lost")),
    "log": site.log.text,
    "hidden": [seconds for seconds, _ in site.hidden],
}))
"""

SLEEPS = """
import time
from airflow.sdk import dag, task
@dag(schedule=None)
def d():
    @task
    def t(seconds):
        time.sleep(seconds)
    t({seconds})
d()
"""


@pytest.fixture
def run(tmp_path: Path) -> Any:
    def run(*, seconds: float, refusals: list[int]) -> dict[str, Any]:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", CASE, json.dumps(refusals), SLEEPS.replace("{seconds}", str(seconds))],
            cwd=ROOT,
            env=of_a_user(
                PYTHONPATH=f"{ROOT / 'shared'}:{ROOT}",
                AIRFLOW_HOME=str(tmp_path),
                AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL="1",
            ),
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        return dict(json.loads(done.stdout.splitlines()[-1]))

    return run


def test_a_message_is_hidden_if_its_start_lasts() -> None:
    is_hidden = threading.Event()
    with if_it_lasts(0.01, is_hidden.set):
        assert is_hidden.wait(30)


def test_a_short_start_hides_nothing_and_leaves_no_thread() -> None:
    hidden: list[int] = []
    before = set(threading.enumerate())
    with suppress(ZeroDivisionError), if_it_lasts(3600, partial(hidden.append, 1)):
        raise ZeroDivisionError
    assert (hidden, set(threading.enumerate()) - before) == ([], set())


def test_a_long_task_gives_signs_of_life(run: Any) -> None:
    seen = run(seconds=3.5, refusals=[503])

    assert seen["heartbeats"] >= 2
    assert seen["hidden"] == [60, 900], "to fetch the bundle, and with the first heartbeat for good"
    assert seen["said to be gone"] == 0
    assert seen["reported"] == ["success"]


@pytest.mark.parametrize("status", [404, 409, 410])
def test_a_task_whose_try_was_ended_by_somebody_else_is_killed_and_reports_no_state(run: Any, status: int) -> None:
    seen = run(seconds=600, refusals=[status])

    assert seen["reported"] == ["lost"]
    assert "shouldn't be running" in seen["log"]
    # The next try of one that was cleared waits for this word.
    assert seen["said to be gone"] == 1
