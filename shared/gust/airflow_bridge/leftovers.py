"""Files that children leave on a disk that the next child shares: on Lambda, `/tmp` outlives every try and every crash.

A child works in a folder of its own (`surroundings.workspace`), which is deleted afterwards. What it wrote elsewhere goes
too, and what it changed of Airflow's home is put back: the next child may belong to another team. Bundles and environments
are sealed (`bundle`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

TASK_ROOT: Final = "/var/task"
TMP: Final = Path("/tmp")  # noqa: S108 - Lambda's only writable folder

_State = dict[str, tuple[int, int, int, int]]


def is_on_lambda() -> bool:
    """Whether this process is alone with its disk. The local stack's functions share theirs."""
    return os.environ.get("LAMBDA_TASK_ROOT") == TASK_ROOT


def clear(folder: Path = TMP) -> None:
    """Delete all that is in the folder: a process that has died there left it."""
    for entry in os.scandir(folder):
        remove(Path(entry.path))


class Leftovers:
    """Made when a worker is ready for its first child. `kept`: folders that have a guard of their own."""

    def __init__(self, folder: Path = TMP, *, kept: Collection[Path] = ()) -> None:
        self._folder = folder
        self._kept = {str(path) for path in kept}
        self._states = {path: _state(Path(path)) for path in self._there()}
        self._contents = {path: _content(Path(path)) for path in self._states}

    def remove(self) -> None:
        """Delete what is new in the folder, and put back what was there."""
        for path in self._there():
            if self._states.get(path) != _state(Path(path)):
                remove(Path(path))
        for path, content in self._contents.items():
            if not os.path.lexists(path):
                _restore(Path(path), content)
                self._states[path] = _state(Path(path))

    def _there(self) -> list[str]:
        return [entry.path for entry in os.scandir(self._folder) if not self._is_kept(entry.path)]

    def _is_kept(self, path: str) -> bool:
        return any(path == kept or kept.startswith(f"{path}/") for kept in self._kept)


def remove(path: Path) -> None:
    """Delete a file or a tree, also one that a child has closed to its own user or made deeper than Python's stack."""
    if not os.path.isdir(path) or os.path.islink(path):
        path.unlink(missing_ok=True)
        return
    with suppress(RecursionError):
        shutil.rmtree(path, ignore_errors=True)
    if os.path.lexists(path):
        # Both descend into a folder after they have opened it.
        subprocess.run(["/bin/chmod", "-R", "u+rwX", path], check=False, stderr=subprocess.DEVNULL, env={})  # noqa: S603
        subprocess.run(["/bin/rm", "-rf", path], check=False, stderr=subprocess.DEVNULL, env={})  # noqa: S603


def _state(path: Path) -> _State:
    """Relative path of each file and folder → mode, inode, size and time of the last change, which the kernel sets."""
    found: _State = {}
    waiting = [path]
    while waiting:
        each = waiting.pop()
        stat = each.stat(follow_symlinks=False)
        is_folder = each.is_dir() and not each.is_symlink()
        changed_at = 0 if is_folder else stat.st_ctime_ns
        found[str(each.relative_to(path))] = (stat.st_mode, stat.st_ino, 0 if is_folder else stat.st_size, changed_at)
        if is_folder:
            with suppress(OSError):
                waiting.extend(each.iterdir())
    return found


def _content(path: Path) -> dict[str, bytes | None]:
    """Relative path → content; `None` for a folder."""
    if path.is_dir():
        below = sorted(path.rglob("*"))
        return {"": None} | {
            str(each.relative_to(path)): None if each.is_dir() else each.read_bytes() for each in below
        }
    return {"": path.read_bytes()}


def _restore(path: Path, content: dict[str, bytes | None]) -> None:
    for name, held in content.items():
        each = path / name if name else path
        if held is None:
            each.mkdir(exist_ok=True)
        else:
            each.write_bytes(held)
