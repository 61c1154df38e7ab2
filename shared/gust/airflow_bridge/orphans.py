"""Processes that a child started and left running: adopt them, so that they can be found, and kill them.

An execution environment runs one try after another and is frozen in between. A process that a try left behind would wake up
during the next try, take its memory and hold its files. Killing the child's process group misses processes that left the
group (`bash_command` runs in its own session). So the worker becomes a child subreaper (`PR_SET_CHILD_SUBREAPER`): when the
child is gone, every process it started is a child of the worker.
"""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NoReturn

_PR_SET_CHILD_SUBREAPER: Final = 36
"""From <linux/prctl.h>."""

_THREADS: Final = "/proc/self/task"

_PATIENCE: Final = 1.0
"""Seconds to wait for killed processes to be gone. A process that remains hangs in the kernel and runs no code."""

_LONGEST: Final = 20.0
"""Seconds after which a worker gives up to run after processes that start others faster than it kills them."""

STRANGERS: Final = 71
"""Exit code of a worker that gives up. Its function, or its container, ends with all processes in it."""


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


def kill_all(
    *,
    except_: frozenset[int],
    find: Callable[[], frozenset[int]] = children,
    clock: Callable[[], float] = time.monotonic,
    give_up: Callable[[], object] | None = None,
) -> int:
    """Kill and reap every child whose id is not in `except_`, and their descendants, which become ours. Returns how many.
    Ends this process where new ones come for too long: the next child would share the environment with them."""
    killed: set[int] = set()
    began = last_kill = clock()
    while left := find() - except_:
        now = clock()
        if fresh := left - killed:
            last_kill = now
        elif now - last_kill >= _PATIENCE:
            break
        if now - began >= _LONGEST:
            (give_up or _end_beside_strangers)()
            break
        for pid in fresh:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        for pid in left:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        if not fresh:
            time.sleep(0.002)
        killed |= left
    return len(killed)


def _end_beside_strangers() -> NoReturn:
    sys.stderr.write("A child's processes start others faster than they can be killed, and the worker ends with them\n")
    sys.stderr.flush()
    os._exit(STRANGERS)
