"""A fork of the nursery that imports what the children of a DAG file will import, and then forks these children.

The nursery stays as it is. A preparer is made for one set of modules, one environment and one bundle's variables and
options, so that no child finds a module that it would not have imported itself, or another environment's. The names come
from children, whose code is a stranger's: a module is imported only from the folders of installed modules, without the
bundle on the path. The environment's folder is there because all its children have it there.

A module stays out if children could tell that it was imported before them: if it leaves threads, open files or processes,
changes variables, signal handlers or the working folder, asks for the time, draws random numbers, prints, writes files, or
fails. The preparer looks after each import, names the module and ends; the worker makes another one without it.
"""

from __future__ import annotations

import atexit
import gc
import io
import logging
import os
import random
import resource
import signal
import socket
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NoReturn

from gust import collector
from gust.airflow_bridge import compat, moment, nursery, orphans, parsed, surroundings
from gust.airflow_bridge.imports import import_installed
from gust.model.same_parse import SameParse

BEGINS: Final = b"+"
"""Before the name of a module that is imported next."""
IS_OUT: Final = b"-"
"""Before the reason why the module begun last stays out. The preparer ends."""
IS_READY: Final = b"="
"""Before the kB of memory and the milliseconds of a core that the imports took. The preparer forks children now."""

PARSE: Final = b"<parse>"
"""In the place of a module's name: the file is parsed next."""

WITHOUT_THREADS: Final = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""Variables during the imports. pyarrow's jemalloc, which it does not use unless told, starts a thread to give memory back;
in a forked child there is none either way."""

OF_CHILDREN: Final = (b"AWS_CONTAINER_", b"AIRFLOW_CTX_")
"""Prefixes of the variables that differ from one try to the next: the way to its credentials, and its names."""

_OF_GLIBC: Final = ~(0b11 << 31)
"""Without the two signals (32, 33) that glibc handles itself, from a process's first thread on."""


