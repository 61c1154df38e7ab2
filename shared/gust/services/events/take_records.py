"""Makes events of assets of the records that Lambda brings from a watched Kinesis stream.

The place of each asset in the stream stays where Airflow's trigger keeps it, in the asset's state store, so that the change
from polling to Lambda and back neither skips nor repeats what is known to be stored. An event's id follows from its records:
a batch that comes again stores nothing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid5

from gust.errors import Invalid
from gust.model.asset import Asset, AssetEvent, AssetKey
from gust.model.logged_event import LoggedEvent
from gust.model.measurement import Measurement
from gust.model.state_entry import StateEntry
from gust.model.watched_stream import MOST_BYTES, StreamReader, StreamRecord, in_batches, names_of_stream
from gust.model.watcher import Watcher
from gust.services.assets.register_asset_event import register_single_events
from gust.services.assets.tell_listeners import tell_of_events
from gust.services.assets.watchers import wake, wants_of_dags_with_a_file, wants_that_count
from gust.services.context import Services
from gust.services.events.start_by_event import REFUSED

NAMESPACE: Final = UUID("5d1f0a7e-4b5c-5f0e-9d8e-7c0a3d2b9f41")

log = logging.getLogger(__name__)


class _Reading(NamedTuple):
    """An asset whose watchers read the stream."""

    asset: Asset
    watcher: Watcher
    reader: StreamReader
    waiting: frozenset[str]
    """DAGs that get the event though they are paused, because all that want it are."""


def watch_stream(services: Services, arn: str) -> None:
    """Have no watcher poll the stream: those that would rest from their next life on. Repeating it changes nothing."""
    services.store.watch_source(arn)


def unwatch_stream(services: Services, arn: str) -> None:
    """Have the stream's watchers poll it again, from where Lambda has come to. Its mapping must be gone. Repeating it wakes
    them once more."""
    watchers = [watcher for watcher, _ in _watchers_of(services, arn)]
    for watcher, reader in _watchers_of(services, arn):
        for asset in sorted({want.asset for want in watcher.wants}):
            _hand_back(services, asset, reader)
    services.store.unwatch_source(arn)
    wake(services, [watcher.watcher_id for watcher in watchers])


def take_records(services: Services, arn: str, records: Sequence[StreamRecord]) -> None:
    """Store the records' events, a hundred records in each. If it raises, Lambda brings the records again."""
    for reading in _readings(services, arn):
        for shard_id in sorted({record.shard_id for record in records}):
            _take(services, arn, reading, shard_id, [record for record in records if record.shard_id == shard_id])


def _watchers_of(services: Services, arn: str) -> list[tuple[Watcher, StreamReader]]:
    names = names_of_stream(arn)
    found = ((watcher, watcher.stream) for watcher in services.store.list_watchers())
    return [(watcher, reader) for watcher, reader in found if reader is not None and reader.stream in names]


def _readings(services: Services, arn: str) -> list[_Reading]:
    """One for each asset and place in the stream: watchers of one asset that differ in other arguments share their place."""
    found: dict[tuple[AssetKey, str], _Reading] = {}
    for watcher, reader in _watchers_of(services, arn):
        counting = wants_that_count(services, watcher)
        for want in wants_of_dags_with_a_file(services, watcher):
            is_active = any(other.asset == want.asset for other in counting)
            paused = frozenset() if is_active else frozenset({want.dag_id})
            known = found.get((want.asset, reader.checkpoint))
            asset = known.asset if known else services.store.get_asset(name=want.asset.name, uri=want.asset.uri)
            if asset is None:
                continue
            if known is None:
                found[want.asset, reader.checkpoint] = _Reading(asset, watcher, reader, paused)
            elif known.waiting:
                found[want.asset, reader.checkpoint] = known._replace(
                    waiting=known.waiting | paused if paused else paused
                )
    return list(found.values())


def _take(services: Services, arn: str, reading: _Reading, shard_id: str, records: Sequence[StreamRecord]) -> None:
    place = _place(services, reading.asset.key, reading.reader, shard_id)
    fresh = [record for record in records if _is_fresh(record, reading, place)]
    if not fresh:
        return
    batches = []
    for batch in in_batches(fresh):
        if len(batch) == 1 and (length := len(batch[0].data)) > MOST_BYTES:
            reason = f"a record of {length} bytes in base64 is too large for an event"
            _refuse(services, arn, reading.asset, batch[0], reason)
        else:
            batches.append(batch)
    events = _store(services, arn, reading, batches)
    if events and (bundle := services.store.active_bundle()) is not None:
        tell_of_events(services, events, listeners=bundle.listeners, bundle_version=bundle.version)
    # After a crash before this, the records come again, and their events are known.
    _keep(services, reading.asset.key, reading.reader.checkpoint_of(shard_id), fresh[-1].sequence_number)


