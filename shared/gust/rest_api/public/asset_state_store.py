"""`/assets/{asset_id}/state-store`: entries that tasks and watchers store for an asset."""

from __future__ import annotations

from typing import Final

from gust.http.answer import Answer, Json, not_found
from gust.model.asset import AssetKey
from gust.model.field_values import values_of
from gust.model.state_entry import StateEntry
from gust.rest_api.http.request import Body, Request
from gust.rest_api.http.routing import operation
from gust.rest_api.lists.filters import Paging
from gust.rest_api.lists.listing import Page
from gust.rest_api.public.assets import asset_of_number
from gust.rest_api.public.state_store import StoredValue
from gust.services.context import Services

_WRITER = ("kind", "dag_id", "run_id", "task_id", "map_index")


class AssetStateStoreBody(Body):
    value: StoredValue


_plain_values: Final = values_of(StateEntry, "key", "value", "updated_at")


def asset_state_store_response(entry: StateEntry) -> Json:
    writer = entry.last_updated_by
    return {
        **_plain_values(entry),
        "last_updated_by": {name: writer.get(name) for name in _WRITER} if writer else None,
    }


@operation("list_asset_state_store")
def list_asset_state_store(services: Services, request: Request) -> Json:
    asset, query = _asset(services, request), request.query(Paging)
    entries = services.store.list_asset_state(asset)
    return Page(query.part_of(entries), len(entries)).answer("asset_state_store", asset_state_store_response)


@operation("get_asset_state_store")
def get_asset_state_store(services: Services, request: Request) -> Json:
    asset, name = _asset(services, request), request.path["key"]
    entry = services.store.get_asset_state(asset, name)
    if entry is None:
        raise not_found(f"Asset state store key {name!r} not found")
    return asset_state_store_response(entry)


@operation("set_asset_state_store")
def set_asset_state_store(services: Services, request: Request) -> Answer:
    asset, body = _asset(services, request), request.body(AssetStateStoreBody)
    entry = StateEntry(
        key=request.path["key"], value=body.value, updated_at=request.now, last_updated_by={"kind": "api"}
    )
    services.store.put_asset_state(asset, entry)
    return Answer(204)


@operation("delete_asset_state_store")
def delete_asset_state_store(services: Services, request: Request) -> Answer:
    services.store.delete_asset_state(_asset(services, request), request.path["key"])
    return Answer(204)


@operation("clear_asset_state_store")
def clear_asset_state_store(services: Services, request: Request) -> Answer:
    services.store.clear_asset_state(_asset(services, request))
    return Answer(204)


def _asset(services: Services, request: Request) -> AssetKey:
    number = request.path_value("asset_id", int)
    asset = asset_of_number(services, number)
    if asset is None:
        raise not_found(f"Asset with id {number!r} not found")
    return asset.key
