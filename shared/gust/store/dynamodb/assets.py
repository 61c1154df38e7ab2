"""Assets and their events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Final

from gust.model.asset import Asset, AssetAlias, AssetEvent, AssetKey
from gust.store import items, keyspace
from gust.store.table import Expression, Table, key_of

_EARLIEST: Final = "0"
"""Sorts before every moment."""
_LATEST: Final = "~"
"""Sorts after every moment."""


class DynamoDBAssets:
    """Implements `services.ports.AssetStore`."""

    _table: Table

    def put_asset(self, asset: Asset) -> None:
        """The pointer by URI goes first: alone it finds nothing, and the repeated write completes it."""
        self._table.put(keyspace.asset_uri(asset.name, asset.uri), {})
        kept = {"asset_id": items.number(asset.asset_id)}
        if asset.created_at is not None:
            kept["created_at"] = items.moment(asset.created_at)
        written = {
            "name": asset.name,
            "uri": asset.uri,
            "group": asset.group,
            "extra": asset.extra,
            "updated_at": asset.updated_at,
        }
        self._table.update(
            keyspace.asset(asset.name, asset.uri), Expression().change(items.ASSET.attributes(written)).keep(kept)
        )

    def get_asset(self, *, name: str | None = None, uri: str | None = None) -> Asset | None:
        if name is not None and uri is not None:
            item = self._table.get(keyspace.asset(name, uri))
            return None if item is None else items.ASSET.read(item)
        if name is not None:
            found = self._table.query(keyspace.ASSETS, begins_with=keyspace.assets_named(name))
            return min((items.ASSET.read(item) for item in found), key=lambda asset: asset.uri, default=None)
        if uri is not None:
            return min(self._assets_at(uri), key=lambda asset: asset.name, default=None)
        return None

    def list_assets(self, *, name: str | None = None, uri: str | None = None) -> list[Asset]:
        found: Iterable[Asset]
        if uri is not None:
            found = (asset for asset in self._assets_at(uri) if name in (None, asset.name))
        else:
            begin = "" if name is None else keyspace.assets_named(name)
            found = (items.ASSET.read(item) for item in self._table.query(keyspace.ASSETS, begins_with=begin))
        return sorted(found, key=lambda asset: (asset.name, asset.uri))

    def list_asset_events(
        self,
        *,
        name: str | None = None,
        uri: str | None = None,
        alias: str | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
        ascending: bool = True,
        limit: int | None = None,
    ) -> list[AssetEvent]:
        first = _EARLIEST if after is None else keyspace.moment(after)
        last = _LATEST if before is None else keyspace.moment(before) + _LATEST
        found: list[AssetEvent] = []
        for partition in self._partitions(name, uri, alias):
            of_partition = self._table.query_between(partition, first, last, ascending=ascending)
            events = (items.ASSET_EVENT.read(item) for item in of_partition)
            found += islice((event for event in events if _is_wanted(event, name, uri, alias)), limit)
        return sorted(found, key=lambda event: (event.timestamp, event.event_id), reverse=not ascending)[:limit]

    def put_asset_alias(self, alias: AssetAlias) -> None:
        self._table.put(keyspace.asset_alias(alias.name), items.ASSET_ALIAS.item(alias))

    def list_asset_aliases(self) -> list[AssetAlias]:
        found = (items.ASSET_ALIAS.read(item) for item in self._table.query(keyspace.ASSET_ALIASES))
        return sorted(found, key=lambda alias: alias.name)

    def associate_alias(self, alias: str, asset: AssetKey) -> None:
        item = {"name": items.text(asset.name), "uri": items.text(asset.uri)}
        self._table.put(keyspace.asset_of_alias(alias, asset.name, asset.uri), item)

    def assets_of_alias(self, alias: str) -> list[AssetKey]:
        found = self._table.query(keyspace.assets_of_alias(alias))
        return sorted(AssetKey(item["name"]["S"], item["uri"]["S"]) for item in found)

    def _partitions(self, name: str | None, uri: str | None, alias: str | None) -> Iterable[str]:
        if alias is not None:
            return [keyspace.events_of_alias(alias)]
        if name is not None:
            return [keyspace.events_of_asset(name)]
        assets = self.list_assets() if uri is None else self._assets_at(uri)
        return sorted({keyspace.events_of_asset(asset.name) for asset in assets})

    def _assets_at(self, uri: str) -> Iterator[Asset]:
        for pointer in self._table.query(keyspace.ASSET_URIS, begins_with=keyspace.assets_at(uri)):
            item = self._table.get(keyspace.asset(*keyspace.asset_of_uri(key_of(pointer).sk)))
            if item is not None:
                yield items.ASSET.read(item)


def _is_wanted(event: AssetEvent, name: str | None, uri: str | None, alias: str | None) -> bool:
    return name in (None, event.name) and uri in (None, event.uri) and (alias is None or alias in event.source_aliases)
