"""Gust decides what Airflow decides: the cases that once differed, 2,000 fixed random ones, and some fresh ones each run.

Each in a process of its own, since Airflow's clock and database are replaced in it. A difference is shrunk and written to
`cases/`; `./gust test differential --seed S` plays the same ones again.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "arguments",
    [["--replay"], ["--cases", "2000", "--seed", "1"], ["--cases", "300"]],
    ids=["cases that once differed", "the same 2000", "fresh ones"],
)
def test_both_sides_decide_the_same(arguments: list[str]) -> None:
    played = subprocess.run(
        [sys.executable, "-m", "tests.differential", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": "shared"},
        capture_output=True,
        text=True,
        check=False,
    )
    print(played.stdout)
    assert played.returncode == 0, played.stdout + played.stderr
