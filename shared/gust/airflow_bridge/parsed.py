"""A DAG file parsed once for many tasks: in a preparer, whose forks find the DAGs in memory.

Only where no author can tell. The parser finds that out: after its own parse of a file it parses it again under watch
(`same_parse`), in a process that is thrown away. There `pure_calls` stops the file before it asks for anything that differs
from one task to the next, or does what others notice: time, random numbers, ids, files outside of the bundle, output,
threads, processes, sockets, Airflow's variables and connections, a task's own environment variables. What the file changes
in memory each child inherits, as if it had changed it itself, unless a child's first steps would put it back: then the file
stays out, too. A file that stays out is parsed in each task, as in Airflow; so are all of them with
`[gust] parse_once = False`.

What has been watched can depend on nothing but the code of Python, Airflow and packages, the files of the bundle, and the
environment's variables. The proof names those by a digest; a worker computes it from its own before it parses the file.
"""

from __future__ import annotations

import gc
import importlib.machinery
import io
import json
import logging
import os
import posix
import random
import shutil
import sys
import threading
import types
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NoReturn
from zoneinfo import TZPATH

import structlog

import gust
from gust.airflow_bridge import compat, crashes, imports, sensors, surroundings
from gust.airflow_bridge.footprint import source_of
from gust.model.airflow_options import is_true
from gust.model.bounds import size_of
from gust.model.bundle import BUNDLE_NAME, PLUGINS_PREFIX
from gust.model.environment import OPTIONS_FILE, OURS, VARIABLES_FILE
from gust.model.same_parse import SameParse

if TYPE_CHECKING:
    from gust.airflow_bridge import pure_calls  # needs Python 3.12

OPTION: Final = "gust.parse_once"
DEFAULT: Final = "True"

LARGEST: Final = 4_000
"""Bytes of a proof: each message of the file's tasks holds it."""

OF_TASKS: Final = (b"AWS_CONTAINER_", b"AIRFLOW_CTX_", b"_AIRFLOW_", b"__AIRFLOW_")
"""Prefixes of the variables that children have and their preparer lacks: the way to a try's credentials, its names, and the
DAG that Airflow parses the file for (`get_parsing_context`)."""

OF_OPTIONS: Final = ("_CMD", "_SECRET")
"""Where Airflow looks for an option in the environment, it looks for the variable's name with these ends, too."""

STREAMS: Final = ("stdin", "stdout", "stderr")

WATCHED: Final = (
    *compat.OF_FIRST_STEPS,
    *("builtins", "gust", "io", "json", "logging", "msgspec", "os", "pathlib", "posix", "pluggy", "selectors"),
    *("setproctitle", "signal", "socket", "structlog", "sys", "tempfile", "threading", "time", "warnings", "weakref"),
)
"""Modules, with all below them, that a child's first steps use, up to its parse."""


@dataclass(frozen=True, slots=True)
class Parsed:
    bag: Any
    path_before: tuple[str, ...]
    """`sys.path`"""
    path_after: tuple[str, ...]


_here: Parsed | None = None
"""What this process, or the one that it is a fork of, has parsed."""


def parse_ahead(bundle: Path, file: str, workspace: Path, environment: Path | None, same: SameParse) -> str | None:
    """Parse a file for the children of this process, if the proof holds here; returns why they cannot have it, or None."""
    global _here  # noqa: PLW0603 - one file for the life of a preparer
    with _as_in_child(bundle, workspace, environment), compat.questions_counted() as questions:
        if same.digest != _digest(bundle, file, workspace, environment, files=same.files, variables=same.variables):
            return "the parser has watched another one"
        path, modules = tuple(sys.path), set(sys.modules)
        bag = compat.bag_of(bundle.resolve(), file, bundle_name=BUNDLE_NAME)
        if questions():
            return "it asks for a variable or a connection"
        if not compat.is_whole(bag):
            return "its parse fails, or warns"
        if unseen := _installed_since(modules, bundle) - set(same.modules):
            return f"it imports {min(unseen)}"
        _here = Parsed(bag, path, tuple(sys.path))
    return None


# --- in the parser ----------------------------------------------------------------------------------------------------