def _store(
    services: Services, arn: str, reading: _Reading, batches: Sequence[Sequence[StreamRecord]]
) -> list[AssetEvent]:
    """Make an event of each batch, and return the events. A record that the store takes in no event is refused."""
    events = [_event(services, arn, reading.asset, batch) for batch in batches]
    try:
        register_single_events(services, events, even_if_paused=reading.waiting)
    except Invalid as refused:
        parts: Sequence[Sequence[Sequence[StreamRecord]]]
        if len(batches) > 1:
            parts = [[batch] for batch in batches]
        elif len(batches[0]) > 1:
            parts = [[[record]] for record in batches[0]]
        else:
            _refuse(services, arn, reading.asset, batches[0][0], f"the store refuses a record: {refused}")
            return []
        return [event for part in parts for event in _store(services, arn, reading, part)]
    return events


def _is_fresh(record: StreamRecord, reading: _Reading, place: str | None) -> bool:
    if place is not None:
        return int(record.sequence_number) > int(place)
    began = reading.watcher.created_at
    return reading.reader.from_start or began is None or record.arrived_at >= began


def _place(services: Services, asset: AssetKey, reader: StreamReader, shard_id: str) -> str | None:
    """The sequence number that a watcher or Lambda has come to."""
    own = services.store.get_asset_state(asset, reader.checkpoint_of(shard_id))
    found = [own.value if own else None, _checkpoint(services, asset, reader).get(shard_id)]
    return max((one for one in found if isinstance(one, str) and one.isdigit()), key=int, default=None)


def _checkpoint(services: Services, asset: AssetKey, reader: StreamReader) -> dict[str, Any]:
    kept = services.store.get_asset_state(asset, reader.checkpoint)
    return kept.value if kept is not None and isinstance(kept.value, dict) else {}


def _hand_back(services: Services, asset: AssetKey, reader: StreamReader) -> None:
    """Move the places of Lambda to where the trigger looks for its own."""
    prefix = reader.checkpoint_of("")
    shards = [
        entry.key.removeprefix(prefix)
        for entry in services.store.list_asset_state(asset)
        if entry.key.startswith(prefix)
    ]
    if not shards:
        return
    places = {shard_id: _place(services, asset, reader, shard_id) for shard_id in shards}
    _keep(services, asset, reader.checkpoint, _checkpoint(services, asset, reader) | places)
    for shard_id in shards:
        services.store.delete_asset_state(asset, reader.checkpoint_of(shard_id))


def _keep(services: Services, asset: AssetKey, key: str, value: Any) -> None:
    now = services.clock.now()
    services.store.put_asset_state(
        asset, StateEntry(key=key, value=value, updated_at=now, last_updated_by={"kind": "watcher"})
    )


def _event(services: Services, arn: str, asset: Asset, batch: Sequence[StreamRecord]) -> AssetEvent:
    first, last = batch[0], batch[-1]
    # Both ends: a batch that comes again with other records at its end must not pass for this one.
    identity = f"{arn}/{first.shard_id}/{first.sequence_number}/{last.sequence_number}/{asset.name}/{asset.uri}"
    return AssetEvent(
        event_id=str(uuid5(NAMESPACE, identity)),
        name=asset.name,
        uri=asset.uri,
        group=asset.group,
        timestamp=services.clock.now(),
        extra={
            "from_trigger": True,
            "payload": {"status": "success", "message_batch": [record.message for record in batch]},
        },
    )


def _refuse(services: Services, arn: str, asset: Asset, record: StreamRecord, reason: str) -> None:
    """It would hold up its shard until it expires."""
    services.metrics.add([Measurement("EventsRefused", 1)])
    about = {
        "reason": reason,
        "stream": arn,
        "shard_id": record.shard_id,
        "sequence_number": record.sequence_number,
        "asset": asset.name,
    }
    log.warning("A record makes no event: %s", about)
    services.store.log_event(
        LoggedEvent(
            when=services.clock.now(),
            event=REFUSED,
            owner="kinesis",
            owner_display_name="kinesis",
            extra=json.dumps(about),
        )
    )
