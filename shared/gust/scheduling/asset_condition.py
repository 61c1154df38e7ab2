"""Whether the events that a DAG has waiting satisfy its schedule, in Airflow's own form of an asset expression.

    {"any": [{"asset": {"name": …, "uri": …, "group": …}}, {"alias": {"name": …}}, {"asset_ref": {"name": …}}]}

`any` and `all` nest at will. Rules: `airflow/assets/evaluation.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from gust.model.asset import AssetKey
from gust.model.dag_spec import AssetRef

Expression = dict[str, Any]


def is_satisfied(
    expression: Expression, having: Collection[AssetKey], *, assets_of_alias: Callable[[str], Iterable[AssetKey]]
) -> bool:
    """`assets_of_alias` tells which assets have come through an alias so far; any of them will do."""
    match expression:
        case {"all": list(parts)}:
            return all(is_satisfied(part, having, assets_of_alias=assets_of_alias) for part in parts)
        case {"any": list(parts)}:
            return any(is_satisfied(part, having, assets_of_alias=assets_of_alias) for part in parts)
        case {"asset": {"name": str(name), "uri": str(uri)}}:
            return AssetKey(name, uri) in having
        case {"asset_ref": {"name": str(name)}}:
            return any(asset.name == name for asset in having)
        case {"asset_ref": {"uri": str(uri)}}:
            return any(asset.uri == uri for asset in having)
        case {"alias": {"name": str(name)}}:
            return any(asset in having for asset in assets_of_alias(name))
        case _:
            raise ValueError(f"{expression} is no asset expression")


def named_in(expression: Expression | None) -> Iterator[AssetRef]:
    """Every asset, reference and alias in the expression, as often as it stands there."""
    match expression:
        case {"all": list(parts)} | {"any": list(parts)}:
            for part in parts:
                yield from named_in(part)
        case {"asset": {"name": str(name), "uri": str(uri), **rest}}:
            yield AssetRef(kind="asset", name=name, uri=uri, group=str(rest.get("group", "asset")))
        case {"asset_ref": {"name": str(name)}}:
            yield AssetRef(kind="name_ref", name=name)
        case {"asset_ref": {"uri": str(uri)}}:
            yield AssetRef(kind="uri_ref", uri=uri)
        case {"alias": {"name": str(name), **rest}}:
            yield AssetRef(kind="alias", name=name, group=str(rest.get("group", "asset")))
        case _:
            pass  # no expression, or one of a form that names no asset
