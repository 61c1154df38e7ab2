"""`./gust bench [--short] [--check] [--only gust|airflow|cost|start] [--repeat N] [--out FILE] [--keep]`, or `--history`."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benches import api, container, unpack
from benches import results as kept
from benches.cost import PRICES, Bill
from benches.measure import Figures, run_shapes
from benches.metered import price_shapes
from benches.report import Results, as_json, figures_to_keep, table, targets
from benches.shapes import DAGS
from gust.aws.memory import MemoryObjects
from gust.local.stack import LocalStack, running
from tests.oracle.server import OracleError, real_airflow

ROOT = Path(__file__).parents[1]
PARTS = ("gust", "airflow", "cost", "start")
BOTH_SIDES = ("gust", "airflow")
API = "api"
"""A bench of its own, with other targets: `benches.api` has more options."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="gust bench", description="Measure Gust beside real Airflow, and price it.")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed or was not measured")
    parser.add_argument("--only", choices=(*PARTS, API), action="append", help="measure one part; may be given again")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each shape (default 3)")
    parser.add_argument("--out", type=Path, help="write the results as JSON")
    parser.add_argument(
        "--short", action="store_true", help="both sides, one run of each shape, and processor time of a task"
    )
    parser.add_argument("--keep", action="store_true", help="write the figures and this commit into benches/results")
    parser.add_argument("--history", action="store_true", help="print the figures that were kept, by commit")
    options = parser.parse_args()
    if options.history:
        print(kept.table())
        return 0
    parts = options.only or (BOTH_SIDES if options.short else PARTS)
    if options.short:
        options.repeat = 1
    if parts == [API]:
        return api.main(["--check"] * options.check + (["--out", str(options.out)] if options.out else []))
    if API in parts:
        parser.error(f"--only {API} is measured alone")
    try:
        results = Results(
            gust=_gust(options.repeat) if "gust" in parts else {},
            airflow=_airflow(options.repeat) if "airflow" in parts else {},
            bills=_cost() if "cost" in parts else {},
            starts=container.measure(options.repeat) if "start" in parts else {},
            unpacking=_unpacking(options.repeat) if "start" in parts else None,
            short=_short() if options.short else {},
        )
    except OracleError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"\n{table(results)}\nprices: {PRICES.name}")
    if options.out:
        options.out.write_text(json.dumps(as_json(results), indent=1) + "\n")
    if options.keep:
        print(f"kept in {kept.keep(figures_to_keep(results))}")
    checked = list(targets(results))
    complete = set(parts) == set(BOTH_SIDES if options.short else PARTS)
    return 1 if options.check and not (complete and all(target.met for target in checked)) else 0


def _gust(repeat: int) -> dict[str, Figures]:
    with the_stack() as stack:
        return run_shapes(stack.url, repeat=repeat, say=lambda line: _say(f"Gust: {line}"))


def _airflow(repeat: int) -> dict[str, Figures]:
    with real_airflow(DAGS) as url:
        return run_shapes(url, repeat=repeat, say=lambda line: _say(f"Airflow: {line}"))


def _cost() -> dict[str, Bill]:
    with the_stack(emulator="benches.emulator") as stack:
        return price_shapes(stack, say=lambda line: _say(f"Cost: {line}"))


def _short() -> dict[str, dict[str, float]]:
    """In a process of its own: Airflow's settings of a worker are not for servers."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "short.json"
        subprocess.run([sys.executable, "-m", "benches.short", "--out", str(out)], check=True, cwd=ROOT)
        return dict(json.loads(out.read_text()))


def _unpacking(repeat: int) -> unpack.Unpacking:
    objects = MemoryObjects()
    return unpack.measure(objects, unpack.made_up(objects, 100), repeat=repeat)


@contextmanager
def the_stack(**options: str) -> Iterator[LocalStack]:
    """A local stack over the bench's DAGs, made for one part and thrown away."""
    with (
        tempfile.TemporaryDirectory(prefix="gust-bench-") as data,
        running(root=ROOT, data=Path(data), dags=DAGS, **options) as stack,
    ):
        yield stack


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