def same_parse(
    bundle: Path, file: str, workspace: Path, environment: Path | None, modules: Sequence[str]
) -> SameParse | str:
    """Parse a file under watch; returns the proof that each task finds the same, or why it must be parsed in each. For a
    process that is thrown away. `modules`: installed ones that the file imports; workers import these before it, and look
    what they do (`preparer`), so they are not watched."""
    from gust.airflow_bridge import pure_calls  # needs Python 3.12

    if file.endswith(".zip"):
        return "it is a zip"
    if (bundle / PLUGINS_PREFIX).exists() or _has_plugins(environment):
        return "plugins run before it is parsed"
    with surroundings.without_bundle(bundle, workspace, environment) as installed:
        for name in modules:
            imports.import_installed(name, installed)
        _parse_another(workspace)
    if environment is not None and _has_native_code(environment):
        return "its packages have native code"
    with _as_in_child(bundle, workspace, environment), compat.questions_counted():
        if compat.says_what_it_parses():
            return "the level of logging has its parse logged"
        folders = [f"{each}/" for each in (bundle, bundle.resolve(), *sys.path, *TZPATH) if str(each).startswith("/")]
        watch, variables = pure_calls.Watch(folders), set[str]()
        there, was = set(sys.modules), _State.now(bundle)
        gc.freeze()
        with _variables_noted(watch, variables), _what_differs_stood_for(watch) as is_one_kept:
            try:
                with pure_calls.only(watch):
                    bag = compat.bag_of(bundle.resolve(), file, bundle_name=BUNDLE_NAME)
            except BaseException as error:
                return watch.first or f"its parse ends with {type(error).__name__}"
            if watch.first:
                return watch.first
            if is_one_kept():
                return "it keeps stdin, stdout or stderr, or the way to its supervisor"
        if not compat.is_whole(bag):
            return "its parse fails, or warns"
        if reason := was.difference() or _kept():
            return reason
        roots = tuple({f"{bundle}/", f"{bundle.resolve()}/"})
        read = {source_of(path) for path in watch.opened if path.startswith(roots)}
        files = sorted({path.removeprefix(f"{bundle.resolve()}/").removeprefix(f"{bundle}/") for path in read} - {file})
        asked = sorted(variables - {f"{name}{end}" for name in variables for end in OF_OPTIONS})
        digest = _digest(bundle, file, workspace, environment, files=files, variables=asked)
        proof = SameParse(
            digest=digest,
            files=tuple(files),
            variables=tuple(asked),
            modules=tuple(sorted(_installed_since(there, bundle))),
        )
    return proof if size_of(proof.model_dump(mode="json")) <= LARGEST else "it reads too many files"


def _parse_another(folder: Path) -> None:
    """What Airflow makes at the first parse of a process, a worker has made before it forks (`rehearsal`)."""
    file = Path(__file__).with_name("rehearsal_dag.py")
    shutil.copy(file, folder)
    compat.bag_of(folder, file.name, bundle_name=BUNDLE_NAME)
    (folder / file.name).unlink()


def _digest(
    bundle: Path,
    file: str,
    workspace: Path,
    environment: Path | None,
    *,
    files: Collection[str],
    variables: Collection[str],
) -> str:
    """Of all that a watched parse can depend on, in this process as a child has it. Times of files do not count: they are
    those of a worker's disk."""

    def here(value: str | None) -> str | None:
        """Without the names that folders have here."""
        for folder, name in (
            (bundle.resolve(), compat.DAGS_ROOT),
            (bundle, compat.DAGS_ROOT),
            (workspace, surroundings.WORKSPACE),
        ):
            value = value.replace(str(folder), name) if value is not None else None
        return value

    parts: list[Any] = [
        sys.version,
        compat.airflow_version(),
        gust.__version__,
        os.uname().machine,
        environment and environment.name,
    ]
    names = sorted({*variables, *(f"{name}{end}" for name in variables for end in OF_OPTIONS)})
    parts.append([(name, here(os.environ.get(name))) for name in names])
    parts.append(sorted(_names(bundle)))
    for path in (VARIABLES_FILE, OPTIONS_FILE, file, *sorted(files)):
        with suppress(FileNotFoundError):
            parts.append([path, sha256((bundle / path).read_bytes()).hexdigest()])
    return sha256(json.dumps(parts).encode()).hexdigest()


def _names(bundle: Path) -> Iterator[str]:
    """Of files and folders, without Python's bytecode, which a worker compiles, and Gust's own."""
    root = bundle.resolve()
    for folder, folders, files in os.walk(root):
        folders[:] = [each for each in folders if each != "__pycache__"]
        within = "" if folder == str(root) else f"{folder[len(str(root)) + 1 :]}/"
        if not within.startswith(OURS):
            yield from (f"{within}{each}" for each in (*folders, *files))


