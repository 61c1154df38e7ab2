"""Which schedules and tasks name which assets, in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gust.model.asset import (
    AssetKey,
    AssetReference,
)
from gust.store.memory.state import MemoryState, ReferenceKey, atomic


class MemoryAssetReferences(MemoryState):
    """Implements `ports.AssetReferenceStore`."""

    @atomic
    def put_asset_reference(self, reference: AssetReference) -> None:
        self._references.setdefault(_reference_key(reference), reference)

    @atomic
    def delete_asset_reference(self, reference: AssetReference) -> None:
        self._references.pop(_reference_key(reference), None)

    @atomic
    def stored_references(self, references: Iterable[AssetReference]) -> list[AssetReference]:
        keys = sorted({_reference_key(reference) for reference in references})
        return [self._references[key] for key in keys if key in self._references]

    @atomic
    def references_to_asset(self, asset: AssetKey) -> list[AssetReference]:
        return [found for _, found in sorted(self._references.items()) if _names(found, asset)]

    def references_to_assets(self, assets: Sequence[AssetKey]) -> dict[AssetKey, list[AssetReference]]:
        return {asset: self.references_to_asset(asset) for asset in assets}

    def schedules_on_asset(self, asset: AssetKey) -> list[AssetReference]:
        return [found for found in self.references_to_asset(asset) if found.use == "schedule"]

    @atomic
    def schedules_on_alias(self, alias: str) -> list[AssetReference]:
        of_alias = [r for _, r in sorted(self._references.items()) if r.what == "alias" and r.name == alias]
        return [found for found in of_alias if found.use == "schedule"]


def _reference_key(reference: AssetReference) -> ReferenceKey:
    by = {"asset": "NAME", "name_ref": "NAME", "uri_ref": "URI", "alias": "ALIAS"}[reference.what]
    named = reference.uri if by == "URI" else reference.name
    uri = reference.uri if reference.what == "asset" else ""
    return by, named, reference.use, uri, reference.dag_id, reference.task_id


def _names(reference: AssetReference, asset: AssetKey) -> bool:
    match reference.what:
        case "asset":
            return reference.asset == asset
        case "name_ref":
            return reference.name == asset.name
        case "uri_ref":
            return reference.uri == asset.uri
        case "alias":
            return False
