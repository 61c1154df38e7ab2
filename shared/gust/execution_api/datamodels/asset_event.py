from typing import Any
from uuid import UUID

from gust.execution_api.datamodels.asset import asset_response
from gust.execution_api.datamodels.base import Query, UtcDateTime, moment
from gust.model.asset import Asset, AssetEvent


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


def asset_events_response(events: list[AssetEvent], assets: dict[tuple[str, str], Asset]) -> dict[str, Any]:
    return {"asset_events": [_event(event, assets.get((event.name, event.uri))) for event in events]}


def _event(event: AssetEvent, asset: Asset | None) -> dict[str, Any]:
    return {
        "id": numeric_id(event.event_id),
        "timestamp": moment(event.timestamp),
        "extra": event.extra,
        "asset": asset_response(asset or Asset(name=event.name, uri=event.uri, group=event.group)),
        # Runs that assets cause come with asset scheduling; until then there are none.
        "created_dagruns": [],
        "source_task_id": event.source_task_id,
        "source_dag_id": event.source_dag_id,
        "source_run_id": event.source_run_id,
        "source_map_index": event.source_map_index,
        "partition_key": event.partition_key,
    }


def numeric_id(event_id: str) -> int:
    """Airflow numbers its events; ours have names, whose first 53 bits make a number that JSON keeps."""
    return UUID(event_id).int >> 75
