"""Which assets are active.

Airflow allows one active asset per name and one per URI. If DAGs name two assets that share one of these, the first one is
active, and tasks that name the other one fail before they begin. An asset that no DAG names any longer blocks no other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from gust.model.asset import Asset, AssetKey
from gust.model.dag_spec import AssetRef, DagSpec
from gust.services.context import Services
from gust.services.specs import load_spec

_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


def inactive_assets(services: Services, refs: Iterable[AssetRef]) -> list[AssetRef]:
    """The references that lead to no active asset, each once, in their order."""
    named = {(ref.name, ref.uri): ref for ref in refs if ref.kind == "asset"}
    return [ref for ref in named.values() if not _is_active(services, ref)]


def active_among(services: Services, candidates: Iterable[Asset], everything: Iterable[Asset]) -> set[AssetKey]:
    """The candidates that share neither name nor URI with an earlier active asset. `everything`: all assets."""
    known = list(everything)
    names, uris = Counter(asset.name for asset in known), Counter(asset.uri for asset in known)
    return {
        asset.key
        for asset in candidates
        if (names[asset.name] <= 1 and uris[asset.uri] <= 1)
        or _is_active(services, AssetRef(name=asset.name, uri=asset.uri))
    }


def _is_active(services: Services, ref: AssetRef) -> bool:
    rivals = {
        (asset.name, asset.uri): asset
        for asset in (*services.store.list_assets(name=ref.name or ""), *services.store.list_assets(uri=ref.uri or ""))
    }
    asset = rivals.pop((ref.name or "", ref.uri or ""), None)
    if asset is None:
        return False
    earlier = {key for key, rival in rivals.items() if _age(rival) < _age(asset)}
    return not earlier or earlier.isdisjoint(_named_by_dags(services))


def _age(asset: Asset) -> tuple[datetime, str, str]:
    return (asset.created_at or _LONG_AGO, asset.name, asset.uri)


def _named_by_dags(services: Services) -> set[tuple[str, str]]:
    """(name, uri) of every asset that DAGs name now. Reads every DAG, so it is called only to decide a conflict."""
    specs = (load_spec(services.objects, dag.spec_key) for dag in services.store.list_dags() if not dag.is_stale)
    return {named for spec in specs for named in _named_by(spec)}


def _named_by(spec: DagSpec) -> Iterator[tuple[str, str]]:
    for task in spec.tasks.values():
        for ref in (*task.inlets, *task.outlets):
            if ref.kind == "asset":
                yield ref.name or "", ref.uri or ""
    yield from _named_in(spec.timetable.asset_expression)


def _named_in(expression: Any) -> Iterator[tuple[str, str]]:
    """(name, uri) of the assets in an expression of Airflow's form: `{"any": [{"asset": {"name": …, "uri": …}},
    {"alias": …}]}`, nested to any depth."""
    match expression:
        case {"asset": {"name": str(name), "uri": str(uri)}}:
            yield name, uri
        case {"any": list(parts)} | {"all": list(parts)}:
            for part in parts:
                yield from _named_in(part)
        case _:
            pass
