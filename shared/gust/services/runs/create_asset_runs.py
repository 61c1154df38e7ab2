"""Make the runs that a DAG's asset events satisfy.

Each run is made in one transaction that also takes its events from the queue, so that two schedulers, or one record
delivered twice, make one run, and a crash leaves either the queue or the run. Where more events wait than a run can hold,
the first ones are closed as a part that no event can join, its run is made, and the next look makes the run of the rest.
Rules: Airflow's `SchedulerJobRunner._create_dag_runs_asset_triggered` and `_create_dagruns_for_partitioned_asset_dags`.
"""

from __future__ import annotations

import heapq
import json
import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import groupby
from typing import Final

from aws_lambda_powertools import Logger

from gust.errors import Invalid, ServiceUnavailable, StaleAssetQueue
from gust.model.asset import AssetEvent, AssetQueue, PendingPartition
from gust.model.dag import Dag
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec
from gust.model.history_query import AssetEventSource
from gust.model.keys import DagRunKey
from gust.model.logged_event import LoggedEvent
from gust.model.moment import LATEST
from gust.model.state import DagRunState, DagRunTriggeredByType, DagRunType
from gust.model.window import Window
from gust.scheduling import timetable
from gust.scheduling.added_run import AssetRun
from gust.scheduling.asset_condition import is_satisfied, named_in
from gust.scheduling.timetable import NextRun
from gust.services.assets.asset_references import references_of
from gust.services.assets.register_asset_event import asking
from gust.services.context import Services
from gust.services.runs.deadlines import wake_for_deadlines, with_deadlines
from gust.services.runs.new_run import NOTICED_WITHIN, described_by, version_of
from gust.services.specs import load_spec

HELD_BACK: Final = timedelta(hours=1)
"""Events that wait for room among `max_active_runs` are looked at when a run ends, and this often in case that wake-up is
lost."""

HAS_NO_RUN: Final = "partition_has_no_run"

ATTEMPTS: Final = 20

ALPHABET: Final = string.ascii_letters + string.digits

_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
_TICK: Final = timedelta(microseconds=1)
_FIELD_NAMES: Final = 500
"""Bytes of an event's names of fields, its id and its moment."""


@dataclass(frozen=True, slots=True)
class Most:
    """How much a run holds: a note is written of each event, and each task's worker gets all of them."""

    events: int = 20_000
    size: int = 40_000_000
    """Bytes of JSON."""


MOST: Final = Most()

log = Logger(service="scheduler", child=True)


def create_asset_runs(services: Services, dag: Dag, most: Most = MOST) -> list[DagRun]:
    """Make the runs that the DAG's queued events allow, and set when to look at the others again. Does nothing if the DAG's
    schedule names no asset; repeating it makes no run twice."""
    if not dag.is_asset_triggered:
        return []
    if dag.is_stale:
        _leave_waiting(services, dag)
        return []
    made = []
    for _ in range(ATTEMPTS):
        try:
            if dag.timetable_partitioned:
                made += create_partition_runs(services, dag)
            elif run := create_queued_run(services, dag, most):
                made.append(run)
        except StaleAssetQueue:
            continue
        return made
    raise ServiceUnavailable(f"events kept coming for {dag.dag_id!r} while a run was made of them")


def _leave_waiting(services: Services, dag: Dag) -> None:
    """Take the queued events off the tick's index: when the DAG has a file again, its activation looks at them."""
    queue = services.store.asset_queue(dag.dag_id)
    for waiting in (*((queue,) if queue else ()), *services.store.pending_partitions(dag.dag_id)):
        if waiting.due_at is not None:
            services.store.postpone(waiting, due_at=None)


# --- assets as a whole ------------------------------------------------------------------------------------------------


def create_queued_run(services: Services, dag: Dag, most: Most) -> DagRun | None:
    """One run of all queued events, if they satisfy the schedule. Its moment is that of the latest event: it includes events
    that came while the DAG had no room. Of more than `most`, the run takes the first, and a look at the rest follows."""
    queue = services.store.asset_queue(dag.dag_id)
    if queue is None or not queue.queued:
        if queue is not None and queue.due_at is not None:  # an API user has taken what waited
            services.store.postpone(queue, due_at=None)
        return None
    spec = load_spec(services.objects, dag.spec_key)
    expression = spec.timetable.asset_expression
    aliases = services.store.assets_of_alias
    if dag.is_paused or expression is None or not is_satisfied(expression, queue.queued, assets_of_alias=aliases):
        # An unpause, the next event and a new version of the DAG each look again.
        if queue.due_at is not None:
            services.store.postpone(queue, due_at=None)
        return None
    now = services.clock.now()
    if dag.has_import_errors or not has_room(services, dag, queue):
        services.store.postpone(queue, due_at=now + HELD_BACK)
        return None
    batch = batch_of(services, spec, queue, most)
    if batch.is_cut:
        queue = services.store.close_part(queue, after=floor_of(services, spec, queue), until=batch.until)
        # Events may have joined before it was closed.
        batch = batch_of(services, spec, queue, most)
        if batch.is_cut:
            raise StaleAssetQueue(f"events came for DAG {dag.dag_id!r} while they were divided")
    run_after, events = batch.until, batch.events
    if queue.part_from is None and queue.consumed_until is not None and run_after <= queue.consumed_until:
        # Parts have taken all that was queued.
        services.store.unqueue(dag.dag_id, before=queue.consumed_until + _TICK, seen=queue)
        return None
    if queue.part_from is not None and not events:
        services.store.end_part(queue)
        raise StaleAssetQueue(f"the schedule of DAG {dag.dag_id!r} no longer names the assets of a part")
    run = run_of(dag, spec, NextRun(run_after), now=now)
    services.store.note_consumers(run.key, events)
    run, deadlines = with_deadlines(services, run, spec)
    services.store.create_asset_run(AssetRun(run, consuming=queue, events=events, callbacks=deadlines))
    wake_for_deadlines(services, run, deadlines)
    log.info("DagRun made by assets", **run.names, events=len(events))
    return run


