"""Processes that a child started and left running: adopt them, so that they can be found, and kill them.

An execution environment runs one try after another and is frozen in between. A process that a try left behind would wake up
during the next try, take its memory and hold its files. Killing the child's process group misses processes that left the
group (`bash_command` runs in its own session). So the worker becomes a child subreaper (`PR_SET_CHILD_SUBREAPER`): when the
child is gone, every process it started is a child of the worker.
"""

import ctypes
import os
import signal
import time
from contextlib import suppress
from typing import Final

_PR_SET_CHILD_SUBREAPER: Final = 36
"""From <linux/prctl.h>."""

_THREADS: Final = "/proc/self/task"

_PATIENCE: Final = 1.0
"""Seconds to wait for killed processes to be gone; one that hangs in the kernel is left to it."""


def adopt() -> None:
    """Become the parent of every orphan among this process's descendants. May be called again."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def leave_to_parent() -> None:
    """Undo `adopt`: later orphans are found by a process above."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 0)


def children() -> frozenset[int]:
    """Process ids of this process's children; empty where the kernel does not list them."""
    found: set[int] = set()
    with suppress(OSError):
        # Called twice per task; pathlib would take four times as long.
        for thread in os.listdir(_THREADS):
            with suppress(OSError), open(f"{_THREADS}/{thread}/children", "rb") as listed:
                found.update(map(int, listed.read().split()))
    return frozenset(found)


def kill_all(*, except_: frozenset[int]) -> int:
    """Kill and reap every child whose id is not in `except_`, and their descendants, which become ours. Returns how many."""
    killed: set[int] = set()
    deadline = time.monotonic() + _PATIENCE
    while (left := children() - except_) and time.monotonic() < deadline:
        for pid in left - killed:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        for pid in left:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        if left <= killed:
            time.sleep(0.002)
        killed |= left
    return len(killed)
