"""`./gust test differential --cases N --seed S`: random cases on both sides; the first that differs is shrunk and kept."""

from __future__ import annotations

import argparse
import sys
import time

from tests.differential.play import Stage


def main() -> int:
    parser = argparse.ArgumentParser(prog="gust test differential")
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    stage = Stage()
    begun = time.monotonic()
    steps = bad = 0
    for number in range(options.cases):
        outcome = stage.play_random(f"{options.seed}/{number}")
        steps += outcome.steps
        if not outcome.agrees:
            bad += 1
            print(f"case {options.seed}/{number}: {outcome.differences[:3]}")
    print(f"{options.cases} cases, {steps} steps, {bad} differ, {time.monotonic() - begun:.1f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