def has_room(services: Services, dag: Dag, queue: AssetQueue) -> bool:
    """Whether the DAG may have one more run. As in Airflow, queued runs count against `max_active_runs`."""
    waiting = set(services.store.queued_runs(dag.dag_id, limit=dag.max_active_runs))
    if queue.last_run_id is not None:
        # The index may not show it yet.
        last = services.store.get_run(DagRunKey(dag.dag_id, queue.last_run_id))
        if last is not None and last.state is DagRunState.QUEUED:
            waiting.add(last.key)
    return dag.running_runs + len(waiting) < dag.max_active_runs


@dataclass(frozen=True, slots=True)
class Batch:
    """The events of a run, in order of time."""

    events: list[AssetEvent]
    until: datetime
    """The run's moment: its events are those up to here."""
    is_cut: bool = False
    """Whether more events belong to it than a run holds; these are the first ones."""


def batch_of(services: Services, spec: DagSpec, queue: AssetQueue, most: Most) -> Batch:
    """The events of the part, if there is one. Else all so far, up to the last one that makes runs: the queue holds the
    first event of each asset, and the run empties it."""
    last = None if queue.part_from is None else queue.consumed_until
    until, size = last or max(queue.queued.values()), 0
    came: list[AssetEvent] = []
    cut: datetime | None = None
    for event in events_between(services, spec, floor_of(services, spec, queue), last or LATEST):
        makes_runs = event.partition_key is None
        if cut is None:
            size += size_of(event)
            fits = len(came) < most.events and size <= most.size
            # Events of one moment stay together.
            if fits or not came or came[0].timestamp == event.timestamp:
                came.append(event)
                until = max(until, event.timestamp) if makes_runs else until
                continue
            cut = max(one.timestamp for one in came if one.timestamp < event.timestamp)
        if makes_runs or event.timestamp <= until:
            return Batch([one for one in came if one.timestamp <= cut], cut, is_cut=True)
    return Batch([event for event in came if event.timestamp <= until], until)


def size_of(event: AssetEvent) -> int:
    """Bytes of the event where a run keeps it; not less. There, `extra` is a text of JSON within JSON."""
    texts = (event.name, event.uri, event.group, event.partition_key, *event.source_aliases)
    source = (event.source_dag_id, event.source_run_id, event.source_task_id)
    return len(json.dumps([json.dumps(event.extra), json.dumps([*texts, *source])])) + _FIELD_NAMES


def floor_of(services: Services, spec: DagSpec, queue: AssetQueue) -> datetime:
    """The run's events are later than this moment: its predecessor consumed the others. The first run of a DAG without
    catchup begins at the moment that the DAG's schedule first named an asset."""
    if queue.part_from is not None:
        return queue.part_from
    if queue.consumed_until is not None:
        return queue.consumed_until
    if spec.catchup:
        return _LONG_AGO
    listens = [ref for ref in references_of(spec) if ref.use == "schedule" and ref.what == "asset"]
    since = [ref.created_at for ref in services.store.stored_references(listens) if ref.created_at is not None]
    return min(since, default=_LONG_AGO)


def events_between(services: Services, spec: DagSpec, floor: datetime, until: datetime) -> Iterator[AssetEvent]:
    """Events after `floor` up to `until`, of the schedule's assets and aliases, in order of time. References by name or URI
    alone trigger runs and pass on no events, in Airflow as here."""
    window = Window(None if floor == _LONG_AGO else floor, until, ascending=True)
    sources = []
    for ref in {(ref.kind, ref.name, ref.uri) for ref in named_in(spec.timetable.asset_expression)}:
        match ref:
            case ("asset", name, uri):
                sources.append(AssetEventSource(name=name, uri=uri))
            case ("alias", name, _):
                sources.append(AssetEventSource(alias=name))
            case _:
                continue
    found = heapq.merge(*(services.store.walk_events_of(source, window) for source in sources), key=_order)
    for moment, same in groupby(found, key=lambda event: event.timestamp):
        if floor < moment <= until:
            yield from in_order({event.event_id: event for event in same}.values())  # an alias has its asset's


