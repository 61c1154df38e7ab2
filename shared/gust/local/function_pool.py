"""How many processes a function has, and how fast they become more.

MiniStack starts a process for each invocation that finds none free, as AWS does with execution environments. On one machine
fifty clients would be fifty processes, all importing at once. Here a function has a process per processor; beyond these an
invocation waits for one to get free, and only where none did within a second may it start another, up to the function's
limit and no more at once than there are processors. So many short tasks share a few processes, and tasks that take long,
sensors for one, get one each.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

PATIENCE: Final = 1.0
"""Seconds that an invocation waits for a process to get free before it starts another."""

SHED_AFTER: Final = 25.0
"""Seconds after which who asks the API is told that it is too busy: a gateway would give up after thirty."""

LOOK_EVERY: Final = 0.2
"""Seconds between two looks of one that waits, where nothing says that something changed."""

ANSWERS_PEOPLE: Final = "api"


class Process(Protocol):
    """As much of MiniStack's `Worker` as is looked at."""

    in_use: bool


Acquire = Callable[..., tuple[Any, str]]
"""MiniStack's `acquire_worker`."""


def default_workers(memory: int, processors: int) -> int:
    """Tasks at the same time: as many as Airflow allows (`[core] parallelism` is 32) where a quarter of the memory
    (bytes) holds them, at 200 MB for a worker and a small task; never fewer than four or than two per processor."""
    return max(4, 2 * processors, min(32, memory // 4 // 200_000_000))


def limits(workers: int, triggerers: int, processors: int) -> dict[str, int]:
    """Processes of each of Gust's functions at most. What others deploy into the emulator is not limited."""
    few = max(4, 2 * processors)
    return {
        "worker": workers,
        "triggerer": triggerers,
        "api": 2 * few,  # some requests wait for something to happen
        "execution-api": few,
        "scheduler": few,
        "dag-processor": few,
        "parse": few,
        "key-rotation": 1,
    }


@dataclass
class _Function:
    waiting: deque[object] = field(default_factory=deque)
    starting: set[int] = field(default_factory=set)
    """Processes that import, by `id`."""


class FunctionPool:
    def __init__(
        self,
        acquire: Acquire,
        processes: Callable[[str], list[Process]],
        most: Mapping[str, int],
        *,
        at_once: int = os.cpu_count() or 1,
        patience: float = PATIENCE,
        shed_after: float = SHED_AFTER,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`processes` tells those that a function has; `most` limits the functions that it names, by their whole name."""
        self._acquire = acquire
        self._processes = processes
        self._most = most
        self._at_once = at_once
        self._patience = patience
        self._shed_after = shed_after
        self._clock = clock
        self._changed = threading.Condition()
        self._functions = {name: _Function() for name in most}

    def acquire(self, name: str, *arguments: Any, **options: Any) -> tuple[Any, str]:
        """A free process or a new one, after those who asked before; for the API `(None, "func_cap")` when it takes too
        long."""
        if name not in self._most:
            return self._acquire(name, *arguments, **options)
        function = self._functions[name]
        ticket = object()
        asked_at = self._clock()
        with self._changed:
            function.waiting.append(ticket)
            try:
                while not self._may_have_one(name, ticket, self._clock() - asked_at):
                    if name.endswith(f"-{ANSWERS_PEOPLE}") and self._clock() - asked_at > self._shed_after:
                        return None, "func_cap"
                    self._changed.wait(LOOK_EVERY)
                process, how = self._acquire(name, *arguments, **options)
                if how == "spawn":
                    function.starting.add(id(process))
                return process, how
            finally:
                function.waiting.remove(ticket)
                self._changed.notify_all()

    def _may_have_one(self, name: str, ticket: object, waited: float) -> bool:
        function = self._functions[name]
        if function.waiting[0] is not ticket:
            return False
        processes = self._processes(name)
        if any(not process.in_use for process in processes):
            return True
        may_start = len(processes) < self._at_once or waited >= self._patience
        return may_start and len(processes) < self._most[name] and len(function.starting) < self._at_once

    def started(self, process: Process) -> None:
        """It has imported, or failed to."""
        with self._changed:
            for function in self._functions.values():
                function.starting.discard(id(process))
            self._changed.notify_all()

    def released(self) -> None:
        """A process got free."""
        with self._changed:
            self._changed.notify_all()

    def waiting(self, name: str) -> int:
        """Invocations that have no process yet."""
        return len(self._functions[name].waiting)

    def busy(self, name: str) -> int:
        """Processes that are at an invocation and have imported."""
        starting = self._functions[name].starting
        return sum(each.in_use and id(each) not in starting for each in self._processes(name))
