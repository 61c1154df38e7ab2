"""Assets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from gust.model.asset import (
    Asset,
    AssetAlias,
    AssetEvent,
    AssetKey,
)
from gust.model.window import OLDEST_FIRST, Window


class AssetStore(Protocol):
    """Assets, their aliases and their events."""

    def put_asset(self, asset: Asset) -> None:
        """Store or replace by (name, uri); an existing asset keeps its `asset_id` and `created_at`."""

    def get_asset(self, *, name: str | None = None, uri: str | None = None) -> Asset | None: ...

    def list_assets(self, *, name: str | None = None, uri: str | None = None) -> list[Asset]:
        """All, those of one name, or those of one URI; in order of name and URI."""

    def list_asset_events(
        self,
        *,
        name: str | None = None,
        uri: str | None = None,
        alias: str | None = None,
        window: Window = OLDEST_FIRST,
        limit: int | None = None,
    ) -> list[AssetEvent]:
        """Events in order of time, from `after` to `before`, both included. By `uri` alone or without a filter: only events
        of stored assets."""

    def walk_asset_events(
        self, asset: AssetKey | None = None, window: Window = OLDEST_FIRST, *, source_dag_id: str | None = None
    ) -> Iterator[AssetEvent]:
        """Events of one asset, events that a DAG's tasks sent, or all events, in order of (timestamp, event_id), between the
        moments, both included. A lazy walk; may lag by a moment."""

    def count_asset_events(
        self,
        asset: AssetKey | None = None,
        window: Window = OLDEST_FIRST,
        *,
        source_dag_id: str | None = None,
        limit: int = 1000,
    ) -> int:
        """How many events `walk_asset_events` would return, counted up to `limit`."""

    def put_asset_alias(self, alias: AssetAlias) -> None: ...

    def list_asset_aliases(self) -> list[AssetAlias]:
        """By name."""

    def associate_alias(self, alias: str, asset: AssetKey) -> None:
        """Store that events of the asset come through the alias."""

    def assets_of_alias(self, alias: str) -> list[AssetKey]:
        """In order of name and URI."""

    def assets_of_aliases(self) -> dict[str, list[AssetKey]]:
        """Alias → its assets, for all aliases with assets. May lag by a moment."""
