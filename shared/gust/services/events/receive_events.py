"""Sorts the messages of EventBridge's rules and hands each kind to its service."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping

from gust.errors import ServiceUnavailable
from gust.model.object_created import ObjectCreated
from gust.services.context import Services
from gust.services.events.register_objects import register_objects
from gust.services.events.start_by_event import Matched, start_by_events

log = logging.getLogger(__name__)


def receive_events(
    services: Services, messages: Mapping[str, str], *, delivery: int = 1, clock: Callable[[], float] = time.monotonic
) -> list[str]:
    """Name → body of each message; `delivery`: how often one of them has come, this time included. Returns the names of
    those that failed; all others are done, and repeating them changes nothing."""
    objects: dict[str, ObjectCreated] = {}
    matched: dict[str, Matched] = {}
    failed: set[str] = set()
    for name, body in messages.items():
        try:
            match read_message(body):
                case ObjectCreated() as created:
                    objects[name] = created
                case Matched() as found:
                    matched[name] = found
        except Exception:
            log.exception("A message could not be handled: %.1000s", body)
            failed.add(name)
    failed.update(_objects(services, objects))
    try:
        failed |= start_by_events(services, matched, delivery=delivery, clock=clock)
    except Exception:
        log.exception("Entries could not be read")
        failed.update(matched)
    return [name for name in messages if name in failed]


def read_message(body: str) -> ObjectCreated | Matched:
    """Raises ValueError for a message that no rule of the stack sends."""
    match json.loads(body):
        case {"pattern": str(pattern_id), "event": {"id": str(), "time": str()} as event}:
            return Matched(pattern_id, event)
        case {"source": "aws.s3"} as event:
            return ObjectCreated.from_event(event)
        case _:
            raise ValueError("No rule of the stack sends this")


def _objects(services: Services, objects: Mapping[str, ObjectCreated]) -> list[str]:
    """All at once, and one by one where that fails: a bad one must not hold up the others."""
    try:
        register_objects(services, list(objects.values()))
    except Exception as error:
        if len(objects) == 1 or isinstance(error, ServiceUnavailable):
            log.exception("Objects could not be registered")
            return list(objects)
        return [bad for name, one in objects.items() for bad in _objects(services, {name: one})]
    return []
