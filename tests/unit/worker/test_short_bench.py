"""A task takes no more of a processor than when the bench was last kept: measured beside a reference, in processor time, so
that neither a slow nor a busy machine tells."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benches import results
from benches.short import PARTS, lost
from tests.environment import of_a_user

ROOT = Path(__file__).parents[3]


def test_no_shape_has_lost_a_third() -> None:
    """A child process measures: one with the suite's fixtures and threads forks more slowly."""
    path = f"{ROOT / 'shared'}:{ROOT}"
    done = subprocess.run(
        [sys.executable, "-m", "benches.short", "--check"],
        cwd=ROOT,
        env=of_a_user(PYTHONPATH=path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_third_is_lost_where_a_task_takes_half_as_much_again() -> None:
    before = {name: {"ratio": 4.0} for name in PARTS}
    assert lost({name: {"ratio": 5.9} for name in PARTS}, before) == []
    assert len(lost({**before, "mesh": {"ratio": 6.1}}, before)) == 1
    assert lost({"new": {"ratio": 9.0}}, before) == []


def test_there_is_a_result_to_compare_with() -> None:
    last = results.last("short")
    assert last is not None
    assert last["short"].keys() == PARTS.keys()