def prepare(
    control: int,
    *,
    names: Sequence[str],
    bundle: Path,
    environment: Path | None,
    workspace: Path,
    looks: bool,
    file: str | None,
    same: SameParse | None,
) -> None:
    """What a preparer does: import the modules, parse the `file`, if there is one, report, and fork children until its
    worker is gone. `workspace`: the empty folder where children will run. `looks`: whether what Airflow finds in
    the environment is all that children find. `same`: the proof that the file may be parsed."""
    worker = socket.socket(fileno=control)
    sys.dont_write_bytecode = True  # a changed environment is extracted anew
    memory = _private_memory()
    took = _import_all(worker, names, bundle, environment, workspace, looks=looks)
    collector.freeze_gc()  # before an author's code runs: the objects that it makes are collected as in any task
    if file is not None and same is not None:
        took += _parse(worker, bundle, file, workspace, environment, same=same)
    worker.sendall(IS_READY + b"%d %d\n" % ((_private_memory() - memory) // 1024, took * 1000))
    nursery.serve(worker, surroundings.look_at_modules)


def _parse(
    worker: socket.socket, bundle: Path, file: str, workspace: Path, environment: Path | None, *, same: SameParse
) -> float:
    worker.sendall(BEGINS + PARSE + b"\n")
    orphans.adopt()
    began = time.process_time()
    with _nothing_said() as said, _last_calls_noted():
        reason = parsed.parse_ahead(bundle, file, workspace, environment, same)
        if reason is None and said():
            reason = "it prints, warns or logs"
    if reason is None and (_threads() > 1 or orphans.children()):
        reason = "it starts threads or processes"
    if reason is not None:
        _end(worker, reason)
    orphans.leave_to_parent()
    return time.process_time() - began


def _import_all(
    worker: socket.socket,
    names: Sequence[str],
    bundle: Path,
    environment: Path | None,
    workspace: Path,
    *,
    looks: bool,
) -> float:
    """Returns seconds of a core."""
    orphans.adopt()  # a process that a module starts and leaves is found here
    collector.disable_gc()
    gc.freeze()
    for stream in (sys.stdout, sys.__stdout__):  # a module may keep it: a child ends without writing what it holds
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)
    took = 0.0
    with (
        surroundings.without_bundle(bundle, workspace, environment) as installed,
        _nothing_said() as said,
        moment.asks_counted() as asked,
        _last_calls_noted(),
        _looks_for_variables_of_tasks() as looked,
        compat.questions_counted() as questions,
    ):
        counted = {
            "it asks for a variable or a connection": questions,
            "it looks for AWS credentials, or for other variables of a task": looked,
            "it asks for the time, or for a name of its own": asked,
            "it prints, warns or logs": said,
        }
        for name, value in WITHOUT_THREADS.items():
            os.environ.setdefault(name, value)
        if _threads() > 1 or orphans.children():  # what else it does, it does in each child again
            _end(worker, "a .pth file of the environment starts threads or processes")
        if looks and environment is not None and not compat.knows_environment(environment):
            took -= time.process_time()
            _look_at_providers(environment, workspace, counted)
            took += time.process_time()
        before = _seen(workspace, counted)
        for name in names:
            worker.sendall(BEGINS + name.encode() + b"\n")
            took -= time.process_time()
            try:
                import_installed(name, installed)
            except BaseException as error:
                _end(worker, f"it cannot be imported: {type(error).__name__}")
            took += time.process_time()
            if has_changed := _difference(before, _seen(workspace, counted)):
                _end(worker, has_changed)
            gc.freeze()
    orphans.leave_to_parent()  # what tasks leave is their supervisor's to find
    return took


def _look_at_providers(environment: Path, workspace: Path, counted: Mapping[str, Callable[[], int]]) -> None:
    """Have Airflow look which providers and plugins the environment brings, unless that does more: it imports the providers'
    own packages, with all that they do. A fork of this process tries it first. Children look themselves then, also where a
    provider has a mistake."""
    pid = os.fork()
    if pid == 0:
        does_more = True
        with suppress(BaseException):
            before = _seen(workspace, counted)
            compat.know_environment(environment)
            does_more = _difference(before, _seen(workspace, counted)) is not None
        os._exit(does_more)
    if os.waitpid(pid, 0)[1] == 0:
        compat.know_environment(environment)
        gc.freeze()


def _end(worker: socket.socket, reason: str) -> NoReturn:
    orphans.kill_all(except_=frozenset())
    worker.sendall(IS_OUT + reason.encode() + b"\n")
    os._exit(0)


# --- what children could tell -----------------------------------------------------------------------------------------


def _seen(workspace: Path, counted: Mapping[str, Callable[[], int]]) -> dict[str, object]:
    """What a module does to this process that its children would not find, or find different, had they imported it."""
    return {
        **{what: count() for what, count in counted.items()},
        "it starts threads": _threads(),
        "it keeps files or sockets open": _open_files(),
        "it starts processes": (orphans.children(), _faults_of_children() - _faults_of_ours[0]),
        "it changes environment variables": dict(os.environ),
        "it changes the working folder": (os.getcwd(), _umask()),
        "it changes signal handlers": _signals(),
        "it changes how Python runs": (
            *(sys.stdin, sys.stdout, sys.stderr, sys.excepthook, sys.gettrace(), sys.getprofile()),
            *sys.path,
        ),
        "it configures logging": (
            *(logging.root.level, logging.root.disabled, logging.root.manager.disable, *logging.root.handlers),
            *(logging.getLoggerClass(), logging.getLogRecordFactory(), warnings.showwarning),
        ),
        "it draws random numbers": (random.getstate(), _generators()),
        "it seeds numpy's random numbers": _numpy_is_seeded(),
        "it draws numpy's random numbers": _numpy_state(),
        "it writes files": sorted(os.listdir(workspace)),
    }


def _difference(before: dict[str, object], after: dict[str, object]) -> str | None:
    """The first one of them that has changed. A value that was None may begin."""
    for what, was in before.items():
        if was is not None and was != after[what]:
            return what
    before.update(after)
    return None


def _threads() -> int:
    """How many threads a fork does not end: a library may stop its own before a fork, as numpy's OpenBLAS does, and starts
    them when it needs them."""
    count = len(os.listdir("/proc/self/task"))
    if count > 1:
        faults = _faults_of_children()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # this process has threads: that is the question
            pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        _faults_of_ours[0] += _faults_of_children() - faults
        count = len(os.listdir("/proc/self/task"))
    return count


_faults_of_ours: Final = [0]
"""Page faults of the processes that `_threads` has started."""


def _faults_of_children() -> int:
    """Page faults of the processes that were started and have ended: each has some."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt


def _open_files() -> dict[str, str]:
    found = {}
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the listing's own
            found[descriptor] = os.readlink(f"/proc/self/fd/{descriptor}")
    return found


def _umask() -> int:
    now = os.umask(0o77)
    os.umask(now)
    return now


def _signals() -> tuple[object, ...]:
    """Python's handlers, and the kernel's sets of blocked, ignored and caught signals: native code sets them, too."""
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    lines = Path("/proc/self/status").read_text().splitlines()
    sets = [int(line.split()[1], 16) & _OF_GLIBC for line in lines if line.startswith(("SigBlk", "SigIgn", "SigCgt"))]
    return (*handlers, *sets)


def _numpy_state() -> object:
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is None:
        return None
    name, keys, *rest = numpy_random.get_state()
    return name, keys.tobytes(), *rest


_SEEDED_BY_SYSTEM: Final = 0x80000000
"""The first word of numpy's generator, until it is seeded with a number or draws some."""


def _numpy_is_seeded() -> bool:
    """A module may import numpy and seed it at once: children that seed it anew would draw other numbers than it means."""
    numpy_random = sys.modules.get("numpy.random")
    return numpy_random is not None and bool(numpy_random.get_state()[1][0] != _SEEDED_BY_SYSTEM)


def _generators() -> int:
    """How many random generators the imports since the last `gc.freeze` have made and keep: all children would draw the same
    numbers."""
    kinds: tuple[type, ...] = (random.Random,)
    own = None
    if (numpy_random := sys.modules.get("numpy.random")) is not None:
        kinds = (random.Random, numpy_random.Generator, numpy_random.RandomState)
        own = numpy_random.random.__self__  # all of `numpy.random`'s functions are methods of one
    made = (thing for thing in gc.get_objects() if issubclass(type(thing), kinds))
    return sum(thing is not own and not isinstance(thing, random.SystemRandom) for thing in made)


def seed_anew() -> None:
    """In a child: numpy's generator was seeded at its import, for all children alike. Python seeds its own at each fork."""
    if (mtrand := sys.modules.get("numpy.random.mtrand")) is not None:
        mtrand.seed()


class _Variables(dict[bytes, bytes]):
    """Of this process; counts the looks for one that it lacks and its children have."""

    looks = 0

    def __missing__(self, name: bytes) -> bytes:
        self.looks += name.startswith(OF_CHILDREN)
        raise KeyError(name)


@contextmanager
def _looks_for_variables_of_tasks() -> Iterator[Callable[[], int]]:
    """A client of boto3 that a module makes finds no credentials here, and has none ever after."""
    environ: Any = os.environ
    plain, environ._data = environ._data, _Variables(environ._data)
    watched = environ._data
    try:
        yield lambda: watched.looks
    finally:
        plain.clear()
        plain.update(watched)
        environ._data = plain


_last_calls: Final[list[tuple[Callable[..., object], tuple[object, ...], dict[str, object]]]] = []
"""Functions that modules have registered to be called when Python ends, and their arguments."""


@contextmanager
def _last_calls_noted() -> Iterator[None]:
    register = atexit.register

    def note(function: Callable[..., object], *args: object, **kwargs: object) -> Callable[..., object]:
        _last_calls.append((function, args, kwargs))
        return register(function, *args, **kwargs)

    atexit.register = note  # type: ignore[assignment]
    try:
        yield
    finally:
        atexit.register = register


def register_last_calls_anew() -> None:
    """In a child: Airflow has forgotten what a process above it has registered, which modules of the child's would have."""
    for function, args, kwargs in _last_calls:
        atexit.register(function, *args, **kwargs)


@contextmanager
def _nothing_said() -> Iterator[Callable[[], int]]:
    """Keeps all that is printed and logged; yields how much it was."""
    lines = _Lines()
    kept, memory = [os.dup(1), os.dup(2)], os.memfd_create("gust-said")
    _flush()
    os.dup2(memory, 1)
    os.dup2(memory, 2)
    logging.root.addHandler(lines)

    def how_much() -> int:
        _flush()
        return os.fstat(memory).st_size + lines.count

    try:
        yield how_much
    finally:
        logging.root.removeHandler(lines)
        _flush()
        for number, descriptor in enumerate(kept, start=1):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.close(memory)


def _flush() -> None:
    for file in (sys.stdout, sys.stderr):
        with suppress(Exception):
            file.flush()


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002
        self.count += 1


def _private_memory() -> int:
    """Bytes that this process has for itself: also of memory that it got from the process that it is a fork of."""
    with suppress(OSError):
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
        return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
    _, resident, shared = Path("/proc/self/statm").read_text().split()[:3]  # a kernel before 4.14
    return (int(resident) - int(shared)) * resource.getpagesize()
