"""A history to list: 1,000 DAGs, 100,000 runs, a million task instances, as the store's own items.

It is written straight into the emulator's memory, from inside its process: the same million through its HTTP door would
take an hour. Equal values are one object there, which holds the whole to some 2 GB.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid5

from gust.model.asset import Asset, AssetEvent
from gust.model.callback import Callback, CallbackKind, CallbackState
from gust.model.dag import Dag, DagVersion
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec, ExpandedKwarg, Expansion, LiteralLength, TaskSpec, TimetableSpec
from gust.model.keys import DagRunKey
from gust.model.logged_event import LoggedEvent
from gust.model.state import DagRunState, DagRunType, TaskInstanceState
from gust.model.task_instance import TaskInstance
from gust.model.xcom import XCom
from gust.scheduling.callback import CallbackMove
from gust.store import items, keyspace
from gust.store.dynamodb.asset_queues import event_document, listing_of_event
from gust.store.dynamodb.callbacks import callback_write
from gust.store.dynamodb.limits import listing_of_failure
from gust.store.dynamodb.logged_events import put_event
from gust.store.dynamodb.runs import new_run
from gust.store.items import Item
from gust.store.keyspace import Key
from gust.store.table import Put

NEWEST: Final = datetime(2026, 3, 1, tzinfo=UTC)
TASKS: Final = 10
BUSY_RUNS: Final = 50
"""The first DAG has so many times the runs of another."""
EVENTS: Final = 10_000
EVENT_KINDS: Final = ("patch_dag", "trigger_dag_run", "post_clear_task_instances")
MAPPED: Final = 60
"""Instances of the mapped task, in the newest run of the DAG that has it."""
INTERVAL: Final = {"__classname__": "datetime.timedelta", "__version__": 2, "__data__": 3600.0}
NAMESPACE: Final = UUID("7b0f35b1-4d0c-5a6e-9a50-b0e2f3a5c1d9")


@dataclass(frozen=True, slots=True)
class Size:
    dags: int = 1000
    runs: int = 100_000

    @property
    def instances(self) -> int:
        return self.runs * TASKS


def spec_of(number: int, size: Size) -> DagSpec:
    """The last DAG has a mapped task too, every fifth makes an asset for which the one behind it runs, every tenth has
    deadlines."""
    tasks = {
        f"task_{n}": TaskSpec(
            task_id=f"task_{n}",
            operator="PythonOperator",
            upstream_task_ids=(f"task_{n - 1}",) if n else (),
            downstream_task_ids=(f"task_{n + 1}",) if n < TASKS - 1 else (),
        )
        for n in range(TASKS)
    }
    if number == size.dags - 1:
        expansion = Expansion(kwargs=(ExpandedKwarg(kwarg="x", length=LiteralLength(length=MAPPED)),))
        tasks["mapped"] = TaskSpec(task_id="mapped", operator="PythonOperator", expansion=expansion)
    timetable = TimetableSpec(type="airflow.timetables.simple.NullTimetable")
    if consumes(number):
        asset = asset_of(number - 1)
        timetable = TimetableSpec(
            type="airflow.timetables.assets.PartitionedAssetTimetable"
            if partitioned(number)
            else "airflow.timetables.simple.AssetTriggeredTimetable",
            partitioned=partitioned(number),
            asset_expression={"asset": {"name": asset.name, "uri": asset.uri, "group": "asset"}},
        )
    alert = {"name": "late", "reference": {"reference_type": "DagRunQueuedAtDeadline"}, "interval": INTERVAL}
    return DagSpec(
        dag_id=dag_id_of(number),
        fileloc=f"/opt/dags/dag_{number}.py",
        timetable=timetable,
        tasks=tasks,
        root_children=tuple(tasks),
        deadline=[alert] if has_deadlines(number) else None,
    )


def serialized_of(number: int) -> dict[str, Any]:
    """As much of Airflow's own form as lists ask for."""
    asset = json.dumps({"name": asset_of(number).name, "uri": asset_of(number).uri})
    makes = {
        "source": dag_id_of(number),
        "target": "asset",
        "label": asset_of(number).name,
        "dependency_type": "asset",
        "dependency_id": asset,
    }
    tasks = [{"__var": {"task_id": f"task_{n}", "priority_weight": 1}} for n in range(TASKS)]
    return {"dag": {"tasks": tasks, "dag_dependencies": [makes] if produces(number) else []}}


def produces(number: int) -> bool:
    return number % 5 == 0


def consumes(number: int) -> bool:
    return number % 5 == 1


def partitioned(number: int) -> bool:
    return number % 100 == 6


def has_deadlines(number: int) -> bool:
    return number % 10 == 2


