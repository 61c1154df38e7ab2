"""The process around a DAG file in a child: an installation of Airflow, without Gust's settings and modules.

A DAG author's modules share a namespace with ours: the child inherits `sys.modules` and `sys.path`. Every function's
door is a module called `app`, in the first folder of the path; our package is called `gust`. A DAG folder may have
modules of these names, as in Airflow, and a DAG file imports the DAG folder's.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

import gust
from gust.airflow_bridge import compat, leftovers
from gust.airflow_bridge.commands import LAYER_BIN
from gust.model.airflow_options import environment_of
from gust.model.bundle import PLUGINS_PREFIX
from gust.model.environment import OPTIONS_FILE, VARIABLES_FILE
from gust.model.place import TASK_VARIABLES
from gust.model.secrets_backend import backend_of

OURS: Final = ("GUST_", "POWERTOOLS_")
"""Prefixes of the environment variables that wire our functions."""

OUR_CLIENTS: Final = ("AWS_RETRY_MODE", "AWS_MAX_ATTEMPTS", "PYTHONPATH")
"""Settings of our own clients and interpreter: a DAG author's client has its SDK's defaults, as in Airflow."""

AWS_OF_TASKS: Final = "GUST_AWS_OF_TASKS"
"""Environment variable, a JSON object: the variables of AWS's SDKs that a DAG author's code sees instead of our
functions' and its role's. The local stack sets it when tasks shall reach a real account."""

RUNTIME_API: Final = "AWS_LAMBDA_RUNTIME_API"

OUR_CREDENTIALS: Final = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_PROFILE",
    RUNTIME_API,
)
"""Variables that lead to the credentials of our own function or container."""

NO_FILES_OF_HOST: Final = {"AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_CONFIG_FILE": os.devnull}
"""The credentials in `~/.aws` of a host are its worker's, and AWS's SDKs would take them before the task's role."""

NO_CREDENTIALS: Final[Mapping[str, str]] = MappingProxyType({})

DAGS_OF_MWAA: Final = "/usr/local/airflow/dags/"
"""Where files of the DAG folder lie in MWAA. An option that names one finds it in the bundle."""

HOME: Final = Path(gust.__file__).parents[1]
HOME_IS_OURS: Final = {entry.name for entry in HOME.iterdir()} <= {gust.__name__, "__pycache__"}
"""Whether our package is alone in its folder of `sys.path`: then the folder may stand behind the DAG author's."""

WORKSPACE: Final = "/workspace"
"""The path that stands for a child's workspace in stored DAGs: each child's own path differs."""

ENVIRONMENT: Final = "/environment"
"""Replaces the path of an environment's packages in stored DAGs."""


NO_DATABASE: Final = "sqlite://"
"""One in memory, empty. Airflow closes its database to a task by an address with which no process that the task starts
can even import Airflow; in the task's own process the ways to the database are taken away, and stay so."""


def enter(
    bundle: Path | None,
    workspace: Path,
    environment: Path | None = None,
    credentials: Mapping[str, str] = NO_CREDENTIALS,
) -> None:
    """Prepare this process for a DAG author's code: in `workspace`, with the plugins and modules of `bundle`, the packages
    of `environment`, and the variables by which AWS's SDKs find `credentials`. For a child made for one bundle. Modules of
    ours that are not imported yet may be unreachable afterwards."""
    logging.getLogger("httpx").setLevel(logging.NOTSET)  # which a worker sets for its own clients
    _set_variables(bundle, workspace, environment, credentials)
    if bundle is not None:
        compat.use_dags_folder(bundle)
        compat.use_plugins_of(bundle)
    _make_way_for(bundle, environment)
    if environment is not None:
        compat.use_environment(environment)
    if bundle is not None:
        compat.read_options_again(options_of(bundle))


