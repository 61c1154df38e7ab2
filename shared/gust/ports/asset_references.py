"""Which schedules and tasks name which assets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from gust.model.asset import (
    AssetKey,
    AssetReference,
)


class AssetReferenceStore(Protocol):
    """Which schedules and tasks name which assets."""

    def put_asset_reference(self, reference: AssetReference) -> None:
        """Store once: `created_at` of what is there stays."""

    def delete_asset_reference(self, reference: AssetReference) -> None: ...

    def stored_references(self, references: Iterable[AssetReference]) -> list[AssetReference]:
        """Those of them that are stored, with their `created_at`."""

    def references_to_asset(self, asset: AssetKey) -> list[AssetReference]:
        """By name and URI, by name alone and by URI alone."""

    def references_to_assets(self, assets: Sequence[AssetKey]) -> dict[AssetKey, list[AssetReference]]:
        """`references_to_asset` of each, read at once. Of many it may lag by a moment."""

    def schedules_on_asset(self, asset: AssetKey) -> list[AssetReference]:
        """Of `references_to_asset`, the schedules. Costs what there is of them."""

    def schedules_on_alias(self, alias: str) -> list[AssetReference]: ...
