"""Many schedulers, workers and people at one pool, one task's limit and one run at once, on MiniStack's DynamoDB.

The table's own stream wakes the schedulers, through the template's filters, repeated, reordered and now and then
lost. The same stream, read again from its beginning, is the history on which the invariants are asserted: it has every
write in the order in which it happened.
"""

from __future__ import annotations

import json
import queue
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any

import boto3
import pytest

from gust.aws.memory import MemoryQueues
from gust.aws.tokens import JwtTokens
from gust.errors import Conflict, GustError, NotFound, Stale
from gust.model.dag_spec import DagSpec, TaskSpec, TimetableSpec
from gust.model.dispatch import Dispatch, Scope
from gust.model.keys import DagRunKey
from gust.model.pool import of_pool, of_task, pool_of
from gust.model.state import DagRunState
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import ParkedTrigger, TaskInstance
from gust.model.workload import TaskWorkload, TriggerWorkload, Wake, WakeLimit, WakeRun
from gust.ports.clock import SystemClock
from gust.scheduling import slots, transition
from gust.services.context import Services
from gust.services.scheduler.advance import advance
from gust.services.scheduler.grant_slots import grant_slots
from gust.services.settings import pools
from gust.services.worker import report_task_instance, report_trigger
from gust.services.worker.start_task_instance import start_task_instance
from gust.store import items, keyspace
from gust.store.dynamodb.limits import CHANGED, GIVEN_BACK
from gust.store.dynamodb.runs import read_instance
from gust.store.table import key_of
from tests.chaos.test_two_schedulers import Crowd, given_dag, trigger
from tests.chaos.test_weather import WAKING
from tests.contract.stores import OnDynamoDB
from tests.world import NoLogs

pytestmark = pytest.mark.timeout(300)

SCHEDULERS, WORKERS, RUNS = 6, 6, 4
MOST_IN_RUN, MOST_OF_TASK, SLOTS = 4, 2, 5


def busy() -> DagSpec:
    """More in every run than may go, of every kind: in a pool by one slot or by two, in a pool that keeps who defers, under
    a limit of its own and under none, tried again and rescheduled."""
    tasks: dict[str, dict[str, Any]] = {
        **{f"small_{n}": {"pool": "five", "priority_weight": n} for n in range(3)},
        **{f"big_{n}": {"pool": "five", "pool_slots": 2} for n in range(2)},
        **{f"defers_{n}": {"pool": "kept"} for n in range(2)},
        **{f"plain_{n}": {} for n in range(4)},
        "single": {"max_active_tis_per_dag": MOST_OF_TASK},
        "both": {"max_active_tis_per_dag": 1, "pool": "five"},
    }
    return DagSpec(
        dag_id="etl",
        timetable=TimetableSpec(type="airflow.timetables.simple.NullTimetable"),
        max_active_tasks=MOST_IN_RUN,
        tasks={name: TaskSpec(task_id=name, retries=1000, retry_delay=0.0, **fields) for name, fields in tasks.items()},
    )


