"""Ten thousand triggers parked at once: what they take, what a tick costs, and how late they wake.

    python -m benches.parked [--triggers 10000] [--runs 100]      # needs PYTHONPATH=shared; a minute

A parked trigger is a message on SQS and its task instance's item; no process has it in memory. The scheduler is the real
one over a store in memory. How late triggers wake is worked out for the queue as the template has it: so many functions,
one trigger each, for as long as a poll takes (`benches.waiting`). SQS's delays are whole seconds.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import time
import tracemalloc
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from benches.meter import item_size
from benches.waiting import MEASURED
from gust.model.dag_spec import DagSpec, TaskSpec, TimetableSpec
from gust.model.dispatch import Dispatch, Scope
from gust.model.task_instance import ParkedTrigger
from gust.model.workload import TriggerWorkload
from gust.ports.clock import ManualClock
from gust.scheduling import transition
from gust.services.scheduler.tick import tick
from gust.services.sealed import sealed_trigger
from gust.services.worker.report_trigger import park
from gust.store import items

CONCURRENCY: Final = 50
"""The template's TriggererConcurrency."""


@dataclass(frozen=True, slots=True)
class Parked:
    triggers: int
    message: int
    """Bytes of a message on SQS."""
    item: int
    """Bytes of a task instance's item."""
    kept: int
    """Bytes of this process's memory for each that stay after the tick: what services remember."""
    wakes: int
    """Wake-ups that a tick sends, in the minute in which most runs are due."""
    tick_seconds: float
    """Processor time of a tick."""


def measure(triggers: int, runs: int) -> Parked:
    from tests.world import World

    world = World(clock=ManualClock(datetime(2026, 3, 1, tzinfo=UTC)))
    each = triggers // runs
    tasks = {f"t{number}": TaskSpec(task_id=f"t{number}") for number in range(each)}
    world.given_dag(
        DagSpec(
            dag_id="etl",
            timetable=TimetableSpec(type="airflow.timetables.simple.NullTimetable"),
            relative_fileloc="etl.py",
            tasks=tasks,
            max_active_tasks=each,
            max_active_runs=runs,
        )
    )
    arguments = {"execution_arn": "arn:aws:states:eu-west-1:111122223333:execution:machine:" + "x" * 36}
    trigger = ParkedTrigger(
        classpath="airflow.providers.amazon.aws.triggers.step_function.StepFunctionsExecutionCompleteTrigger",
        kwargs=arguments | {"waiter_delay": 60, "waiter_max_attempts": 75, "aws_conn_id": "aws_default"},
        next_method="execute_complete",
    )
    sealed = sealed_trigger(world.services, trigger)
    for number in range(runs):
        run = world.trigger(run_id=f"r{number}")
        world.advance(run)
        for task_id in tasks:
            world.work(run, task_id, lambda instance: transition.defer(instance, trigger=sealed))
        world.advance(run)
    world.queues.triggers.clear()
    some = world.run(run).key.task_instance("t0")
    instance = world.store.get_instance(some)
    assert instance is not None
    park(
        world.services,
        Dispatch.of(instance, Scope.TRIGGER),
        wake_at=world.clock.now(),
        sleeps_passed=0,
        is_poller=True,
        looks=7,
        place="0123456789ab",
    )
    ((message, _),) = world.queues.triggers
    assert isinstance(message, TriggerWorkload)
    ticks, seconds = [], []
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(11):
        began = time.process_time()
        ticks.append(tick(world.services))
        seconds.append(time.process_time() - began)
        world.queues.wakes.clear()
        world.clock.advance(60)
    kept = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return Parked(
        triggers=triggers,
        message=len(message.model_dump_json()),
        item=item_size(items.TASK_INSTANCE.item(instance)),
        kept=max(0, kept) // triggers,
        wakes=max(ticks),
        tick_seconds=max(seconds),
    )


def lateness(due: Iterable[float], *, seconds: float = MEASURED.seconds, functions: int = CONCURRENCY) -> list[float]:
    """Seconds between the moments at which triggers are due and their polls, sorted. A message is visible at the next whole
    second, and waits for one of the functions."""
    free = [0.0] * functions
    late = []
    for at in sorted(due):
        visible = math.ceil(at)
        begins = max(visible, heapq.heappop(free))
        heapq.heappush(free, begins + seconds)
        late.append(begins - at)
    return sorted(late)


def spread(triggers: int, over: float) -> Sequence[float]:
    """So many moments, evenly over so many seconds."""
    return [number * over / triggers for number in range(triggers)]


def percentile(values: Sequence[float], part: float) -> float:
    return values[min(len(values) - 1, int(len(values) * part))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--triggers", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=100)
    options = parser.parse_args()
    print(measure(options.triggers, options.runs))
    for over in (60.0, 1.0):
        late = lateness(spread(options.triggers, over))
        told: dict[str, Any] = {name: round(percentile(late, part), 1) for name, part in (("p50", 0.5), ("p99", 0.99))}
        print(f"due within {over:.0f} s:", json.dumps(told | {"last": round(late[-1], 1)}))


if __name__ == "__main__":
    main()
