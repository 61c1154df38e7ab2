"""The rehearsal does what it is for, calls nobody's code, and leaves this process as it was."""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow import settings
from airflow.policies import hookimpl
from airflow.sdk import listener, plugins_manager
from airflow.sdk.execution_time import task_runner
from setproctitle import getproctitle

from gust.airflow_bridge import rehearsal, warm

WATCHED = (signal.SIGSEGV, signal.SIGALRM, signal.SIGTERM)


@pytest.fixture
def bundles() -> Path:
    """Where Airflow is told to look in this process."""
    return warm.set_environment()


def this_process() -> dict[str, Any]:
    return {
        "environment": dict(os.environ),
        "path": list(sys.path),
        "title": getproctitle(),
        "handlers": [signal.getsignal(number) for number in WATCHED],
        "dag files": [name for name in sys.modules if name.endswith("rehearsal_dag")],
        "comms": hasattr(task_runner, "SUPERVISOR_COMMS"),
        "plugins": plugins_manager._get_plugins,
        "policies": settings.get_policy_plugin_manager,
    }


def test_it_runs_a_task_to_its_success(bundles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = []
    finalize = task_runner.finalize

    def noting(ti: Any, state: Any, *others: Any) -> None:
        ended.append(state.value)
        finalize(ti, state, *others)

    monkeypatch.setattr(task_runner, "finalize", noting)
    rehearsal.rehearse(bundles)
    assert ended == ["success"] * rehearsal.ROUNDS


def test_nothing_of_it_stays(bundles: Path, caplog: pytest.LogCaptureFixture) -> None:
    before, folders = this_process(), sorted(bundles.iterdir())
    with caplog.at_level(logging.WARNING):
        rehearsal.rehearse(bundles)
    assert not caplog.records
    assert this_process() == before
    assert sorted(bundles.iterdir()) == folders
    assert listener.get_listener_manager.cache_info().currsize == 0
    assert plugins_manager.integrate_macros_plugins.cache_info().currsize == 0


class Policy:
    asked: list[str]

    @staticmethod
    @hookimpl  # type: ignore[untyped-decorator]
    def task_policy(task: Any) -> None:
        Policy.asked.append(task.task_id)


@pytest.fixture
def policy() -> Iterator[list[str]]:
    Policy.asked = []
    manager = settings.get_policy_plugin_manager()
    manager.register(Policy)
    yield Policy.asked
    manager.unregister(Policy)


PLUGIN = """
from pathlib import Path
from airflow.plugins_manager import AirflowPlugin
Path(__file__).with_suffix(".loaded").touch()
class P(AirflowPlugin):
    name = "p"
"""


def test_no_code_of_the_deployment_takes_part(
    bundles: Path, policy: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "p.py").write_text(PLUGIN)
    monkeypatch.setattr(settings, "PLUGINS_FOLDER", str(tmp_path))
    plugins_manager._get_plugins.cache_clear()
    rehearsal.rehearse(bundles)
    assert policy == []
    assert not (tmp_path / "p.loaded").exists()


def test_a_worker_that_cannot_rehearse_works_all_the_same(
    bundles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "rehearsal_dag.py"
    broken.write_text("raise ValueError('broken')")
    monkeypatch.setattr(rehearsal, "FILE", broken)
    before = this_process()
    rehearsal.rehearse(bundles)
    assert "The rehearsal failed" in caplog.text
    assert this_process() == before
