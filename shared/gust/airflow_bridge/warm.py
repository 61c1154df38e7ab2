"""A worker's cold start: settings first, then every import that a task needs, so that no try pays for it.

A try runs in a fork of this process. The child shares modules that are imported before the fork; it imports all others
again (0.4 s for the task runner alone).

Airflow reads its settings while it is imported: `set_environment` comes before the first `import airflow`.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Protocol

from gust import collector
from gust.airflow_bridge import compat, dumpable, late

BUNDLE_CLASS: Final = "gust.airflow_bridge.execute.UnpackedBundle"
BUNDLES: Final = Path(tempfile.gettempdir()).resolve() / f"gust-bundles-{os.getpid()}"
"""Where this process unpacks bundles."""

SETTINGS: Final = {
    "CORE__HOSTNAME_CALLABLE": "gust.airflow_bridge.task_log.stream_name",
    # A leftover process of a finished task (a listener, a non-daemon thread) may run this many seconds.
    "CORE__TASK_SUCCESS_OVERTIME": "20",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
    # As long as the control plane gives a silent worker.
    "WORKERS__MAX_FAILED_HEARTBEATS": "12",
    # Bundles are immutable and complete: a DAG that is not there now will not be there in a minute.
    "WORKERS__MISSING_DAG_RETRIES": "0",
    "WORKERS__SOCKET_CLEANUP_TIMEOUT": "1",
    "WORKERS__EXECUTION_API_RETRY_WAIT_MIN": "0.2",
    "WORKERS__EXECUTION_API_RETRY_WAIT_MAX": "10",
    "LOGGING__COLORED_CONSOLE_LOG": "False",
    "SDK__COORDINATORS": '{"gust": {"classpath": "gust.airflow_bridge.supervisor.LambdaCoordinator"}}',
    "SDK__QUEUE_TO_COORDINATOR": '{"gust": "gust"}',
}
"""Airflow's settings for a worker, beside those of every function that imports Airflow."""

TASK_MODULES: Final = (
    "airflow.sdk",
    "airflow.sdk.definitions.asset.metadata",
    "airflow.sdk.definitions.connection",
    "airflow.sdk.definitions.decorators",
    "airflow.sdk.definitions.decorators.condition",
    "airflow.sdk.definitions.decorators.setup_teardown",
    "airflow.sdk.definitions.decorators.task_group",
    "airflow.sdk.definitions.variable",
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
    "airflow.dag_processing.dagbag",
    "airflow.dag_processing.bundles.local",
    "airflow.dag_processing.bundles.manager",
    "airflow.dag_processing.importers.python_importer",
    "airflow.providers.standard.operators.bash",
    "airflow.providers.standard.operators.empty",
    "airflow.providers.standard.operators.python",
    "airflow.providers.standard.operators.trigger_dagrun",
    "airflow.providers.standard.decorators.python",
    "airflow.providers.standard.sensors.python",
    "airflow.utils.net",
    "airflow.version",
    "encodings.cp437",  # what zipfile decodes names with
    "jinja2.ext",
    "setproctitle",
)
"""Modules that nearly every task imports. Found by comparing `sys.modules` before and after tries."""

TRIGGER_MODULES: Final = (
    "airflow.sdk",
    "airflow.sdk.serde",
    "airflow.sdk.execution_time.context",
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
    "airflow.serialization.decoders",
    "airflow.triggers.base",
    "airflow.providers.standard.triggers.temporal",
    # Half of what a poll of the amazon provider's triggers took was their imports, in each life anew.
    "aiobotocore.session",
    "aiobotocore.httpsession",
    "airflow.providers.amazon.aws.hooks.base_aws",
    "airflow.providers.amazon.aws.triggers.base",
    "airflow.providers.amazon.aws.utils.waiter_with_logging",
)