def asks(number: int) -> bool:
    """Its tasks ask people."""
    return number % 20 == 3


def asset_of(number: int) -> Asset:
    """What the DAG makes."""
    name = f"asset_{number:04d}"
    return Asset(name=name, uri=f"s3://lake/{name}", asset_id=number, created_at=NEWEST)


def dag_id_of(number: int) -> str:
    return f"dag_{number:04d}"


def spec_key_of(number: int) -> str:
    return f"specs/{number}.json"


def serialized_key_of(number: int) -> str:
    return f"serialized/{number}.json"


def stored(size: Size) -> Iterator[tuple[Key, Item]]:
    """All of it, DAG by DAG."""
    days = set[str]()
    for number in range(size.dags):
        counts = dict.fromkeys(DagRunState, 0)
        for back, run in enumerate(runs_of(size, number)):
            counts[run.state] += 1
            days.add(keyspace.day(run.run_after))
            yield from ((put.key, put.item) for put in new_run(run))
            yield from of_instances(run)
            yield from of_a_few(size, number, run, is_newest=back == 0)
        yield from of_dag(number, counts)
    days |= {keyspace.day(NEWEST + timedelta(days=1)), keyspace.day(NEWEST + timedelta(days=2))}
    yield from ((keyspace.known_day(day), {}) for day in days)
    for n in range(EVENTS):
        dag_id = dag_id_of(n % size.dags)
        event = LoggedEvent(
            when=NEWEST - timedelta(minutes=n), event=EVENT_KINDS[n % 7 % 3], owner=f"user_{n % 50}", dag_id=dag_id
        )
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
        serialized_key=serialized_key_of(number),
        source_key=f"sources/{number}.txt",
        last_parsed_time=NEWEST,
        last_parse_duration=0.05,
        timetable_summary="0 0 * * *",
        timetable_description="At 00:00",
        tags=(f"team_{number % 20}", "bench"),
        owners=("airflow",),
        is_asset_triggered=consumes(number),
        timetable_partitioned=partitioned(number),
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
        serialized_key=serialized_key_of(number),
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
            run_id=run_id_at(run_after),
            run_type=DagRunType.ASSET_TRIGGERED if consumes(number) else DagRunType.SCHEDULED,
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
            instance_states=STATES_OF[state],
        )


def of_instances(run: DagRun) -> Iterator[tuple[Key, Item]]:
    """Ten in a chain, and what the first of every tenth run returned."""
    start = run.start_date or run.run_after
    for n in range(TASKS):
        begun = start + timedelta(seconds=30 * n)
        state = state_of(run, n)
        if state is None:
            continue
        instance = instance_of(run, f"task_{n}", -1, state, begun)
        listed = {name: value for name, value in listing_of_failure(instance).items() if value is not None}
        yield keyspace.instance(instance.key), items.TASK_INSTANCE.item(instance) | listed
    if run.run_after.day % 10 == 1:
        xcom = XCom(run.key.task_instance("task_0"), "return_value", {"rows": 17}, timestamp=start)
        value = {"value": items.text(items.to_json(xcom.value)), "timestamp": items.moment(xcom.timestamp)}
        yield keyspace.xcom(xcom.key, xcom.name), value


def instance_of(run: DagRun, task_id: str, map_index: int, state: TaskInstanceState, begun: datetime) -> TaskInstance:
    unfinished = state in (TaskInstanceState.RUNNING, TaskInstanceState.AWAITING_INPUT)
    return TaskInstance(
        dag_id=run.dag_id,
        run_id=run.run_id,
        task_id=task_id,
        map_index=map_index,
        state=state,
        try_number=1,
        dispatch_count=1,
        scheduled_at=begun,
        queued_at=begun,
        start_date=begun,
        end_date=None if unfinished else begun + timedelta(seconds=29),
        heartbeat_at=begun + timedelta(seconds=15),
        hostname="2026/03/01/worker/0123456789abcdef0123456789abcdef",
        pid=42,
        operator="PythonOperator",
    )


