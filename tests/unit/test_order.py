"""`./gust test` shares the modules among several processes."""

import pytest

from gust.cli.__main__ import pytest_processes
from tests.order import LONGEST, PUNCTUAL, TESTS, rank


@pytest.mark.parametrize("name", [*LONGEST, *PUNCTUAL])
def test_a_module_with_a_place_of_its_own_exists(name: str) -> None:
    assert (TESTS / name).is_file()


def test_long_ones_begin_and_cheap_ones_end() -> None:
    longest, shorter, punctual = LONGEST[0], LONGEST[1], PUNCTUAL[0]
    slow = {"system/test_actions.py", longest, shorter, punctual}
    modules = ["chaos/test_contention.py", punctual, "system/test_actions.py", shorter, "unit/test_order.py", longest]

    ordered = sorted(modules, key=lambda name: rank(TESTS / name, is_slow=name in slow))

    assert ordered == [
        longest,
        shorter,
        "system/test_actions.py",
        punctual,
        "chaos/test_contention.py",
        "unit/test_order.py",
    ]


@pytest.mark.parametrize(
    ("processors", "gigabytes", "processes"), [(1, 8, 1), (2, 24, 2), (2, 8, 2), (2, 3, 1), (8, 64, 8), (8, 16, 4)]
)
def test_as_many_processes_as_processors_keep_busy_and_memory_holds(
    processors: int, gigabytes: int, processes: int
) -> None:
    assert pytest_processes(processors=processors, gigabytes=gigabytes) == processes
