"""The benches of a worker run: nothing else calls them, and each has a worker's ports of its own."""

import subprocess
import sys
from pathlib import Path

from tests.environment import of_a_user

ROOT = Path(__file__).parents[3]


def test_the_bench_measures_a_task():
    ran = subprocess.run(
        [sys.executable, "benches/warm_task.py", "--tasks", "1"],
        cwd=ROOT,
        env=of_a_user(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    assert "calls of the execution API per task: 3.0" in ran.stdout


def test_the_bench_of_credentials_counts_what_asking_costs():
    ran = subprocess.run(
        [sys.executable, "-m", "benches.credentials", "--tries", "1"],
        cwd=ROOT,
        env=of_a_user(PYTHONPATH=f"{ROOT}/shared:{ROOT}"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    default, by_document, _ = ran.stdout.splitlines()
    expected = (
        "1.0 requests for credentials by a try that asks, 0.0 by one that does not; 1.0 calls of STS, {} read units"
    )
    assert expected.format("3.0") in default  # the run and the instance, for a role of the queue's worker group
    assert expected.format("3.0") in by_document
