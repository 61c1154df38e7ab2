"""Assets, their aliases and their events, in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from gust.model.asset import Asset, AssetAlias, AssetEvent, AssetKey
from gust.model.history_query import ALL_ASSET_EVENTS, ANY_SOURCE, AssetEventQuery, AssetEventSource
from gust.model.window import OLDEST_FIRST, Window
from gust.store import items, keyspace
from gust.store.memory.state import MemoryState, as_stored, atomic, check_fits


class MemoryAssets(MemoryState):
    """Implements `ports.AssetStore`."""

    @atomic
    def put_asset(self, asset: Asset) -> None:
        keyspace.asset(asset.name, asset.uri)
        check_fits(items.ASSET.item(asset))
        current = self._assets.get((asset.name, asset.uri))
        if current is not None:
            asset = replace(asset, asset_id=current.asset_id, created_at=current.created_at or asset.created_at)
        self._assets[asset.name, asset.uri] = as_stored(asset)

    @atomic
    def get_asset(self, *, name: str | None = None, uri: str | None = None) -> Asset | None:
        found = (a for _, a in sorted(self._assets.items()) if name in (None, a.name) and uri in (None, a.uri))
        first = None if name is None and uri is None else next(found, None)
        return None if first is None else as_stored(first)

    @atomic
    def list_assets(self, *, name: str | None = None, uri: str | None = None) -> list[Asset]:
        return [
            as_stored(asset)
            for _, asset in sorted(self._assets.items())
            if name in (None, asset.name) and uri in (None, asset.uri)
        ]

    @atomic
    def put_asset_alias(self, alias: AssetAlias) -> None:
        self._aliases[alias.name] = alias

    @atomic
    def list_asset_aliases(self) -> list[AssetAlias]:
        return [alias for _, alias in sorted(self._aliases.items())]

    @atomic
    def associate_alias(self, alias: str, asset: AssetKey) -> None:
        self._of_alias[alias].add(AssetKey(*asset))

    @atomic
    def assets_of_alias(self, alias: str) -> list[AssetKey]:
        return sorted(self._of_alias[alias])

    @atomic
    def assets_of_aliases(self) -> dict[str, list[AssetKey]]:
        return {alias: sorted(assets) for alias, assets in self._of_alias.items() if assets}

    def assets_at(self, uris: Collection[str]) -> dict[str, list[Asset]]:
        return {uri: found for uri in sorted(set(uris)) if (found := self.list_assets(uri=uri))}

    @atomic
    def list_asset_events(
        self, source: AssetEventSource = ANY_SOURCE, window: Window = OLDEST_FIRST, *, limit: int | None = None
    ) -> list[AssetEvent]:
        name, uri, alias = source.name, source.uri, source.alias
        known = {asset.name for asset in self._assets.values() if uri in (None, asset.uri)}
        found = [
            as_stored(event)
            for event in self._asset_events.values()
            if (name == event.name if name is not None else alias is not None or event.name in known)
            and uri in (None, event.uri)
            and (alias is None or alias in event.source_aliases)
            and window.holds(event.timestamp)
        ]
        return sorted(found, key=lambda e: (e.timestamp, e.event_id), reverse=not window.ascending)[:limit]

    def walk_events_of(self, source: AssetEventSource, window: Window) -> Iterator[AssetEvent]:
        return iter(self.list_asset_events(source, window))

    @atomic
    def walk_asset_events(self, query: AssetEventQuery = ALL_ASSET_EVENTS) -> Iterator[AssetEvent]:
        found = [
            as_stored(event)
            for event in self._asset_events.values()
            if query.asset in (None, event.asset)
            and query.source_dag_id in (None, event.source_dag_id)
            and query.window.holds(event.timestamp)
        ]
        return query.window.in_order(sorted(found, key=lambda e: (e.timestamp, e.event_id)))

    def count_asset_events(self, query: AssetEventQuery = ALL_ASSET_EVENTS, *, limit: int = 1000) -> int:
        return len(list(self.walk_asset_events(query))[:limit])
