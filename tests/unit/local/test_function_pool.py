"""How many processes a function gets, against a stand-in for MiniStack's workers."""

import asyncio
import math
import threading
import time
from collections import namedtuple
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest

from gust.local import emulator as local_emulator
from gust.local.checkpoint import Checkpoints
from gust.local.front_door import FrontDoor
from gust.local.function_pool import FunctionPool, Processors, default_workers
from gust.local.stack import waiting_line

GB = 10**9
Times = namedtuple("Times", "user system idle")


@dataclass
class Fake:
    in_use: bool = True


@dataclass
class Emulator:
    """Starts a process wherever none is free."""

    most: int = 4
    at_once: int = 2
    patience: float = 0.05
    shed_after: float = 60.0
    idle: float = 1.0
    name: str = "gust-worker"
    limited: str = ""
    """What the pool limits, if not by the name."""
    clock: Callable[[], float] = time.monotonic
    worked_off: int = 0
    processes: list[Fake] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.pool = FunctionPool(
            self.acquire,
            lambda name: self.processes,
            {self.limited or self.name: self.most},
            at_once=self.at_once,
            patience=self.patience,
            shed_after=self.shed_after,
            clock=self.clock,
            idle=lambda: self.idle,
        )

    def acquire(self, name: str) -> tuple[Fake, str]:
        with self.lock:
            for each in self.processes:
                if not each.in_use:
                    each.in_use = True
                    return each, "reused"
            self.processes.append(Fake())
            return self.processes[-1], "spawn"

    def invoke(self, *, start: float = 0.0, work: float = 0.0, company: threading.Barrier | None = None) -> None:
        process, how = self.pool.acquire(self.name)
        if process is None:
            raise TimeoutError
        if how == "spawn":
            time.sleep(start)
            self.pool.started(process)
        time.sleep(work)
        if company:
            company.wait(30)
        with self.lock:
            self.worked_off += 1
        process.in_use = False
        self.pool.released()

    def invoke_many(self, number: int, **how: Any) -> None:
        with ThreadPoolExecutor(number) as threads:
            list(threads.map(lambda _: self.invoke(**how), range(number)))


def test_the_first_invocation_starts_a_process_and_the_next_takes_it() -> None:
    emulator = Emulator()
    emulator.invoke()
    emulator.invoke()
    assert len(emulator.processes) == 1


def test_fifty_at_once_are_no_more_processes_than_the_limit() -> None:
    emulator = Emulator(most=4)
    emulator.invoke_many(50, work=0.05)
    assert 1 < len(emulator.processes) <= 4


def test_short_calls_share_what_is_there() -> None:
    """One for each processor. None waits a second, so that none starts another."""
    emulator = Emulator(most=40, at_once=2, patience=30)
    emulator.invoke_many(2, company=threading.Barrier(2))
    emulator.invoke_many(40, work=0.001)
    assert len(emulator.processes) == 2


def test_calls_that_come_together_warm_a_process_for_each_processor() -> None:
    """As the start of the stack does for workers; the first has warmed up already."""
    emulator = Emulator(most=8, at_once=2, patience=30)
    emulator.invoke()
    emulator.invoke_many(2, company=threading.Barrier(2))
    assert len(emulator.processes) == 2


@pytest.mark.parametrize(("idle", "processes"), [(0.0, 2), (1.0, 8)])
def test_short_calls_that_keep_the_processors_busy_start_no_further_process(idle: float, processes: int) -> None:
    """By the pool's clock each takes a hundredth of a second, however long the machine lets it sleep."""
    emulator = Emulator(most=8, at_once=2, patience=0.1, idle=idle, clock=lambda: emulator.worked_off * 0.01)
    emulator.invoke_many(60, work=0.02)
    assert len(emulator.processes) == processes


@pytest.mark.parametrize("idle", [0.0, 1.0])
def test_long_calls_get_a_process_each(idle: float) -> None:
    """However busy something else keeps the machine."""
    emulator = Emulator(most=8, idle=idle)
    emulator.invoke_many(8, company=threading.Barrier(8))
    assert len(emulator.processes) == 8