@contextmanager
def without_bundle(bundle: Path, workspace: Path, environment: Path | None) -> Iterator[tuple[str, ...]]:
    """What `enter` prepares for children of the bundle, without its modules, its plugins and credentials: yields the folders
    of installed modules. Variables, `sys.path` and the working folder are as before afterwards, so that a child of this
    process can `enter`."""
    with _as_before():
        _set_variables(bundle, workspace, environment, NO_CREDENTIALS)
        ours = _make_way_for(None, environment)
        if environment is not None:
            compat.use_environment(environment)
        compat.read_options_again(options_of(bundle))
        yield tuple(f"{entry}/" for entry in sys.path if entry not in ours)


@contextmanager
def as_in_child(bundle: Path, workspace: Path, environment: Path | None) -> Iterator[None]:
    """What `enter` prepares, without credentials. Variables, `sys.path` and the working folder are as before afterwards, so
    that a child of this process can `enter`."""
    with _as_before():
        enter(bundle, workspace, environment)
        yield


@contextmanager
def _as_before() -> Iterator[None]:
    variables, path, folder = dict(os.environ), list(sys.path), os.getcwd()
    temporary, executable = tempfile.tempdir, sys.executable
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(variables)
        sys.path[:] = path
        os.chdir(folder)
        tempfile.tempdir, sys.executable = temporary, executable


def _set_variables(
    bundle: Path | None, workspace: Path, environment: Path | None, credentials: Mapping[str, str]
) -> None:
    of_task = json.loads(os.environ.get(TASK_VARIABLES, "{}"))
    _set_environment(environment, credentials)
    os.environ["TMPDIR"] = tempfile.tempdir = str(workspace)
    if not os.access(os.path.expanduser("~"), os.W_OK):  # Lambda's user has no home
        os.environ["HOME"] = str(workspace)
    os.chdir(workspace)
    if bundle is not None:
        _export_variables_of(bundle)
        os.environ |= of_task
        _use_options_of(bundle)


def installed_for(bundle: Path) -> list[str]:
    """In a child that has entered: the folders of installed modules, each with a slash at its end. They are the first of
    `sys.path`."""
    plugins = str(bundle / PLUGINS_PREFIX.rstrip("/"))
    here = sys.path.index(plugins) if plugins in sys.path else 0
    return [f"{entry}/" for entry in sys.path[:here]]


@cache
def place_of_tries() -> Path:
    """The folder that each try of this process finds empty: modules that read its path while they are imported may be
    imported before the try."""
    return Path(tempfile.gettempdir()).resolve() / f"gust-try-{secrets.token_hex(6)}"


@contextmanager
def workspace(kind: str, *, at: Path | None = None) -> Iterator[Path]:
    """A folder for one child; deleted afterwards. It is `at`, if that is given and can be made."""
    folder = _made(at) if at is not None else None
    folder = folder or Path(tempfile.mkdtemp(prefix=f"gust-{kind}-")).resolve()
    try:
        yield folder
    finally:
        leftovers.remove(folder)


def _made(folder: Path) -> Path | None:
    with suppress(OSError):
        folder.mkdir(mode=0o700)
        return folder
    return None


def _set_environment(environment: Path | None, credentials: Mapping[str, str]) -> None:
    _use_aws_of_tasks(credentials)
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
    """The variables of the bundle's `startup.sh`."""
    with suppress(FileNotFoundError):
        os.environ |= json.loads((bundle / VARIABLES_FILE).read_text())


def _use_options_of(bundle: Path) -> None:
    """Airflow's options of the bundle. Of the secrets backends that the execution API asks, no class is made here."""
    options = options_of(bundle)
    if not options:
        return
    if backend_of(options) is not None:
        options = {name: value for name, value in options.items() if not name.startswith("secrets.backend")}
        compat.use_secrets_of_execution_api()
    here = {
        name: f"{bundle}/{value.removeprefix(DAGS_OF_MWAA)}" if value.startswith(DAGS_OF_MWAA) else value
        for name, value in options.items()
    }
    os.environ |= environment_of(here)


def options_of(bundle: Path) -> dict[str, str]:
    """`section.option` → value."""
    try:
        found: dict[str, str] = json.loads((bundle / OPTIONS_FILE).read_text())
    except FileNotFoundError:
        return {}
    return found


