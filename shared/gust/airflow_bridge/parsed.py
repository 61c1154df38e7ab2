"""A DAG file parsed once for many tasks: in a preparer, whose forks find the DAGs in memory.

Only where no author can tell. While the file is parsed, `pure_calls` stops it before it asks for anything that differs from
one task to the next, or does what others notice: time, random numbers, ids, files outside of the bundle, output, threads,
processes, sockets, Airflow's variables and connections, a task's own environment variables. What the file changes in memory
each child inherits, as if it had changed it itself, unless a child's first steps would put it back: then the file stays out,
too. A file that stays out is parsed in each task, as in Airflow; so are all of them without `[gust] parse_once`.
"""

from __future__ import annotations

import gc
import io
import logging
import os
import random
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Final
from zoneinfo import TZPATH

import structlog

from gust.airflow_bridge import compat, crashes, sensors, surroundings
from gust.model.airflow_options import is_true
from gust.model.bundle import BUNDLE_NAME, PLUGINS_PREFIX

OPTION: Final = "gust.parse_once"

LONGEST: Final = 400
"""Characters of a reason."""

OF_TASKS: Final = (b"AWS_CONTAINER_", b"AIRFLOW_CTX_", b"_AIRFLOW_", b"__AIRFLOW_")
"""Prefixes of the variables that children have and their preparer lacks: the way to a try's credentials, its names, and the
DAG that Airflow parses the file for (`get_parsing_context`)."""

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


def parse_ahead(bundle: Path, file: str, workspace: Path, environment: Path | None, *, is_tried: bool) -> str | None:
    """Parse a file for the children of this process; returns why they cannot have it, or None. `is_tried`: `reason_against`
    has found nothing before."""
    global _here  # noqa: PLW0603 - one file for the life of a preparer
    if not is_tried and (reason := _told_by_fork(lambda: reason_against(bundle, file, workspace, environment))):
        return reason
    with _as_in_child(bundle, workspace, environment):
        path = tuple(sys.path)
        bag = compat.bag_of(bundle.resolve(), file, bundle_name=BUNDLE_NAME)
        if not compat.is_whole(bag):
            return "its parse fails, or warns"
        _here = Parsed(bag, path, tuple(sys.path))
    return None


def _told_by_fork(ask: Callable[[], str | None]) -> str | None:
    """Ask in a fork of this process, which stays as it is: Python slows down what it has watched, and a look at everything
    copies it."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = "it ends the process"
        try:
            said = ask() or ""
        except BaseException as error:
            said = f"its parse ends with {type(error).__name__}"
        finally:
            os.write(writing, f"={said}"[:LONGEST].encode(errors="replace"))
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as answer:
        told = answer.read(LONGEST).decode(errors="replace")
    os.waitpid(pid, 0)
    return told.removeprefix("=") if told.startswith("=") else "it ends the process"


def reason_against(bundle: Path, file: str, workspace: Path, environment: Path | None) -> str | None:
    """Parse a file under watch; returns why it must be parsed in each task, or None. For a process that is thrown away."""
    from gust.airflow_bridge import pure_calls  # needs Python 3.12

    if (bundle / PLUGINS_PREFIX).exists() or _has_plugins(environment):
        return "plugins run before it is parsed"
    with _as_in_child(bundle, workspace, environment), compat.questions_counted() as questions:
        if compat.says_what_it_parses():
            return "the level of logging has its parse logged"
        folders = [f"{each}/" for each in (bundle, bundle.resolve(), *sys.path, *TZPATH) if str(each).startswith("/")]
        was = _State.now(bundle)
        gc.freeze()
        try:
            with _variables_of_tasks_refused() as variables, pure_calls.only(folders, variables=variables) as first:
                bag = compat.bag_of(bundle.resolve(), file, bundle_name=BUNDLE_NAME)
        except BaseException as error:
            return first() or f"its parse ends with {type(error).__name__}"
        if reason := first():
            return reason
        if questions():
            return "it asks for a variable or a connection"
        if not compat.is_whole(bag):
            return "its parse fails, or warns"
        return was.difference() or _kept()


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
    """Whether files may be parsed ahead, by a bundle's options and this process's environment. Python 3.11 cannot watch."""
    can_watch = sys.version_info >= (3, 12)
    return can_watch and is_true(options.get(OPTION, os.environ.get("AIRFLOW__GUST__PARSE_ONCE", "")))


def _has_plugins(environment: Path | None) -> bool:
    """Whether packages of the environment bring plugins of Airflow's, which may listen."""
    if environment is None:
        return False
    found = (each for of in metadata.distributions(path=[str(environment)]) for each in of.entry_points)
    return any(each.group in ("airflow.plugins", "airflow.policy") for each in found)


# --- what a child could tell ------------------------------------------------------------------------------------------


class _Variables(dict[bytes, bytes]):
    """Of this process. One that only a child has may not be looked for."""

    def __missing__(self, name: bytes) -> bytes:
        if name.startswith(OF_TASKS):
            from gust.airflow_bridge import pure_calls

            raise pure_calls.Impure(f"it looks for {name.decode(errors='replace')}")
        raise KeyError(name)


@contextmanager
def _variables_of_tasks_refused() -> Iterator[object]:
    environ: Any = os.environ
    environb: Any = os.environb
    plain = environ._data
    environ._data = environb._data = _Variables(plain)
    try:
        yield environ._data
    finally:
        environ._data = environb._data = plain


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
