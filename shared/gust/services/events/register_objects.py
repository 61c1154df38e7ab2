"""Makes events of assets of the objects that were created under their URIs.

The cost of an object grows with the depth of its key, not with the number of assets: each folder above it is one look into
the index of assets by URI, and objects of a batch share these.
"""

from __future__ import annotations

from collections.abc import Sequence

from gust.model.asset import Asset, AssetEvent, AssetKey
from gust.model.object_created import ObjectCreated, counts_for
from gust.services.assets.register_asset_event import register_single_events
from gust.services.assets.tell_listeners import tell_of_events
from gust.services.context import Services


def register_objects(services: Services, objects: Sequence[ObjectCreated]) -> int:
    """Store an event of each asset that an object counts for, and queue it for the DAGs that listen; repeating it stores
    nothing. Returns the number of events, those stored before included.

    An asset that no DAG names has no events: nothing could show them, and a bucket may be full of objects."""
    files = [one for one in objects if not one.is_folder]
    assets = services.store.assets_at({uri for one in files for uri in one.uris})
    named: dict[AssetKey, bool] = {}

    def is_named(asset: Asset) -> bool:
        if asset.key not in named:
            named[asset.key] = bool(services.store.references_to_asset(asset.key))
        return named[asset.key]

    events: dict[str, AssetEvent] = {}
    for one in files:
        for uri, name in one.uris.items():
            for asset in assets.get(uri, ()):
                if counts_for(asset, name) and is_named(asset):
                    event = event_of(services, one, asset)
                    events[event.event_id] = event
    if not events:
        return 0
    # First, so that a crash before the write has them told again rather than never.
    if (bundle := services.store.active_bundle()) is not None:
        tell_of_events(services, list(events.values()), listeners=bundle.listeners, bundle_version=bundle.version)
    register_single_events(services, list(events.values()))
    return len(events)


def event_of(services: Services, created: ObjectCreated, asset: Asset) -> AssetEvent:
    return AssetEvent(
        event_id=created.event_id_for(asset.key),
        name=asset.name,
        uri=asset.uri,
        group=asset.group,
        timestamp=services.clock.now(),
        extra=created.extra,
    )
