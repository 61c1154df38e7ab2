from typing import Any

from gust.execution_api.datamodels.base import Strict
from gust.http.check import Query
from gust.model.asset import Asset
from gust.model.dag_spec import AssetRef

KINDS = {"Asset": "asset", "AssetNameRef": "name_ref", "AssetUriRef": "uri_ref", "AssetAlias": "alias"}
TYPES = {kind: type_name for type_name, kind in KINDS.items()}


class AssetProfile(Strict):
    name: str | None = None
    uri: str | None = None
    type: str

    def to_ref(self) -> AssetRef | None:
        """`None` for an unknown type, which Airflow skips."""
        kind = KINDS.get(self.type)
        return None if kind is None else AssetRef.model_validate({"kind": kind, "name": self.name, "uri": self.uri})


class AssetName(Query):
    name: str


class AssetUri(Query):
    uri: str


class AssetAliasName(Query):
    alias_name: str


def asset_response(asset: Asset) -> dict[str, Any]:
    return {"name": asset.name, "uri": asset.uri, "group": asset.group, "extra": asset.extra}


def asset_profile(ref: AssetRef) -> dict[str, Any]:
    return {"name": ref.name, "uri": ref.uri, "type": TYPES[ref.kind]}
