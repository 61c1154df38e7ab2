"""The short bench: what a task costs in processor time, beside a reference of the same minute: `python -m benches.short`.

One run of each shape (a chain, a fan-out, a mesh) goes through the scheduler, the execution API and a real worker with real
children, in one process over the store in memory. Between the runs the same process forks children that compile a file and
do nothing else: the reference. A machine that is slow or busy slows both, so their ratio tells whether a task became dearer.
`--check` compares it with the last result in `benches/results` and ends with 1 if a third of it is lost;
`tests/unit/worker/test_short_bench.py` does so in CI.

It needs no Airflow server. `./gust bench --short` runs the same shapes on the local stack and on real Airflow, side by side.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Final

from benches import results
from benches.shapes import DAGS

ROUNDS: Final = 2
"""Each shape so often, in turns with the reference."""

REFERENCES: Final = 12
"""Children of the reference after each run."""

LOST: Final = 1 / 3
"""Of the ratio, at which the check fails."""

PARTS: Final = {"chain": 8, "fan_out": 10, "mesh": 10}
"""Tasks of a shape's run that are worked off; the rest is left."""


def measure(rounds: int = ROUNDS, say: Callable[[str], None] = lambda _: None) -> dict[str, dict[str, float]]:
    """Shape → seconds of a processor for a task (`task_s`), for a child of the reference (`reference_s`), and how many such
    children a task is worth (`ratio`). Medians over the rounds."""
    from gust.airflow_bridge import warm

    with tempfile.TemporaryDirectory(prefix="gust-bench-") as folder:
        bundles = warm.set_environment(Path(folder))
        warm.warm_up_for_tasks(bundles)
        from benches.short_run import Nursery, Run, reference  # after Airflow's settings
        from gust.airflow_bridge import surroundings

        nursery = Nursery(surroundings.look_at_modules)
        gc.freeze()
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in PARTS}
        for name in PARTS:
            Run(bundles, DAGS / f"{name}.py", nursery).play(3)  # the first tasks fill caches
        reference(2)
        for _ in range(rounds):
            for name, tasks in PARTS.items():
                before = reference(REFERENCES // 2)
                task = Run(bundles, DAGS / f"{name}.py", nursery).play(tasks)
                after = reference(REFERENCES // 2)
                found[name].append((task, (before + after) / 2))
                say(f"{name}: {task * 1000:.1f} ms, reference {found[name][-1][1] * 1000:.1f} ms")
    return {
        name: {
            "task_s": round(median(task for task, _ in pairs), 5),
            "reference_s": round(median(child for _, child in pairs), 5),
            "ratio": round(median(task / child for task, child in pairs), 3),
        }
        for name, pairs in found.items()
    }


def lost(now: Mapping[str, Mapping[str, float]], before: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Shapes whose task has become dearer by so much that a third of what the machine does in its time is lost."""
    return [
        f"{name}: a task is worth {now[name]['ratio']:.2f} children of the reference, {before[name]['ratio']:.2f} before"
        for name in now
        if name in before and before[name]["ratio"] / now[name]["ratio"] <= 1 - LOST
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benches.short", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if a third of a ratio is lost")
    parser.add_argument("--keep", action="store_true", help="write the result into benches/results")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args(arguments)
    began = time.monotonic()
    found = measure(options.rounds, say=lambda line: print(f"  {line}", flush=True))
    for name, figures in found.items():
        print(
            f"{name:8} {figures['task_s'] * 1000:6.1f} ms of a processor for a task, {figures['ratio']:.2f} references"
        )
    print(f"{time.monotonic() - began:.0f} s")
    if options.out:
        options.out.write_text(json.dumps(found))
    last = results.last("short")
    gone = lost(found, last["short"]) if last else []
    for line in gone:
        print(f"MISSED  {line}", file=sys.stderr)
    if options.keep:
        print(f"kept in {results.keep({'short': found})}")
    return 1 if options.check and gone else 0


if __name__ == "__main__":
    sys.exit(main())
