"""Airflow's database models come to a worker when code asks for them, and authors' code runs as with Airflow."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest

from gust.airflow_bridge import late
from gust.airflow_bridge.imports import Imports
from gust.airflow_bridge.nursery import Nursery
from gust.airflow_bridge.preparers import Preparers, Subject
from tests.environment import of_a_user

SHARED = Path(__file__).parents[3] / "shared"

SNIPPETS = {
    "a model": """
from airflow.models import DagRun, Variable
print(Variable.__mro__, DagRun(dag_id="d").dag_id)
print(sorted(name for name in sys.modules if name.startswith(("airflow.", "sqlalchemy"))))
""",
    "a model by its package": """
import airflow
print(airflow.models.dagrun.DagRun.__module__)
from airflow import settings
try:
    settings.Session()
except Exception as error:
    print(error)
print(hasattr(settings, "engine"))
""",
    "sqlalchemy": """
import importlib.util
spec = importlib.util.find_spec("sqlalchemy")
print(spec.origin, spec.submodule_search_locations)
import sqlalchemy as sa
print(sa.orm.Session, sa.dialects.postgresql.JSONB, type(sa), type(sa.__spec__.loader))
print(sa.__loader__ is sa.__spec__.loader, sa.__spec__.submodule_search_locations)
from airflow.dag_processing.bundles import manager
print(manager.select is sa.select, manager.DagBundleModel, manager.DagBundleModel.__class__)
""",
    "a part of a circle": "from airflow.serialization.decoders import decode_timetable; print(decode_timetable.__name__)",
    "names that Airflow has imported, beside a module that loads at its first use and cannot": """
import importlib.abc, importlib.util, pickle
from airflow.providers.standard.operators import trigger_dagrun as its
try:
    print(1 / 0)
except its.NoResultFound:
    print("is not raised")
except ZeroDivisionError as raised:
    print(raised)
model, missing = its.DagModel, its.NoResultFound
print(pickle.loads(pickle.dumps(model)), model | None, str | model)
print(repr(missing("none")), isinstance(missing("none"), its.NoResultFound))
print(isinstance(1, missing), issubclass(KeyError, missing))
class Optional(importlib.abc.Loader):
    def exec_module(self, module):
        import not_installed
spec = importlib.util.spec_from_loader("optional", importlib.util.LazyLoader(Optional()))
sys.modules["optional"] = optional = importlib.util.module_from_spec(spec)
spec.loader.exec_module(optional)
from airflow.configuration import secrets_backend_list as backends
from airflow.providers.standard.operators.trigger_dagrun import DagModel, TriggerDagRunOperator
print(backends[0]._connection_class.get_uri.__qualname__)
print(TriggerDagRunOperator.__mro__, isinstance(1, DagModel))
from airflow.models import Variable
print(Variable, type(optional))
try:
    optional.name
except ImportError as at_its_use:
    print(at_its_use)
""",
}
"""What an author may write, each in a child of its own."""

WARM = """
import contextlib, importlib, json, os, pathlib, sys, tempfile, threading
from gust.airflow_bridge import compat, imports, late, warm
if sys.argv[1] == "plain":
    late.binding = compat.without_engine = contextlib.nullcontext
bundles = warm.set_environment()
started = []
sys.addaudithook(lambda event, _: started.append(event) if event.startswith("_thread.start_") else None)
warm.warm_up_for_tasks(bundles)
late_ones = sorted(name for name in sys.modules if late.is_late(name))

def of_a_child(work):
    with tempfile.TemporaryFile() as file:
        if (pid := os.fork()) == 0:
            os.dup2(file.fileno(), 1)
            compat.close_database()
            try:
                work()
            except BaseException as error:
                print(repr(error))
            sys.stdout.flush()
            os._exit(0)
        os.waitpid(pid, 0)
        file.seek(0)
        return file.read().decode()

def added():
    before = set(sys.modules)
    late.wake()
    new = [name for name in sys.modules if name not in before and name.startswith("airflow.") and not late.is_late(name)]
    print(json.dumps([[name, sys.modules[name].__file__] for name in new]))

def reports():
    recorder = imports.Recorder(("/nowhere/",))
    recorder.write(os.dup(1))
    asked = imports.Recorder(("/nowhere/",))
    import airflow.models
    asked.write(os.dup(1))

IN_THREADS = (
    "import sqlalchemy.orm",
    "from airflow.models import Variable",
    "from airflow.providers.common.sql.hooks.sql import DbApiHook",
)