def _installed_since(before: Collection[str], bundle: Path) -> set[str]:
    """Names of the modules imported since then that are not the bundle's."""
    return {
        name
        for name, module in list(sys.modules.items())
        if name not in before
        and getattr(module, "__spec__", None) is not None
        and not _is_of(bundle, module)
        and not _is_of(bundle.resolve(), module)
    }


def _has_native_code(environment: Path) -> bool:
    """Whether a module of these packages is native and imported: Python calls its operators unseen."""
    ends = tuple(importlib.machinery.EXTENSION_SUFFIXES)
    files = (str(getattr(module, "__file__", None)) for module in list(sys.modules.values()))
    return any(file.startswith(f"{environment}/") and file.endswith(ends) for file in files)


@contextmanager
def _as_in_child(bundle: Path, workspace: Path, environment: Path | None) -> Iterator[None]:
    """What a child does before its file is parsed."""
    sensors.watch()
    crashes.make_fatal()
    crashes.handle()
    compat.close_database()
    with surroundings.as_in_child(bundle, workspace, environment):
        yield


@contextmanager
def in_place() -> Iterator[None]:
    """In a child that has entered: meanwhile Airflow finds the file parsed, if the preparer has parsed it."""
    if _here is None or tuple(sys.path) != _here.path_before:
        yield
        return
    sys.path[:] = _here.path_after
    with compat.bag_in_place(_here.bag):
        yield


def is_wanted(options: Mapping[str, str]) -> bool:
    """Whether files may be parsed once for many tasks, by a bundle's options and this process's environment. Python 3.11
    cannot watch."""
    can_watch = sys.version_info >= (3, 12)
    return can_watch and is_true(options.get(OPTION, os.environ.get("AIRFLOW__GUST__PARSE_ONCE", DEFAULT)))


def _has_plugins(environment: Path | None) -> bool:
    """Whether packages of the environment bring plugins of Airflow's, which may listen."""
    if environment is None:
        return False
    found = (each for of in metadata.distributions(path=[str(environment)]) for each in of.entry_points)
    return any(each.group in ("airflow.plugins", "airflow.policy") for each in found)


# --- what a child could tell ------------------------------------------------------------------------------------------


@contextmanager
def _variables_noted(watch: pure_calls.Watch, asked: set[str]) -> Iterator[None]:
    """Meanwhile the names of the variables that are looked for are added to `asked`. Not fine: all of them, or one
    that only a child has."""
    environ: Any = os.environ
    environb: Any = os.environb
    plain: dict[bytes, bytes] = environ._data

    def value(_: object, name: bytes) -> bytes:
        asked.add(os.fsdecode(name))
        if name in plain:
            return plain[name]
        if name.startswith(OF_TASKS):
            watch.refuse(f"it looks for {name.decode(errors='replace')}")
        raise KeyError(name)

    def contains(_: object, name: bytes) -> bool:
        with suppress(KeyError):
            value(_, name)
            return True
        return False

    noted = watch.stand_in("it uses all environment variables", {"__getitem__": value, "__contains__": contains})
    environ._data = environb._data = posix.environ = noted
    try:
        yield
    finally:
        environ._data = environb._data = posix.environ = plain


@contextmanager
def _what_differs_stood_for(watch: pure_calls.Watch) -> Iterator[Callable[[], bool]]:
    """Meanwhile stand-ins are in the place of what a child's first steps make anew, and has other attributes there. Yields
    whether one of them is kept."""
    found: list[tuple[Any, str, object]] = []

    def put(where: Any, name: str, new: object) -> None:
        found.append((where, name, getattr(where, name)))
        setattr(where, name, new)

    streams = [watch.stand_in(f"it looks at {name}") for name in STREAMS]
    comms = watch.stand_in("it asks for a variable or a connection, or looks at its way there")
    for name, stream in zip(STREAMS, streams, strict=True):
        put(sys, name, stream)
        put(sys, f"__{name}__", stream)
    put(*compat.way_to_supervisor(), comms)
    put(logging.root, "handlers", watch.stand_in("it looks at the handlers of logs", {"__bool__": lambda _: True}))
    put(structlog.contextvars, "_CONTEXT_VARS", watch.stand_in("it looks at what Airflow's log says of its task"))

    def refused(*_: object) -> NoReturn:
        watch.refuse("it looks at structlog's configuration, or at the number of a thread")

    for module in (structlog, sys.modules[structlog.get_config.__module__]):
        put(module, "get_config", refused)
    put(threading.Thread, "native_id", property(refused))
    was = [sys.getrefcount(each) for each in (*streams, comms)]
    try:
        yield lambda: [sys.getrefcount(each) for each in (*streams, comms)] != was
    finally:
        for where, name, plain in reversed(found):
            setattr(where, name, plain)