# --- partitions of assets ---------------------------------------------------------------------------------------------


def create_partition_runs(services: Services, dag: Dag) -> list[DagRun]:
    """A run for each pending partition whose events satisfy its mappers. As in Airflow, neither a pause nor
    `max_active_runs` prevents these."""
    pending = services.store.pending_partitions(dag.dag_id)
    if not pending:
        return []
    # Imported here: few DAGs listen to partitions.
    from gust.scheduling.partition_mapper import mappers_of  # noqa: PLC0415

    spec = load_spec(services.objects, dag.spec_key)
    mappers = mappers_of(spec.timetable, asking(services, dag))
    expression, now = spec.timetable.asset_expression, services.clock.now()
    made = []
    for partition in pending:
        if partition.fingerprint != mappers.fingerprint:
            # Queued under other mappers: the events that it waits for may never come.
            services.store.drop_partition(partition)
            log.info("Pending partition dropped", dag_id=dag.dag_id, partition_key=partition.partition_key)
            continue
        received = mappers.satisfied_assets(partition)
        if expression is None or not is_satisfied(expression, received, assets_of_alias=services.store.assets_of_alias):
            if partition.due_at is not None:
                services.store.postpone(partition, due_at=None)
            continue
        if partition.due_at is not None and partition.due_at > now + 2 * NOTICED_WITHIN:
            continue  # `_hold_back` alone sets so late a moment
        try:
            made.append(create_partition_run(services, dag, spec, partition, mappers.date_of(partition)))
        except Invalid as refused:
            _hold_back(services, partition, reason=str(refused))
    return made


def _hold_back(services: Services, partition: PendingPartition, *, reason: str) -> None:
    """The store takes no run with so many events. Say so, let the other partitions run, and look again in an hour."""
    now = services.clock.now()
    log.error("A partition makes no run", dag_id=partition.dag_id, partition_key=partition.partition_key, reason=reason)
    about = {"partition_key": partition.partition_key, "events": len(partition.received), "reason": reason}
    services.store.log_event(
        LoggedEvent(
            when=now,
            event=HAS_NO_RUN,
            dag_id=partition.dag_id,
            owner="scheduler",
            owner_display_name="Scheduler",
            extra=json.dumps(about),
        )
    )
    services.store.postpone(partition, due_at=now + HELD_BACK)


def create_partition_run(
    services: Services, dag: Dag, spec: DagSpec, partition: PendingPartition, date: datetime | None
) -> DagRun:
    events, now = events_of(services, partition), services.clock.now()
    run = run_of(dag, spec, NextRun(now, partition_key=partition.partition_key, partition_date=date), now=now)
    services.store.note_consumers(run.key, events)
    run, deadlines = with_deadlines(services, run, spec)
    services.store.create_asset_run(AssetRun(run, consuming=partition, events=events, callbacks=deadlines))
    wake_for_deadlines(services, run, deadlines)
    log.info("DagRun made by a partition", **run.names, partition_key=run.partition_key)
    return run


def events_of(services: Services, partition: PendingPartition) -> list[AssetEvent]:
    found: dict[str, AssetEvent] = {}
    wanted = {event.event_id for event in partition.received}
    for asset in {event.asset for event in partition.received}:
        times = [event.timestamp for event in partition.received if event.asset == asset]
        window = Window(min(times), max(times), ascending=True)
        events = services.store.list_asset_events(AssetEventSource(name=asset.name, uri=asset.uri), window)
        found |= {event.event_id: event for event in events if event.event_id in wanted}
    return in_order(found.values())


# --- both -------------------------------------------------------------------------------------------------------------


def run_of(dag: Dag, spec: DagSpec, info: NextRun, *, now: datetime) -> DagRun:
    return DagRun(
        dag_id=dag.dag_id,
        run_id=run_id_of(dag.dag_id, info.run_after, info.partition_key),
        run_type=DagRunType.ASSET_TRIGGERED,
        state=DagRunState.QUEUED,
        queued_at=now,
        **described_by(info),
        triggered_by=DagRunTriggeredByType.ASSET,
        due_at=now + NOTICED_WITHIN,
        **version_of(dag, spec),
    )


def run_id_of(dag_id: str, run_after: datetime, partition_key: str | None) -> str:
    """The run's id. Airflow ends these ids with eight random letters and digits, since several partitions may run at one
    moment. Ours follow from the run's identity, so that making it again gives the same id."""
    digest = int.from_bytes(sha256(f"{dag_id}\x1f{run_after.isoformat()}\x1f{partition_key}".encode()).digest())
    unique = "".join(ALPHABET[digest // len(ALPHABET) ** place % len(ALPHABET)] for place in range(8))
    return f"{timetable.generate_run_id(DagRunType.ASSET_TRIGGERED, run_after=run_after)}_{unique}"


def in_order(events: Iterable[AssetEvent]) -> list[AssetEvent]:
    return sorted(events, key=_order)


def _order(event: AssetEvent) -> tuple[datetime, str]:
    return event.timestamp, event.event_id
