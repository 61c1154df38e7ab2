"""The scheduler's cost per task in wide runs: `python -m benches.wide [--check]`, without an emulator.

One task, N in parallel, and one that waits for all of them; N chains of three tasks; and a mapped task group of three
tasks and N turns, between two others. The scheduler's own services run over the store in memory.
The bench counts each store call in read and write units by AWS's rules, and builds the instances of each look from
DynamoDB's form, as the function does. Every record comes alone: batches would only reduce the number of looks. Tasks
take a second, in 16 workers; timers ring as the tick would ring them. Workers and the execution API's writes are not
counted: they are the same at any width.
"""

from __future__ import annotations

import argparse
import gc
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from benches.cost import load_prices
from benches.meter import item_size
from gust.aws.memory import MemoryObjects, MemoryQueues
from gust.aws.tokens import JwtTokens
from gust.model.dag import Dag
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec, ExpandedKwarg, Expansion, LiteralLength, TaskGroupSpec, TaskSpec, TimetableSpec
from gust.model.keys import DagRunKey
from gust.model.state import DagRunState, DagRunTriggeredByType
from gust.model.task_instance import TaskInstance
from gust.ports.clock import ManualClock
from gust.scheduling import transition
from gust.scheduling.quick_look import SUCCEEDED, Change
from gust.scheduling.transition import Transition
from gust.services.context import Services
from gust.services.runs.create_dag_run import create_dag_run
from gust.services.scheduler.advance import advance
from gust.services.scheduler.follow import follow, ring
from gust.store import items, keyspace
from gust.store.memory import MemoryStore

WIDTHS: Final = (100, 1_000, 5_000, 10_000)
WORKERS: Final = 16
SECONDS_A_TASK: Final = 1.0
MEMORY_GB: Final = 1.0
"""Of the scheduler's function."""

MOST_GROWTH: Final = 1.2
"""From the narrowest to the widest, per task."""

