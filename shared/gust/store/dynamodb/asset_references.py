"""Which schedules and tasks name which assets: the index by which an event finds its subscribers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from gust.model.asset import AssetKey, AssetReference
from gust.store import items, keyspace
from gust.store.items import Item
from gust.store.keyspace import Key
from gust.store.parallel import Parallel
from gust.store.table import Expression, Table, key_of

_FEW: Final = 10
"""Up to this many assets have their references queried one by one; for more, all references are read."""


class DynamoDBAssetReferences:
    """Implements `ports.AssetReferenceStore`."""

    _table: Table
    _parallel: Parallel

    def put_asset_reference(self, reference: AssetReference) -> None:
        kept = {"what": items.text(reference.what), "listed_pk": items.text(keyspace.REFERENCES)}
        kept["listed_sk"] = items.text(keyspace.reference_order(_key(reference).pk))
        if reference.created_at is not None:
            kept["created_at"] = items.moment(reference.created_at)
        self._table.update(_key(reference), Expression().keep(kept))

    def delete_asset_reference(self, reference: AssetReference) -> None:
        self._table.delete(_key(reference))

    def stored_references(self, references: Iterable[AssetReference]) -> list[AssetReference]:
        found = self._table.get_all(sorted({_key(reference) for reference in references}))
        return [_read(item) for _, item in sorted(found.items())]

    def references_to_asset(self, asset: AssetKey) -> list[AssetReference]:
        return self._references_to(asset, begins_with="")

    def references_to_assets(self, assets: Sequence[AssetKey]) -> dict[AssetKey, list[AssetReference]]:
        if len(assets) <= _FEW:
            return dict(zip(assets, self._parallel.map(self.references_to_asset, assets), strict=True))
        keys = sorted(key_of(item) for item in self._table.query_index(keyspace.INDEX_LISTED, keyspace.REFERENCES))
        found: dict[str, list[AssetReference]] = {}
        for key, item in sorted(self._table.get_all(keys).items()):
            found.setdefault(key.pk, []).append(_read(item))
        return {asset: _to_asset(asset, (found.get(pk, ()) for pk in _partitions(asset))) for asset in assets}

    def schedules_on_asset(self, asset: AssetKey) -> list[AssetReference]:
        return self._references_to(asset, begins_with="schedule#")

    def schedules_on_alias(self, alias: str) -> list[AssetReference]:
        return [_read(item) for item in self._table.query(keyspace.uses("ALIAS", alias), begins_with="schedule#")]

    def _references_to(self, asset: AssetKey, *, begins_with: str) -> list[AssetReference]:
        queries = (self._table.query(pk, begins_with=begins_with) for pk in _partitions(asset))
        return _to_asset(asset, (map(_read, found) for found in queries))


def _partitions(asset: AssetKey) -> tuple[str, str]:
    return keyspace.uses("NAME", asset.name), keyspace.uses("URI", asset.uri)


def _to_asset(asset: AssetKey, found: Iterable[Iterable[AssetReference]]) -> list[AssetReference]:
    """The references to the asset among all references to its name or its URI."""
    return [ref for of_partition in found for ref in of_partition if ref.what != "asset" or ref.uri == asset.uri]


def _key(reference: AssetReference) -> Key:
    by, value = {
        "asset": ("NAME", reference.name),
        "name_ref": ("NAME", reference.name),
        "uri_ref": ("URI", reference.uri),
        "alias": ("ALIAS", reference.name),
    }[reference.what]
    uri = reference.uri if reference.what == "asset" else ""
    return Key(keyspace.uses(by, value), keyspace.use(reference.use, uri, reference.dag_id, reference.task_id))


def _read(item: Item) -> AssetReference:
    key = key_of(item)
    _, by, value = key.pk.split("#")
    named = keyspace.unescape(value)
    use, uri, dag_id, task_id = keyspace.use_parts(key.sk)
    return AssetReference(
        use=use,  # type: ignore[arg-type]  # `_key` wrote it
        what=item["what"]["S"],
        dag_id=dag_id,
        task_id=task_id,
        name="" if by == "URI" else named,
        uri=named if by == "URI" else uri,
        created_at=keyspace.moment_from(item["created_at"]["S"]) if "created_at" in item else None,
    )
