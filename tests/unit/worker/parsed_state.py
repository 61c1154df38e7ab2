"""Of each DAG file of ours, what a child finds after its parse: one that has parsed the file itself, and one that comes from
a process that has parsed it.

Run as a program, it prints the differences as JSON, of the files named as arguments, or of all corpora, which takes five
minutes of a core:

    PYTHONPATH=shared:. python tests/unit/worker/parsed_state.py [benches/dags/mesh.py …]
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

ROOT = Path(__file__).parents[3]
FOLDERS = (
    *("benches/dags", "examples/dags", "examples/events", "tests/system/dags", "tests/system/operators"),
    *("tests/system/log_dags", "tests/system/asset_dags", "tests/oracle/scene_dags", "tests/unit/parse_dags"),
)
WHEELS = (
    "airflow.example_dags",
    "airflow.providers.standard.example_dags",
    "airflow.providers.common.sql.example_dags",
)
"""Packages of examples that are installed."""
RANDOM = 100
"""DAGs of the differential test."""
DRAWN = """
from tests.differential.author import written
from tests.differential.plan import Case
written(Case.from_json({text!r}), "d")
"""

LOOKS = """
import sys
from airflow.sdk import DAG, task

def said(value):
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return repr(value)[:80]
    if isinstance(value, (list, tuple, set, frozenset, dict)):
        return f"{type(value).__name__} of {len(value)}"
    return type(value).__name__

def inside(value):
    where = str(type(value).__module__).partition(".")[0]
    if isinstance(value, type) or where in ("airflow", "structlog", "logging", "gust", "threading"):
        try:
            return list(vars(value).items())
        except Exception:
            return []
    return []

SEEN = {}
for module_name, module in list(sys.modules.items()):
    if module_name == "__main__":
        continue
    for name, value in list(getattr(module, "__dict__", {}).items()):
        SEEN[f"{module_name}.{name}"] = said(value)
        for attribute, each in inside(value):
            SEEN[f"{module_name}.{name}.{attribute}"] = said(each)
SEEN = {name: value for name, value in SEEN.items() if ".SEEN" not in name}
with DAG("d"):
    @task
    def t(): ...
    t()
"""
"""A DAG file that keeps what it finds in memory while it is parsed."""


TI_ID = str(uuid4())


def told(ask: Callable[[], Any]) -> Any:
    """Asks in a fork."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            found = json.dumps(ask())
            with open(writing, "w") as answer:
                answer.write(found)
        except BaseException as error:
            traceback.print_exc()
            with open(writing, "w") as answer:
                json.dump({"error": repr(error)}, answer)
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading) as answer:
        found = answer.read()
    os.waitpid(pid, 0)
    return json.loads(found) if found else None


def seen_by_child(bundle: Path, file: str, workspace: Path, dag_id: str, task_id: str) -> dict[str, str]:
    """A task's first steps, up to its parse; then what there is."""
    from airflow.sdk.execution_time import supervisor, task_runner
    from airflow.serialization.serialized_objects import DagSerialization

    from gust.airflow_bridge import compat, parsed, rehearsal
    from gust.airflow_bridge.supervisor import BundleInfo, TaskInstance, enter_child
    from tests.unit.worker import process_state

    log = os.memfd_create("log")
    supervisor._reset_signals()
    supervisor._configure_logs_over_json_channel(os.dup(log))
    compat.close_database()
    enter_child(bundle, workspace, None, {"AWS_CONTAINER_AUTHORIZATION_TOKEN": "of this try"})
    task_runner.SUPERVISOR_COMMS = rehearsal._SilentSupervisor()
    details = rehearsal._details(BundleInfo(name="dags-folder", version=bundle.name))
    ti = TaskInstance(**{**details.ti.model_dump(), "dag_id": dag_id, "task_id": task_id, "id": TI_ID})
    details = details.model_copy(update={"ti": ti, "dag_rel_path": file})
    with parsed.in_place():
        started, _, _ = task_runner.startup(details)
    found = process_state.state()
    for key in [key for key in found if key.startswith("gust.airflow_bridge.parsed.") or key.endswith("._pid")]:
        del found[key]
    found["dag"] = json.dumps(DagSerialization.to_dict(started.task.dag), sort_keys=True, default=str)
    found["task"] = repr(sorted(vars(started.task))) if hasattr(started.task, "__dict__") else ""
    for number, line in enumerate(Path(f"/proc/self/fd/{log}").read_text().splitlines()):
        found[f"log {number}"] = re.sub(r'"(timestamp|\w+_ms)":("[^"]*"|\d+)', "", line)
    return found


