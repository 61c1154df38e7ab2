"""Of each DAG file of ours, what a child finds after its parse: one that has parsed the file itself, and one that comes from
a process that has parsed it.

Run as a program, it prints the differences as JSON: of the DAG and the log lines, and of the whole process for the files
named as arguments. With `all` it takes a minute of a core: more files, and the process of each."""

from __future__ import annotations

import importlib
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
from typing import Any
from uuid import uuid4

ROOT = Path(__file__).parents[3]
FOLDERS = ("benches/dags", "examples/dags", "tests/system/dags", "tests/system/operators")
MORE = {
    "tests/system/dags": "branching deferring failing keeping mapping params subclassing waits",
    "tests/system/operators": "",
}
"""Of these folders, the files that are looked at without `all`."""


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
    return json.loads(found)


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
    from gust.airflow_bridge import compat, parsed, surroundings

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
    if (reason := parsed.parse_ahead(bundle, file, workspace, None, is_tried=False)) is not None:
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


def main() -> None:
    from gust.airflow_bridge import warm

    root = Path(tempfile.mkdtemp()).resolve()
    bundles = warm.set_environment(root / "bundles")
    warm.warm_up_for_tasks(bundles)
    importlib.import_module("airflow.serialization.serialized_objects")
    importlib.import_module("tests.unit.worker.process_state")
    workspace = root / "workspace"
    workspace.mkdir()
    whole = set(sys.argv[1:])
    answer: dict[str, dict[str, Any]] = {"differences": {}, "not_ahead": {}}
    for folder in FOLDERS:
        bundle = bundles / folder.replace("/", "-")
        shutil.copytree(ROOT / folder, bundle, ignore=shutil.ignore_patterns("plugins", "__pycache__"))
        for file in sorted(bundle.glob("*.py")):
            if folder in MORE and "all" not in whole and file.stem not in MORE[folder].split():
                continue
            is_whole = not whole.isdisjoint({"all", file.name})
            found = told(partial(differences, bundle, file.name, workspace, is_whole=is_whole))
            if "differences" in found:
                answer["differences"][file.name] = found["differences"]
            else:
                answer["not_ahead"][file.name] = found.get("reason", found)
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
