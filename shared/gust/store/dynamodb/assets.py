"""Assets and their events."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Final

from gust.model.asset import Asset, AssetAlias, AssetEvent, AssetKey
from gust.model.history_query import ALL_ASSET_EVENTS, ANY_SOURCE, AssetEventQuery, AssetEventSource
from gust.model.window import OLDEST_FIRST, Window
from gust.store import items, keyspace
from gust.store.dynamodb.history import DynamoDBHistory, page_sizes, sort_bounds
from gust.store.keyspace import Key
from gust.store.parallel import Parallel
from gust.store.table import Expression, Table, key_of

_EVENTS_AT_A_TIME: Final = (60, 200, 400)


class DynamoDBAssets(DynamoDBHistory):
    """Implements `ports.AssetStore`."""

    _table: Table
    _parallel: Parallel

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

    def assets_at(self, uris: Collection[str]) -> dict[str, list[Asset]]:
        wanted = sorted(set(uris))
        found = self._parallel.map(lambda uri: sorted(self._assets_at(uri), key=lambda asset: asset.name), wanted)
        return {uri: assets for uri, assets in zip(wanted, found, strict=True) if assets}

    def list_asset_events(
        self, source: AssetEventSource = ANY_SOURCE, window: Window = OLDEST_FIRST, *, limit: int | None = None
    ) -> list[AssetEvent]:
        found: list[AssetEvent] = []
        for partition in self._partitions(source):
            pages = None if limit is None else page_sizes((limit, 10 * limit, 1000))
            found += islice(self._events_of(partition, source, window, pages), limit)
        return sorted(found, key=lambda event: (event.timestamp, event.event_id), reverse=not window.ascending)[:limit]

    def walk_events_of(self, source: AssetEventSource, window: Window) -> Iterator[AssetEvent]:
        (partition,) = self._partitions(source)
        return self._events_of(partition, source, window)

    def _events_of(
        self, partition: str, source: AssetEventSource, window: Window, pages: Iterator[int] | None = None
    ) -> Iterator[AssetEvent]:
        found = self._table.query_between(partition, *sort_bounds(window), ascending=window.ascending, pages=pages)
        events = (items.ASSET_EVENT.read(item) for item in found)
        return (event for event in events if _is_wanted(event, source))

    def walk_asset_events(self, query: AssetEventQuery = ALL_ASSET_EVENTS) -> Iterator[AssetEvent]:
        asset, window = query.asset, query.window
        if query.source_dag_id is not None or asset is None:
            keys = self._keys_of_asset_events(query)
            for size in page_sizes(_EVENTS_AT_A_TIME):
                if not (part := list(islice(keys, size))):
                    return
                stored = self._table.get_all(part)
                events = (items.ASSET_EVENT.read(stored[key]) for key in part if key in stored)
                yield from (event for event in events if asset in (None, event.asset))
            return
        of_asset = self._table.query_between(
            keyspace.events_of_asset(asset.name), *sort_bounds(window), ascending=window.ascending,
            pages=page_sizes(_EVENTS_AT_A_TIME),
        )  # fmt: skip
        yield from (event for item in of_asset if (event := items.ASSET_EVENT.read(item)).asset == asset)

    def count_asset_events(self, query: AssetEventQuery = ALL_ASSET_EVENTS, *, limit: int = 1000) -> int:
        asset = query.asset
        if asset is not None and query.source_dag_id is None and len(self.list_assets(name=asset.name)) == 1:
            of_asset = keyspace.events_of_asset(asset.name)
            return self._table.count_between(of_asset, *sort_bounds(query.window), limit=limit)
        if asset is not None:
            return sum(1 for _ in islice(self.walk_asset_events(query), limit))
        return sum(1 for _ in islice(self._keys_of_asset_events(query), limit))

    def _keys_of_asset_events(self, query: AssetEventQuery) -> Iterator[Key]:
        """Keys of events of all assets."""
        if query.source_dag_id is None:
            found = self._of_days(keyspace.ASSET_EVENTS.of_day, query.window, pages=_EVENTS_AT_A_TIME)
        else:
            of_dag = keyspace.ASSET_EVENTS.of_dag(query.source_dag_id)
            found = self._listed(keyspace.INDEX_LISTED, [of_dag], query.window, pages=_EVENTS_AT_A_TIME)
        return (key for _, key in found)

    def put_asset_alias(self, alias: AssetAlias) -> None:
        self._table.put(keyspace.asset_alias(alias.name), items.ASSET_ALIAS.item(alias))

    def list_asset_aliases(self) -> list[AssetAlias]:
        found = (items.ASSET_ALIAS.read(item) for item in self._table.query(keyspace.ASSET_ALIASES))
        return sorted(found, key=lambda alias: alias.name)

    def associate_alias(self, alias: str, asset: AssetKey) -> None:
        where = keyspace.asset_of_alias(alias, asset.name, asset.uri)
        listed = {
            "listed_pk": items.text(keyspace.ASSOCIATIONS),
            "listed_sk": items.text(keyspace.reference_order(where.pk)),
        }
        self._table.put(where, {"name": items.text(asset.name), "uri": items.text(asset.uri), **listed})

    def assets_of_alias(self, alias: str) -> list[AssetKey]:
        found = self._table.query(keyspace.assets_of_alias(alias))
        return sorted(AssetKey(item["name"]["S"], item["uri"]["S"]) for item in found)

    def assets_of_aliases(self) -> dict[str, list[AssetKey]]:
        found: dict[str, list[AssetKey]] = {}
        for item in self._table.query_index(keyspace.INDEX_LISTED, keyspace.ASSOCIATIONS):
            alias, name, uri = keyspace.alias_of(key_of(item))
            found.setdefault(alias, []).append(AssetKey(name, uri))
        return {alias: sorted(assets) for alias, assets in found.items()}

    def _partitions(self, source: AssetEventSource) -> Collection[str]:
        if source.alias is not None:
            return [keyspace.events_of_alias(source.alias)]
        if source.name is not None:
            return [keyspace.events_of_asset(source.name)]
        assets = self.list_assets() if source.uri is None else self._assets_at(source.uri)
        return sorted({keyspace.events_of_asset(asset.name) for asset in assets})

    def _assets_at(self, uri: str) -> Iterator[Asset]:
        for pointer in self._table.query(keyspace.ASSET_URIS, begins_with=keyspace.assets_at(uri)):
            item = self._table.get(keyspace.asset(*keyspace.asset_of_uri(key_of(pointer).sk)))
            if item is not None:
                yield items.ASSET.read(item)


def _is_wanted(event: AssetEvent, source: AssetEventSource) -> bool:
    return (
        source.name in (None, event.name)
        and source.uri in (None, event.uri)
        and (source.alias is None or source.alias in event.source_aliases)
    )
