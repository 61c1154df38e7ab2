"""Has workers call plugins' listeners about assets and import errors, which belong to no run.

Airflow calls these listeners in its API server and its dag processor; here their code runs only in workers. The call goes as
a message through the scheduler, which signs a worker's token, to the tasks queue. It is stored nowhere. Its sender sends it
before the write after which it would not send it again, so the call is made at least once. Without listeners nothing is read
or sent.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from gust.errors import ServiceUnavailable
from gust.model.asset import Asset, AssetAlias, AssetEvent
from gust.model.dispatch import Dispatch, Scope
from gust.model.keys import TaskInstanceKey
from gust.model.listener import Hook
from gust.model.workload import CallbackWorkload, HookCall, TellListeners, Wake
from gust.services.context import Services

LONGEST_TRACE: Final = 200_000
"""Characters of an import error's trace in the message; the stored import error has all of it."""

OF_EVENTS: Final = frozenset({Hook.ASSET_CHANGED, Hook.ASSET_EVENT_EMITTED})


def tell_of_events(
    services: Services,
    events: Sequence[AssetEvent],
    *,
    listeners: Collection[str],
    bundle_version: str | None,
    partition_dates: Mapping[str, datetime | None] | None = None,
) -> None:
    """`listeners`: hooks that the bundle's plugins implement. `partition_dates`: by event id."""
    wanted = OF_EVENTS.intersection(listeners)
    if not wanted or not events:
        return
    has_aliases = any(event.source_aliases for event in events)
    aliases = {alias.name: alias for alias in services.store.list_asset_aliases()} if has_aliases else {}
    dates = partition_dates or {}
    calls: list[HookCall] = []
    for event in events:
        stored = services.store.get_asset(name=event.name, uri=event.uri)
        asset = _asset(stored or Asset(name=event.name, uri=event.uri, group=event.group))
        arguments = _event(event, asset, [aliases.get(a, AssetAlias(name=a)) for a in event.source_aliases])
        date = dates.get(event.event_id)
        arguments["partition_date"] = date.isoformat() if date else None
        about = {Hook.ASSET_CHANGED: asset, Hook.ASSET_EVENT_EMITTED: arguments}
        calls += [HookCall(hook=hook, about=event.event_id, written=json.dumps(about[hook])) for hook in sorted(wanted)]
    _tell(services, calls, bundle_version)


def tell_of_new_assets(
    services: Services,
    assets: Iterable[Asset],
    aliases: Iterable[AssetAlias],
    *,
    listeners: Collection[str],
    bundle_version: str,
) -> None:
    calls: list[HookCall] = []
    if Hook.ASSET_CREATED in listeners:
        calls += [
            HookCall(hook=Hook.ASSET_CREATED, about=f"{one.name}/{one.uri}", written=json.dumps(_asset(one)))
            for one in assets
        ]
    if Hook.ASSET_ALIAS_CREATED in listeners:
        calls += [
            HookCall(hook=Hook.ASSET_ALIAS_CREATED, about=one.name, written=json.dumps(_alias(one))) for one in aliases
        ]
    _tell(services, calls, bundle_version)


def tell_of_import_error(
    services: Services,
    filename: str,
    trace: str,
    *,
    is_new: bool,
    listeners: Collection[str],
    bundle_version: str,
) -> None:
    """`filename`: relative to the bundle's root; listeners get its path on the worker."""
    hook = Hook.NEW_IMPORT_ERROR if is_new else Hook.EXISTING_IMPORT_ERROR
    if hook in listeners:
        arguments = {"filename": filename, "stacktrace": trace[:LONGEST_TRACE]}
        _tell(services, [HookCall(hook=hook, about=filename, written=json.dumps(arguments))], bundle_version)


def _tell(services: Services, calls: Sequence[HookCall], bundle_version: str | None) -> None:
    messages: list[tuple[Wake, float]] = [
        (TellListeners(call=call, bundle_version=bundle_version), 0) for call in calls
    ]
    if messages:
        services.queues.wake_all(messages)


def have_worker_tell(services: Services, message: TellListeners) -> None:
    """The scheduler's part: send the message for a worker. Raises ServiceUnavailable if SQS refuses it."""
    callback_id = f"hook/{message.call.hook}/{message.call.about}"
    dispatch = Dispatch(TaskInstanceKey("", "", ""), 0, 1, Scope.CALLBACK, callback_id=callback_id)
    workload = CallbackWorkload(
        dag_id="",
        run_id="",
        callback_id=callback_id,
        dispatch_count=1,
        bundle_name=message.bundle_name,
        bundle_version=message.bundle_version,
        relative_fileloc="",
        token=services.tokens.in_message(dispatch, now=services.clock.now()),
        call=message.call,
    )
    if services.queues.send_callbacks([workload]):
        raise ServiceUnavailable(f"SQS refused {callback_id}")


def _asset(asset: Asset) -> dict[str, Any]:
    return {"name": asset.name, "uri": asset.uri, "group": asset.group, "extra": asset.extra}


def _alias(alias: AssetAlias) -> dict[str, Any]:
    return {"name": alias.name, "group": alias.group}


def _event(event: AssetEvent, asset: dict[str, Any], aliases: Iterable[AssetAlias]) -> dict[str, Any]:
    is_of_task = event.source_task_id is not None
    return {
        "asset": asset,
        "extra": event.extra,
        "source_dag_id": event.source_dag_id,
        "source_task_id": event.source_task_id,
        "source_run_id": event.source_run_id,
        "source_map_index": event.source_map_index if is_of_task else None,
        "source_aliases": list(map(_alias, aliases)),
        "partition_key": event.partition_key,
    }
