"""Limit a function's processes, and how fast they are started.

MiniStack starts a process for each invocation that finds none free, as AWS does with execution environments. On one
machine fifty clients would start fifty processes that all import at once. Here a function gets a process per processor.
A further invocation waits for a free process; after a second it may start another, up to the function's limit and at
most one per processor at a time, if the processors have time for it or no process has become free for a second. So many
short tasks share a few processes, and tasks that wait, such as sensors, get one each.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Final, Protocol

import psutil

PATIENCE: Final = 1.0
"""Seconds that an invocation waits for a free process before it starts another."""

IDLE_ENOUGH: Final = 0.25
"""Share of the processors' time that must be idle before a further process helps the present ones."""

SHED_AFTER: Final = 25.0
"""Seconds after which a request to the API is refused as too many: a gateway would time out after thirty."""

IDLE: Final = 60.0
"""Seconds after which a process that had no work ends, if its function has another: they hold 20 to 100 MB each, for people
who also have an editor open. The last one stays, so that a first run finds all that it needs; but not that of a rare one."""

RARE: Final = ("announcer", "environment-builder", "key-maker", "key-rotation")
"""Functions whose last process ends, too: no person waits for them often."""

LOOK_EVERY: Final = 0.2
"""Seconds between two checks of the invocation that is next, if no change wakes it."""

LOOK_AT_LEAST_EVERY: Final = 1.0
"""The same of the others: they may have waited for too long."""

ANSWERS_PEOPLE: Final = "api"


class Processors:
    """Tells how busy the machine is, from the counts that its kernel keeps."""

    window: Final = 0.5
    """Seconds that an answer speaks of, at least; at most four times that."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, times: Callable[[], Any] = psutil.cpu_times
    ) -> None:
        """`times`: returns seconds of all processors by what they did, as a named tuple."""
        self._clock = clock
        self._times = times
        self._sample = self._now()
        self._idle = 0.0

    def idle(self) -> float:
        """The share of all processors' time, 0 to 1, in which they had nothing to do lately. 0 where no caller has asked for
        some seconds: that it was quiet an hour ago says nothing."""
        (was_at, was_idle, was_total), now = self._sample, self._now()
        at, idle, total = now
        if at - was_at >= self.window:
            is_recent = at - was_at <= 4 * self.window and total > was_total
            self._sample, self._idle = now, (idle - was_idle) / (total - was_total) if is_recent else 0.0
        return self._idle

    def _now(self) -> tuple[float, float, float]:
        times = self._times()
        return self._clock(), times.idle + getattr(times, "iowait", 0.0), sum(times)


class Process(Protocol):
    """The attributes of MiniStack's `Worker` that the pool reads."""

    func_name: str
    in_use: bool
    last_used: float


def is_over(process: Process, now: float) -> bool:
    """Whether the process of a rare function has been idle long enough to end, were it its function's last one."""
    is_rare = process.func_name.endswith(tuple(f"-{name}" for name in RARE))
    return is_rare and not process.in_use and now - process.last_used >= IDLE


Acquire = Callable[..., tuple[Any, str]]
"""MiniStack's `acquire_worker`."""


