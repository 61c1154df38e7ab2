"""Decide whether a write that is acknowledged now can also be stored.

Checkpoints and the bucket's objects share a disk. Before the disk is full, a reserve file is deleted, so that a
checkpoint of every acknowledged write fits. From then on API users' changes are refused and no task begins, until there
is room again. Running tasks go on.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

LEAST_FREE: Final = 16_000_000
"""Bytes that must be free in addition to the reserve. With less, the disk counts as full."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

log = logging.getLogger("gust.storage")


def is_no_room(problem: BaseException) -> bool:
    return isinstance(problem, OSError) and problem.errno in _FULL


class Storage:
    def __init__(self, folder: Path, *, free: Callable[[], int] | None = None) -> None:
        """`free` returns the number of free bytes."""
        self.folder = folder
        self._reserve = folder / "reserve"
        self._free = free or (lambda: shutil.disk_usage(folder).free)
        self._reserve_size = LEAST_FREE
        self.is_full = False

    @property
    def free(self) -> int:
        """Bytes."""
        return self._free()

    @property
    def needed(self) -> int:
        """Bytes that must be free before changes are accepted again."""
        return LEAST_FREE * 2 + self._reserve_size

    def look(self, *, checkpoint: int = 0) -> bool:
        """Measure the disk; returns whether `is_full` changed. `checkpoint` is the size of the newest one, in bytes."""
        before = self.is_full
        if self.is_full and self.free >= self.needed:
            self.is_full = not self._set_aside()
        elif not self.is_full:
            self._reserve_size = LEAST_FREE + 2 * checkpoint
            short = self._missing()
            if self.free < LEAST_FREE + short or (short and not self._set_aside()):
                self.fill()
        return self.is_full != before

    def fill(self) -> None:
        """Treat the disk as full: a write has failed, or the next may. Deletes the reserve, for the checkpoint that
        follows."""
        if not self.is_full:
            log.error("%d MB are free: the disk counts as full", self.free // 1_000_000)
        self.is_full = True
        self._reserve.unlink(missing_ok=True)

    def _missing(self) -> int:
        """Bytes that the reserve lacks."""
        size = self._reserve.stat().st_size if self._reserve.exists() else 0
        return max(0, self._reserve_size - size)

    def _set_aside(self) -> bool:
        try:
            with self._reserve.open("ab") as file:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, self._reserve_size)
                else:
                    file.write(bytes(self._missing()))
        except OSError as problem:
            log.warning("No reserve can be set aside: %s", problem)
            with contextlib.suppress(OSError):
                self._reserve.unlink(missing_ok=True)
            return False
        return True