def _use_aws_of_tasks(credentials: Mapping[str, str]) -> None:
    """Credentials of the task's role in the place of our function's, or all that `AWS_OF_TASKS` holds."""
    given = os.environ.get(AWS_OF_TASKS)
    if given is None:
        for name in OUR_CREDENTIALS:
            os.environ.pop(name, None)
        os.environ |= {"AWS_EC2_METADATA_DISABLED": "true", **NO_FILES_OF_HOST, **credentials}
        _forget_session()
        return
    for name in [name for name in os.environ if name.startswith(("AWS_", "_MINISTACK_", "LOCALSTACK_"))]:
        if not name.startswith("AWS_LAMBDA_"):
            del os.environ[name]
    os.environ.pop(RUNTIME_API, None)
    os.environ |= json.loads(given)
    _forget_session()


def share_aws() -> None:
    """Let children see this process's variables of AWS's SDKs: it is their author's own."""
    own = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    os.environ.setdefault(AWS_OF_TASKS, json.dumps(own))


def _forget_session() -> None:
    if boto3 := sys.modules.get("boto3"):
        boto3.DEFAULT_SESSION = None  # type: ignore[attr-defined]  # it has the credentials of our own clients


def _make_way_for(bundle: Path | None, environment: Path | None) -> list[str]:
    """The user's folders before ours on the path, and no module of ours in the place of one of theirs. Airflow's packages
    come first, and those of the environment next. Returns our folders."""
    door, behind = _our_folders()
    theirs = [
        *([str(environment)] if environment is not None else []),
        *([str(bundle / PLUGINS_PREFIX.rstrip("/")), str(bundle)] if bundle is not None else []),
    ]
    moved = {*door, *theirs, *behind, ""}
    sys.path[:] = [*(entry for entry in sys.path if entry not in moved), *theirs, *behind]
    for name, file in _modules_in((*door, *behind)):
        is_door = file.startswith(tuple(f"{folder}/" for folder in door))
        if is_door or any(_has(their, name) for their in theirs):
            _forget(name)
    return behind


def _our_folders() -> tuple[list[str], list[str]]:
    """Of `sys.path`: the function's own folder, which no child needs, and our folders, which stand behind an author's."""
    door, runtime = os.environ.get("LAMBDA_TASK_ROOT"), os.environ.get("LAMBDA_RUNTIME_DIR")
    return [door] if door else [], [*([str(HOME)] if HOME_IS_OURS else []), *([runtime] if runtime else [])]


Modules = tuple[tuple[str, str], ...]
"""Imported modules and packages, without those inside packages: name and file."""


def look_at_modules() -> None:
    """In a process that children are forks of, before they are: they find `_modules_in` our folders done. To look at each
    module writes into its memory, of which a child then has its own copy."""
    global _seen  # noqa: PLW0603 - of this process
    door, behind = _our_folders()
    folders = (*door, *behind)
    _seen = (folders, *_newest(), _modules_in_now(folders))


_seen: tuple[tuple[str, ...], int, str, Modules] = ((), 0, "", ())
"""Folders, how many modules there were, the newest one, and those in the folders."""


def _newest() -> tuple[int, str]:
    return len(sys.modules), next(reversed(sys.modules))


def _modules_in(folders: tuple[str, ...]) -> Modules:
    return _seen[3] if _seen[:3] == (folders, *_newest()) else _modules_in_now(folders)


def _modules_in_now(folders: tuple[str, ...]) -> Modules:
    inside = tuple(f"{folder}/" for folder in folders)
    return tuple(
        (name, file)
        for name, module in list(sys.modules.items())
        if "." not in name
        and name != "__main__"
        and (file := getattr(module, "__dict__", {}).get("__file__"))
        and file.startswith(inside)
    )


def _has(folder: str, name: str) -> bool:
    """Whether the folder has such a module. Lists and opens nothing: a DAG file depends on everything that is listed and
    opened while it is parsed."""
    return os.path.exists(f"{folder}/{name}.py") or os.path.isdir(f"{folder}/{name}")


def _forget(name: str) -> None:
    """What has it imported goes on with it."""
    for other in [other for other in sys.modules if other == name or other.startswith(f"{name}.")]:
        del sys.modules[other]
