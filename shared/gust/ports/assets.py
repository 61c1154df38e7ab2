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
        """Store or replace by (name, uri); keeps `asset_id` and `created_at` of what is there."""

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
        """In order of time, from `after` to `before`, both included. By `uri` alone or by nothing at all: events of
        assets that `put_asset` knows."""

    def walk_asset_events(
        self, asset: AssetKey | None = None, window: Window = OLDEST_FIRST, *, source_dag_id: str | None = None
    ) -> Iterator[AssetEvent]:
        """Of one asset, of those that a DAG's tasks sent, or all of them, in order of (timestamp, event_id), between the
        moments, both included. Read as far as they are asked for; may lag by a moment."""

    def count_asset_events(
        self,
        asset: AssetKey | None = None,
        window: Window = OLDEST_FIRST,
        *,
        source_dag_id: str | None = None,
        limit: int = 1000,
    ) -> int:
        """How many `walk_asset_events` would read, counted no further than `most`."""

    def put_asset_alias(self, alias: AssetAlias) -> None: ...

    def list_asset_aliases(self) -> list[AssetAlias]:
        """By name."""

    def associate_alias(self, alias: str, asset: AssetKey) -> None:
        """Note that events of the asset come through the alias."""

    def assets_of_alias(self, alias: str) -> list[AssetKey]:
        """In order of name and URI."""

    def assets_of_aliases(self) -> dict[str, list[AssetKey]]:
        """`assets_of_alias` of all aliases that have some. May lag by a moment."""