@dataclass(frozen=True, slots=True)
class _State:
    """What the names of modules and classes stand for, and what of this process a child's first steps put back."""

    modules: dict[str, tuple[ModuleType, dict[str, object]]]
    classes: dict[type, dict[str, object]]
    process: dict[str, object]

    @classmethod
    def now(cls, bundle: Path) -> _State:
        modules = {
            name: (module, dict(vars(module)))
            for name, module in list(sys.modules.items())
            if type(module) is ModuleType and _is_watched(name) and not _is_of(bundle, module)
        }
        classes: dict[type, dict[str, object]] = {}
        for name, (_, names) in modules.items():
            for each in names.values():
                if isinstance(each, type) and vars(each).get("__module__") == name:
                    classes[each] = dict(vars(each))
        return cls(modules, classes, _of_process())

    def difference(self) -> str | None:
        """What the parse has changed, in words; names that it has added do not count."""
        now = _of_process()
        for what, was in self.process.items():
            if was != now[what]:
                return what
        for name, (module, was_there) in self.modules.items():
            if sys.modules.get(name) is not module:
                return f"it replaces module {name}"
            there = vars(module)
            for attribute, each in was_there.items():
                if there.get(attribute) is not each and attribute not in ("__warningregistry__", "__annotations__"):
                    return f"it changes {name}.{attribute}"
        for kind, of_class in self.classes.items():
            there_now = vars(kind)
            for attribute, each in of_class.items():
                if there_now.get(attribute) is not each and _named(kind, attribute) not in compat.LEFT_BY_PARSE:
                    return f"it changes {kind.__module__}.{kind.__qualname__}.{attribute}"
        return None


def _named(kind: type, attribute: str) -> tuple[str, str, str]:
    return kind.__module__, kind.__qualname__, attribute


def _is_watched(name: str) -> bool:
    return any(name == each or name.startswith(f"{each}.") for each in WATCHED)


def _is_of(bundle: Path, module: ModuleType) -> bool:
    file = vars(module).get("__file__")
    return isinstance(file, str) and file.startswith(f"{bundle}/")


def _of_process() -> dict[str, object]:
    streams = (sys.stdin, sys.stdout, sys.stderr)
    return {
        "it changes how Python runs": (*map(id, streams), sys.excepthook, sys.unraisablehook, sys.displayhook),
        "it keeps stdin, stdout or stderr": tuple(map(sys.getrefcount, streams)),
        "it configures logging": _of_logging(),
    }


def _of_logging() -> object:
    """Loggers that are more than a name, and structlog's configuration."""
    loggers = {}
    for name, logger in [("", logging.root), *logging.root.manager.loggerDict.items()]:
        if isinstance(logger, logging.Logger):
            told = (logger.level, *map(id, (*logger.handlers, *logger.filters)), logger.disabled, logger.propagate)
            if told != (logging.NOTSET, False, True) or not name:
                loggers[name] = told
    known = structlog.get_config()
    return (
        loggers,
        logging.root.manager.disable,
        {name: id(each) for name, each in known.items() if name != "processors"},
    )


def _kept() -> str | None:
    """What of the objects that the parse has made a child would have made anew. After `gc.freeze`."""
    from gust.airflow_bridge import pure_calls

    for thing in gc.get_objects():
        kind = type(thing)
        if kind is type or issubclass(kind, type):
            if any(pure_calls.is_impure(each) for each in vars(thing).values()):
                return "it has a class that calls native code unseen"
        elif issubclass(kind, random.Random) or issubclass(kind, io.IOBase):
            return "it keeps an open file or a generator of random numbers"
        elif issubclass(kind, types.FrameType | types.TracebackType):
            continue
        elif issubclass(kind, structlog.BoundLoggerBase):
            return "it keeps a logger"
    return None
