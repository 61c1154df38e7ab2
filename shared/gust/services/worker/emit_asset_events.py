"""Stores the asset events of a task that succeeded, one for each outlet it updated.

Rules: `TaskInstance.register_asset_changes_in_db` of Airflow.
"""

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid5

from gust.model.asset import Asset, AssetEvent
from gust.model.dag_spec import AssetRef
from gust.model.task_instance import TaskInstance
from gust.services.assets.register_asset_event import register_asset_events
from gust.services.assets.tell_listeners import tell_of_events
from gust.services.context import Services
from gust.services.make_workload import bundle_version
from gust.services.specs import load_spec

ASSET_EVENT_NAMESPACE: Final = UUID("2d6c3a0e-2b53-5d0e-8b0f-5d9c5a5f0c42")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutletEvent:
    """The task's `outlet_events` entry for one asset, direct or through an alias."""

    name: str
    uri: str
    extra: dict[str, Any] = field(default_factory=dict)
    alias: str | None = None
    asset_extra: dict[str, Any] = field(default_factory=dict)
    partition_key: str | None = None


def emit_asset_events(
    services: Services,
    instance: TaskInstance,
    *,
    outlets: Sequence[AssetRef],
    events: Sequence[OutletEvent],
    at: datetime,
) -> None:
    """Store the events of one try, all at once. Ids follow from the try and the event's index: repeating it stores nothing
    new."""
    run = services.store.get_run(instance.key.run)
    key, date = (run.partition_key, run.partition_date) if run else (None, None)
    found: list[AssetEvent] = []
    for asset in _outlet_assets(services, outlets):
        named = [event for event in events if event.alias is None and (event.name, event.uri) == asset.key]
        for event in named or [OutletEvent(name=asset.name, uri=asset.uri)]:
            partition = event.partition_key if event.partition_key is not None else key
            found.append(_event(instance, asset, place=len(found), at=at, extra=event.extra, partition_key=partition))
    aliases = {outlet.name for outlet in outlets if outlet.kind == "alias" and outlet.name}
    for event, names in _through_aliases(events, aliases):
        asset = _known_or_new(services, event, at)
        found.append(
            _event(instance, asset, place=len(found), at=at, extra=event.extra, partition_key=key, aliases=names)
        )
    # The run's partition date belongs to the run's key, and to no other key that the task chose.
    dates = {event.event_id: date for event in found if event.partition_key == key}
    report_id = str(uuid5(ASSET_EVENT_NAMESPACE, str(instance.key.uuid(instance.try_number))))
    stored = register_asset_events(services, report_id, found, partition_dates=dates)
    if run is not None and stored and (listeners := load_spec(services.objects, run.spec_key).listeners):
        bundle = bundle_version(services, run)
        tell_of_events(services, stored, listeners=listeners, bundle_version=bundle, partition_dates=dates)


def _outlet_assets(services: Services, outlets: Iterable[AssetRef]) -> list[Asset]:
    """The active assets of the outlets, each once."""
    found: dict[tuple[str, str], Asset] = {}
    for outlet in outlets:
        if outlet.kind == "alias":
            continue
        asset = services.store.get_asset(name=outlet.name, uri=outlet.uri)
        if asset is None:
            log.warning("Task has inactive assets (name=%s, uri=%s) in inlets or outlets", outlet.name, outlet.uri)
            continue
        found[asset.name, asset.uri] = asset
    return list(found.values())


def _through_aliases(events: Iterable[OutletEvent], aliases: set[str]) -> list[tuple[OutletEvent, tuple[str, ...]]]:
    """(event, its aliases): events of one asset with equal extras are one event, however many aliases they came through."""
    merged: dict[tuple[str, str, str, str], tuple[OutletEvent, set[str]]] = {}
    for event in events:
        if event.alias not in aliases:
            continue
        same = (event.name, event.uri, _text(event.asset_extra), _text(event.extra))
        merged.setdefault(same, (event, set()))[1].add(event.alias)
    return [(event, tuple(sorted(names))) for event, names in merged.values()]


def _known_or_new(services: Services, event: OutletEvent, at: datetime) -> Asset:
    """The event's asset. It is made if an alias names an asset that no DAG file names."""
    known = services.store.get_asset(name=event.name, uri=event.uri)
    if known is not None:
        return known
    asset = Asset(name=event.name, uri=event.uri, extra=event.asset_extra, created_at=at, updated_at=at)
    services.store.put_asset(asset)
    return asset


def _event(
    instance: TaskInstance,
    asset: Asset,
    *,
    place: int,
    at: datetime,
    extra: dict[str, Any],
    partition_key: str | None,
    aliases: tuple[str, ...] = (),
) -> AssetEvent:
    source = f"{instance.key.uuid(instance.try_number)}\x1f{asset.name}\x1f{asset.uri}\x1f{place}"
    return AssetEvent(
        event_id=str(uuid5(ASSET_EVENT_NAMESPACE, source)),
        name=asset.name,
        uri=asset.uri,
        group=asset.group,
        timestamp=at,
        extra=extra,
        source_dag_id=instance.dag_id,
        source_run_id=instance.run_id,
        source_task_id=instance.task_id,
        source_map_index=instance.map_index,
        source_aliases=aliases,
        partition_key=partition_key,
    )


def _text(value: dict[str, Any]) -> str:
    return json.dumps(value, sort_keys=True)
