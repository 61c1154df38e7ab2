from collections.abc import Mapping
from typing import Any

from gust.execution_api.datamodels.asset import asset_response
from gust.execution_api.datamodels.base import UtcDateTime, moment
from gust.http.check import Query
from gust.model.asset import Asset, AssetEvent, AssetKey, number_of_event
from gust.model.dag_run import DagRun
from gust.services.assets.consumed_events import Consumption


class _Range(Query):
    after: UtcDateTime | None = None
    before: UtcDateTime | None = None
    ascending: bool = True
    limit: int | None = None


class EventsOfAsset(_Range):
    name: str | None = None
    uri: str | None = None


class EventsOfAlias(_Range):
    name: str


def asset_events_response(
    events: list[AssetEvent], assets: Mapping[AssetKey, Asset], runs: Mapping[str, list[Consumption]]
) -> dict[str, Any]:
    return {"asset_events": [_event(event, assets[event.asset], runs[event.event_id]) for event in events]}


def consumed_event_response(event: AssetEvent, asset: Asset) -> dict[str, Any]:
    """The event as a run's context lists it."""
    return {
        "asset": {"name": asset.name, "uri": asset.uri, "extra": asset.extra},
        "extra": event.extra,
        "source_task_id": event.source_task_id,
        "source_dag_id": event.source_dag_id,
        "source_run_id": event.source_run_id,
        "source_map_index": event.source_map_index,
        "source_aliases": [{"name": alias} for alias in event.source_aliases],
        "timestamp": moment(event.timestamp),
        "partition_key": event.partition_key,
    }


def _event(event: AssetEvent, asset: Asset, runs: list[Consumption]) -> dict[str, Any]:
    return {
        "id": number_of_event(event.event_id),
        "timestamp": moment(event.timestamp),
        "extra": event.extra,
        "asset": asset_response(asset),
        "created_dagruns": [_run(consumption.run) for consumption in runs],
        "source_task_id": event.source_task_id,
        "source_dag_id": event.source_dag_id,
        "source_run_id": event.source_run_id,
        "source_map_index": event.source_map_index,
        "partition_key": event.partition_key,
    }


def _run(run: DagRun) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "dag_id": run.dag_id,
        "logical_date": moment(run.logical_date),
        "start_date": moment(run.start_date or run.queued_at),
        "end_date": moment(run.end_date),
        "state": run.state.value,
        "data_interval_start": moment(run.data_interval_start),
        "data_interval_end": moment(run.data_interval_end),
        "partition_key": run.partition_key,
    }