def of_a_few(size: Size, number: int, run: DagRun, *, is_newest: bool) -> Iterator[tuple[Key, Item]]:
    """What only some DAGs have: events of assets and who took them, questions, deadlines, mapped instances, tries."""
    ended = run.end_date or run.run_after
    if produces(number) and run.state is DagRunState.SUCCESS:
        event = event_of(number, run)
        order = keyspace.event_order(event.timestamp, event.event_id)
        yield Key(keyspace.events_of_asset(event.name), order), items.ASSET_EVENT.item(event) | listing_of_event(event)
        taker = DagRunKey(dag_id_of(number + 1), run_id_at(run.run_after + timedelta(minutes=1)))
        yield keyspace.consumer(event.event_id, taker), {}
    if consumes(number):
        maker = replace(run, run_id=run_id_at(run.run_after - timedelta(minutes=1)), dag_id=dag_id_of(number - 1))
        document = items.to_json([event_document(event_of(number - 1, maker))])
        yield keyspace.consumed_events(run.key), {"value": items.text(document)}
    if asks(number):
        yield from of_question(run, "task_1", answered_at=ended)
    if number % 100 == 1 and is_newest:
        yield from of_question(run, "task_5", answered_at=None)
    if has_deadlines(number):
        deadline = Callback(
            dag_id=run.dag_id,
            run_id=run.run_id,
            callback_id="deadline_0",
            kind=CallbackKind.DEADLINE,
            event="missed",
            state=CallbackState.SCHEDULED if is_newest else CallbackState.SUCCESS,
            created_at=run.queued_at,
            updated_at=ended,
            due_at=run.run_after + (timedelta(days=1) if is_newest else timedelta(hours=1)),
            alert_id="alert",
            name="late",
        )
        put = callback_write(CallbackMove(None, deadline))
        if isinstance(put, Put):
            yield put.key, put.item
    if number == size.dags - 1 and is_newest:
        for index in range(MAPPED):
            instance = instance_of(run, "mapped", index, TaskInstanceState.SUCCESS, run.start_date or run.run_after)
            yield keyspace.instance(instance.key), items.TASK_INSTANCE.item(instance)
    if number == size.dags // 2 and is_newest:
        for attempt in range(1, TRIES):
            tried = instance_of(run, "task_3", -1, TaskInstanceState.FAILED, run.start_date or run.run_after)
            yield (
                keyspace.finished_try(tried.key, attempt),
                items.TASK_INSTANCE.item(replace(tried, try_number=attempt)),
            )


def of_question(run: DagRun, task_id: str, *, answered_at: datetime | None) -> Iterator[tuple[Key, Item]]:
    asked: dict[str, Any] = {
        "options": ["yes", "no"], "subject": "Shall it go on?", "body": None, "defaults": None, "multiple": False,
        "params": {}, "assigned_users": [],
    }  # fmt: skip
    at = items.moment((run.start_date or run.run_after) + timedelta(seconds=30))
    listed = keyspace.HITL_OPEN if answered_at is None else keyspace.HITL_ANSWERED
    item = {
        "value": items.text(items.to_json(asked)),
        "created_at": at,
        "listed_pk": items.text(listed),
        "listed_sk": at,
    }
    item |= {"recent_pk": items.text(keyspace.hitl_of_dag(run.dag_id)), "recent_sk": at}
    if answered_at is not None:
        said = {"chosen_options": ["yes"], "params_input": {}, "responded_by": {"id": "admin", "name": "admin"}}
        item |= {"responded_at": items.moment(answered_at), "answer": items.text(items.to_json(said))}
    yield keyspace.hitl_detail(run.key.task_instance(task_id), 1), item


def event_of(number: int, run: DagRun) -> AssetEvent:
    asset = asset_of(number)
    return AssetEvent(
        event_id=str(uuid5(NAMESPACE, f"{run.dag_id} {run.run_id}")),
        name=asset.name,
        uri=asset.uri,
        timestamp=run.run_after + timedelta(minutes=6, microseconds=number),
        source_dag_id=run.dag_id,
        source_run_id=run.run_id,
        source_task_id="task_9",
    )


def run_ids_of(size: Size, number: int) -> Iterator[DagRunKey]:
    """The newest first."""
    return (run.key for run in runs_of(size, number))


def run_id_at(run_after: datetime) -> str:
    return f"scheduled__{run_after.isoformat()}"


def state_of(run: DagRun, n: int) -> TaskInstanceState | None:
    """The fifth task of a run that failed did; of one that runs, that one does."""
    match run.state:
        case DagRunState.FAILED if n >= 5:
            return TaskInstanceState.FAILED if n == 5 else TaskInstanceState.UPSTREAM_FAILED
        case DagRunState.RUNNING if n == 5 and int(run.dag_id[-4:]) % 100 == 1:
            return TaskInstanceState.AWAITING_INPUT
        case DagRunState.RUNNING if n >= 5:
            return TaskInstanceState.RUNNING if n == 5 else None
    return TaskInstanceState.SUCCESS


STATES_OF: Final[dict[DagRunState, dict[str, int]]] = {
    DagRunState.SUCCESS: {"success": TASKS},
    DagRunState.FAILED: {"failed": 1, "success": 5, "upstream_failed": 4},
    DagRunState.RUNNING: {},
}
TRIES: Final = 30


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