def of_a_try():
    from airflow.sdk.execution_time import task_runner
    from gust.airflow_bridge import supervisor
    threads = [threading.Thread(target=exec, args=(code,)) for code in IN_THREADS]
    def work():
        print(late.sleeps())
        threads[0].start()
        print(late.sleeps())
        for thread in threads[1:]:
            thread.start()
        for thread in threads:
            thread.join()
    task_runner.main = work
    threading.excepthook = lambda failed: print(failed.exc_value)
    with tempfile.TemporaryDirectory() as folder:
        supervisor._run_task(pathlib.Path(folder), pathlib.Path(folder), None, {})

said = {name: of_a_child(lambda: exec(code, {"sys": sys})) for name, code in json.loads(sys.argv[2]).items()}
children = {"added": added, "reports": reports, "try": of_a_try} if sys.argv[1] == "late" else {}
children = {name: of_a_child(work) for name, work in children.items()}
print(json.dumps({"late": late_ones, "started": started, "said": said, **children}))
"""


def warmed_up(how: str) -> dict[str, Any]:
    output = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", WARM, how, json.dumps(SNIPPETS)],
        env=of_a_user(PYTHONPATH=str(SHARED)),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found: dict[str, Any] = json.loads(output)
    return found


@pytest.fixture(scope="module")
def workers() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """One without the models, and one that has them as Airflow imports them."""
    with ThreadPoolExecutor() as threads:
        asleep, plain = threads.map(warmed_up, ("late", "plain"))
        yield asleep, plain


def test_a_warm_worker_has_no_models(workers: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Its rehearsal runs a whole task: children of such tasks need none, either."""
    asleep, plain = workers
    assert asleep["late"] == []
    assert "sqlalchemy.orm" in plain["late"]


def test_a_task_that_starts_threads_has_the_models_before_its_first(
    workers: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    """Threads that import them side by side find each other's half of a circle. A warm worker's whole task starts none."""
    asleep, _ = workers
    assert asleep["started"] == []
    assert asleep["try"].split() == ["True", "False"]


@pytest.mark.parametrize("what", SNIPPETS)
def test_an_author_finds_what_airflow_has(workers: tuple[dict[str, Any], dict[str, Any]], what: str) -> None:
    asleep, plain = workers
    assert asleep["said"][what] == plain["said"][what]
    assert "Error" not in plain["said"][what]


def test_what_comes_with_the_models_imports_none_itself(workers: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Or its own import, if it is the first, imports the models, which import it while it is not ready."""
    found = {
        name: [each for each in imported(Path(file)) if late.is_late(each)]
        for name, file in json.loads(workers[0]["added"])
    }
    assert found
    assert {name: names for name, names in found.items() if names} == {}


def imported(file: Path) -> Iterator[str]:
    """Names of the modules that a module imports while it is imported."""
    nodes = list[ast.AST](ast.parse(file.read_text()).body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            nodes.extend(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            nodes.extend(ast.iter_child_nodes(node))


def test_a_child_reports_that_it_needed_them(workers: tuple[dict[str, Any], dict[str, Any]]) -> None:
    assert workers[0]["reports"] == '[[], []][["sqlalchemy"], []]'


class Asked:
    """In the place of a nursery."""

    modules = frozenset[str]()

    def __init__(self) -> None:
        self.calls: list[object] = []

    def call(self, work: object) -> None:
        self.calls.append(work)


@pytest.fixture
def nursery() -> Asked:
    return Asked()


@pytest.fixture
def preparers(nursery: Asked) -> Preparers:
    return Preparers(cast("Nursery", nursery))


def test_the_nursery_has_them_from_the_first_child_on_that_needed_them(preparers: Preparers, nursery: Asked) -> None:
    first, second = (Subject(Path("/bundle"), f"{name}.py", "t", None) for name in ("first", "second"))
    preparers.learn(first, Imports(("sqlalchemy", "slow"), ("airflow.models.variable",)))
    preparers.learn(second, Imports(("sqlalchemy",)))

    assert nursery.calls == [late.wake_for_children]
    assert preparers.modules_for(first) == ("slow",)


@pytest.mark.parametrize(
    ("source", "calls"),
    [
        ("from airflow.models import Variable\n", [late.wake_for_children]),
        ("import sqlalchemy.orm\n", [late.wake_for_children]),
        ("from airflow.sdk import DAG\n", []),
    ],
)
def test_the_nursery_has_them_before_the_first_child_of_a_file_that_names_them(
    preparers: Preparers, nursery: Asked, tmp_path: Path, source: str, calls: list[object]
) -> None:
    (tmp_path / "d.py").write_text(source)
    subject = Subject(tmp_path, "d.py", "t", None)
    for _ in range(2):
        assert preparers.children_of(subject, tmp_path) is nursery  # type: ignore[comparison-overlap]
    assert nursery.calls == calls
