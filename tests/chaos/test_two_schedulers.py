"""Many schedulers and many workers at one run, on conditional writes that are atomic: nothing is done twice, nothing is
lost. (On AWS a run has one lane in the stream; wake-ups and ticks come beside it.)"""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from gust.aws.memory import MemoryQueues
from gust.aws.tokens import JwtTokens
from gust.errors import Conflict, StaleDagRun
from gust.model.dag import Dag
from gust.model.dag_spec import DagSpec, TaskSpec
from gust.model.dispatch import Dispatch
from gust.model.keys import DagRunKey
from gust.model.state import DagRunState, DagRunTriggeredByType
from gust.model.state import TaskInstanceState as S
from gust.model.workload import TaskWorkload
from gust.ports.clock import SystemClock
from gust.scheduling.quick_look import SUCCEEDED, Change
from gust.services.context import Services
from gust.services.memory_of_runs import MemoryOfRuns
from gust.services.runs.create_dag_run import create_dag_run, create_due_runs
from gust.services.scheduler.advance import advance
from gust.services.scheduler.follow import Told, quick_look
from gust.services.worker import report_task_instance
from gust.services.worker.start_task_instance import start_task_instance
from tests.contract.stores import OnDynamoDB
from tests.world import NoLogs, chain

pytestmark = pytest.mark.timeout(300)

SCHEDULERS = 8
WORKERS = 4
WIDTH = 30


@pytest.fixture
def services(dynamodb: OnDynamoDB) -> Services:
    return Services(
        store=dynamodb.store,
        objects=dynamodb.objects,
        queues=MemoryQueues(),
        tokens=JwtTokens(lambda: "a key that is long enough for HMAC-SHA256"),
        clock=SystemClock(),
        logs=NoLogs(),
    )


def wide() -> DagSpec:
    """One, then thirty, then one."""
    spec = chain("first", "last", max_active_tasks=WIDTH)
    middle = {
        f"t{n:02}": TaskSpec(task_id=f"t{n:02}", upstream_task_ids=("first",), downstream_task_ids=("last",))
        for n in range(WIDTH)
    }
    first = spec.tasks["first"].model_copy(update={"downstream_task_ids": tuple(middle)})
    last = spec.tasks["last"].model_copy(update={"upstream_task_ids": tuple(middle)})
    return spec.model_copy(update={"tasks": {"first": first, **middle, "last": last}})


def given_dag(services: Services, spec: DagSpec, **fields: object) -> None:
    body = spec.model_dump_json().encode()
    key = f"specs/{hashlib.sha256(body).hexdigest()}.json"
    services.objects.put(key, body)
    dag = Dag(dag_id="etl", version_number=1, spec_key=key, bundle_version="b1", **fields)  # type: ignore[arg-type]
    services.store.put_dag(None, dag)


def trigger(services: Services, run_id: str) -> DagRunKey:
    return create_dag_run(services, "etl", run_id=run_id, triggered_by=DagRunTriggeredByType.REST_API).key


class Crowd:
    """Schedulers that look at the runs without pause, and workers that take what they send."""

    def __init__(self, services: Services, keys: list[DagRunKey]) -> None:
        self._services = services
        self._keys = keys
        self._messages: queue.Queue[TaskWorkload] = queue.Queue()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self.sent: Counter[Dispatch] = Counter()
        self.started: Counter[Dispatch] = Counter()
        self.most_at_once = 0

    def work(self) -> None:
        services = replace(self._services, queues=self)  # type: ignore[arg-type]
        with ThreadPoolExecutor(SCHEDULERS + WORKERS) as pool:
            futures = [pool.submit(self._watched, lambda: self._schedule(services)) for _ in range(SCHEDULERS)]
            futures += [pool.submit(self._watched, self._run_tasks) for _ in range(WORKERS)]
        for future in futures:
            future.result()

    def _watched(self, live: Callable[[], None]) -> None:
        try:
            live()
        except BaseException:
            self._over.set()
            raise

    def _schedule(self, services: Services) -> None:
        while not self._over.is_set():
            states = []
            for key in self._keys:
                try:
                    advance(services, key)
                except StaleDagRun:
                    continue  # the message would come again
                run = services.store.get_run(key)
                assert run is not None
                states.append(run.state)
            dag = services.store.get_dag("etl")
            assert dag is not None
            with self._lock:
                self.most_at_once = max(self.most_at_once, dag.running_runs)
            if len(states) == len(self._keys) and set(states) == {DagRunState.SUCCESS}:
                self._over.set()

    def _run_tasks(self) -> None:
        while not self._over.is_set():
            try:
                message = self._messages.get(timeout=0.05)
            except queue.Empty:
                continue
            now = self._services.clock.now()
            dispatch = self._services.tokens.dispatch_of(message.token, now=now)
            try:
                name = threading.current_thread().name
                start_task_instance(self._services, dispatch, hostname=name, pid=message.map_index, at=now)
            except Conflict:
                continue
            with self._lock:
                self.started[dispatch] += 1
            report_task_instance.report_success(self._services, dispatch, at=now)

    # -- queues

    def send_tasks(self, workloads: list[TaskWorkload]) -> list[TaskWorkload]:
        for workload in workloads:
            with self._lock:
                self.sent[Dispatch(workload.key, workload.try_number, workload.dispatch_count)] += 1
            for _ in range(2):  # SQS may deliver twice, to two workers
                self._messages.put(workload)
        return []

    def wake(self, *_: object, **__: object) -> None:
        """They look without being woken."""