def set_environment(bundles: Path = BUNDLES, *, bundle_name: str = "dags-folder") -> Path:
    """Airflow's settings, where the environment does not say otherwise; then import Airflow. Returns the folder in which
    Airflow looks for unpacked bundles."""
    compat.prepare_environment()
    for name, value in SETTINGS.items():
        os.environ.setdefault(f"AIRFLOW__{name}", value)
    os.environ.setdefault("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH", f"{os.environ['AIRFLOW_HOME']}/bundles")
    bundle = {"name": bundle_name, "classpath": BUNDLE_CLASS, "kwargs": {"root": str(bundles)}}
    configured = os.environ.setdefault("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([bundle]))
    with late.binding(), compat.without_engine():
        compat.import_airflow()
        compat.know_metrics()
        importlib.import_module("airflow.sdk.execution_time.task_runner")
    if not late.sleeps():  # another module had imported them before us
        compat.listen_to_models()
    return Path(json.loads(configured)[0]["kwargs"]["root"])


def warm_up_for_tasks(bundles: Path) -> None:
    """For a worker, whose children run tasks."""
    import_once(TASK_MODULES)
    from gust.airflow_bridge.rehearsal import rehearse

    rehearse(bundles)
    collector.freeze_gc()


class OwnLog(Protocol):
    """What takes the lines of this process's own log."""

    def write(self, data: bytes, /) -> Any:
        """Take a line, or a part of one."""

    def flush(self) -> None:
        """Hand on what was taken."""


def import_once(modules: Iterable[str], log: OwnLog | None = None) -> None:
    """Import the modules, silence this process's log below warnings, and forbid its children to read its memory. `log` gets
    the lines of this process, each as JSON; without it stderr does."""
    dumpable.forbid()
    with warnings.catch_warnings(), late.binding():
        # Airflow's own deprecations in its own providers: no reader of this log can act on them.
        warnings.simplefilter("ignore")
        compat.preload()
        for module in modules:
            importlib.import_module(module)
        _make_adapters_once()
        know_files_of_modules()
    # The log shipper's thread; it sleeps while a child is forked.
    warnings.filterwarnings("ignore", message="This process .* is multi-threaded", category=DeprecationWarning)
    _configure_logging(log or sys.stderr.buffer)


def know_files_of_modules() -> None:
    """Hooks of the amazon provider ask who called them. The answer needs the file of every module, which Python finds once
    in a process: without this, in each child anew, which was half of what a poll took.

    Links are looked for once in each folder, and not for each of its files: half of the time."""
    plain = os.path.realpath
    folders = functools.cache(plain)

    def realpath(path: str) -> str:
        folder, name = os.path.split(path)
        return plain(path) if os.path.islink(path) else os.path.join(folders(folder), name)

    os.path.realpath = realpath  # type: ignore[assignment]
    try:
        inspect.getmodule(sys._getframe())
    finally:
        os.path.realpath = plain


def _make_adapters_once() -> None:
    """Cache pydantic's adapters: Airflow's child builds one for all messages it may get, twice, before it does anything
    else, and one for each field that it renders. Built here, every child inherits them."""
    from airflow.sdk.execution_time import comms

    if hasattr(comms.TypeAdapter, "cache_info"):
        return
    adapter_of = functools.cache(comms.TypeAdapter)
    adapter_of(comms.ToTask)
    comms.TypeAdapter = adapter_of
    if (task_runner := sys.modules.get("airflow.sdk.execution_time.task_runner")) is not None:
        vars(task_runner)["TypeAdapter"] = adapter_of


def _configure_logging(log: OwnLog) -> None:
    """This process's own log: JSON lines, warnings and worse. Tasks' logs do not come through here.

    The level itself stays at info: Airflow filters a task's stdout by it. No logger keeps what it is bound to at its
    first use: a child inherits Airflow's loggers, and must find that they speak to its own supervisor."""
    from airflow.sdk.log import configure_logging

    configure_logging(json_output=True, output=_WarningsOnly(log), cache_logger_on_first_use=False)
    logging.getLogger("httpx").setLevel(logging.WARNING)


class _WarningsOnly:
    """A binary file that drops JSON lines of level debug and info."""

    def __init__(self, file: OwnLog) -> None:
        self._file = file

    def write(self, line: bytes | str) -> int:
        data = line.encode() if isinstance(line, str) else line
        if b'"level":"info"' not in data and b'"level":"debug"' not in data:
            self._file.write(data)
        return len(data)

    def flush(self) -> None:
        self._file.flush()
