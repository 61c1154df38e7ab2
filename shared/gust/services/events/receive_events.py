"""Sorts the messages of EventBridge's rules and hands each kind to its service."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping

from gust.errors import ServiceUnavailable
from gust.model.object_created import ObjectCreated
from gust.services.context import Services
from gust.services.events.register_objects import register_objects

log = logging.getLogger(__name__)


def receive_events(services: Services, messages: Mapping[str, str]) -> list[str]:
    """Name → body of each message. Returns the names of those that failed; all others are done, and repeating them changes
    nothing."""
    objects: dict[str, ObjectCreated] = {}
    failed: list[str] = []
    for name, body in messages.items():
        try:
            objects[name] = ObjectCreated.from_event(json.loads(body))
        except ValueError:
            log.exception("A message could not be read: %.1000s", body)
            failed.append(name)
    return failed + _objects(services, objects)


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
