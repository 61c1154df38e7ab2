from gust.errors import NotFound
from gust.execution_api.datamodels.asset_state_store import (
    AssetStateStorePutBody,
    ByName,
    ByUri,
    KeyByName,
    KeyByUri,
)
from gust.execution_api.routing import Call, Fence, Routes
from gust.http.answer import NO_CONTENT, Answer
from gust.model.asset import Asset
from gust.model.dispatch import OF_DAGS, Dispatch, Scope
from gust.model.state_entry import StateEntry
from gust.services.context import Services

routes = Routes("/store/asset")

EVERYBODY = OF_DAGS
"""Watchers' triggers keep their place in an asset's store."""


@routes.get("/by-name/value", query=KeyByName)
def get_asset_state_store_by_name(call: Call[None, KeyByName]) -> Answer:
    return _get(call.services, _by_name(call.services, call.query.name), call.query.key)


@routes.put("/by-name/value", query=KeyByName, body=AssetStateStorePutBody, scopes=EVERYBODY, fence=Fence.LAST_WORDS)
def set_asset_state_store_by_name(call: Call[AssetStateStorePutBody, KeyByName]) -> Answer:
    return _put(call.services, _by_name(call.services, call.query.name), call.query.key, call.body, call.caller)


@routes.delete("/by-name/value", query=KeyByName, scopes=EVERYBODY, fence=Fence.LAST_WORDS)
def delete_asset_state_store_by_name(call: Call[None, KeyByName]) -> Answer:
    return _delete(call.services, _by_name(call.services, call.query.name), call.query.key)


@routes.delete("/by-name/clear", query=ByName, scopes=EVERYBODY, fence=Fence.LAST_WORDS)
def clear_asset_state_store_by_name(call: Call[None, ByName]) -> Answer:
    return _clear(call.services, _by_name(call.services, call.query.name))


@routes.get("/by-uri/value", query=KeyByUri)
def get_asset_state_store_by_uri(call: Call[None, KeyByUri]) -> Answer:
    return _get(call.services, _by_uri(call.services, call.query.uri), call.query.key)


@routes.put("/by-uri/value", query=KeyByUri, body=AssetStateStorePutBody, scopes=EVERYBODY, fence=Fence.LAST_WORDS)
def set_asset_state_store_by_uri(call: Call[AssetStateStorePutBody, KeyByUri]) -> Answer:
    return _put(call.services, _by_uri(call.services, call.query.uri), call.query.key, call.body, call.caller)


@routes.delete("/by-uri/value", query=KeyByUri, scopes=EVERYBODY, fence=Fence.LAST_WORDS)
def delete_asset_state_store_by_uri(call: Call[None, KeyByUri]) -> Answer:
    return _delete(call.services, _by_uri(call.services, call.query.uri), call.query.key)


@routes.delete("/by-uri/clear", query=ByUri, scopes=EVERYBODY, fence=Fence.LAST_WORDS)
def clear_asset_state_store_by_uri(call: Call[None, ByUri]) -> Answer:
    return _clear(call.services, _by_uri(call.services, call.query.uri))


def _by_name(services: Services, name: str) -> Asset:
    asset = services.store.get_asset(name=name)
    if asset is None:
        raise NotFound(f"Asset with name={name!r} not found")
    return asset


def _by_uri(services: Services, uri: str) -> Asset:
    asset = services.store.get_asset(uri=uri)
    if asset is None:
        raise NotFound(f"Asset with uri={uri!r} not found")
    return asset


def _get(services: Services, asset: Asset, key: str) -> Answer:
    stored = services.store.get_asset_state(asset.key, key)
    if stored is None:
        raise NotFound(f"Asset state store key {key!r} not found")
    return Answer(body={"value": stored.value})


def _put(services: Services, asset: Asset, key: str, body: AssetStateStorePutBody, writer: Dispatch) -> Answer:
    by_task = writer.scope is Scope.EXECUTION
    task = {
        "dag_id": writer.key.dag_id,
        "run_id": writer.key.run_id,
        "task_id": writer.key.task_id,
        "map_index": writer.key.map_index,
    }
    entry = StateEntry(
        key=key,
        value=body.value,
        updated_at=services.clock.now(),
        last_updated_by={"kind": "task", **task} if by_task else {"kind": "watcher"},
    )
    services.store.put_asset_state(asset.key, entry)
    return NO_CONTENT


def _delete(services: Services, asset: Asset, key: str) -> Answer:
    services.store.delete_asset_state(asset.key, key)
    return NO_CONTENT


def _clear(services: Services, asset: Asset) -> Answer:
    services.store.clear_asset_state(asset.key)
    return NO_CONTENT
