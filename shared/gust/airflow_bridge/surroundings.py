"""What a DAG file finds around it in a child of ours: an installation of Airflow, and none of what Gust runs on.

A user's modules share one namespace with ours: `sys.modules` and `sys.path` of the process that the child was forked from.
Every function's door is a module called `app`, in a folder that stands first on the path; our package is called `gust`. A
DAG folder may have modules of these names, as it may in Airflow, and its own are found.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import gust
from gust.airflow_bridge import compat
from gust.airflow_bridge.commands import LAYER_BIN
from gust.model.deployment import PLUGINS_PREFIX
from gust.model.environment import VARIABLES_FILE

OURS: Final = ("GUST_", "POWERTOOLS_")
"""What the names of environment variables begin with that tell our functions how they are wired."""

OUR_CLIENTS: Final = ("AWS_RETRY_MODE", "AWS_MAX_ATTEMPTS", "PYTHONPATH")
"""Settings of our own clients and interpreter: a user's client has its SDK's defaults, as in Airflow."""

AWS_OF_TASKS: Final = "GUST_AWS_OF_TASKS"
"""Environment variable, a JSON object: all variables of AWS's SDKs that a user's code is to see, in place of those that our
functions work with. The local stack sets it where tasks shall reach a real account."""

HOME: Final = Path(gust.__file__).parents[1]
HOME_IS_OURS: Final = {entry.name for entry in HOME.iterdir()} <= {gust.__name__, "__pycache__"}
"""Whether the folder of `sys.path` that our package lies in holds nothing else: then it may stand behind the user's."""

WORKSPACE: Final = "/workspace"
"""Where a child's workspace seems to lie, in what is stored of a DAG: each child has one of its own."""

ENVIRONMENT: Final = "/environment"
"""And where the packages of its environment do: their folder is named by their hash."""

NO_DATABASE: Final = "sqlite://"
"""One in memory, empty. Airflow closes its database to a task by an address with which no process that the task starts can
even import Airflow; in the task's own process the ways to the database are taken away, and stay so."""


def enter(bundle: Path | None, workspace: Path, environment: Path | None = None) -> None:
    """Make this process one in which a user's code may run: in `workspace`, with the plugins and modules of `bundle` and the
    packages of `environment`. For a child made for one bundle; our modules that are not imported yet may be out of its reach
    afterwards."""
    _set_environment(environment)
    os.environ["TMPDIR"] = tempfile.tempdir = str(workspace)
    os.chdir(workspace)
    if bundle is not None:
        _export_variables_of(bundle)
        compat.use_dags_folder(bundle)
        compat.use_plugins_of(bundle)
    _make_way_for(bundle, environment)
    if environment is not None:
        compat.use_environment(environment)


@contextmanager
def workspace(kind: str) -> Iterator[Path]:
    """A folder for one child, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix=f"gust-{kind}-")).resolve()
    try:
        yield folder
    finally:
        try:
            shutil.rmtree(folder, ignore_errors=True)
        except RecursionError:  # a user's code made a tree that is deeper than Python's stack
            subprocess.run(["/bin/rm", "-rf", folder], check=False, stderr=subprocess.DEVNULL)  # noqa: S603


def _set_environment(environment: Path | None) -> None:
    _use_aws_of_tasks()
    for name, value in list(os.environ.items()):
        is_class_of_ours = name.startswith("AIRFLOW__") and f"{gust.__name__}.airflow_bridge." in value
        if name.startswith(OURS) or name in OUR_CLIENTS or is_class_of_ours:
            del os.environ[name]
    os.environ.pop("AIRFLOW__CORE__SQL_ALCHEMY_CONN", None)
    os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = NO_DATABASE
    own = os.path.dirname(sys.executable)
    commands = [LAYER_BIN, own] if os.path.exists(f"{LAYER_BIN}/airflow") else [own]
    os.environ["PATH"] = os.pathsep.join([*commands, os.environ.get("PATH", os.defpath)])
    # A task's stdin is a socket: without a shell above it, bash takes itself for a remote one and reads ~/.bashrc, which may
    # put other commands before these. A stack that a shell started in its place has 0.
    if os.environ.get("SHLVL", "0") in ("", "0"):
        os.environ["SHLVL"] = "1"
    if LAYER_BIN in commands:
        # The same interpreter. By its own name, what a task starts with it would not find the layer's packages.
        sys.executable = f"{LAYER_BIN}/python"
    if environment is not None:
        os.environ["PATH"] = os.pathsep.join([f"{environment}/bin", os.environ["PATH"]])
        sys.executable = f"{environment}/bin/python"


def _export_variables_of(bundle: Path) -> None:
    """Those of the `startup.sh` that the bundle was made with."""
    with suppress(FileNotFoundError):
        os.environ |= json.loads((bundle / VARIABLES_FILE).read_text())


def _use_aws_of_tasks() -> None:
    given = os.environ.get(AWS_OF_TASKS)
    if given is None:
        return
    for name in [name for name in os.environ if name.startswith(("AWS_", "_MINISTACK_", "LOCALSTACK_"))]:
        if not name.startswith("AWS_LAMBDA_"):
            del os.environ[name]
    os.environ |= json.loads(given)
    if boto3 := sys.modules.get("boto3"):
        boto3.DEFAULT_SESSION = None  # type: ignore[attr-defined]  # it has the credentials of our own clients


def _make_way_for(bundle: Path | None, environment: Path | None) -> None:
    """The user's folders before ours on the path, and no module of ours in the place of one of theirs. Airflow's packages
    come first, and those of the environment next."""
    door, runtime = os.environ.get("LAMBDA_TASK_ROOT"), os.environ.get("LAMBDA_RUNTIME_DIR")
    theirs = [
        *([str(environment)] if environment is not None else []),
        *([str(bundle / PLUGINS_PREFIX.rstrip("/")), str(bundle)] if bundle is not None else []),
    ]
    behind = [*([str(HOME)] if HOME_IS_OURS else []), *([runtime] if runtime else [])]
    moved = {door, *theirs, *behind, ""}
    sys.path[:] = [*(entry for entry in sys.path if entry not in moved), *theirs, *behind]
    from_behind = tuple(f"{folder}/" for folder in behind)
    for name, file in _top_level():
        is_door = door is not None and file.startswith(f"{door}/")
        if is_door or (file.startswith(from_behind) and any(_has(their, name) for their in theirs)):
            _forget(name)


def _top_level() -> list[tuple[str, str]]:
    """Imported modules and packages, and the files that they come from."""
    return [
        (name, file)
        for name, module in list(sys.modules.items())
        if "." not in name and name != "__main__" and (file := getattr(module, "__dict__", {}).get("__file__"))
    ]


def _has(folder: str, name: str) -> bool:
    """Asked without listing or opening anything: a DAG file depends on what is listed and opened while it is parsed."""
    return os.path.exists(f"{folder}/{name}.py") or os.path.isdir(f"{folder}/{name}")


def _forget(name: str) -> None:
    """What has it imported goes on with it."""
    for other in [other for other in sys.modules if other == name or other.startswith(f"{name}.")]:
        del sys.modules[other]
