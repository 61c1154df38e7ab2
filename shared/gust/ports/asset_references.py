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
        """Store the reference. If it is stored already, its `created_at` stays."""

    def delete_asset_reference(self, reference: AssetReference) -> None:
        """Deleting nothing is no error."""

    def stored_references(self, references: Iterable[AssetReference]) -> list[AssetReference]:
        """The references of these that are stored, with their `created_at`."""

    def references_to_asset(self, asset: AssetKey) -> list[AssetReference]:
        """References by name and URI, by name alone and by URI alone."""

    def references_to_assets(self, assets: Sequence[AssetKey]) -> dict[AssetKey, list[AssetReference]]:
        """asset → `references_to_asset`, read in parallel. For many assets it may lag by a moment."""

    def schedules_on_asset(self, asset: AssetKey) -> list[AssetReference]:
        """The schedules among `references_to_asset`. Reads schedules only."""

    def schedules_on_alias(self, alias: str) -> list[AssetReference]:
        """The schedules that name the alias."""