def default_workers(memory: int, processors: int) -> int:
    """Tasks at the same time: as many as Airflow allows (`[core] parallelism` is 32) where a quarter of the memory
    (bytes) holds them, at 200 MB for a worker and a small task; never fewer than four or than two per processor."""
    return max(4, 2 * processors, min(32, memory // 4 // 200_000_000))


def process_limits(workers: int, triggerers: int, processors: int) -> dict[str, int]:
    """The most processes of each of Gust's functions. Other functions in the emulator are not limited."""
    few = max(4, 2 * processors)
    return {
        "worker": workers,
        "workers-*": workers,  # each worker group
        "triggerer": triggerers,
        "api": 2 * few,  # some requests wait for something to happen
        "execution-api": few,
        "scheduler": few,
        "dag-processor": few,
        "parse": few,
        "environment-builder": 1,
        "events": 2,
        "announcer": 1,
        "key-rotation": 1,
        "key-maker": 1,
    }


@dataclass
class _Function:
    waiting: deque[threading.Condition] = field(default_factory=deque)
    """Invocations without a process, each with what wakes it: only the first one has to look when something changes."""
    first_since: float = 0.0
    """When the invocation that is next became that."""
    starting: set[int] = field(default_factory=set)
    """Processes that are still importing, by `id`."""


@dataclass(eq=False)
class FunctionPool:
    acquire_now: Acquire
    processes: Callable[[str], list[Process]]
    """Returns a function's processes."""
    limits: Mapping[str, int]
    """Function's full name → its most processes. A name that ends in `*` speaks for all that begin so."""
    _: KW_ONLY
    at_once: int = os.cpu_count() or 1
    patience: float = PATIENCE
    shed_after: float = SHED_AFTER
    clock: Callable[[], float] = time.monotonic
    idle: Callable[[], float] = field(default_factory=lambda: Processors().idle)
    """Returns the share of the processors' time that is free."""
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False)
    _functions: dict[str, _Function] = field(init=False)

    def __post_init__(self) -> None:
        self._functions = {name: _Function() for name in self.limits}

    def knows(self, name: str) -> bool:
        """Whether the function is one of Gust's: they all have a limit."""
        return self._limit(name) is not None

    def _limit(self, name: str) -> int | None:
        """The most processes of the function; `None`: no limit."""
        if name in self.limits:
            return self.limits[name]
        wide = (most for start, most in self.limits.items() if start.endswith("*") and name.startswith(start[:-1]))
        return next(wide, None)

    def acquire(self, name: str, *arguments: Any, **options: Any) -> tuple[Any, str]:
        """A free process or a new one, in the order of the calls; for the API `(None, "func_cap")` after `SHED_AFTER`
        seconds."""
        if self._limit(name) is None:
            return self.acquire_now(name, *arguments, **options)
        ticket = threading.Condition(self._lock)
        asked_at = self.clock()
        with self._lock:
            function = self._functions.setdefault(name, _Function())
            if not function.waiting:
                function.first_since = asked_at
            function.waiting.append(ticket)
            try:
                while not self._may_have_one(name, ticket, self.clock() - asked_at):
                    if name.endswith(f"-{ANSWERS_PEOPLE}") and self.clock() - asked_at > self.shed_after:
                        return None, "func_cap"
                    ticket.wait(LOOK_EVERY if function.waiting[0] is ticket else LOOK_AT_LEAST_EVERY)
                process, how = self.acquire_now(name, *arguments, **options)
                if how == "spawn":
                    function.starting.add(id(process))
                return process, how
            finally:
                if function.waiting[0] is ticket:
                    function.first_since = self.clock()
                function.waiting.remove(ticket)
                self._wake()

    def _may_have_one(self, name: str, ticket: object, waited: float) -> bool:
        function = self._functions[name]
        if function.waiting[0] is not ticket:
            return False
        processes = self.processes(name)
        if any(not process.in_use for process in processes):
            return True
        may_start = len(processes) < self.at_once or (waited >= self.patience and self._would_help(function))
        return may_start and len(processes) < (self._limit(name) or 0) and len(function.starting) < self.at_once

    def _would_help(self, function: _Function) -> bool:
        """Whether a further process would help: the present ones are all held up, or they leave the processors time."""
        return self.clock() - function.first_since >= self.patience or self.idle() >= IDLE_ENOUGH

    def started(self, process: Process) -> None:
        """The process has imported, or failed to."""
        with self._lock:
            for function in self._functions.values():
                function.starting.discard(id(process))
            self._wake()

    def released(self) -> None:
        """A process is free again."""
        with self._lock:
            self._wake()

    def _wake(self) -> None:
        """Have the next invocation of each function look."""
        for function in self._functions.values():
            if function.waiting:
                function.waiting[0].notify()

    def waiting(self, name: str) -> int:
        """Invocations that have no process yet."""
        function = self._functions.get(name)
        return len(function.waiting) if function else 0

    def is_idle(self) -> bool:
        """Whether no process of any function has work."""
        return not any(process.in_use for name in list(self._functions) for process in self.processes(name))

    def busy(self, name: str) -> int:
        """Processes that work on an invocation, without those that are still importing."""
        starting = self._functions[name].starting
        return sum(each.in_use and id(each) not in starting for each in self.processes(name))