class Stream:
    """The table's stream, read by polling."""

    def __init__(self, dynamodb: OnDynamoDB) -> None:
        meta = dynamodb.client.meta
        session: Any = boto3.Session("test", "test", region_name="us-east-1")
        self._client = session.client("dynamodbstreams", endpoint_url=meta.endpoint_url)
        self._arn = dynamodb.client.describe_table(TableName=dynamodb.table)["Table"]["LatestStreamArn"]

    def records(self, *, until: Callable[[], bool]) -> Iterator[dict[str, Any]]:
        """From the beginning; ends once `until` holds and nothing is left."""
        (shard,) = self._client.describe_stream(StreamArn=self._arn)["StreamDescription"]["Shards"]
        at = self._client.get_shard_iterator(
            StreamArn=self._arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while True:
            over = until()
            answer = self._client.get_records(ShardIterator=at)
            yield from answer["Records"]
            at = answer["NextShardIterator"]
            if not answer["Records"]:
                if over:
                    return
                time.sleep(0.005)  # as Lambda's poller does


class Town:
    """Everybody at once."""

    def __init__(self, services: Services, stream: Stream, keys: list[DagRunKey], seed: int) -> None:
        self.services = replace(services, queues=self)  # type: ignore[arg-type]
        self.stream = stream
        self.keys = keys
        self.chance = random.Random(seed)  # noqa: S311
        self.changes: queue.Queue[DagRunKey | str] = queue.Queue()
        self.messages: queue.Queue[TaskWorkload | TriggerWorkload] = queue.Queue()
        self.over = threading.Event()

    def live(self) -> None:
        lives = [self.read_the_stream, self.act_as_people, self.look_now_and_then]
        lives += [self.schedule] * SCHEDULERS + [self.work] * WORKERS
        with ThreadPoolExecutor(len(lives)) as threads:
            futures = [threads.submit(self.watched, life) for life in lives]
        for future in futures:
            future.result()

    def watched(self, life: Callable[[], None]) -> None:
        try:
            life()
        except BaseException:
            self.over.set()
            raise

    def read_the_stream(self) -> None:
        for record in self.stream.records(until=self.over.is_set):
            what = woken_by(record)
            if what is not None and self.chance.random() > 0.05:
                for _ in range(self.chance.choice((1, 1, 2))):
                    self.changes.put(what)

    def schedule(self) -> None:
        while not self.over.is_set():
            with suppress(queue.Empty, Stale):
                match self.changes.get(timeout=0.02):
                    case str(limit):
                        grant_slots(self.services, limit)
                    case key:
                        advance(self.services, key)

    def look_now_and_then(self) -> None:
        """As ticks do: what got lost is found."""
        deadline = time.monotonic() + 120
        while not self.over.wait(0.5):
            runs = [self.services.store.get_run(key) for key in self.keys]
            if all(run is not None and run.is_finished for run in runs):
                self.over.set()
            assert time.monotonic() < deadline, self.story()
            for key in self.keys:
                self.changes.put(key)

    def story(self) -> str:
        states = [self.services.store.load_run(key) for key in self.keys]
        left = [i for state in states if state for i in state.instances.values() if i.state is not S.SUCCESS]
        return f"{self.services.store.list_pools()}\n" + "\n".join(map(str, left))

    def act_as_people(self) -> None:
        """One changes the pool's size again and again, one skips what waits."""
        while not self.over.wait(0.05):
            with suppress(GustError):
                pools.change_pool(self.services, "five", slots=self.chance.choice((2, 3, SLOTS, SLOTS)))
                pools.change_pool(self.services, "kept", include_deferred=self.chance.random() < 0.8)
            if self.chance.random() < 0.2:
                first = next(iter(self.services.store.waiting_for(of_pool("five"))), None)
                waiting = self.services.store.get_instance(first[1]) if first else None
                if waiting is not None and slots.waits(waiting) and waiting.task_id.startswith("small"):
                    skipped = transition.skip(waiting, at=self.services.clock.now(), reason="A person skipped it.")
                    with suppress(Stale):
                        self.services.store.move(skipped)
        pools.change_pool(self.services, "five", slots=SLOTS)

    def work(self) -> None:
        while not self.over.is_set():
            with suppress(queue.Empty, Conflict, NotFound):
                match self.messages.get(timeout=0.02):
                    case TaskWorkload() as message:
                        self.run_task(message)
                    case TriggerWorkload() as message:
                        dispatch = Dispatch(message.key, message.try_number, message.dispatch_count, Scope.TRIGGER)
                        report_trigger.report_fired(self.services, dispatch, event="fired")

    def run_task(self, message: TaskWorkload) -> None:
        services, now = self.services, self.services.clock.now()
        dispatch = services.tokens.dispatch_of(message.token, now=now)
        name = threading.current_thread().name
        started = start_task_instance(services, dispatch, hostname=name, pid=message.map_index, at=now)
        time.sleep(self.chance.random() * 0.02)  # it works
        luck = self.chance.random()
        if luck < 0.1:
            report_task_instance.report_retry(services, dispatch, at=now)
        elif luck < 0.15:
            report_task_instance.report_reschedule(services, dispatch, at=now, due_at=now)
        elif message.task_id.startswith("defers") and started.instance.next_method is None:
            trigger = ParkedTrigger(classpath="x.Trigger", kwargs={}, next_method="go_on")
            report_task_instance.report_deferral(services, dispatch, trigger=trigger)
        else:
            report_task_instance.report_success(services, dispatch, at=now)

    # -- queues

    def send_tasks(self, workloads: list[TaskWorkload]) -> list[TaskWorkload]:
        for workload in workloads:
            for _ in range(self.chance.choice((1, 1, 2))):
                self.messages.put(workload)
        return []

    def send_triggers(self, workloads: list[TriggerWorkload], *, delay: float = 0) -> None:
        for workload in workloads:
            self.messages.put(workload)

    def wake(self, wake: Wake, *, delay: float = 0) -> None:
        match wake:
            case WakeLimit(limit=limit):
                self.changes.put(limit)
            case WakeRun(key=key):
                self.changes.put(key)


def woken_by(record: dict[str, Any]) -> DagRunKey | str | None:
    """As the template's filters have it."""
    image, pk = record["dynamodb"].get("NewImage", {}), record["dynamodb"]["Keys"]["pk"]["S"]
    edge = image.get("edge", {}).get("S")
    if (limit := keyspace.limit_of(pk)) is not None:
        return limit if edge in {GIVEN_BACK, CHANGED} else None
    if (key := keyspace.run_key(pk)) is None:
        return None
    is_new_run = record["dynamodb"]["Keys"]["sk"]["S"] == "#RUN" and image.get("state", {}).get("S") == "queued"
    return key if edge in WAKING or is_new_run else None


@pytest.mark.parametrize("seed", [1, 2])
def test_no_limit_is_ever_exceeded_and_no_slot_is_lost(dynamodb: OnDynamoDB, seed: int) -> None:
    services = Services(
        store=dynamodb.store,
        objects=dynamodb.objects,
        queues=MemoryQueues(),
        tokens=JwtTokens(lambda: "a key that is long enough for HMAC-SHA256"),
        clock=SystemClock(),
        logs=NoLogs(),
    )
    spec = busy()
    given_dag(services, spec, max_active_runs=RUNS, max_active_tasks=MOST_IN_RUN)
    pools.create_pool(services, "five", slots=SLOTS, description=None, include_deferred=False)
    pools.create_pool(services, "kept", slots=1, description=None, include_deferred=True)
    keys = [trigger(services, f"r{n}") for n in range(RUNS)]
    stream = Stream(dynamodb)

    Town(services, stream, keys, seed).live()

    history = list(stream.records(until=lambda: True))
    seen = assert_every_moment_keeps_to_the_limits(history, spec)
    assert {services.store.get_run(key).state for key in keys} == {DagRunState.SUCCESS}  # type: ignore[union-attr]
    assert {limit: services.store.slots_used(limit) for limit in seen} == dict.fromkeys(seen, 0), "slots were lost"
    # The test means nothing if nobody ever had to wait.
    most = {of_pool("five"): SLOTS, of_task("etl", "single"): MOST_OF_TASK, of_task("etl", "both"): 1}
    assert {limit: seen[limit] for limit in most} == most


def assert_every_moment_keeps_to_the_limits(history: list[dict[str, Any]], spec: DagSpec) -> dict[str, int]:
    """Returns the most that was ever held of each limit."""
    instances: dict[Any, TaskInstance] = {}
    most: Counter[str] = Counter()
    for record in history:
        image = record["dynamodb"].get("NewImage")
        if image is None:
            continue
        if (limit := keyspace.limit_of(image["pk"]["S"])) is not None:
            assert_counted_right(limit, image, record["dynamodb"].get("OldImage", {}), spec)
            most[limit] = max(most[limit], int(image.get("used", {"N": "0"})["N"]))
        key = keyspace.instance_key(key_of(image))
        if key is None:
            continue
        instances[key] = read_instance(key, image)
        with_worker = [i for i in instances.values() if i.state in slots.HAS_A_WORKER]
        in_run = Counter(i.run_id for i in with_worker)
        assert in_run[key.run_id] <= MOST_IN_RUN
        for task in spec.tasks.values():
            if task.max_active_tis_per_dag is not None:
                active = [i for i in instances.values() if i.state in slots.HAS_A_WORKER | slots.PARKED]
                assert sum(i.task_id == task.task_id for i in active) <= task.max_active_tis_per_dag
        in_five = sum(spec.tasks[i.task_id].pool_slots for i in with_worker if spec.tasks[i.task_id].pool == "five")
        assert in_five <= SLOTS
        assert sum(spec.tasks[i.task_id].pool == "kept" for i in with_worker) <= 1
        instance = instances[key]
        if instance.state in slots.HAS_A_WORKER and spec.tasks[key.task_id].pool == "five":
            assert of_pool("five") in instance.holds
    return dict(most)


def assert_counted_right(limit: str, image: dict[str, Any], before: dict[str, Any], spec: DagSpec) -> None:
    """Nobody is let in beyond the size that the pool has at that moment."""
    used, was = (int(i.get("used", {"N": "0"})["N"]) for i in (image, before))
    assert used >= 0
    if pool_of(limit) is not None:
        size = items.POOL.read(image, name="x").slots
        # Who is deferred already when its pool begins to count those is counted, room or not.
        assert used <= max(size, was) or limit == of_pool("kept")
    else:
        assert used <= (spec.tasks[limit.split("/")[1]].max_active_tis_per_dag or 0)


def test_the_filters_here_are_the_templates() -> None:
    from tests.template.test_template import WOKEN_BY_OTHERS

    assert WAKING == WOKEN_BY_OTHERS
    assert json.dumps([GIVEN_BACK, CHANGED]) == '["give_back", "change"]'


def test_a_full_run_is_never_fuller_than_it_may_be(dynamodb: OnDynamoDB) -> None:
    """Eight schedulers without pause at one run, in which more important tasks become ready all the time."""
    services = Services(
        store=dynamodb.store,
        objects=dynamodb.objects,
        queues=MemoryQueues(),
        tokens=JwtTokens(lambda: "a key that is long enough for HMAC-SHA256"),
        clock=SystemClock(),
        logs=NoLogs(),
    )
    names = [f"t{n:02}" for n in range(24)]
    tasks = {
        name: TaskSpec(
            task_id=name,
            priority_weight=n,
            upstream_task_ids=(names[n - 6],) if n >= 6 else (),
            downstream_task_ids=(names[n + 6],) if n + 6 < len(names) else (),
        )
        for n, name in enumerate(names)
    }
    spec = busy().model_copy(update={"tasks": tasks, "max_active_tasks": 2})
    given_dag(services, spec, max_active_runs=1, max_active_tasks=2)
    key = trigger(services, "r")

    Crowd(services, [key]).work()

    states: dict[Any, S | None] = {}
    most = 0
    for record in Stream(dynamodb).records(until=lambda: True):
        image = record["dynamodb"].get("NewImage", {})
        if image and (instance := keyspace.instance_key(key_of(image))) is not None:
            states[instance] = read_instance(instance, image).state
            most = max(most, sum(state in slots.HAS_A_WORKER for state in states.values()))
    assert set(states.values()) == {S.SUCCESS}
    assert most == 2