START: Final = datetime(2026, 3, 2, 9, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of the scheduler, for all of a run's tasks together."""

    width: int
    tasks: int
    looks: int
    """At the whole run."""
    read_units: float
    write_units: float
    processor: float
    """Seconds, of what is decided and of making instances from DynamoDB's form; without boto's part of a call."""

    def per_task(self, what: str) -> float:
        value: float = getattr(self, what)
        return value / self.tasks

    @property
    def dollars(self) -> float:
        """Reads, writes, and the function while it uses the processor: waiting for calls comes on top, at any width."""
        prices = load_prices()
        of_table = (
            self.read_units * prices["dynamodb"]["read_unit"] + self.write_units * prices["dynamodb"]["write_unit"]
        )
        return float(of_table + self.processor * MEMORY_GB * prices["lambda"]["gb_second_arm64"])


class Metered(MemoryStore):
    """Counts what the scheduler reads and writes. `is_scheduler`: the calls of others are not counted."""

    def __init__(self) -> None:
        super().__init__()
        self.is_scheduler = False
        self.looks = 0
        self.copying = 0.0
        """Seconds of the processor: this store copies all of a run for each look, which a table does not."""
        self.reads = self.writes = 0.0
        self._items: dict[Any, tuple[TaskInstance, dict[str, Any], int]] = {}

    def load_run(self, key: DagRunKey) -> Any:
        began = time.process_time()
        state = super().load_run(key)
        self.copying += time.process_time() - began
        if self.is_scheduler and state is not None:
            self.looks += 1
            self.reads += math.ceil((self._size_of_run(state.run) + self._read(state.instances.values())) / 4096)
        return state

    def get_run_and_instances(self, key: DagRunKey, instances: Any) -> Any:
        run, found = super().get_run_and_instances(key, instances)
        if self.is_scheduler:
            self._read(found.values())
            self.reads += len(instances) + math.ceil(self._size_of_run(run) / 4096 if run else 1)
        return run, found

    def get_run(self, key: DagRunKey) -> DagRun | None:
        self.reads += self.is_scheduler
        return super().get_run(key)

    def get_dag(self, dag_id: str) -> Dag | None:
        self.reads += self.is_scheduler
        return super().get_dag(dag_id)

    def get_dag_and_pools(self, dag_id: str, names: Any) -> Any:
        self.reads += (1 + len(names)) * self.is_scheduler
        return super().get_dag_and_pools(dag_id, names)

    def move(self, transition: Transition) -> None:
        self.writes += self.is_scheduler
        super().move(transition)

    def update_run(self, before: DagRun, after: DagRun) -> None:
        if self.is_scheduler:
            self.writes += math.ceil(self._size_of_run(after) / 1024) + 2 * (before.due_at != after.due_at)
        super().update_run(before, after)

    def start_run(self, before: DagRun, after: DagRun, **options: Any) -> None:
        self.writes += 6 * self.is_scheduler
        super().start_run(before, after, **options)

    def finish_run(self, before: DagRun, after: DagRun, **options: Any) -> None:
        self.writes += 5 * self.is_scheduler
        super().finish_run(before, after, **options)

    def _size_of_run(self, run: DagRun) -> int:
        return item_size(items.DAG_RUN.item(run)) + 150  # keys and indexes

    def _read(self, instances: Iterable[TaskInstance]) -> int:
        """Makes them from their items, as the function does. Returns the items' size in bytes."""
        total = 0
        for instance in instances:
            known = self._items.get(instance.key)
            if known is None or known[0] is not instance:
                item = items.TASK_INSTANCE.item(instance)
                keys = keyspace.instance(instance.key)
                known = instance, item, item_size(item) + len(keys.pk) + len(keys.sk) + 4
                self._items[instance.key] = known
            items.TASK_INSTANCE.read(known[1], **vars_of(instance))
            total += known[2]
        return total


def vars_of(instance: TaskInstance) -> dict[str, Any]:
    return {
        "dag_id": instance.dag_id,
        "run_id": instance.run_id,
        "task_id": instance.task_id,
        "map_index": instance.map_index,
    }


def fan(width: int, *, max_active_tasks: int, is_mapped: bool = False) -> DagSpec:
    names = ["many"] if is_mapped else [f"task_{number:05}" for number in range(width)]
    expansion = Expansion(kwargs=(ExpandedKwarg(kwarg="x", length=LiteralLength(length=width)),))
    tasks = [
        TaskSpec(task_id="first", downstream_task_ids=tuple(names)),
        *(
            TaskSpec(
                task_id=name,
                upstream_task_ids=("first",),
                downstream_task_ids=("last",),
                expansion=expansion if is_mapped else None,
            )
            for name in names
        ),
        TaskSpec(task_id="last", upstream_task_ids=tuple(names)),
    ]
    return dag(tasks, max_active_tasks)


STEPS: Final = ("extract", "transform", "load")


def chains(width: int, *, max_active_tasks: int) -> DagSpec:
    """Weighed as Airflow does: what has more downstream of it goes first."""
    tasks = [
        TaskSpec(
            task_id=f"{step}_{number:05}",
            upstream_task_ids=(f"{STEPS[place - 1]}_{number:05}",) if place else (),
            downstream_task_ids=(f"{STEPS[place + 1]}_{number:05}",) if place + 1 < len(STEPS) else (),
            priority_weight=len(STEPS) - place,
        )
        for place, step in enumerate(STEPS)
        for number in range(width)
    ]
    return dag(tasks, max_active_tasks)


def group(width: int, *, max_active_tasks: int) -> DagSpec:
    turns = Expansion(kwargs=(ExpandedKwarg(kwarg="x", length=LiteralLength(length=width)),))
    names = ["first", *(f"each.{step}" for step in STEPS), "last"]
    tasks = [
        TaskSpec(
            task_id=name,
            upstream_task_ids=tuple(names[max(0, place - 1) : place]),
            downstream_task_ids=tuple(names[place + 1 : place + 2]),
            group_id="each" if "." in name else None,
            mapped_groups=("each",) if "." in name else (),
            priority_weight=len(names) - place,
        )
        for place, name in enumerate(names)
    ]
    each = TaskGroupSpec(group_id="each", children=tuple(names[1:-1]), expansion=turns)
    return dag(tasks, max_active_tasks, each)


def dag(tasks: Sequence[TaskSpec], max_active_tasks: int, *groups: TaskGroupSpec) -> DagSpec:
    return DagSpec(
        dag_id="wide",
        timetable=TimetableSpec(type="airflow.timetables.simple.NullTimetable"),
        relative_fileloc="wide.py",
        max_active_tasks=max_active_tasks,
        tasks={task.task_id: task for task in tasks},
        task_groups={each.group_id: each for each in groups},
    )


class Bench:
    """One run, from its first look to its end."""

    def __init__(self, spec: DagSpec) -> None:
        self.store, self.clock, self.objects = Metered(), ManualClock(START), MemoryObjects()
        self.queues = MemoryQueues()
        self.services = Services(
            store=self.store,
            objects=self.objects,
            queues=self.queues,
            tokens=JwtTokens(lambda: "a key that is long enough for HMAC-SHA256"),
            clock=self.clock,
            logs=None,  # type: ignore[arg-type] # no call reads logs here
        )
        body = spec.model_dump_json().encode()
        key = f"specs/{sha256(body).hexdigest()}.json"
        self.objects.put(key, body)
        dag = Dag(
            dag_id=spec.dag_id,
            version_number=1,
            spec_key=key,
            bundle_version="b1",
            max_active_tasks=spec.max_active_tasks,
        )
        self.store.put_dag(None, dag)
        self.processor = 0.0
        created = create_dag_run(self.services, spec.dag_id, run_id="r", triggered_by=DagRunTriggeredByType.REST_API)
        self.key = created.key

    def play(self, width: int) -> Cost:
        with self.scheduler():
            advance(self.services, self.key)
        running: deque[TaskInstance] = deque()
        taken = ended = 0
        while (run := self.run()).state is DagRunState.RUNNING:
            while len(running) < WORKERS and taken < len(self.queues.tasks):
                running.append(self.started(self.queues.tasks[taken].key))
                taken += 1
            self.clock.advance(SECONDS_A_TASK / max(1, len(running)))
            now = self.clock.now()
            if run.due_at is not None and run.due_at <= now:
                with self.scheduler():
                    ring(self.services, self.key)
            if running:
                instance = running.popleft()
                ended += 1
                self.store.move(transition.succeed(instance, at=now))
                change = Change(instance.task_id, instance.map_index, SUCCEEDED, instance.dispatch_count)
                with self.scheduler():
                    follow(self.services, self.key, [change])
        return Cost(width, ended, self.store.looks, self.store.reads, self.store.writes, self.processor)

    def started(self, key: Any) -> TaskInstance:
        instance = self.store.get_instance(key)
        assert instance is not None
        moved = transition.start(instance, at=self.clock.now(), hostname="worker", pid=1)
        self.store.move(replace(moved, after=replace(moved.after, heartbeat_at=self.clock.now())))
        return moved.after

    def run(self) -> DagRun:
        found = self.store.get_run(self.key)
        assert found is not None
        return found

    @contextmanager
    def scheduler(self) -> Iterator[None]:
        self.store.is_scheduler, self.store.copying, began = True, 0.0, time.process_time()
        yield
        self.processor += time.process_time() - began - self.store.copying
        self.store.is_scheduler = False


def measure(width: int, shape: Callable[..., DagSpec] = fan, *, max_active_tasks: int = 16, **options: Any) -> Cost:
    return Bench(shape(width, max_active_tasks=max_active_tasks, **options)).play(width)


SHAPES: Final[dict[str, dict[str, Any]]] = {
    "plain tasks, 16 at once": {},
    "mapped, 16 at once": {"is_mapped": True},
    "plain tasks, no limit": {"max_active_tasks": 100_000},
    "parallel chains, 16 at once": {"shape": chains},
    "parallel chains, no limit": {"shape": chains, "max_active_tasks": 100_000},
    "mapped task group, 16 at once": {"shape": group},
    "mapped task group, no limit": {"shape": group, "max_active_tasks": 100_000},
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benches.wide", description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="exit with 1 if a task of a wide run costs too much more")
    parser.add_argument("--only", help="shapes whose titles begin so")
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS)
    options = parser.parse_args()
    gc.freeze()  # as the function does
    gc.set_threshold(50_000)
    met = True
    for title, shape in SHAPES.items():
        if not title.startswith(options.only or ""):
            continue
        print(f"{title}, per task")
        print(
            f"{'width':>8}{'full looks':>12}{'read units':>12}{'write units':>13}{'processor':>13}{'$ a million':>13}"
        )
        costs = []
        for width in options.widths:
            costs.append(cost := measure(width, **shape))
            figures = (cost.per_task("read_units"), cost.per_task("write_units"), cost.per_task("processor") * 1000)
            print(
                f"{cost.width:>8,}{cost.looks:>12}{figures[0]:>12.2f}{figures[1]:>13.2f}{figures[2]:>10.2f} ms"
                f"{cost.per_task('dollars') * 1e6:>13.2f}",
                flush=True,
            )
        for what in ("processor", "dollars"):
            growth = costs[-1].per_task(what) / costs[0].per_task(what)
            is_met = growth <= MOST_GROWTH
            met &= is_met
            print(f"  {what}: × {growth:.2f} (at most × {MOST_GROWTH}): {'met' if is_met else 'MISSED'}")
    return 1 if options.check and not met else 0


if __name__ == "__main__":
    sys.exit(main())
