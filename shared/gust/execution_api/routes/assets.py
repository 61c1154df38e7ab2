from gust.errors import NotFound
from gust.execution_api.datamodels.asset import AssetAliasName, AssetName, AssetUri, asset_response
from gust.execution_api.routing import Call, Routes
from gust.http.answer import Answer

routes = Routes("/assets")


@routes.get("/by-name", query=AssetName)
def get_asset_by_name(call: Call[None, AssetName]) -> Answer:
    asset = call.services.store.get_asset(name=call.query.name)
    if asset is None:
        raise NotFound(f"Asset with name {call.query.name} not found")
    return Answer(body=asset_response(asset))


@routes.get("/by-uri", query=AssetUri)
def get_asset_by_uri(call: Call[None, AssetUri]) -> Answer:
    asset = call.services.store.get_asset(uri=call.query.uri)
    if asset is None:
        raise NotFound(f"Asset with URI {call.query.uri} not found")
    return Answer(body=asset_response(asset))


@routes.get("/by-alias", query=AssetAliasName)
def get_assets_by_alias(call: Call[None, AssetAliasName]) -> Answer:
    """The assets that events have come to through the alias."""
    store = call.services.store
    found = (store.get_asset(name=name, uri=uri) for name, uri in store.assets_of_alias(call.query.alias_name))
    return Answer(body=[asset_response(asset) for asset in found if asset])
