"""Record which files of a folder Python code opens, lists or imports, from the interpreter's audit events.

A DAG file depends on more than its imports: it reads YAML beside it, lists a folder to make a DAG per file, tries to
import a helper that is uploaded a minute later. All of these raise audit events, and a change to any of these files
means that the DAG file must be parsed again. (`os.path.exists` raises none: a file that is only checked for, never
opened or listed, is missed.)
"""

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

IMPORT_SYSTEM: Final = ("<frozen importlib", importlib.__file__)
"""Files of the import system. It lists every folder of `sys.path`, which says nothing about the file being run."""


class Footprint:
    """Starts recording when made and cannot stop (audit hooks stay): for processes that end soon."""

    def __init__(self, root: Path) -> None:
        self._root = f"{root}/"
        self._opened: set[str] = set()
        self._listed: set[str] = set()
        self._imported: set[str] = set()
        sys.addaudithook(self._record)

    def touched(self) -> Iterator[str]:
        """Relative paths of opened files, of listed folders (`name/`), and of modules looked for in vain."""
        yield from {source_of(path) for path in self._opened}
        yield from {f"{path}/" if path else "./" for path in self._listed}
        yield from self._missing_modules()

    def _record(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            self._note(args[0], self._opened)
        elif event == "import":
            if self._is_ours(importing_file()):
                self._imported.add(args[0])
        elif event in ("os.listdir", "os.scandir") and not sys._getframe(1).f_code.co_filename.startswith(
            IMPORT_SYSTEM
        ):
            self._note(args[0], self._listed)

    def _note(self, path: object, into: set[str]) -> None:
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        elif isinstance(path, os.PathLike):
            path = os.fspath(path)
        elif path is None:
            path = "."
        if isinstance(path, str):
            path = os.path.abspath(path)
            if self._is_ours(path):
                into.add(path[len(self._root) :])

    def _is_ours(self, path: str) -> bool:
        return f"{path}/".startswith(self._root)

    def _missing_modules(self) -> Iterator[str]:
        """Paths at which a module that was not found may appear with a later upload, as a file or a package."""
        folders = [entry[len(self._root) :] for entry in sys.path if self._is_ours(entry)]
        for name in self._imported:
            if name in sys.modules:
                continue
            parent, _, last = name.rpartition(".")
            if not parent:
                within = folders
            elif parent_path := getattr(sys.modules.get(parent), "__path__", None):
                within = [entry[len(self._root) :] for entry in parent_path if self._is_ours(entry)]
            else:
                continue
            for folder in within:
                yield os.path.join(folder, f"{last}.py")
                yield os.path.join(folder, last, "")


def importing_file() -> str:
    """The file whose code runs the current import statement: a library's own optional imports do not count."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(IMPORT_SYSTEM):
        frame = frame.f_back
    return frame.f_code.co_filename


def source_of(path: str) -> str:
    """Python opens the compiled file where there is one: `a/__pycache__/b.cpython-312.pyc` stands for `a/b.py`."""
    folder, name = os.path.split(path)
    parent, last = os.path.split(folder)
    if last == "__pycache__":
        return os.path.join(parent, f"{name.split('.')[0]}.py")
    return path
