"""Sorts the messages of EventBridge's rules and hands each kind to its service."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gust.errors import ServiceUnavailable
from gust.model.object_created import ObjectCreated
from gust.services.context import Services
from gust.services.events.register_objects import register_objects
from gust.services.events.start_by_event import start_by_event

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Matched:
    """An event, and the pattern of an `events.yaml` that it matched."""

    pattern_id: str
    event: Mapping[str, Any]


def receive_events(services: Services, messages: Mapping[str, str]) -> list[str]:
    """Name → body of each message. Returns the names of those that failed; all others are done, and repeating them changes
    nothing."""
    objects: dict[str, ObjectCreated] = {}
    failed: list[str] = []
    for name, body in messages.items():
        try:
            match read_message(body):
                case ObjectCreated() as created:
                    objects[name] = created
                case Matched(pattern_id, event):
                    start_by_event(services, pattern_id, event)
        except Exception:
            log.exception("A message could not be handled: %.1000s", body)
            failed.append(name)
    return [*failed, *_objects(services, objects)]


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
