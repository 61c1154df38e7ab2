"""Encrypts all encrypted values of the table with the stack's first key, before an old key can be removed: variables,
connections, and arguments of triggers, watchers and callbacks that are still to run.

Each value is one conditional write. If it dies half-way, run it again. A value that another writer changes meanwhile
gets the new key by that write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final

from gust.errors import NotFound, Stale, Unreadable
from gust.model.callback import Callback
from gust.model.task_instance import ParkedTrigger, TaskInstance
from gust.model.watcher import Watcher
from gust.scheduling import transition
from gust.scheduling.callback import CallbackMove
from gust.services.context import Services
from gust.services.sealed import (
    is_sealed,
    opened_callback,
    opened_trigger,
    opened_watcher,
    seal,
    sealed_callback,
    sealed_trigger,
)
from gust.services.settings.connections import change_connection, list_connections
from gust.services.settings.variables import change_variable, list_variables

AT_ANY_TIME: Final = datetime(9999, 1, 1, tzinfo=UTC)
"""Every unfinished run is due before."""


@dataclass(frozen=True, slots=True)
class Reencrypted:
    written: int
    unreadable: tuple[str, ...]
    """Values that no key of the stack decrypts; they are not changed."""


def reencrypt_settings(services: Services) -> Reencrypted:
    written, unreadable = 0, []
    for key in list_variables(services):
        with suppress(NotFound):  # deleted meanwhile
            if change_variable(services, key, lambda variable: variable).value is None:
                unreadable.append(f"variable {key}")
            else:
                written += 1
    for conn_id in list_connections(services):
        try:
            change_connection(services, conn_id, lambda connection: connection)
            written += 1
        except Unreadable:
            unreadable.append(f"connection {conn_id}")
        except NotFound:
            continue
    for what, rewrite in sealed_arguments(services):
        try:
            rewrite()
            written += 1
        except Unreadable:
            unreadable.append(what)
        except Stale:
            continue  # it moved meanwhile: it was written with the new key, or is no longer needed
    return Reencrypted(written, tuple(unreadable))


def sealed_arguments(services: Services) -> Iterator[tuple[str, Callable[[], None]]]:
    """(name for the operator, function that seals it anew) of each sealed value."""
    for watcher in services.store.list_watchers():
        if is_sealed(watcher.kwargs):
            yield f"watcher {watcher.classpath}", partial(reseal_watcher, services, watcher)
    for key, _ in services.store.due_runs(AT_ANY_TIME):
        state = services.store.load_run(key)
        for instance in state.instances.values() if state else ():
            if instance.trigger is not None and is_sealed(instance.trigger.kwargs):
                yield f"trigger of {instance.key}", partial(reseal_trigger, services, instance, instance.trigger)
        for owed in state.callbacks if state else ():
            if not owed.has_ended and (is_sealed(owed.definition) or is_sealed(owed.definition.get("kwargs"))):
                yield f"callback {owed.callback_id} of {owed.run_key}", partial(reseal_callback, services, owed)


def reseal_watcher(services: Services, before: Watcher) -> None:
    kwargs = seal(services, opened_watcher(services, before).kwargs)
    services.store.put_watcher(before, replace(before, kwargs=kwargs))


def reseal_trigger(services: Services, before: TaskInstance, trigger: ParkedTrigger) -> None:
    trigger = sealed_trigger(services, opened_trigger(services, trigger))
    services.store.move(transition.queue_trigger(before, at=before.queued_at, trigger=trigger))


def reseal_callback(services: Services, before: Callback) -> None:
    after = sealed_callback(services, opened_callback(services, before))
    services.store.move_callback(CallbackMove(before, after))
