"""Assets."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Protocol

from gust.model.asset import Asset, AssetAlias, AssetEvent, AssetKey
from gust.model.history_query import ALL_ASSET_EVENTS, ANY_SOURCE, AssetEventQuery, AssetEventSource
from gust.model.window import OLDEST_FIRST, Window


class AssetStore(Protocol):
    """Assets, their aliases and their events."""

    def put_asset(self, asset: Asset) -> None:
        """Store or replace by (name, uri); a stored `asset_id` and `created_at` stay."""

    def get_asset(self, *, name: str | None = None, uri: str | None = None) -> Asset | None:
        """The asset of this name and URI, as far as given; of several, the first in order. `None` if there is none."""

    def list_assets(self, *, name: str | None = None, uri: str | None = None) -> list[Asset]:
        """The assets of this name and URI, where given; in order of name and URI."""

    def assets_at(self, uris: Collection[str]) -> dict[str, list[Asset]]:
        """URI → the assets there, for the URIs that have any. Reads in proportion to the URIs, not to the assets."""

    def list_asset_events(
        self, source: AssetEventSource = ANY_SOURCE, window: Window = OLDEST_FIRST, *, limit: int | None = None
    ) -> list[AssetEvent]:
        """Events of the source whose timestamp lies in the window; at most `limit`, in order of (timestamp, event_id).
        Without name and alias it finds events of the assets that `put_asset` stored."""

    def walk_events_of(self, source: AssetEventSource, window: Window) -> Iterator[AssetEvent]:
        """What `list_asset_events` finds of a name or an alias. Reads as far as the caller iterates."""

    def walk_asset_events(self, query: AssetEventQuery = ALL_ASSET_EVENTS) -> Iterator[AssetEvent]:
        """In order of (timestamp, event_id). Reads as far as the caller iterates. May lag by a moment."""

    def count_asset_events(self, query: AssetEventQuery = ALL_ASSET_EVENTS, *, limit: int = 1000) -> int:
        """How many events `walk_asset_events` yields, at most `limit`."""

    def put_asset_alias(self, alias: AssetAlias) -> None:
        """Store or replace by name."""

    def list_asset_aliases(self) -> list[AssetAlias]:
        """In order of name."""

    def associate_alias(self, alias: str, asset: AssetKey) -> None:
        """Note that events of the asset come through the alias."""

    def assets_of_alias(self, alias: str) -> list[AssetKey]:
        """The assets associated with the alias, in order of name and URI."""

    def assets_of_aliases(self) -> dict[str, list[AssetKey]]:
        """alias → `assets_of_alias`, for the aliases that have any. May lag by a moment."""
