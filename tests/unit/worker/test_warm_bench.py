"""The bench of a warm worker runs: nothing else calls it, and it has a worker's ports of its own."""

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
