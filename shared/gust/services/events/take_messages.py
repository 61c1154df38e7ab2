"""Makes events of assets of the messages that Lambda brings from a watched queue.

A message is one event of each asset whose watcher reads the queue, whichever number of watchers does: Airflow's watchers
would take messages away from each other. The event goes by the message's id, so a second delivery stores nothing. Lambda
deletes a message after its event is stored; every other message stays on its queue.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final
from uuid import UUID, uuid5

from gust.errors import ServiceUnavailable
from gust.model.asset import Asset, AssetEvent
from gust.model.watched_queue import QueueMessage, names_of
from gust.services.assets.register_asset_event import register_single_events
from gust.services.assets.tell_listeners import tell_of_events
from gust.services.assets.watchers import wake, wants_of_dags_with_a_file, wants_that_count
from gust.services.context import Services

NAMESPACE: Final = UUID("0c6ad3cf-5d58-5c0d-8a0f-3b5a0e5f7d52")

log = logging.getLogger(__name__)


def watch_queue(services: Services, arn: str) -> None:
    """Have no watcher poll the queue: those that would are at rest from their next life on. Repeating it changes nothing."""
    services.store.watch_source(arn)


def unwatch_queue(services: Services, arn: str) -> None:
    """Have the queue's watchers poll it again. Repeating it wakes them once more."""
    services.store.unwatch_source(arn)
    wake(services, [one.watcher_id for one in services.store.list_watchers() if one.queue in names_of(arn)])


def take_messages(services: Services, arn: str, messages: Sequence[QueueMessage]) -> list[str]:
    """Store the messages' events. Returns the ids of messages that must stay on the queue `arn`: those that cannot be
    stored, and all of a queue that no watcher reads. After one of a FIFO queue stays, the later ones of `messages` do."""
    assets, waiting = _readers(services, arn)
    if not assets:
        log.warning("No DAG has a watcher that reads %s: its messages stay there", arn)
        return [message.message_id for message in messages]
    return _stored(services, arn, messages, assets, waiting)


def _readers(services: Services, arn: str) -> tuple[list[Asset], frozenset[str]]:
    """The assets whose watchers read the queue for an active DAG, and no DAG. If all DAGs are paused, their assets and they
    themselves: a message waits for one to be unpaused, as it would on the queue."""
    watchers = [watcher for watcher in services.store.list_watchers() if watcher.queue in names_of(arn)]
    waiting: frozenset[str] = frozenset()
    wants = [want for watcher in watchers for want in wants_that_count(services, watcher)]
    if not wants:
        wants = [want for watcher in watchers for want in wants_of_dags_with_a_file(services, watcher)]
        waiting = frozenset(want.dag_id for want in wants)
    found = (services.store.get_asset(name=key.name, uri=key.uri) for key in sorted({want.asset for want in wants}))
    return [asset for asset in found if asset is not None], waiting


def _stored(
    services: Services, arn: str, messages: Sequence[QueueMessage], assets: Sequence[Asset], waiting: frozenset[str]
) -> list[str]:
    """All at once, and one by one where that fails: a bad one must not hold up the others. Returns the ids of bad ones."""
    events = [_event(services, arn, message, asset) for message in messages for asset in assets]
    try:
        register_single_events(services, events, even_if_paused=waiting)
        # After a crash before this, the messages come again.
        if (bundle := services.store.active_bundle()) is not None:
            tell_of_events(services, events, listeners=bundle.listeners, bundle_version=bundle.version)
    except Exception as error:
        if len(messages) == 1 or isinstance(error, ServiceUnavailable):
            log.exception("Messages of %s could not be stored", arn)
            return [message.message_id for message in messages]
        bad: list[str] = []
        for number, message in enumerate(messages):
            bad += _stored(services, arn, [message], assets, waiting)
            if bad and arn.endswith(".fifo"):
                return [later.message_id for later in messages[number:]]
        return bad
    return []


def _event(services: Services, arn: str, message: QueueMessage, asset: Asset) -> AssetEvent:
    return AssetEvent(
        event_id=str(uuid5(NAMESPACE, f"{arn}/{message.message_id}/{asset.name}/{asset.uri}")),
        name=asset.name,
        uri=asset.uri,
        group=asset.group,
        timestamp=services.clock.now(),
        extra={"from_trigger": True, "payload": message.payload},
    )
