"""Many at once: runs that go side by side, and DAGs due in the same minute: `python -m benches.crowd [--check]`.

Both go through the scheduler's door and the execution API as in `benches.paths`, each record and message alone, over the
emulator's DynamoDB. What one of many costs is compared with what one of few costs: in units, in messages, and in processor
time of the scheduler (boto included), which alone depends on the machine. `tests/contract/test_crowd.py` holds the units.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from benches.paths import START, ControlPlane, Script, chained, message
from gust.model.dag_spec import TimetableSpec

FEW, MANY = 10, 200
"""Runs."""
FEW_DAGS, MANY_DAGS = 50, 1_000

MOST_GROWTH: Final = 1.2
"""Of one of many to one of few."""

HOURLY: Final = TimetableSpec(
    type="airflow.timetables.trigger.CronTriggerTimetable",
    data={"expression": "0 * * * *", "timezone": "UTC", "interval": 0.0, "run_immediately": False},
)


@dataclass(frozen=True, slots=True)
class Share:
    """Of each run or DAG."""

    reads: float
    writes: float
    messages: float
    invocations: float
    """Of the scheduler."""
    processor: float
    """Seconds of the scheduler."""

    @property
    def units(self) -> float:
        """In units of a read; AWS takes five times as much for a write."""
        return self.reads + 5 * self.writes


def runs_at_once(dynamodb: Any, streams: Any, number: int) -> Share:
    """Of a DAG of two tasks, one after the other: all are triggered before the first is looked at."""
    plane = ControlPlane(dynamodb, streams)
    plane.upload(chained("crowd", 2, max_active_runs=1_000))
    plane.settle()
    forget(plane)
    for _ in range(number):
        plane.trigger("crowd")
    plane.work(Script())
    states = Counter(str(run.state) for run in plane.services.store.list_runs("crowd"))
    assert states == {"success": number}, states
    return share(plane, number)


def dags_due(dynamodb: Any, streams: Any, number: int) -> Share:
    """From the tick that finds them to the messages of their first tasks."""
    plane = ControlPlane(dynamodb, streams)
    for n in range(number):
        plane.upload(chained(f"due_{n:04}", 1, timetable=HOURLY, start_date=START))
    plane.settle()
    plane.queues.wakes.clear()
    forget(plane)
    plane.clock.set(START + timedelta(minutes=59, seconds=30))
    with plane.invocation("scheduler"):
        plane.tick()
    wakes, plane.queues.wakes = plane.queues.wakes, []
    assert len(wakes) == number, len(wakes)
    plane.clock.set(START + timedelta(hours=1))
    for wake, _ in wakes:
        plane.schedule(message(wake))
        plane.settle()
    assert len(plane.queues.tasks) == number, len(plane.queues.tasks)
    return share(plane, number)


def forget(plane: ControlPlane) -> None:
    """What was counted so far."""
    plane.meter.counts.clear()
    plane.meter.invocations.clear()
    plane.processor = 0.0


def share(plane: ControlPlane, number: int) -> Share:
    counted: Counter[str] = Counter()
    for (_, _, _, unit), count in plane.meter.counts.items():
        counted[unit] += count  # type: ignore[assignment]  # half units are counted too
    plane.close()
    return Share(
        reads=counted["reads"] / number,
        writes=counted["writes"] / number,
        messages=counted["messages"] / number,
        invocations=plane.meter.invocations["scheduler"] / number,
        processor=plane.processor / number,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    from tests.contract.stores import emulated

    parser = argparse.ArgumentParser(prog="python -m benches.crowd", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if one of many costs too much more")
    parser.add_argument("--runs", type=int, nargs=2, default=(FEW, MANY))
    parser.add_argument("--dags", type=int, nargs=2, default=(FEW_DAGS, MANY_DAGS))
    options = parser.parse_args(arguments)
    met = True
    with tempfile.TemporaryDirectory() as home, emulated(Path(home), "dynamodb,dynamodbstreams") as aws:
        for title, of, sizes in (("runs at once", runs_at_once, options.runs), ("DAGs due", dags_due, options.dags)):
            few, many = (of(aws.dynamodb, aws.streams, size) for size in sizes)
            for size, found in zip(sizes, (few, many), strict=True):
                print(
                    f"{size:>6,} {title:14}{found.reads:8.2f} read units{found.writes:8.2f} write units"
                    f"{found.messages:7.2f} messages{found.invocations:7.2f} looks{found.processor * 1000:8.1f} ms",
                    flush=True,
                )
            growth = many.units / few.units
            met &= growth <= MOST_GROWTH
            print(f"  units × {growth:.2f}, processor × {many.processor / few.processor:.2f} (at most × {MOST_GROWTH})")
    return 1 if options.check and not met else 0


if __name__ == "__main__":
    sys.exit(main())
