"""What a task leaves running when it ends: found, however far it has moved away, and ended.

An execution environment runs one try after another and is frozen in between. A process that a try left behind would
wake up in the next one, take its memory and hold its files. Killing the task's process group does not reach those that
left it (`bash_command` runs in a session of its own), so the worker adopts orphans (`PR_SET_CHILD_SUBREAPER`): once the
task is gone, whatever it started is a child of ours.
"""

import ctypes
import os
import signal
import time
from contextlib import suppress
from typing import Final

_PR_SET_CHILD_SUBREAPER: Final = 36
"""From <linux/prctl.h>."""

_PR_SET_DUMPABLE: Final = 4
"""From <linux/prctl.h>."""

_THREADS: Final = "/proc/self/task"

_PATIENCE: Final = 1.0
"""Seconds to wait for killed processes to be gone; one that hangs in the kernel is left to it."""


def adopt_orphans() -> None:
    """Become the parent of every orphan among our descendants. May be called again."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def keep_to_itself() -> None:
    """Let no process of the same user, as tasks are, read this one's memory and environment, or trace it. Children
    inherit it (`be_ordinary`)."""
    _set_dumpable(0)


def be_ordinary() -> None:
    """Undo `keep_to_itself` in a child: a task may look into itself, and have itself debugged."""
    _set_dumpable(1)


def _set_dumpable(value: int) -> None:
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, value, 0, 0, 0)


def children() -> frozenset[int]:
    """Our children's process ids; empty where the kernel does not tell."""
    found: set[int] = set()
    with suppress(OSError):
        # Twice for each task: pathlib would take four times as long.
        for thread in os.listdir(_THREADS):
            with suppress(OSError), open(f"{_THREADS}/{thread}/children", "rb") as listed:
                found.update(map(int, listed.read().split()))
    return frozenset(found)


def end(*, but: frozenset[int]) -> int:
    """Kill and reap every child that is not among `but`, and their children, who become ours. Returns how many."""
    ended: set[int] = set()
    deadline = time.monotonic() + _PATIENCE
    while (left := children() - but) and time.monotonic() < deadline:
        for pid in left - ended:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        for pid in left:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        if left <= ended:
            time.sleep(0.002)
        ended |= left
    return len(ended)
