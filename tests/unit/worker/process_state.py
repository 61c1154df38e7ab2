"""The state that a child inherits by the fork: modules, loggers, signals and the process itself.

Run as a program, it imports what a worker imports, forks a child, rehearses, forks another, and prints what the two see, as
JSON: flat maps from a place (`module.Class.attribute`) to a description.
"""

from __future__ import annotations

import atexit
import contextvars
import functools
import json
import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Final

_LRU_CACHE: Final = type(functools.cache(lambda: None))

Places = Iterator[tuple[str, str]]

OURS: Final = ("airflow", "gust", "structlog", "pluggy", "opentelemetry")
"""Packages whose instances are looked into where they stand in a module or a class."""


LOOKED_INTO: Final = 200
"""Dicts of fewer entries are."""


def state() -> dict[str, str]:
    """By place, what stands there. Addresses are left out, so that two processes can be compared."""
    return dict(sorted([*_of_process(), *_of_logging(), *_of_modules()]))


def _of_process() -> Places:
    yield from ((f"environment {name}", value) for name, value in os.environ.items())
    yield "sys.path", repr(sys.path)
    yield "sys.argv", repr(sys.argv)
    yield "sys.meta_path", repr([_kind(each) for each in sys.meta_path])
    yield "sys.path_hooks", str(len(sys.path_hooks))
    for name in ("excepthook", "unraisablehook", "displayhook", "stdin", "stdout", "stderr"):
        yield f"sys.{name}", _kind(getattr(sys, name))
    yield "threading.excepthook", _kind(threading.excepthook)
    yield "threads", str(threading.active_count())
    yield "working directory", os.getcwd()
    yield "umask", str(_umask())
    for shown in ("cmdline", "environ", "comm"):
        yield f"the kernel's {shown}", Path(f"/proc/self/{shown}").read_bytes().decode(errors="replace")
    yield "open files", repr(sorted(_open_files()))
    yield "exit functions", str(atexit._ncallbacks())
    yield "context variables", repr(sorted(variable.name for variable in contextvars.copy_context()))
    yield "random numbers", str(hash(random.getstate()) if random.getstate()[1][-1] != 624 else "fresh")
    yield "warnings.filters", repr([(kind, _kind(category)) for kind, _, category, _, _ in warnings.filters])
    for number in signal.valid_signals():
        yield f"signal {int(number)}", _kind(signal.getsignal(number))


def _umask() -> int:
    before = os.umask(0o022)
    os.umask(before)
    return before


def _open_files() -> Iterator[str]:
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        if not target.startswith("/proc/"):
            yield target.partition(":")[0]


def _of_logging() -> Places:
    yield "logging.root", _logger(logging.root)
    for name, logger in logging.root.manager.loggerDict.items():
        if isinstance(logger, logging.Logger):
            yield f"logger {name}", _logger(logger)


def _logger(logger: logging.Logger) -> str:
    handlers = [(_kind(each), each.level, _kind(each.formatter), len(each.filters)) for each in logger.handlers]
    return repr((logger.level, logger.disabled, logger.propagate, len(logger.filters), handlers))


def _of_modules() -> Places:
    for name, module in list(sys.modules.items()):
        yield f"module {name}", _kind(module)
        if isinstance(module, ModuleType):
            for attribute, value in list(vars(module).items()):
                if attribute not in ("__builtins__", "__warningregistry__"):
                    yield from _of_value(f"{name}.{attribute}", value, module=name, depth=2)


def _of_value(place: str, value: object, *, module: str, depth: int) -> Places:
    kind, home = type(value), str(type(value).__module__)
    if home.startswith("lazy_object_proxy"):
        yield place, "not looked at: that would make it"
        return

    if value is None or kind in (bool, int, float, str, bytes):
        yield place, f"{kind.__name__} {value!r:.200}"
    elif kind is ModuleType:
        yield place, f"module {value.__name__}"  # type: ignore[attr-defined]
    elif issubclass(kind, dict):
        yield place, f"{_kind(value)} of {len(value)}"
        if depth and len(value) < LOOKED_INTO:
            for key, each in list(value.items()):
                if type(key) is str:
                    yield from _of_value(f"{place}[{key}]", each, module=module, depth=0)
    elif issubclass(kind, list | tuple | set | frozenset | deque):
        yield place, f"{_kind(value)} of {len(value)}"
    elif kind is _LRU_CACHE:
        yield place, f"cache of {value.cache_info().currsize}"  # type: ignore[attr-defined]
    elif kind is FunctionType:
        yield place, f"function {value.__module__}.{value.__qualname__}"  # type: ignore[attr-defined]
    elif issubclass(kind, type):
        yield place, f"class {value.__module__}.{value.__qualname__}"
        if value.__module__ == module and depth:
            for attribute, each in list(vars(value).items()):
                yield from _of_value(f"{place}.{attribute}", each, module=module, depth=depth - 1)
    else:
        yield place, _kind(value)
        if home.startswith(OURS) and depth:
            for attribute, each in _attributes(value):
                yield from _of_value(f"{place}.{attribute}", each, module=module, depth=depth - 1)


def _attributes(value: object) -> list[tuple[str, object]]:
    try:
        return list(object.__getattribute__(value, "__dict__").items())
    except AttributeError:
        return []


def _kind(value: object) -> str:
    named = value if type(value) in (type, FunctionType) else type(value)
    return f"{named.__module__}.{named.__qualname__}"


def _in_a_child() -> dict[str, str]:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        with open(write, "w") as answer:
            json.dump(state(), answer)
        os._exit(0)
    os.close(write)
    with open(read) as answer:
        found: dict[str, str] = json.load(answer)
    os.waitpid(pid, 0)
    return found


def main() -> None:
    from gust.airflow_bridge import rehearsal, warm

    bundles = warm.set_environment()
    warm.import_once(warm.TASK_MODULES)
    before = _in_a_child()
    rehearsal.rehearse(bundles)
    json.dump([before, _in_a_child()], sys.stdout)


if __name__ == "__main__":
    main()
