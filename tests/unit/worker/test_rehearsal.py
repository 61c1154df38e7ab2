"""The rehearsal warms the worker, calls no user's code, and leaves the process as it was."""

import json
import logging
import os
import re
import signal
import subprocess
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
from tests.environment import of_a_user

ROOT = Path(__file__).parents[3]

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


MAY_DIFFER = {
    rf"({'|'.join(sys.stdlib_module_names)})\..*|.*\.urlsplit": "a cache of the standard library",
    r".*\.TypeAdapter": "our cache of pydantic's adapters, by type",
    r"attr\._make\._CountingAttr\.cls_counter": "attrs numbers the fields of classes that are made",
    r"fsspec\..*\._pid": "fsspec writes down which process asked last, to forget its instances in another one",
    r"airflow\.sdk\.\w+": "what `airflow.sdk` imports when it is first asked for",
    r"airflow\.sdk\.definitions\.param\.Param\.__slotnames__": "how copyreg copies a class",
    r"airflow\.sdk\.providers_manager_runtime\.ProvidersManagerTaskRuntime\._instance\._initialized_cache": "what "
    "providers are installed",
    r"airflow\.dag_processing\.importers\.base\.DagImporterRegistry\._instance.*": "how files are read, by their suffix",
    r"airflow\.sdk\.execution_time\.task_runner\.RuntimeTaskInstance\.__pydantic_setattr_handlers__.*": "pydantic's cache "
    "of how a field is set",
    r"structlog\.contextvars\._CONTEXT_VARS.*": "variables of contexts; none has a value outside of one",
    r"gust\.airflow_bridge\.\w+\.stream_name": "the name of this process's log stream",
    r"logger airflow\.dag_processing\.dagbag": "a logger without handlers or level of its own",
}
"""Where a rehearsal leaves something that children may inherit (a regular expression) → what it is."""


def test_a_child_finds_everything_as_without_a_rehearsal(tmp_path: Path) -> None:
    """But for modules that it need not import any more, and caches of what is the same for every deployment."""
    before, after = json.loads(program("tests.unit.worker.process_state", home=tmp_path).splitlines()[-1])
    imported = {place.removeprefix("module ") for place in after.keys() - before.keys() if place.startswith("module ")}
    assert imported
    changed = {
        place: (before.get(place), after.get(place))
        for place in before.keys() | after.keys()
        if before.get(place) != after.get(place) and not _is_of(imported, place)
    }
    assert {
        place: was for place, was in changed.items() if not any(re.fullmatch(may, place) for may in MAY_DIFFER)
    } == {}


def _is_of(modules: set[str], place: str) -> bool:
    """Whether the place is one of a module that was not there before."""
    return any(f"{place.removeprefix('module ').removeprefix('logger ')}.".startswith(f"{name}.") for name in modules)


FAILS = """
from airflow.sdk import dag, task

@dag(schedule=None)
def d():
    @task
    def t():
        print("printed")
        raise ValueError("plainly wrong")
    t()
d()
"""

LOGS = f"""
import json, sys
from gust.airflow_bridge import warm
bundles = warm.set_environment()
if sys.argv[1] == "rehearsed":
    warm.warm_up_for_tasks(bundles)
else:
    warm.import_once(warm.TASK_MODULES)
from tests.unit.worker.control_plane import Site
site = Site(bundles)
site.upload("v", {{"d.py": {FAILS!r}}})
site.run("v")
print(json.dumps(site.log.lines))
"""


def test_a_task_says_the_same_with_and_without_a_rehearsal(tmp_path: Path) -> None:
    """In a process like a worker's, not in one of pytest's, where Airflow keeps no logger."""
    (rehearsed, not_rehearsed) = (
        [
            {name: value for name, value in line.items() if name not in ("timestamp", "ti_id") and name[-3:] != "_ms"}
            for line in json.loads(without_pids(program("-c", LOGS, how, home=tmp_path)).splitlines()[-1])
        ]
        for how in ("rehearsed", "not rehearsed")
    )
    assert rehearsed == not_rehearsed
    said = [line["event"] for line in rehearsed]
    assert said[0] == "::group::Pre Execute"
    assert said.count("::endgroup::") == sum(event.startswith("::group::") for event in said)
    assert said.index("::endgroup::") < said.index("printed") < said.index("Task failed with exception")
    [failure] = [line for line in rehearsed if "error_detail" in line]
    assert (failure["event"], failure["level"]) == ("Task failed with exception", "error")
    assert failure["error_detail"][0]["exc_type"] == "ValueError"


def without_pids(text: str) -> str:
    """A worker's bundles lie in a folder of its own."""
    return re.sub(r"gust-bundles-\d+", "gust-bundles", text)


def program(*arguments: str, home: Path) -> str:
    """What a Python process of a user's prints."""
    environment = of_a_user(PYTHONPATH=f"{ROOT / 'shared'}:{ROOT}", AIRFLOW_HOME=str(home), TMPDIR=str(home))
    home.mkdir(exist_ok=True)
    how = arguments if arguments[0] == "-c" else ("-m", *arguments)
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, *how], env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