def differences(bundle: Path, file: str, workspace: Path) -> dict[str, Any]:
    """In a fork that has imported what the file imports."""
    from gust.airflow_bridge import compat, parse, parsed, surroundings
    from gust.model.same_parse import SameParse

    bag: Any = None
    with surroundings.as_in_child(bundle, workspace, None), suppress(AttributeError):
        bag = compat.bag_of(bundle, file, bundle_name="dags-folder")
    if bag is None or not bag.dags:
        return {"reason": "its parse fails, or warns"}
    dag_id = min(dag_id for dag_id, dag in bag.dags.items() if dag.task_dict)
    task_id = min(bag.dags[dag_id].task_dict)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(f"{bundle}/"):
            del sys.modules[name]
    del bag
    itself = told(lambda: seen_by_child(bundle, file, workspace, dag_id, task_id))

    def proof() -> str:
        parse.ready()  # what a parser has imported, a worker imports late
        return parse.proof_here(bundle, file, workspace, None, ()).decode()

    found = json.loads(told(proof) or '"it ends its process"')
    if isinstance(found, str):
        return {"reason": found}
    if (reason := parsed.parse_ahead(bundle, file, workspace, None, SameParse.model_validate(found))) is not None:
        return {"reason": reason}
    ahead = told(lambda: seen_by_child(bundle, file, workspace, dag_id, task_id))
    return {
        "differences": {
            key: (itself.get(key), ahead.get(key))
            for key in itself.keys() | ahead.keys()
            if itself.get(key) != ahead.get(key)
        },
        "size": len(itself),
    }


def during(bundle: Path, workspace: Path) -> dict[str, Any]:
    """What differs while a file is parsed: name → in a child that parses itself, and in a process that parses for its
    children. Its file has no proof, so that it may look."""
    from gust.airflow_bridge import compat, parsed
    from gust.model.same_parse import SameParse

    (bundle / "looks.py").write_text(LOOKS)

    def seen() -> dict[str, str]:
        seen_by_child(bundle, "looks.py", workspace, "d", "t")
        (file,) = (each for name, each in sys.modules.items() if name.endswith("_looks"))
        return dict(file.SEEN)

    itself = told(seen)
    with parsed._as_in_child(bundle, workspace, None), compat.questions_counted():
        digest = parsed._digest(bundle, "looks.py", workspace, None, files=(), variables=())
    sys.dont_write_bytecode = True  # as in a preparer
    parsed._installed_since = lambda *_: set()  # type: ignore[assignment]
    reason = parsed.parse_ahead(bundle, "looks.py", workspace, None, SameParse(digest=digest))
    ahead = told(seen) if reason is None else {"reason": reason}
    return {
        key: (itself.get(key), ahead.get(key))
        for key in itself.keys() | ahead.keys()
        if itself.get(key) != ahead.get(key)
    }


def corpora() -> list[str]:
    """Folder and name of each file."""
    named = [(folder, path.name) for folder, place in _places().items() for path in sorted(place.glob("*.py"))]
    drawn = [("random", f"{number}.py") for number in range(RANDOM)]
    return [f"{folder}/{name}" for folder, name in (*named, *drawn) if name != "__init__.py"]


def _places() -> dict[str, Path]:
    specs = {package: importlib.util.find_spec(package) for package in WHEELS}
    installed = {
        name: Path(str(next(iter(spec.submodule_search_locations or ())))) for name, spec in specs.items() if spec
    }
    return {**{folder: ROOT / folder for folder in FOLDERS}, **installed}


def copied(folder: str, bundles: Path) -> Path:
    """A bundle with the files of a folder."""
    bundle = bundles / folder.replace("/", "-")
    if folder == "random":
        from tests.differential.draw import draw_dag

        bundle.mkdir()
        for number in range(RANDOM):
            text = draw_dag(Random(number)).to_json()  # noqa: S311
            (bundle / f"{number}.py").write_text(DRAWN.format(text=text))
        return bundle
    shutil.copytree(_places()[folder], bundle, ignore=shutil.ignore_patterns("plugins", "__pycache__", "__init__.py"))
    return bundle


def main() -> None:
    from gust.airflow_bridge import warm
    from gust.model.same_parse import SameParse

    SameParse.model_rebuild()  # a worker validates it, the nursery never does
    root = Path(tempfile.mkdtemp()).resolve()
    bundles = warm.set_environment(root / "bundles")
    warm.warm_up_for_tasks(bundles)
    importlib.import_module("airflow.serialization.serialized_objects")
    importlib.import_module("tests.unit.worker.process_state")
    workspace = root / "workspace"
    workspace.mkdir()
    answer: dict[str, dict[str, Any]] = {"differences": {}, "not_ahead": {}}
    for name in sys.argv[1:] or corpora():
        folder, _, file = name.rpartition("/")
        bundle = bundles / folder.replace("/", "-")
        if not bundle.exists():
            copied(folder, bundles)
        found = told(partial(differences, bundle, file, workspace))
        if "differences" in found:
            answer["differences"][name] = found["differences"]
        else:
            answer["not_ahead"][name] = found.get("reason", found)
        told_of = f"{len(found['differences'])} differences" if "differences" in found else found
        sys.stderr.write(f"{name}: {told_of}\n")
    bundle = bundles / "looks"
    bundle.mkdir()
    answer["during"] = told(partial(during, bundle, workspace))
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
