"""Stores an asset event and queues it for every DAG whose schedule names the asset.

Rules: `airflow/assets/manager.py`. A paused DAG's queue gets no entry; its next run consumes the event nevertheless. A DAG
that listens to partitions gets the event under the partitions that its mapper makes of the event's key; any other DAG gets
only events without a key. The table's stream tells the scheduler of the queue.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from gust.errors import ServiceUnavailable, StaleAssetQueue
from gust.model.asset import AssetEvent, AssetKey, AssetUpdate, Delivery, ToPartition, ToQueue
from gust.model.dag import Dag
from gust.services.context import Services
from gust.services.specs import load_spec

ATTEMPTS: Final = 20
_TICK: Final = timedelta(microseconds=1)

log = logging.getLogger(__name__)


def register_asset_events(
    services: Services,
    report_id: str,
    events: Sequence[AssetEvent],
    *,
    partition_dates: Mapping[str, datetime | None] | None = None,
) -> list[AssetEvent]:
    """Store the events of one report, all at once: a DAG that waits for several of their assets runs for them once. Their
    timestamps are the moment of storing, later than every run that has consumed events of these assets, each a microsecond
    after the one before. Registering the same `report_id` again changes nothing. `partition_dates`: event id → the partition
    date of the run that the event comes from."""
    if not events:
        return []
    for event in events:
        for alias in sorted(set(event.source_aliases)):
            if event.asset not in services.store.assets_of_alias(alias):
                services.store.associate_alias(alias, event.asset)
    dates = partition_dates or {}
    deliveries = [_deliveries_of(services, event, dates.get(event.event_id)) for event in events]
    closed_until: datetime | None = None
    for _ in range(ATTEMPTS):
        now = services.clock.now()
        first = now if closed_until is None else max(now, closed_until + _TICK)
        stored = [replace(event, timestamp=first + number * _TICK) for number, event in enumerate(events)]
        try:
            services.store.put_asset_events(report_id, list(map(AssetUpdate, stored, deliveries)))
        except StaleAssetQueue as stale:
            closed_until = stale.closed_until or closed_until
            continue
        return stored
    raise ServiceUnavailable(
        f"The event of {events[0].name} collided with others {ATTEMPTS} times while it was being stored"
    )


def register_single_events(
    services: Services, events: Sequence[AssetEvent], *, even_if_paused: Collection[str] = ()
) -> None:
    """Store events that have nothing to do with each other, each once by its id. They have no aliases. Otherwise as
    `register_asset_events`; one read of subscribers serves all events of an asset. `even_if_paused`: ids of DAGs whose
    queues get an entry even while they are paused."""
    of_asset: dict[tuple[AssetKey, str | None], tuple[Delivery, ...]] = {}
    for event in events:
        kind = (event.asset, event.partition_key)
        if kind not in of_asset:
            of_asset[kind] = _deliveries_of(services, event, None, even_if_paused)
    updates = [AssetUpdate(event, of_asset[event.asset, event.partition_key]) for event in events]
    closed_until: datetime | None = None
    for _ in range(ATTEMPTS):
        now = services.clock.now()
        first = now if closed_until is None else max(now, closed_until + _TICK)
        stamped = [
            replace(update, event=replace(update.event, timestamp=first + number * _TICK))
            for number, update in enumerate(updates)
        ]
        try:
            services.store.put_single_events(stamped)
        except StaleAssetQueue as stale:
            closed_until = stale.closed_until or closed_until
            continue
        return
    raise ServiceUnavailable(f"{len(events)} events collided with others {ATTEMPTS} times while they were stored")


def _deliveries_of(
    services: Services, event: AssetEvent, partition_date: datetime | None, even_if_paused: Collection[str] = ()
) -> tuple[Delivery, ...]:
    references = services.store.schedules_on_asset(event.asset)
    for alias in sorted(set(event.source_aliases)):
        references += services.store.schedules_on_alias(alias)
    found = (services.store.get_dag(dag_id) for dag_id in sorted({reference.dag_id for reference in references}))
    known = [dag for dag in found if dag is not None and not dag.is_stale]
    listening = [dag for dag in known if not dag.is_paused or dag.dag_id in even_if_paused]
    return tuple(delivery for dag in listening for delivery in _to(services, dag, event, partition_date))


def _to(services: Services, dag: Dag, event: AssetEvent, partition_date: datetime | None) -> Iterable[Delivery]:
    if not dag.timetable_partitioned:
        yield ToQueue(dag_id=dag.dag_id, queues=event.partition_key is None)
    elif event.partition_key is None:
        log.warning("%s listens to partitions, but the event of %s has no partition key", dag.dag_id, event.name)
    else:
        yield from _to_partitions(services, dag, event, event.partition_key, partition_date)


def _to_partitions(
    services: Services, dag: Dag, event: AssetEvent, source_key: str, partition_date: datetime | None
) -> Iterable[ToPartition]:
    # Imported here: few events have a partition.
    from gust.scheduling.partition_mapper import mappers_of  # noqa: PLC0415

    mappers = mappers_of(load_spec(services.objects, dag.spec_key).timetable, asking(services, dag))
    mapper = mappers.of_asset(event.asset)
    try:
        keys = mapper.downstream_keys(source_key)
    except ServiceUnavailable:
        raise
    except Exception as problem:  # an error of one DAG's mapper must not fail the task
        log.warning("%s: partition key %r of %s was not mapped: %s", dag.dag_id, source_key, event.name, problem)
        return
    if len(keys) > (limit := mapper.max_downstream_keys):
        log.warning("%s: %r makes %d partitions, %d are allowed", dag.dag_id, source_key, len(keys), limit)
        return
    for key in keys:
        yield ToPartition(
            dag_id=dag.dag_id,
            partition_key=key,
            source_key=source_key,
            fingerprint=mappers.fingerprint,
            partition_date=mapper.carried_date(partition_date),
        )


def asking(services: Services, dag: Dag) -> Callable[[dict[str, Any], dict[str, Any]], Any]:
    """A function that asks mappers of the plugins in the DAG's bundle."""
    return lambda mapper, question: services.timetables.partition_mapper(
        mapper, dag.bundle_version, question, file=dag.relative_fileloc
    )
