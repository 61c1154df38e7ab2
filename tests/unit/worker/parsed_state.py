"""Of each DAG file of ours, what a child finds after its parse: one that has parsed the file itself, and one that comes from
a process that has parsed it.

Run as a program, it prints the differences as JSON: of the DAG and the log lines, and of the whole process for the files
named as arguments. With `all` it takes some minutes of a core: all corpora, and the process of each file:

    PYTHONPATH=shared:. python tests/unit/worker/parsed_state.py all
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
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

ROOT = Path(__file__).parents[3]
FOLDERS = ("benches/dags", "examples/dags", "tests/system/dags")
SOME = {"tests/system/dags": "branching deferring failing keeping mapping params subclassing waits"}
"""Of these folders, the files that are looked at without `all`."""
MORE = (
    *("examples/events", "tests/system/operators", "tests/system/log_dags", "tests/system/asset_dags"),
    *("tests/oracle/scene_dags", "tests/unit/parse_dags"),
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
from tests.differential.author import author
from tests.differential.plan import Case
author(Case.from_json({text!r}), "d")
"""


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


def seen_by_child(
    bundle: Path, file: str, workspace: Path, dag_id: str, task_id: str, *, is_whole: bool
) -> dict[str, str]:
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
    found = process_state.state() if is_whole else {}
    for key in [key for key in found if key.startswith("gust.airflow_bridge.parsed.") or key.endswith("._pid")]:
        del found[key]
    found["dag"] = json.dumps(DagSerialization.to_dict(started.task.dag), sort_keys=True, default=str)
    found["task"] = repr(sorted(vars(started.task))) if hasattr(started.task, "__dict__") else ""
    for number, line in enumerate(Path(f"/proc/self/fd/{log}").read_text().splitlines()):
        found[f"log {number}"] = re.sub(r'"(timestamp|\w+_ms)":("[^"]*"|\d+)', "", line)
    return found


def differences(bundle: Path, file: str, workspace: Path, *, is_whole: bool) -> dict[str, Any]:
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
    itself = told(lambda: seen_by_child(bundle, file, workspace, dag_id, task_id, is_whole=is_whole))
    found = json.loads(
        told(lambda: parse.proof_here(bundle, file, workspace, None, ()).decode()) or '"it ends its process"'
    )
    if isinstance(found, str):
        return {"reason": found}
    if (reason := parsed.parse_ahead(bundle, file, workspace, None, SameParse.model_validate(found))) is not None:
        return {"reason": reason}
    ahead = told(lambda: seen_by_child(bundle, file, workspace, dag_id, task_id, is_whole=is_whole))
    return {
        "differences": {
            key: (itself.get(key), ahead.get(key))
            for key in itself.keys() | ahead.keys()
            if itself.get(key) != ahead.get(key)
        },
        "size": len(itself),
    }


def folders(bundles: Path, *, everything: bool) -> Iterator[str]:
    """Names of the corpora; each is copied into a bundle of its own."""
    places = {folder: ROOT / folder for folder in (*FOLDERS, *(MORE if everything else ()))}
    for package in WHEELS if everything else ():
        spec = importlib.util.find_spec(package)
        if spec is not None:
            places[package] = Path(str(spec.submodule_search_locations[0]))  # type: ignore[index]
    for name, place in places.items():
        bundle = bundles / name.replace("/", "-")
        shutil.copytree(place, bundle, ignore=shutil.ignore_patterns("plugins", "__pycache__", "__init__.py"))
        yield name
    if everything:
        from tests.differential.draw import draw_dag

        (bundles / "random").mkdir()
        for number in range(RANDOM):
            text = draw_dag(Random(number)).to_json()  # noqa: S311
            (bundles / "random" / f"{number}.py").write_text(DRAWN.format(text=text))
        yield "random"


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
    whole = set(sys.argv[1:])
    answer: dict[str, dict[str, Any]] = {"differences": {}, "not_ahead": {}}
    for folder in folders(bundles, everything="all" in whole):
        bundle = bundles / folder.replace("/", "-")
        for file in sorted(bundle.glob("*.py")):
            if "all" not in whole and folder in SOME and file.stem not in SOME[folder].split():
                continue
            is_whole = not whole.isdisjoint({"all", file.name})
            found = told(partial(differences, bundle, file.name, workspace, is_whole=is_whole))
            if "differences" in found:
                answer["differences"][f"{folder}/{file.name}"] = found["differences"]
            else:
                answer["not_ahead"][f"{folder}/{file.name}"] = found.get("reason", found)
            told_of = f"{len(found['differences'])} differences" if "differences" in found else found
            sys.stderr.write(f"{folder}/{file.name}: {told_of}\n")
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
