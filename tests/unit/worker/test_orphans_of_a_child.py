"""What a child leaves running is killed, whatever it did to stay."""

from __future__ import annotations

import subprocess

import structlog

from gust.airflow_bridge import orphans
from gust.airflow_bridge.supervisor import SupervisedTry


def test_a_process_with_the_id_of_the_ended_child_is_killed_too() -> None:
    """A task can fork until the kernel gives out its own id again: what runs under it would see the next try."""
    left = subprocess.Popen(["/bin/sleep", "60"])
    ended = SupervisedTry.__new__(SupervisedTry)
    ended.pid = left.pid
    ended._not_of_child = orphans.children()
    ended.process_log = structlog.get_logger()
    try:
        ended._kill_orphans()
        assert left.wait(5) in (-9, 0), "the sweep has reaped it"
    finally:
        left.kill()
