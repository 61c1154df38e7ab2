"""A scheduler over the stores and queues in memory, with a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from gust.aws.cipher import FernetCipher
from gust.aws.memory import MemoryObjects, MemoryQueues
from gust.aws.tokens import JwtTokens
from gust.errors import Forbidden, NotFound
from gust.model.dag import Dag
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec, TaskSpec, TimetableSpec
from gust.model.keys import DagRunKey
from gust.model.state import DagRunState, DagRunTriggeredByType
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.ports.clock import ManualClock
from gust.scheduling import transition
from gust.services.context import Services
from gust.services.runs.create_dag_run import create_dag_run
from gust.services.runs.next_run import with_next_run
from gust.services.scheduler.advance import advance
from gust.store.memory import MemoryStore

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
RUNNING, SUCCESS, QUEUED = DagRunState.RUNNING, DagRunState.SUCCESS, DagRunState.QUEUED


class NoLogs:
    def read_try(
        self, instance: TaskInstance, *, limit: int = 10_000, token: str | None = None
    ) -> tuple[list[dict[str, object]], str | None]:
        return [], None

    def where(self, instance: TaskInstance) -> list[str]:
        return []


class Unlisted(MemoryObjects):
    """The bucket as S3 shows it to the scheduler, which may not list it: a missing object is one that it may not read."""

    def get(self, key: str) -> bytes:
        try:
            return super().get(key)
        except NotFound as error:
            raise Forbidden(f"S3 denies access to {key!r}") from error


@dataclass
class World:
    """One DAG `etl` and what a test does to it."""

    clock: ManualClock = field(default_factory=lambda: ManualClock(START))
    store: MemoryStore = field(default_factory=MemoryStore)
    objects: MemoryObjects = field(default_factory=MemoryObjects)
    queues: MemoryQueues = field(default_factory=MemoryQueues)
    services: Services = field(init=False)

    def __post_init__(self) -> None:
        self.services = Services(
            store=self.store,
            objects=self.objects,
            queues=self.queues,
            tokens=JwtTokens(lambda: "a key that is long enough for HMAC-SHA256"),
            clock=self.clock,
            logs=NoLogs(),
            cipher=FernetCipher(lambda: "a key of the stack"),
        )

    def given_dag(self, spec: DagSpec, **fields: object) -> Dag:
        key = f"specs/{spec.dag_id}-{hash(spec.model_dump_json())}.json"
        self.objects.put(key, spec.model_dump_json().encode())
        dag = Dag(
            dag_id=spec.dag_id,
            version_number=1,
            spec_key=key,
            bundle_version="b1",
            max_active_runs=spec.max_active_runs,
            max_active_tasks=spec.max_active_tasks,
            **fields,  # type: ignore[arg-type]
        )
        self.store.put_dag(None, with_next_run(self.services, dag, spec, last=None, now=self.clock.now()))
        return self.dag(spec.dag_id)

    def dag(self, dag_id: str = "etl") -> Dag:
        dag = self.store.get_dag(dag_id)
        assert dag is not None
        return dag

    def trigger(self, run_id: str = "r", dag_id: str = "etl", **asked: object) -> DagRunKey:
        created = create_dag_run(
            self.services,
            dag_id,
            run_id=run_id,
            triggered_by=DagRunTriggeredByType.REST_API,
            **asked,  # type: ignore[arg-type]
        )
        return created.key

    def advance(self, key: DagRunKey) -> DagRun:
        advance(self.services, key)
        return self.run(key)

    def run(self, key: DagRunKey) -> DagRun:
        run = self.store.get_run(key)
        assert run is not None
        return run

    def state(self, key: DagRunKey, task_id: str) -> S | None:
        instance = self.store.get_instance(key.task_instance(task_id))
        return instance.state if instance else None

    def work(self, key: DagRunKey, task_id: str, report: Callable[[TaskInstance], transition.Transition]) -> None:
        """A worker takes the task and reports."""
        instance = self.store.get_instance(key.task_instance(task_id))
        assert instance is not None
        started = transition.start(instance, at=self.clock.now(), hostname="worker", pid=1)
        self.store.move(started)
        self.store.move(report(started.after))

    def succeed(self, key: DagRunKey, task_id: str) -> None:
        self.work(key, task_id, lambda instance: transition.succeed(instance, at=self.clock.now()))

    def pass_time(self, **time: float) -> None:
        self.clock.advance(timedelta(**time).total_seconds())


def chain(*task_ids: str, dag_id: str = "etl", **fields: object) -> DagSpec:
    """A DAG whose tasks follow each other."""
    pairs = list(zip((None, *task_ids), (*task_ids, None), strict=True))
    tasks = {
        task_id: TaskSpec(
            task_id=task_id,
            upstream_task_ids=(pairs[i][0],) if pairs[i][0] else (),
            downstream_task_ids=(pairs[i + 1][1],) if pairs[i + 1][1] else (),
        )
        for i, task_id in enumerate(task_ids)
    }
    given: dict[str, object] = {
        "timetable": TimetableSpec(type="airflow.timetables.simple.NullTimetable"),
        "relative_fileloc": "etl.py",
        "tasks": tasks,
    }
    return DagSpec(dag_id=dag_id, **{**given, **fields})  # type: ignore[arg-type]
