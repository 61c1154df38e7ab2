"""The asset events that a run consumed, and the runs that consumed an event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gust.model.asset import Asset, AssetEvent, AssetKey
from gust.model.dag_run import DagRun
from gust.model.keys import DagRunKey
from gust.model.state import DagRunType
from gust.services.context import Services


@dataclass(frozen=True, slots=True)
class Consumption:
    run: DagRun
    is_trigger: bool
    """Whether it is the run's latest event, which triggered it; the run consumed the earlier ones with it."""


def consumed_by(services: Services, run: DagRun) -> list[AssetEvent]:
    """The run's events in order of time. Only asset-triggered runs have any: for all others this reads nothing."""
    return services.store.consumed_events(run.key) if run.run_type is DagRunType.ASSET_TRIGGERED else []


def assets_of(services: Services, events: Sequence[AssetEvent]) -> dict[AssetKey, Asset]:
    """Each asset as it is now, or, if it is no longer stored, as its events name it."""
    named = {event.asset: event for event in events}
    return {
        key: services.store.get_asset(name=key.name, uri=key.uri)
        or Asset(name=key.name, uri=key.uri, group=event.group)
        for key, event in named.items()
    }


def runs_made_of(services: Services, events: Sequence[AssetEvent]) -> dict[str, list[Consumption]]:
    """Event id → the existing runs that consumed it."""
    consumers = services.store.consumers_of([event.event_id for event in events])
    keys = sorted({key for of_event in consumers.values() for key in of_event})
    runs = {run.key: run for run in services.store.get_runs(keys)}
    consumed = services.store.consumed_events_of(list(runs))
    of_run = {key: [event.event_id for event in consumed.get(key, ())] for key in runs}

    def consumption(event: AssetEvent, key: DagRunKey) -> Consumption:
        return Consumption(runs[key], is_trigger=of_run[key][-1] == event.event_id)

    return {
        event.event_id: [
            consumption(event, key)
            for key in consumers.get(event.event_id, ())
            if key in runs and event.event_id in of_run[key]
        ]
        for event in events
    }
