"""Arguments of triggers, watchers and callbacks, which may hold what people keep secret: encrypted in the table, as Airflow
encrypts them in its database.

They are sealed on their way into the table, and opened for the triggerer or the worker that runs what they are for. What was
stored before is read as it is.
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
"""The only key of what is stored instead."""


def seal(services: Services, arguments: Any) -> dict[str, Any]:
    return {SEALED: services.cipher.encrypt(json.dumps(arguments, separators=(",", ":")))}


def opened(services: Services, stored: Any) -> Any:
    """Raises Unreadable where no key of the stack fits."""
    if not is_sealed(stored):
        return stored
    return json.loads(services.cipher.decrypt(stored[SEALED]))


def is_sealed(stored: Any) -> bool:
    return isinstance(stored, dict) and stored.keys() == {SEALED}


def sealed_trigger(services: Services, trigger: ParkedTrigger) -> ParkedTrigger:
    """Not of one that waits for a moment: the scheduler, which has no secret to see there, reads which."""
    if trigger.classpath in DATE_TIME_TRIGGERS:
        return trigger
    return replace(trigger, kwargs=seal(services, trigger.kwargs))


def opened_trigger(services: Services, trigger: ParkedTrigger) -> ParkedTrigger:
    """Raises Unreadable. What one that waits for a moment was given is never opened: it was never sealed by us."""
    if trigger.classpath in DATE_TIME_TRIGGERS:
        return trigger
    return replace(trigger, kwargs=opened(services, trigger.kwargs))


def sealed_decision(services: Services, decision: Decision) -> Decision:
    """The decision, sealed the arguments of triggers with which tries begin: who decides has no key."""
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
    """Raises Unreadable. A trigger's last word has the arguments of the trigger, a deadline is sealed whole."""
    match callback.kind:
        case CallbackKind.TRIGGER if callback.definition.get("classpath") not in DATE_TIME_TRIGGERS:
            kwargs = opened(services, callback.definition.get("kwargs"))
            return replace(callback, definition={**callback.definition, "kwargs": kwargs})
        case CallbackKind.DEADLINE:
            return replace(callback, definition=opened(services, callback.definition))
        case CallbackKind.TRIGGER | CallbackKind.DAG | CallbackKind.TASK | CallbackKind.LISTENER | CallbackKind.HOOK:
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
        case CallbackKind.DAG | CallbackKind.TASK | CallbackKind.LISTENER | CallbackKind.HOOK:
            return callback
        case _:
            assert_never(callback.kind)
