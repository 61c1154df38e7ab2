"""Encrypts arguments of triggers, watchers and callbacks in the table, as Airflow does in its database: they may hold
secrets.

Writers seal them on the way into the table, and the execution API opens them for the triggerer or worker that runs the
code. Arguments stored before they were sealed are read as they are.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final, assert_never

from gust.model.callback import Callback, CallbackKind
from gust.model.task_instance import ParkedTrigger
from gust.model.watcher import Watcher
from gust.scheduling.decision import Decision, SendTrigger
from gust.scheduling.pure_wait import DATE_TIME_TRIGGERS
from gust.services.context import Services

SEALED: Final = "gust:sealed"
"""The only key of the stored dict."""


def seal(services: Services, arguments: Any) -> dict[str, Any]:
    return {SEALED: services.cipher.encrypt(json.dumps(arguments, separators=(",", ":")))}


def opened(services: Services, stored: Any) -> Any:
    """The arguments in the clear. Raises Unreadable if no key of the stack decrypts them."""
    if not is_sealed(stored):
        return stored
    return json.loads(services.cipher.decrypt(stored[SEALED]))


def is_sealed(stored: Any) -> bool:
    return isinstance(stored, dict) and stored.keys() == {SEALED}


def sealed_trigger(services: Services, trigger: ParkedTrigger) -> ParkedTrigger:
    """The trigger with its arguments sealed. A trigger that waits for a moment stays open: it holds no secret, and the
    scheduler reads the moment."""
    if trigger.classpath in DATE_TIME_TRIGGERS:
        return trigger
    return replace(trigger, kwargs=seal(services, trigger.kwargs))


def opened_trigger(services: Services, trigger: ParkedTrigger) -> ParkedTrigger:
    """The trigger with its arguments in the clear. Those of a trigger that waits for a moment were never sealed. Raises
    Unreadable."""
    if trigger.classpath in DATE_TIME_TRIGGERS:
        return trigger
    return replace(trigger, kwargs=opened(services, trigger.kwargs))


def sealed_decision(services: Services, decision: Decision) -> Decision:
    """The decision, with sealed arguments of triggers that start tries: `decide` has no key."""
    begun = {
        moved.after.key: replace(
            moved, after=replace(moved.after, trigger=sealed_trigger(services, moved.after.trigger))
        )
        for moved in decision.transitions
        if moved.edge == "start_from_trigger" and moved.after.trigger is not None
    }
    if not begun:
        return decision
    return replace(
        decision,
        transitions=tuple(begun.get(moved.after.key, moved) for moved in decision.transitions),
        effects=tuple(
            SendTrigger(begun[effect.instance.key].after)
            if isinstance(effect, SendTrigger) and effect.instance.key in begun
            else effect
            for effect in decision.effects
        ),
    )


def opened_watcher(services: Services, watcher: Watcher) -> Watcher:
    """Raises Unreadable."""
    return replace(watcher, kwargs=opened(services, watcher.kwargs))


def opened_callback(services: Services, callback: Callback) -> Callback:
    """The callback in the clear. Of a trigger's `on_kill` the trigger's arguments are sealed, of a deadline the whole
    definition. Raises Unreadable."""
    match callback.kind:
        case CallbackKind.TRIGGER if callback.definition.get("classpath") not in DATE_TIME_TRIGGERS:
            kwargs = opened(services, callback.definition.get("kwargs"))
            return replace(callback, definition={**callback.definition, "kwargs": kwargs})
        case CallbackKind.DEADLINE:
            return replace(callback, definition=opened(services, callback.definition))
        case (
            CallbackKind.TRIGGER
            | CallbackKind.DAG
            | CallbackKind.TASK
            | CallbackKind.LISTENER
            | CallbackKind.HOOK
            | CallbackKind.CONTAINER
        ):
            return callback
        case _:
            assert_never(callback.kind)


def sealed_callback(services: Services, callback: Callback) -> Callback:
    match callback.kind:
        case CallbackKind.TRIGGER:
            kwargs = seal(services, callback.definition["kwargs"])
            return replace(callback, definition={**callback.definition, "kwargs": kwargs})
        case CallbackKind.DEADLINE:
            return replace(callback, definition=seal(services, callback.definition))
        case CallbackKind.DAG | CallbackKind.TASK | CallbackKind.LISTENER | CallbackKind.HOOK | CallbackKind.CONTAINER:
            return callback
        case _:
            assert_never(callback.kind)
