"""Has the triggerer run asset watchers, as long as an active DAG waits for their assets.

Activation writes which DAGs name a watcher. Each life of the watcher first checks whether one of them is active, so a pause
writes nothing: the watcher stops at its next life, and an unpause wakes it. Each of its events becomes an event of every
asset that the watcher belongs to. Rules: `add_asset_trigger_references`, `Trigger.submit_event`.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from uuid import uuid5

from gust.errors import Conflict, NotFound, ServiceUnavailable, StaleWatcher
from gust.model.asset import AssetEvent
from gust.model.dag import Dag
from gust.model.dag_spec import DagSpec
from gust.model.dispatch import Dispatch, Scope
from gust.model.keys import TaskInstanceKey
from gust.model.watched_queue import names_of, queue_of
from gust.model.watched_stream import names_of_stream, reader_of
from gust.model.watcher import WATCHER_NAMESPACE, Want, Watcher, watcher_uuid
from gust.model.workload import WakeWatcher, WatcherWorkload
from gust.scheduling import watching
from gust.services.assets.register_asset_event import register_asset_events
from gust.services.assets.tell_listeners import tell_of_events
from gust.services.context import Services
from gust.services.sealed import opened_watcher, seal
from gust.services.specs import load_spec

ATTEMPTS: Final = 20


# --- the DAGs that want a watcher -------------------------------------------------------------------------------------


def change_watchers(
    services: Services, dag_id: str, before: DagSpec | None, after: DagSpec | None, *, bundle_version: str | None = None
) -> None:
    """Store which watchers the DAG names now. It is repeatable and goes before the write that makes `after` the DAG's spec.
    `None`: no DAG, or a stale one."""
    named = watchers_of(after) if after else {}
    if not named and not (before and before.watchers):
        return
    known = {watcher.watcher_id: watcher for watcher in services.store.list_watchers()}
    left = {name for name, watcher in known.items() if any(want.dag_id == dag_id for want in watcher.wants)}
    for watcher_id in sorted(named.keys() | left):
        _change(services, watcher_id, dag_id, named.get(watcher_id), bundle_version)


def watchers_of(spec: DagSpec) -> dict[str, Watcher]:
    found: dict[str, Watcher] = {}
    for one in spec.watchers:
        watcher_id = watcher_uuid(one.classpath, one.kwargs)
        want = Want(spec.dag_id, one.asset_name, one.asset_uri, one.name)
        before = found.get(watcher_id) or Watcher(
            watcher_id=watcher_id,
            classpath=one.classpath,
            kwargs=one.kwargs,
            queue=queue_of(one.classpath, one.kwargs),
            stream=reader_of(one.classpath, one.kwargs),
        )
        found[watcher_id] = replace(before, wanted_by=(*before.wanted_by, want.written()))
    return found


def _change(
    services: Services, watcher_id: str, dag_id: str, named: Watcher | None, bundle_version: str | None
) -> None:
    for _ in range(ATTEMPTS):
        before = services.store.get_watcher(watcher_id)
        if before is None and named is None:
            return
        base = before or _made(services, named or _nothing(watcher_id))
        others = (want.written() for want in base.wants if want.dag_id != dag_id)
        wanted_by = tuple(sorted({*others, *(named.wanted_by if named else ())}))
        after = replace(
            base,
            wanted_by=wanted_by,
            bundle_version=bundle_version or base.bundle_version,
            queue=named.queue if named else base.queue,
            stream=named.stream if named else base.stream,
        )
        try:
            if not wanted_by and before is not None:
                services.store.delete_watcher(before)
            elif after != before:
                services.store.put_watcher(before, after)
        except StaleWatcher:
            continue
        return
    raise ServiceUnavailable(f"Watcher {watcher_id} moved {ATTEMPTS} times while it was being changed")


def _made(services: Services, named: Watcher) -> Watcher:
    return replace(named, kwargs=seal(services, named.kwargs), wanted_by=(), created_at=services.clock.now())


def _nothing(watcher_id: str) -> Watcher:
    return Watcher(watcher_id=watcher_id, classpath="")


def wake_watchers(services: Services, dag: Dag) -> None:
    """Wake the watchers of a DAG that was unpaused."""
    if dag.has_watchers:
        wake(services, watchers_of(load_spec(services.objects, dag.spec_key)))


def wake(services: Services, watcher_ids: Iterable[str]) -> None:
    now = services.clock.now()
    services.queues.wake_all([(WakeWatcher(watcher_id=one, at=now), 0) for one in sorted(watcher_ids)])


def wants_that_count(services: Services, watcher: Watcher) -> list[Want]:
    """The wants of active DAGs."""
    active = {dag.dag_id for dag in _dags_with_a_file(services, watcher) if not dag.is_paused}
    return [want for want in watcher.wants if want.dag_id in active]


def wants_of_dags_with_a_file(services: Services, watcher: Watcher) -> list[Want]:
    """The wants of active and of paused DAGs."""
    found = {dag.dag_id for dag in _dags_with_a_file(services, watcher)}
    return [want for want in watcher.wants if want.dag_id in found]


def _dags_with_a_file(services: Services, watcher: Watcher) -> list[Dag]:
    found = (services.store.get_dag(dag_id) for dag_id in sorted({want.dag_id for want in watcher.wants}))
    return [dag for dag in found if dag is not None and not dag.is_stale]


def need_not_poll(services: Services, watcher: Watcher) -> bool:
    """Whether Lambda brings what the watcher would read (`take_messages`, `take_records`)."""
    if watcher.queue is None and watcher.stream is None:
        return False
    return any(
        watcher.queue in names_of(arn) or (watcher.stream is not None and watcher.stream.stream in names_of_stream(arn))
        for arn in services.store.watched_sources()
    )


# --- the scheduler ----------------------------------------------------------------------------------------------------


def look_after_watcher(services: Services, watcher_id: str) -> None:
    """Send the watcher to the triggerer, if an active DAG wants it, it must poll, and it neither runs nor is on its way.

    The write goes before the message: after a crash in between, the look at its `due_at` sends it."""
    before = services.store.get_watcher(watcher_id)
    if before is None:
        return
    now = services.clock.now()
    with suppress(StaleWatcher):  # another invocation sends it
        if not wants_that_count(services, before) or need_not_poll(services, before):
            if before.due_at is not None:
                services.store.put_watcher(before, watching.rest(before))
        elif watching.is_lost(before, now):
            _send(services, before, wake_at=now)


def _send(
    services: Services,
    before: Watcher,
    *,
    wake_at: datetime,
    sleeps_passed: int = 0,
    is_poller: bool = False,
    looked_at: datetime | None = None,
) -> None:
    """Raises StaleWatcher."""
    now = services.clock.now()
    after = watching.send(before, now=now, wake_at=wake_at, looked_at=looked_at)
    services.store.put_watcher(before, after)
    workload = WatcherWorkload(
        watcher_id=after.watcher_id,
        life=after.life,
        token=services.tokens.in_message(caller_of(after), now=now),
        bundle_version=after.bundle_version,
        file=file_of(services, after),
        wake_at=wake_at,
        sleeps_passed=sleeps_passed,
        is_poller=is_poller,
    )
    services.queues.send_triggers([workload], delay=max(0.0, (wake_at - now).total_seconds()))


def file_of(services: Services, watcher: Watcher) -> str:
    """The file of the first active DAG that wants it, by id. DAGs of several folders may want one watcher; any of their
    folders has the packages that it needs."""
    for dag_id in sorted({want.dag_id for want in watcher.wants}):
        dag = services.store.get_dag(dag_id)
        if dag is not None and not dag.is_paused and not dag.is_stale:
            return dag.relative_fileloc
    return ""


def caller_of(watcher: Watcher) -> Dispatch:
    """The caller that a token of this life identifies."""
    no_instance = TaskInstanceKey("", "", "")
    return Dispatch(no_instance, 0, watcher.life, Scope.WATCHER, callback_id=watcher.watcher_id)


# --- the triggerer ----------------------------------------------------------------------------------------------------


def claim_watcher(services: Services, caller: Dispatch, *, hostname: str) -> tuple[Watcher, list[Want]]:
    """Claim this life for the caller. Raises NotFound, and Conflict if it is not the caller's life, no active DAG wants the
    watcher, or it need not poll. A life that runs goes on to its end: it may have taken messages."""
    now = services.clock.now()
    before = known(services, caller)
    if not watching.may_claim(before, life=caller.dispatch_count, by=hostname, now=now):
        raise not_yours()
    try:
        wants = wants_that_count(services, before)
        if not wants or (before.claimed_at is None and need_not_poll(services, before)):
            services.store.put_watcher(before, watching.rest(before))
            raise not_yours()
        claimed = watching.claim(before, by=hostname, now=now)
        services.store.put_watcher(before, claimed)
    except StaleWatcher as stale:
        raise not_yours() from stale
    return opened_watcher(services, claimed), wants


def report_event(services: Services, caller: Dispatch, *, number: int, payload: Any) -> None:
    """Store an event of each asset that the watcher belongs to. `number`: the event's number within this life; reporting it
    twice stores it once."""
    watcher = known(services, caller)
    if watcher.life != caller.dispatch_count or watcher.claimed_at is None:
        raise not_yours()
    report_id = uuid5(
        WATCHER_NAMESPACE, f"{watcher.watcher_id}/{watcher.life}/{watcher.claimed_at.isoformat()}/{number}"
    )
    events: list[AssetEvent] = []
    for key in sorted({want.asset for want in wants_that_count(services, watcher)}):
        asset = services.store.get_asset(name=key.name, uri=key.uri)
        if asset is not None:
            events.append(
                AssetEvent(
                    event_id=str(uuid5(report_id, f"{key.name}/{key.uri}")),
                    name=asset.name,
                    uri=asset.uri,
                    group=asset.group,
                    timestamp=services.clock.now(),
                    extra={"from_trigger": True, "payload": payload},
                )
            )
    stored = register_asset_events(services, str(report_id), events)
    if stored and (bundle := services.store.active_bundle()) is not None:
        tell_of_events(services, stored, listeners=bundle.listeners, bundle_version=bundle.version)


def park_watcher(
    services: Services,
    caller: Dispatch,
    *,
    wake_at: datetime,
    sleeps_passed: int,
    is_poller: bool,
    looked_at: datetime | None = None,
) -> None:
    """End the life; the next begins at `wake_at`. `looked_at`: it has seen all that came earlier.
    Raises NotFound, and Conflict if the next has begun already."""
    before = known(services, caller)
    if before.life != caller.dispatch_count or before.due_at is None:
        raise not_yours()
    try:
        _send(
            services,
            before,
            wake_at=wake_at,
            sleeps_passed=sleeps_passed,
            is_poller=is_poller,
            looked_at=looked_at,
        )
    except StaleWatcher as stale:
        raise not_yours() from stale


def known(services: Services, caller: Dispatch) -> Watcher:
    found = services.store.get_watcher(caller.callback_id)
    if found is None:
        raise NotFound("Watcher not found")
    return found


def not_yours() -> Conflict:
    return Conflict("The watcher is not to be run by this message", reason="invalid_state")
