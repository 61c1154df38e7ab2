"""The functions' processes are forks of one process, the zygote, which has imported what most doors import.

MiniStack starts an interpreter for each process of a function, and each imports boto3, pydantic and our store anew: half a
second of a core and 40 MB for each. A fork shares those pages with all others, and begins within milliseconds.

A function finds the world that its own interpreter would give it: its environment, standard streams, folder, `sys.path`,
arguments, and a process group of its own. So the zygote imports no module that reads, while it is imported, what a
function's environment says (`tests/unit/local/test_zygote.py` watches), none of Airflow, and none of DAG authors. It makes
no AWS client, reads no setting and has no threads. What a function's process is told (its environment) it alone reads, as a
child of a nursery does (`gust.airflow_bridge.nursery`, which does the forking).

The zygote ends with the emulator, and the functions with the zygote. If it dies alone, functions get interpreters of their
own again.
"""

from __future__ import annotations

import importlib
import logging
import multiprocessing.process
import os
import runpy
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from signal import SIGKILL, SIGTERM, Signals
from typing import IO, Any, Final, NoReturn

from gust import collector
from gust.airflow_bridge import dumpable, immortal
from gust.airflow_bridge.nursery import Nursery, ParentGone, Process

IMPORTED: Final = (
    # Of nearly every function:
    "aws_lambda_powertools",
    "gust.bootstrap",
    "gust.execution_api.app",
    "gust.services.deployments.deploy_bundle",
    # Of Airflow, which parser, worker and triggerer import. None of these reads Airflow's settings, or comes late in a
    # worker (`gust.airflow_bridge.late`):
    "httpcore",
    "httpx",
    "jinja2.ext",
    "jsonschema",
    "opentelemetry.sdk.trace",
    "pathspec",
    "pendulum",
    "pydantic.v1",
    "structlog",
    "tenacity",
    "yaml",
)

CALLED: Final = ("dynamodb", "lambda", "logs", "s3", "sqs", "ssm")
"""AWS services whose descriptions in botocore more than one function reads."""

TITLE: Final = "gust-zygote"
"""What `ps` shows. A function's process shows the function's full name, `gust-scheduler` for example."""

log = logging.getLogger("gust.zygote")


def is_possible() -> bool:
    """Forking needs Linux (pidfd, memfd): elsewhere functions have interpreters of their own."""
    return hasattr(os, "pidfd_open") and hasattr(os, "memfd_create")


class Zygote(Nursery):
    """Make it before this process has threads, sockets or settings of its own: it is a fork. `modules` are imported there
    meanwhile, and botocore's files about `services` are read; the first function waits for that."""

    def __init__(self, modules: Iterable[str] = IMPORTED, services: Iterable[str] = CALLED) -> None:
        super().__init__()
        self._asking = threading.Lock()
        self.call(partial(_prepare, tuple(modules), tuple(services)))

    def run(self, script: str, *, folder: str, environment: Mapping[str, str]) -> Function:
        """A new process that runs a Python script. Safe to call from several threads. Raises ParentGone where the zygote has
        ended."""
        (stdin, to_stdin), (from_stdout, stdout), (from_stderr, stderr) = (os.pipe() for _ in range(3))
        ours = os.fdopen(to_stdin, "w"), os.fdopen(from_stdout), os.fdopen(from_stderr)
        try:
            with self._asking:
                process = self.fork(partial(_become, script, folder, dict(environment)), [stdin, stdout, stderr])
        except ParentGone:
            for file in ours:
                file.close()
            raise
        finally:
            for descriptor in (stdin, stdout, stderr):
                os.close(descriptor)
        return Function(process, *ours)

    def _has_gone(self) -> NoReturn:
        raise ParentGone


class Function:
    """A function's process, with as much of `subprocess.Popen` as MiniStack uses."""

    def __init__(self, process: Process, stdin: IO[str], stdout: IO[str], stderr: IO[str]) -> None:
        self.pid = process.pid
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self.returncode: int | None = None
        self._process = process
        self._waiting = threading.Lock()

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        with self._waiting:
            try:
                self.returncode = int(self._process.wait(timeout))
            except TimeoutError:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0) from None
        return self.returncode

    def terminate(self) -> None:
        self._send(SIGTERM)

    def kill(self) -> None:
        self._send(SIGKILL)

    def _send(self, number: Signals) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(number)


class Subprocess:
    """Stands for the module `subprocess` where MiniStack starts functions: those that `is_ours` says yes to, by name, are
    forks of the zygote. All else is the module's own."""

    def __init__(self, zygote: Zygote, is_ours: Callable[[str], bool]) -> None:
        self._zygote = zygote
        self._is_ours = is_ours

    def __getattr__(self, name: str) -> Any:
        return getattr(subprocess, name)

    def Popen(self, command: list[str], **options: Any) -> Function | subprocess.Popen[Any]:  # noqa: N802 - as there
        environment = options.get("env") or {}
        if len(command) == 2 and command[0] == sys.executable and self._is_ours(_name_in(environment)):
            try:
                return self._zygote.run(command[1], folder=options["cwd"], environment=environment)
            except ParentGone:
                log.warning("The zygote has ended; %s gets an interpreter of its own", _name_in(environment))
        return subprocess.Popen(command, **options)


def _name_in(environment: Mapping[str, str]) -> str:
    return environment.get("AWS_LAMBDA_FUNCTION_NAME", "")


# --- in the zygote ----------------------------------------------------------------------------------------------------


def _prepare(modules: Iterable[str], services: Iterable[str]) -> None:
    os.environ["SPT_NOENV"] = "1"  # else the title overwrites the environment that marks our processes
    import setproctitle  # not before: it looks for room for titles while it is imported

    setproctitle.setproctitle(TITLE)
    if not sys.flags.safe_path:
        _forget_modules_of(sys.path.pop(0))  # the folder of our own command
    collector.disable_gc()
    for module in modules:
        importlib.import_module(module)
    if services:
        from gust.aws import clients  # the emulator does without

        clients.read_ahead(services)
    immortal.mark_all()
    collector.freeze_gc()


def _forget_modules_of(folder: str) -> None:
    """A DAG folder may have modules of the same names."""
    here = os.path.abspath(folder)
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if "." not in name and name != "__main__" and file and _folder_of(file) == here:
            for other in [each for each in sys.modules if each == name or each.startswith(f"{name}.")]:
                del sys.modules[other]


def _folder_of(file: str) -> str:
    """Where the module or package lies."""
    folder, name = os.path.split(os.path.abspath(file))
    return os.path.dirname(folder) if name.startswith("__init__.") else folder


# --- in a function's process ------------------------------------------------------------------------------------------


def _become(script: str, folder: str, environment: Mapping[str, str], *streams: int) -> None:
    """Run the script as `python script` would."""
    import setproctitle

    dumpable.allow()  # a door that runs strangers' code forbids it again
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    if not sys.flags.safe_path:
        sys.path.insert(0, os.path.dirname(script))
    sys.argv[:] = [script]
    sys.orig_argv[:] = [sys.executable, script]
    setproctitle.setproctitle(_name_in(environment))
    # What Python has noted of this process while the zygote imported it.
    vars(multiprocessing.process)["ORIGINAL_DIR"] = folder
    multiprocessing.current_process().authkey = os.urandom(32)
    runpy.run_path(script, run_name="__main__")
