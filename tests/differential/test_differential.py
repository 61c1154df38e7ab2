"""Gust decides as Airflow does: the cases that once differed, 100 fixed random ones, and some seeded by a hash of the
deciding code. The same code gets the same cases: an old difference is no reason to refuse an unrelated change.
`./gust test differential` without a seed looks for others.

Two plays at a time, each in a process of its own, since Airflow's clock and database are replaced in it. A difference is
shrunk and written to `cases/`; `./gust test differential --seed S` plays the same ones again.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.environment import of_a_user

ROOT = Path(__file__).parents[2]


def seed_of_what_decides() -> str:
    """Below a million, and another one for other code."""
    read = hashlib.sha256()
    for folder in ("shared/gust/model", "shared/gust/scheduling", "shared/gust/services", "tests/differential"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            read.update(file.read_bytes())
    return str(int(read.hexdigest(), 16) % 1_000_000)


@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    "plays",
    [
        (["--replay"], ["--cases", "100", "--seed", seed_of_what_decides()]),
        (["--cases", "50", "--seed", "1"], ["--cases", "50", "--seed", "2"]),
    ],
    ids=["cases that once differed, and new ones", "the same 100"],
)
def test_both_sides_decide_the_same(plays: tuple[list[str], ...]) -> None:
    begun = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.differential", *arguments],
            cwd=ROOT,
            env=of_a_user(PYTHONPATH="shared"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for arguments in plays
    ]
    try:
        told = [play.communicate()[0] for play in begun]
    finally:
        for play in begun:
            play.kill()
    print(*told, sep="\n")
    assert [play.returncode for play in begun] == [0] * len(plays), "\n".join(told)