def test_no_more_start_at_once_than_there_are_processors() -> None:
    emulator = Emulator(most=8, at_once=2)
    starting, most = 0, 0
    counted = threading.Lock()
    acquire = emulator.acquire

    def counting(name: str) -> tuple[Fake, str]:
        nonlocal starting, most
        process, how = acquire(name)
        with counted:
            starting += how == "spawn"
            most = max(most, starting)
        return process, how

    def begun(process: Fake) -> None:
        nonlocal starting
        with counted:
            starting -= 1
        started(process)

    emulator.pool.acquire_now = counting
    started, emulator.pool.started = emulator.pool.started, begun  # type: ignore[method-assign]
    emulator.invoke_many(8, start=0.02, company=threading.Barrier(8))
    assert most == 2


def test_a_process_that_fails_to_start_does_not_hold_its_place() -> None:
    emulator = Emulator(at_once=1)
    process, _ = emulator.pool.acquire(emulator.name)
    emulator.pool.started(process)
    emulator.processes.clear()
    emulator.invoke()
    assert len(emulator.processes) == 1


def test_the_api_says_that_it_is_too_busy_before_the_gateway_gives_up() -> None:
    emulator = Emulator(most=1, name="gust-api", shed_after=0.05)
    emulator.pool.acquire("gust-api")
    assert emulator.pool.acquire("gust-api") == (None, "func_cap")


def test_a_limit_can_speak_for_all_functions_whose_names_begin_alike() -> None:
    emulator = Emulator(most=4, name="gust-workers-large", limited="gust-workers-*")
    emulator.invoke_many(50, work=0.05)
    assert 1 < len(emulator.processes) <= 4


def test_other_peoples_functions_are_not_limited() -> None:
    emulator = Emulator(most=1)
    for _ in range(5):
        emulator.pool.acquire("calls_itself")
    assert len(emulator.processes) == 5


@pytest.mark.parametrize(
    ("memory", "processors", "workers"), [(2 * GB, 1, 4), (8 * GB, 2, 10), (16 * GB, 12, 24), (64 * GB, 8, 32)]
)
def test_workers_by_memory(memory: int, processors: int, workers: int) -> None:
    assert default_workers(memory, processors) == workers


def test_the_terminal_says_why_tasks_wait() -> None:
    assert waiting_line(number=3, seconds=2, busy=4, workers=4) is None
    assert waiting_line(number=0, seconds=0, busy=4, workers=4) is None
    assert waiting_line(number=3, seconds=12.4, busy=4, workers=4) == (
        "3 tasks wait for a worker since 12 s: all 4 run other tasks; `--workers N` lets more run at once."
    )
    assert waiting_line(number=1, seconds=12.4, busy=1, workers=4) == (
        "1 task waits for a worker since 12 s: more workers are starting."
    )


def test_the_processors_are_judged_by_the_last_moments() -> None:
    """Three quarters of the last second were idle; what was an hour ago says nothing."""
    now, user, idle = 0.0, 0.0, 0.0

    def times() -> Times:
        return Times(user=user, system=0.0, idle=idle)

    processors = Processors(lambda: now, times)
    assert processors.idle() == 0.0

    now, user, idle = 1.0, 0.5, 1.5
    assert processors.idle() == 0.75
    now, user = 1.1, 0.7
    assert processors.idle() == 0.75, "it is too soon to say"
    now, user = 2.0, 2.5
    assert processors.idle() == 0.0

    now, idle = 60.0, 59.0
    assert processors.idle() == 0.0


async def unused(*_: object) -> NoReturn:
    raise AssertionError


class Looks(Fake):
    """At work for as many looks at it, and then done."""

    left: float

    def __getattribute__(self, name: str) -> Any:
        if name != "in_use":
            return super().__getattribute__(name)
        self.left -= 1
        return self.left >= 0


@pytest.mark.parametrize(("looks", "waited"), [(1, True), (math.inf, False)])
def test_a_stop_waits_for_the_last_lines_of_a_log_but_not_for_a_long_task(
    looks: float, *, waited: bool, tmp_path: Path
) -> None:
    functions = Emulator()
    emulator = local_emulator.Emulator(
        unused, Checkpoints(tmp_path), restored=None, public_port=1, door=FrontDoor(), pool=functions.pool
    )
    assert functions.pool.is_idle()
    functions.acquire("gust-worker")
    assert not functions.pool.is_idle()
    works = Looks()
    works.left = looks
    functions.processes[:] = [works]

    asyncio.run(emulator._let_finish())

    assert functions.pool.is_idle() is waited
