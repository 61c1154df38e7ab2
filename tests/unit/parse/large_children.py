"""Children that take more memory than they may: `python -m tests.unit.parse.large_children NAME` prints how one ended.

In a process of its own, whose pages no other process shares: pytest's is large after hours of tests, and has forks."""

from __future__ import annotations

import mmap
import os
import sys
import time
from collections.abc import Callable

from gust.airflow_bridge.child import run_in_child

MEMORY = 256 * 1024 * 1024


def fill(size: int) -> bytes:
    """Shared memory, which the kernel's limits do not count."""
    shared = mmap.mmap(-1, size)
    for at in range(0, size, 4096):
        shared[at] = 1
    time.sleep(600)
    return shared[:1]


def alone() -> bytes:
    return fill(4 * MEMORY)


HELD = b"\1" * (2 * MEMORY) if sys.argv[1:] == ["of_a_large_parent"] else b""


def of_a_large_parent() -> bytes:
    return fill(MEMORY * 3 // 2)


def with_three_more() -> bytes:
    for _ in range(4):
        if os.fork() == 0:
            kept = bytearray(MEMORY // 2)
            time.sleep(600)
            os._exit(len(kept) % 2)
    time.sleep(600)
    return b""


WORK: dict[str, Callable[[], bytes]] = {each.__name__: each for each in (alone, of_a_large_parent, with_three_more)}

if __name__ == "__main__":
    ended = run_in_child(WORK[sys.argv[1]], timeout=40.0, memory=MEMORY)
    sys.stdout.write(f"{ended.answer} {ended.took_too_long} {ended.how}\n")
