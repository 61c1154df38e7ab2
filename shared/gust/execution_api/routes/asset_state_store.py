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
from gust.model.dispatch import OF_DAGS, Scope
from gust.model.state_entry import StateEntry
from gust.services.context import Services

routes = Routes("/store/asset")

WITH_WATCHERS = OF_DAGS
"""Callers that may write: a watcher's trigger keeps its position in its asset's store."""


@routes.get("/by-name/value", query=KeyByName)
@routes.get("/by-uri/value", query=KeyByUri)
def get_asset_state_store(call: Call[None, KeyByName | KeyByUri]) -> Answer:
    key = call.query.key
    stored = call.services.store.get_asset_state(_asset(call.services, call.query).key, key)
    if stored is None:
        raise NotFound(f"Asset state store key {key!r} not found")
    return Answer(body={"value": stored.value})


@routes.put(
    "/by-name/value", query=KeyByName, body=AssetStateStorePutBody, scopes=WITH_WATCHERS, fence=Fence.LAST_WORDS
)
@routes.put("/by-uri/value", query=KeyByUri, body=AssetStateStorePutBody, scopes=WITH_WATCHERS, fence=Fence.LAST_WORDS)
def set_asset_state_store(call: Call[AssetStateStorePutBody, KeyByName | KeyByUri]) -> Answer:
    writer = call.caller
    task = {
        "dag_id": writer.key.dag_id,
        "run_id": writer.key.run_id,
        "task_id": writer.key.task_id,
        "map_index": writer.key.map_index,
    }
    entry = StateEntry(
        key=call.query.key,
        value=call.body.value,
        updated_at=call.services.clock.now(),
        last_updated_by={"kind": "task", **task} if writer.scope is Scope.EXECUTION else {"kind": "watcher"},
    )
    call.services.store.put_asset_state(_asset(call.services, call.query).key, entry)
    return NO_CONTENT


@routes.delete("/by-name/value", query=KeyByName, scopes=WITH_WATCHERS, fence=Fence.LAST_WORDS)
@routes.delete("/by-uri/value", query=KeyByUri, scopes=WITH_WATCHERS, fence=Fence.LAST_WORDS)
def delete_asset_state_store(call: Call[None, KeyByName | KeyByUri]) -> Answer:
    call.services.store.delete_asset_state(_asset(call.services, call.query).key, call.query.key)
    return NO_CONTENT


@routes.delete("/by-name/clear", query=ByName, scopes=WITH_WATCHERS, fence=Fence.LAST_WORDS)
@routes.delete("/by-uri/clear", query=ByUri, scopes=WITH_WATCHERS, fence=Fence.LAST_WORDS)
def clear_asset_state_store(call: Call[None, ByName | ByUri]) -> Answer:
    call.services.store.clear_asset_state(_asset(call.services, call.query).key)
    return NO_CONTENT


def _asset(services: Services, query: ByName | ByUri) -> Asset:
    if isinstance(query, ByName):
        asset, name = services.store.get_asset(name=query.name), f"name={query.name!r}"
    else:
        asset, name = services.store.get_asset(uri=query.uri), f"uri={query.uri!r}"
    if asset is None:
        raise NotFound(f"Asset with {name} not found")
    return asset
