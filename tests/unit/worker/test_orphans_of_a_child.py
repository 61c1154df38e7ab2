"""What a child leaves running is killed, whatever it did to stay."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from gust.airflow_bridge import connection_test, orphans
from gust.airflow_bridge.nursery import Forks
from gust.airflow_bridge.supervisor import SupervisedTry
from tests.environment import of_a_user


def test_a_process_with_the_id_of_the_ended_child_is_killed_too() -> None:
    """A task can fork until the kernel gives out its own id again: what runs under it would see the next try."""
    left = subprocess.Popen(["/bin/sleep", "60"], env=of_a_user())
    ended = SupervisedTry.__new__(SupervisedTry)
    ended.pid = left.pid
    ended._not_of_child = orphans.children()
    ended.process_log = structlog.get_logger()
    try:
        ended._kill_orphans()
        assert left.wait(5) in (-9, 0), "the sweep has reaped it"
    finally:
        left.kill()


def test_what_a_connection_test_leaves_running_is_killed() -> None:
    """A hook may come from a package of a DAG author's; the next try on this worker may be of another team."""
    reading, writing = os.pipe()

    def leave_one(_: Mapping[str, str], answer: int) -> None:
        if os.fork() == 0:
            os.setsid()
            os.close(answer)
            os.write(writing, b"%d" % os.getpid())
            time.sleep(60)
        os.write(answer, b'[true, "good"]')

    client: Any = SimpleNamespace(ports=SimpleNamespace(children=Forks()))
    assert connection_test._in_child(client, leave_one, timeout=30) == (True, "good")
    left = int(os.read(reading, 20))
    os.close(reading)
    os.close(writing)
    assert left not in orphans.children()
    with pytest.raises(ProcessLookupError):
        os.kill(left, 0)


class Machine:
    """On which a new process is found at each look, for so many seconds; a look takes a tenth of one."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        self.looks = 0
        self.given_up = False

    @property
    def now(self) -> float:
        return self.looks / 10

    def find(self) -> frozenset[int]:
        self.looks += 1
        return frozenset() if self.now > self.seconds else frozenset({NO_PROCESS + self.looks})

    def give_up(self) -> None:
        self.given_up = True


NO_PROCESS = 2**22 + 1
"""Linux gives out no such id."""


@pytest.mark.parametrize(("seconds", "given_up"), [(5, False), (60, True)])
def test_processes_that_start_others_are_killed_as_long_as_it_takes(seconds: int, given_up: bool) -> None:
    """A worker that goes on beside them would run the next try, perhaps another team's, under their eyes."""
    machine = Machine(seconds)
    count = orphans.kill_all(except_=frozenset(), find=machine.find, clock=lambda: machine.now, give_up=machine.give_up)
    assert machine.given_up is given_up
    assert count == pytest.approx(min(seconds, 20) * 10, abs=2)


def test_one_that_hangs_in_the_kernel_is_left_to_it() -> None:
    now = iter(range(100))
    count = orphans.kill_all(
        except_=frozenset(),
        find=lambda: frozenset({NO_PROCESS}),
        clock=lambda: float(next(now)),
        give_up=lambda: pytest.fail("it runs no code any more"),
    )
    assert count == 1
