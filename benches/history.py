"""A history to list: 1,000 DAGs, 100,000 runs, a million task instances, as the store's own items.

It is written straight into the emulator's memory, from inside its process: the same million through its HTTP door would
take an hour. Equal values are one object there, which holds the whole to some 2 GB.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from gust.model.dag import Dag, DagVersion
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec, TaskSpec, TimetableSpec
from gust.model.logged_event import LoggedEvent
from gust.model.state import DagRunState, DagRunType, TaskInstanceState
from gust.model.task_instance import TaskInstance
from gust.services.ports import XCom
from gust.store import items, keyspace
from gust.store.dynamodb.limits import listing_of_failure
from gust.store.dynamodb.logged_events import put_event
from gust.store.dynamodb.runs import new_run
from gust.store.items import Item
from gust.store.keyspace import Key

NEWEST: Final = datetime(2026, 3, 1, tzinfo=UTC)
TASKS: Final = 10
BUSY_RUNS: Final = 50
"""The first DAG has so many times the runs of another."""
EVENTS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Size:
    dags: int = 1000
    runs: int = 100_000

    @property
    def instances(self) -> int:
        return self.runs * TASKS


def spec_of(number: int) -> DagSpec:
    tasks = {
        f"task_{n}": TaskSpec(
            task_id=f"task_{n}",
            operator="PythonOperator",
            upstream_task_ids=(f"task_{n - 1}",) if n else (),
            downstream_task_ids=(f"task_{n + 1}",) if n < TASKS - 1 else (),
        )
        for n in range(TASKS)
    }
    return DagSpec(
        dag_id=dag_id_of(number),
        fileloc=f"/opt/dags/dag_{number}.py",
        timetable=TimetableSpec(type="airflow.timetables.simple.NullTimetable"),
        tasks=tasks,
    )


def dag_id_of(number: int) -> str:
    return f"dag_{number:04d}"


def spec_key_of(number: int) -> str:
    return f"specs/{number}.json"


def stored(size: Size) -> Iterator[tuple[Key, Item]]:
    """All of it, DAG by DAG."""
    days = set[str]()
    for number in range(size.dags):
        counts = dict.fromkeys(DagRunState, 0)
        for run in runs_of(size, number):
            counts[run.state] += 1
            days.add(keyspace.day(run.run_after))
            yield from ((put.key, put.item) for put in new_run(run))
            yield from of_instances(run)
        yield from of_dag(number, counts)
    days.add(keyspace.day(NEWEST + timedelta(days=1)))
    yield from ((keyspace.known_day(day), {}) for day in days)
    for n in range(EVENTS):
        dag_id = dag_id_of(n % size.dags)
        event = LoggedEvent(when=NEWEST - timedelta(minutes=n), event="patch_dag", owner="admin", dag_id=dag_id)
        put = put_event(event)
        yield put.key, put.item


def of_dag(number: int, counts: dict[DagRunState, int]) -> Iterator[tuple[Key, Item]]:
    dag_id = dag_id_of(number)
    dag = Dag(
        dag_id=dag_id,
        dag_display_name=dag_id,
        fileloc=f"/opt/dags/dag_{number}.py",
        relative_fileloc=f"dag_{number}.py",
        bundle_version="b" * 64,
        version_number=1,
        spec_key=spec_key_of(number),
        serialized_key=f"serialized/{number}.json",
        source_key=f"sources/{number}.txt",
        last_parsed_time=NEWEST,
        last_parse_duration=0.05,
        timetable_summary="0 0 * * *",
        timetable_description="At 00:00",
        tags=(f"team_{number % 20}", "bench"),
        owners=("airflow",),
        next_logical_date=NEWEST,
        next_run_after=NEWEST + timedelta(days=1),
    )
    ended = {f"{state.value}_runs": items.number(counts[state]) for state in DagRunState if counts[state]}
    yield keyspace.dag(dag_id), items.DAG.item(dag) | {n: v for n, v in ended.items() if n != "queued_runs"}
    version = DagVersion(
        dag_id=dag_id,
        version_number=1,
        created_at=NEWEST - timedelta(seconds=number),
        bundle_name="dags-folder",
        bundle_version="b" * 64,
        spec_key=spec_key_of(number),
        serialized_key=f"serialized/{number}.json",
        source_key=f"sources/{number}.txt",
        dag_display_name=dag_id,
    )
    yield keyspace.version(dag_id, 1), items.DAG_VERSION.item(version)


def runs_of(size: Size, number: int) -> Iterator[DagRun]:
    """One a day back from the newest, at the DAG's own minute; the busy one's come closer. One in twenty failed; the
    newest of every fiftieth DAG still runs."""
    shares = size.dags - 1 + BUSY_RUNS
    share = size.runs // shares
    count, apart = (
        (size.runs - share * (size.dags - 1), timedelta(days=1) / BUSY_RUNS)
        if number == 0
        else (share, timedelta(days=1))
    )
    for back in range(count):
        run_after = NEWEST + timedelta(minutes=number) - back * apart
        state = DagRunState.FAILED if (number + back) % 20 == 3 else DagRunState.SUCCESS
        if back == 0 and number % 50 == 1:
            state = DagRunState.RUNNING
        start = run_after + timedelta(seconds=2)
        yield DagRun(
            dag_id=dag_id_of(number),
            run_id=f"scheduled__{run_after.isoformat()}",
            run_type=DagRunType.SCHEDULED,
            state=state,
            run_after=run_after,
            queued_at=run_after + timedelta(seconds=1),
            logical_date=run_after,
            data_interval_start=run_after,
            data_interval_end=run_after,
            start_date=start,
            end_date=None if state is DagRunState.RUNNING else start + timedelta(minutes=5, seconds=number % 60),
            last_scheduling_decision=start + timedelta(minutes=5),
            version_number=1,
            spec_key=spec_key_of(number),
            bundle_version="b" * 64,
            due_at=run_after + timedelta(minutes=20) if state is DagRunState.RUNNING else None,
        )


def of_instances(run: DagRun) -> Iterator[tuple[Key, Item]]:
    """Ten in a chain, and what the first of every tenth run returned."""
    start = run.start_date or run.run_after
    for n in range(TASKS):
        begun = start + timedelta(seconds=30 * n)
        state = state_of(run, n)
        if state is None:
            continue
        instance = TaskInstance(
            dag_id=run.dag_id,
            run_id=run.run_id,
            task_id=f"task_{n}",
            state=state,
            try_number=1,
            dispatch_count=1,
            scheduled_at=begun,
            queued_at=begun,
            start_date=begun,
            end_date=None if state is TaskInstanceState.RUNNING else begun + timedelta(seconds=29),
            heartbeat_at=begun + timedelta(seconds=15),
            hostname="2026/03/01/worker/0123456789abcdef0123456789abcdef",
            pid=42,
            operator="PythonOperator",
        )
        listed = {name: value for name, value in listing_of_failure(instance).items() if value is not None}
        yield keyspace.instance(instance.key), items.TASK_INSTANCE.item(instance) | listed
    if run.run_after.day % 10 == 1:
        xcom = XCom(run.key.task_instance("task_0"), "return_value", {"rows": 17}, timestamp=start)
        value = {"value": items.text(items.to_json(xcom.value)), "timestamp": items.moment(xcom.timestamp)}
        yield keyspace.xcom(xcom.key, xcom.name), value


def state_of(run: DagRun, n: int) -> TaskInstanceState | None:
    """The fifth task of a run that failed did; of one that runs, that one does."""
    match run.state:
        case DagRunState.FAILED if n >= 5:
            return TaskInstanceState.FAILED if n == 5 else TaskInstanceState.UPSTREAM_FAILED
        case DagRunState.RUNNING if n >= 5:
            return TaskInstanceState.RUNNING if n == 5 else None
    return TaskInstanceState.SUCCESS


class OneOfEach:
    """Equal attributes and strings as one object: the emulator never changes an item in place."""

    def __init__(self) -> None:
        self._attributes: dict[str, Any] = {}
        self._names: dict[str, str] = {}

    def __call__(self, item: Item) -> Item:
        return {self._names.setdefault(name, name): self._one(value) for name, value in item.items()}

    def _one(self, attribute: Any) -> Any:
        return self._attributes.setdefault(repr(attribute), attribute)

    def forget(self) -> None:
        """Moments are a run's own: what is kept for one DAG helps no other."""
        self._attributes.clear()


def fill(table: dict[str, Any], size: Size) -> int:
    """Put it all into the emulator's table, and say how many items that were."""
    one_of_each, partitions, count = OneOfEach(), table["items"], 0
    for key, item in stored(size):
        whole = one_of_each(item) | {"pk": {"S": key.pk}, "sk": {"S": key.sk}}
        partitions.setdefault(key.pk, {})[key.sk] = whole
        count += 1
        if count % 10_000 == 0:
            one_of_each.forget()
    return count
