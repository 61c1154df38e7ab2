from gust.errors import NotFound
from gust.execution_api.datamodels.asset import AssetAliasName, AssetName, AssetUri, asset_response
from gust.execution_api.routing import Call, Routes
from gust.http.answer import Answer
from gust.model.asset import Asset

routes = Routes("/assets")


@routes.get("/by-name", query=AssetName)
def get_asset_by_name(call: Call[None, AssetName]) -> Answer:
    return _answer(call.services.store.get_asset(name=call.query.name), f"name {call.query.name}")


@routes.get("/by-uri", query=AssetUri)
def get_asset_by_uri(call: Call[None, AssetUri]) -> Answer:
    return _answer(call.services.store.get_asset(uri=call.query.uri), f"URI {call.query.uri}")


@routes.get("/by-alias", query=AssetAliasName)
def get_assets_by_alias(call: Call[None, AssetAliasName]) -> Answer:
    """The assets whose events named the alias."""
    store = call.services.store
    found = (store.get_asset(name=name, uri=uri) for name, uri in store.assets_of_alias(call.query.alias_name))
    return Answer(body=[asset_response(asset) for asset in found if asset])


def _answer(asset: Asset | None, name: str) -> Answer:
    if asset is None:
        raise NotFound(f"Asset with {name} not found")
    return Answer(body=asset_response(asset))