def test_eight_schedulers_run_one_wide_run_once(services: Services) -> None:
    given_dag(services, wide(), max_active_runs=1)
    key = trigger(services, "r")
    crowd = Crowd(services, [key])

    crowd.work()

    state = services.store.load_run(key)
    assert state is not None
    assert {instance.state for instance in state.instances.values()} == {S.SUCCESS}
    assert len(state.instances) == WIDTH + 2
    assert {(d.try_number, d.dispatch_count) for d in crowd.sent} == {(1, 1)}
    assert set(crowd.started.values()) == {1}
    assert len(crowd.started) == WIDTH + 2
    dag = services.store.get_dag("etl")
    assert dag is not None
    assert dag.running_runs == 0


def test_eight_schedulers_keep_to_max_active_runs(services: Services) -> None:
    given_dag(services, chain("a", "b"), max_active_runs=2)
    keys = [trigger(services, f"r{n}") for n in range(6)]
    crowd = Crowd(services, keys)

    crowd.work()

    assert crowd.most_at_once == 2
    assert len(crowd.started) == 12
    assert set(crowd.started.values()) == {1}
    dag = services.store.get_dag("etl")
    assert dag is not None
    assert dag.running_runs == 0


def test_eight_schedulers_make_each_due_run_once(services: Services) -> None:
    from tests.unit.services.test_due_runs import HOURLY

    now = services.clock.now()
    spec = chain("a", timetable=HOURLY, start_date=now - timedelta(days=1), catchup=True, max_active_runs=10)
    first = (now - timedelta(hours=20)).replace(minute=0, second=0, microsecond=0)
    given_dag(
        services,
        spec,
        max_active_runs=10,
        next_logical_date=first,
        next_data_interval_start=first,
        next_data_interval_end=first,
        next_run_after=first,
    )

    with ThreadPoolExecutor(SCHEDULERS) as pool:
        made = [run for runs in pool.map(lambda _: create_due_runs(services, "etl"), range(SCHEDULERS)) for run in runs]

    dates = sorted(run.logical_date for run in made if run.logical_date)
    assert dates == [first + timedelta(hours=n) for n in range(len(dates))], "each hour once and none left out"
    assert len(services.store.list_runs("etl")) == len(made) >= 10


class Lane:
    """The stream tells schedulers of each success, some of them twice, in any order; nobody looks without being told. Each
    scheduler remembers what it saw itself, and begins anew now and then."""

    def __init__(self, services: Services, key: DagRunKey) -> None:
        self._services = services
        self._key = key
        self._messages: queue.Queue[TaskWorkload] = queue.Queue()
        self._records: queue.Queue[Change | None] = queue.Queue()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._until = time.monotonic() + 200
        self.told: Counter[Told] = Counter()
        self.started: Counter[Dispatch] = Counter()
        self.active = self.most_active = 0

    def work(self) -> None:
        self._records.put(None)
        with ThreadPoolExecutor(SCHEDULERS + WORKERS) as pool:
            futures = [pool.submit(self._live, self._schedule) for _ in range(SCHEDULERS)]
            futures += [pool.submit(self._live, self._run_tasks) for _ in range(WORKERS)]
        for future in futures:
            future.result()

    def _live(self, live: Callable[[], None]) -> None:
        try:
            live()
        finally:
            self._over.set()

    def _schedule(self) -> None:
        looks = 0
        services = self._newborn()
        while not self._over.is_set():
            assert time.monotonic() < self._until, "somebody was overlooked"
            try:
                record = self._records.get(timeout=0.05)
            except queue.Empty:
                continue
            looks += 1
            if looks % 7 == 0:
                services = self._newborn()
            told = Told.LOOK if record is None else quick_look(services, self._key, [record])
            with self._lock:
                self.told[told] += 1
            if told is Told.LOOK:
                try:
                    advance(services, self._key)
                except StaleDagRun:
                    self._records.put(record)
            run = services.store.get_run(self._key)
            assert run is not None
            if run.is_finished:
                self._over.set()

    def _newborn(self) -> Services:
        return replace(self._services, queues=self, memory=MemoryOfRuns())  # type: ignore[arg-type]

    def _run_tasks(self) -> None:
        while not self._over.is_set():
            try:
                message = self._messages.get(timeout=0.05)
            except queue.Empty:
                continue
            now = self._services.clock.now()
            dispatch = self._services.tokens.dispatch_of(message.token, now=now)
            try:
                name = threading.current_thread().name
                start_task_instance(self._services, dispatch, hostname=name, pid=message.map_index, at=now)
            except Conflict:
                continue
            with self._lock:
                self.started[dispatch] += 1
                self.active += 1
                self.most_active = max(self.most_active, self.active)
            time.sleep(0.002)  # Lets others start meanwhile, if they may.
            with self._lock:
                self.active -= 1
            report_task_instance.report_success(self._services, dispatch, at=now)
            change = Change(dispatch.key.task_id, dispatch.key.map_index, SUCCEEDED, dispatch.dispatch_count)
            for _ in range(2 if len(self.started) % 3 == 0 else 1):
                self._records.put(change)

    # -- queues

    def send_tasks(self, workloads: list[TaskWorkload]) -> list[TaskWorkload]:
        for workload in workloads:
            self._messages.put(workload)
        return []

    def wake(self, *_: object, **__: object) -> None:
        self._records.put(None)


@pytest.mark.parametrize("most", [3, WIDTH])
def test_eight_schedulers_overlook_nobody_that_the_stream_tells_of(services: Services, most: int) -> None:
    given_dag(services, wide().model_copy(update={"max_active_tasks": most}), max_active_tasks=most)
    key = trigger(services, "r")
    lane = Lane(services, key)

    lane.work()

    state = services.store.load_run(key)
    assert state is not None
    assert state.run.state is DagRunState.SUCCESS
    assert set(lane.started.values()) == {1}
    assert len(lane.started) == WIDTH + 2
    assert lane.most_active <= most
    assert lane.told[Told.LOOK] < lane.told.total(), "some were answered quickly"
