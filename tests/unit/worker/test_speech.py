"""A task's output by several channels is in its log in the order in which the task wrote it."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.unit.worker.control_plane import Lines, Site

ALTERNATES = """
import logging, sys
from airflow.sdk import dag, task

@dag(schedule=None)
def d():
    @task
    def t():
        for number in range(20):
            print(f"printed {number}")
            logging.getLogger("shop").info(f"logged {number}")
            print(f"complained {number}", file=sys.stderr)
    t()
d()
"""


@dataclass
class SlowLines(Lines):
    """Keeps the supervisor busy with each line, so that it always finds that several sockets have something."""

    def put(self, line: bytes) -> None:
        super().put(line)
        time.sleep(0.001)


def test_lines_stand_in_the_order_in_which_they_were_said(site: Site, run: Callable[..., int]) -> None:
    site.log = SlowLines()
    assert run(ALTERNATES) == 0
    said = [line["event"] for line in site.log.lines]
    spoken = [f"{how} {number}" for number in range(20) for how in ("printed", "logged", "complained")]
    assert [event for event in said if event in spoken] == spoken
    assert said.index("::endgroup::") < said.index("printed 0")
    assert said.index("complained 19") < said.index("::group::Post Execute")
