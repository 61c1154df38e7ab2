"""`./gust test differential --cases N --seed S`: random cases on both sides; the first that differs is shrunk and kept."""

from __future__ import annotations

import argparse
import sys
import time
from copy import deepcopy
from pathlib import Path

from tests.differential.plan import Case
from tests.differential.play import Stage


def main() -> int:
    parser = argparse.ArgumentParser(prog="gust test differential")
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--replay", type=Path, help="play one case of a file")
    parser.add_argument("--keep", type=Path, default=Path(__file__).parent / "cases", help="where to write what differs, shrunk")
    parser.add_argument("--most", type=int, default=5, help="stop after so many that differ")
    options = parser.parse_args()
    if options.replay:
        return replay(Case.read(options.replay))
    stage = Stage()
    begun = time.monotonic()
    steps = bad = 0
    for number in range(options.cases):
        outcome = stage.play_random(f"{options.seed}/{number}")
        steps += outcome.steps
        if not outcome.agrees:
            bad += 1
            print(f"case {options.seed}/{number} differs: {outcome.differences[:3]}", flush=True)
            small = stage.shrink(outcome.case)
            small.told = "; ".join(stage.replay(deepcopy(small)).differences)
            (options.keep / f"{options.seed}-{number}.json").write_text(small.to_json())
            print(small.to_json(), flush=True)
            if bad >= options.most:
                break
    print(f"{options.cases} cases, {steps} steps, {bad} differ, {time.monotonic() - begun:.1f} s")
    return 1 if bad else 0


def replay(case: Case) -> int:
    outcome = Stage().replay(case)
    for step in outcome.history:
        print(step)
    print("\n".join(outcome.differences) or "No difference.")
    return 0 if outcome.agrees else 1


if __name__ == "__main__":
    sys.exit(main())
