"""`./gust test differential --cases N --seed S`: random cases on both sides; what differs is shrunk and kept as a file.

A process of its own: Airflow's clock, its database and its log are replaced in it.
"""

from __future__ import annotations

import argparse
import gc
import random
import sys
import time
from collections import Counter
from copy import deepcopy
from pathlib import Path

from tests.differential import alone  # noqa: F401 - settings, before Airflow is imported
from tests.differential.gust_side import GustSide
from tests.differential.plan import Case
from tests.differential.play import Stage

KEPT = Path(__file__).parent / "cases"


def main() -> int:
    parser = argparse.ArgumentParser(prog="gust test differential", description=__doc__)
    parser.add_argument("--cases", type=int, default=300, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, help="the same seed draws the same cases; without one, any")
    parser.add_argument(
        "--replay", type=Path, nargs="*", help="play the cases of these files; without any, all kept ones"
    )
    parser.add_argument("--keep", type=Path, default=KEPT, help="where to write what differs (%(default)s)")
    parser.add_argument("--most", type=int, default=5, help="stop after so many that differ (%(default)s)")
    options = parser.parse_args()
    if options.replay is not None:
        return replay(options.replay or sorted(KEPT.glob("*.json")))
    seed = random.randrange(1_000_000) if options.seed is None else options.seed  # noqa: S311 - no secret
    return play(options.cases, seed, keep=options.keep, most=options.most)


def play(cases: int, seed: int, *, keep: Path, most: int) -> int:
    print(f"seed {seed}: {cases} cases", flush=True)
    stage, begun = Stage(), time.monotonic()
    # Airflow's modules never become garbage; looking through them again and again takes a sixth of the time.
    gc.freeze()
    gc.set_threshold(50_000)
    steps = differ = 0
    seen: Counter[str] = Counter()
    for number in range(cases):
        outcome = stage.play_random(f"{seed}/{number}")
        steps += outcome.steps
        seen += outcome.seen
        if outcome.agrees:
            continue
        differ += 1
        small = stage.shrink(outcome.case)
        small.told = "; ".join(stage.replay(deepcopy(small)).differences)
        kept = keep / f"{seed}-{number}.json"
        kept.write_text(small.to_json())
        print(f"{kept} differs: {small.told}\n{small.to_json()}", flush=True)
        if differ >= most:
            break
    print("seen:", ", ".join(f"{count} {state}" for state, count in seen.most_common()))
    print("quick looks:", ", ".join(f"{count} {told.name}" for told, count in GustSide.quick_looks.most_common()))
    print(f"seed {seed}: {number + 1} cases, {steps} steps, {differ} differ, {time.monotonic() - begun:.0f} s")
    return 1 if differ else 0


def replay(files: list[Path]) -> int:
    stage = Stage()
    failed = 0
    for file in files:
        outcome = stage.replay(Case.read(file))
        failed += not outcome.agrees
        print(f"{file.name}: {'; '.join(outcome.differences) or 'agrees'}")
        if len(files) == 1:
            print("\n".join(outcome.history))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
