"""Which installed modules a child imports, in order: its report to the worker, which has them imported for later children.

Recorded is the root of each import: the module that code of the bundle, of Airflow or of a library's function asks for, not
what that module imports in turn. Recording ends where a later import may depend on what the author's code has done before:
it sets an environment variable, or puts a folder before the installed ones. A file that says
`os.environ["OMP_NUM_THREADS"] = "1"` above `import numpy` means the order.

The recorder is an audit hook: nothing that a DAG file can look at differs. A child may report what it likes; `report_of`
bounds it, and the preparer imports installed modules alone (`preparer`).
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, Final

import gust
from gust.airflow_bridge import late

MOST: Final = 64
"""Modules to remember of a file, and of a task. Their own imports do not count: files import some ten."""
LONGEST: Final = 200
"""Characters of a module's name."""
LARGEST: Final = 32_768
"""Bytes of a report: less than a pipe holds, so that a child never waits for its worker."""

OF_AIRFLOW: Final = ("AIRFLOW_CTX_", "_AIRFLOW_", "AIRFLOW__")
"""Prefixes of variables that Airflow sets for each task."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")


@dataclass(frozen=True, slots=True)
class Imports:
    of_file: tuple[str, ...] = ()
    """Imported until the DAG file was parsed."""
    of_task: tuple[str, ...] = ()
    """Imported afterwards."""


class Recorder:
    """Starts recording when made; for a child, in the function that then calls the author's code."""

    def __init__(self, installed: Sequence[str]) -> None:
        """`installed`: folders of installed modules, each with a slash at its end: the first ones of `sys.path`."""
        self._installed = tuple(installed)
        self._first = [folder.removesuffix("/") for folder in installed]
        self._bottom = sys._getframe(1)
        self._files: dict[str, bool] = {}
        """File of a module → whether it was imported for the task."""
        self._is_parsed = False
        self._has_ended = False
        self._late_sleep = late.sleeps()
        sys.addaudithook(self._note)

    def parsed(self) -> None:
        """What comes now is the task's."""
        self._is_parsed = True

    def write(self, descriptor: int) -> None:
        """Write the report and close the descriptor."""
        self._has_ended = True
        with suppress(OSError), os.fdopen(descriptor, "wb") as file:
            file.write(self.report())

    def names(self, *, below: Path | None = None) -> tuple[str, ...]:
        """Of the modules, or of those in a folder."""
        files = [file for file in self._files if below is None or file.startswith(f"{below}/")]
        return bounded(_without_parents(self._names_of(files)))

    def report(self) -> bytes:
        """The imports, as JSON for `report_of`."""
        parts = [[file for file, of_task in self._files.items() if of_task is part] for part in (False, True)]
        of_file, of_task = (bounded(_without_parents(self._names_of(files))) for files in parts)
        if self._late_sleep and not late.sleeps():
            of_file = (late.ROOTS[0], *of_file)[:MOST]
        return json.dumps([of_file, of_task]).encode()

    @staticmethod
    def _names_of(files: Collection[str]) -> list[str]:
        by_file = {getattr(module, "__file__", None): name for name, module in list(sys.modules.items())}
        return [by_file[file] for file in files if file in by_file]

    def _note(self, event: str, args: tuple[Any, ...]) -> None:
        if self._has_ended or event not in ("exec", "os.putenv", "os.unsetenv"):
            return
        with suppress(Exception):
            if event == "exec":
                self._note_module(args[0])
            elif not os.fsdecode(args[0]).startswith(OF_AIRFLOW) and not self._is_within_import():
                self._has_ended = True

    def _note_module(self, code: Any) -> None:
        if code.co_name != "<module>" or not code.co_filename.startswith(self._installed):
            return
        if sys.path[: len(self._first)] != self._first:
            self._has_ended = True
        elif not self._is_within_import() and code.co_filename not in self._files:
            self._files[code.co_filename] = self._is_parsed

    def _is_within_import(self) -> bool:
        """Whether an installed module that is being imported has caused this."""
        frame = sys._getframe(3)
        while frame is not None and frame is not self._bottom:
            code = frame.f_code
            if code.co_name == "<module>" and code.co_filename.startswith(self._installed):
                return True
            frame = frame.f_back  # type: ignore[assignment]
        return False


def _without_parents(names: Sequence[str]) -> list[str]:
    """Importing `a.b` imports `a`."""
    parents = {name[: dot.start()] for name in names for dot in re.finditer(r"\.", name)}
    return [name for name in names if name not in parents]


def report_of(said: bytes) -> Imports:
    """A child's report. Nothing where it is none."""
    try:
        of_file, of_task = json.loads(said)
        return Imports(bounded(of_file), bounded(of_task))
    except (ValueError, TypeError, RecursionError):
        return Imports()


def bounded(names: Collection[Any]) -> tuple[str, ...]:
    """The names that can be modules', without ours, each once; `MOST` at most."""
    kept = dict.fromkeys(name for name in names if isinstance(name, str) and _is_name(name))
    return tuple(kept)[:MOST]


def _is_name(name: str) -> bool:
    return len(name) <= LONGEST and _NAME.fullmatch(name) is not None and name.partition(".")[0] != gust.__name__


# --- made before a child ------------------------------------------------------------------------------------------------


def import_installed(name: str, installed: Sequence[str]) -> bool:
    """Import a module, and first its parents, if each lies in one of the folders. Returns whether it did."""
    folders = tuple(f"{os.path.realpath(folder)}/" for folder in installed)
    parts = name.split(".")
    for number in range(1, len(parts) + 1):
        part = ".".join(parts[:number])
        if part in sys.modules:
            continue
        spec = importlib.util.find_spec(part)  # its parent is imported by now
        if spec is None or not _lies_in(folders, spec):
            return False
        importlib.import_module(part)
    return True


def _lies_in(folders: tuple[str, ...], spec: ModuleSpec) -> bool:
    if spec.origin in ("built-in", "frozen"):
        return True
    places = [spec.origin] if spec.origin is not None else list(spec.submodule_search_locations or ())
    return bool(places) and all(os.path.realpath(place).startswith(folders) for place in places)
