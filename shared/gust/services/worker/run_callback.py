"""Gives a worker the callback to call, and stores how it ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from gust.errors import Conflict, NotFound, StaleCallback
from gust.model.asset import Asset, AssetEvent, AssetKey
from gust.model.callback import Callback, CallbackKind, CallbackState
from gust.model.dag import DagVersion
from gust.model.dag_run import DagRun
from gust.model.dispatch import Dispatch
from gust.model.task_instance import TaskInstance
from gust.scheduling import callback
from gust.services.assets.consumed_events import assets_of, consumed_by
from gust.services.context import Services
from gust.services.sealed import opened_callback


@dataclass(frozen=True, slots=True)
class Claimed:
    """The callback's definition and context, for the worker."""

    callback: Callback
    run: DagRun
    version: DagVersion | None
    instance: TaskInstance | None
    """The try in the context, as it ended."""
    events: Sequence[AssetEvent]
    """The asset events that the run consumed."""
    assets: Mapping[AssetKey, Asset]


def claim_callback(services: Services, caller: Dispatch, *, hostname: str, at: datetime) -> Claimed:
    """pending | queued → running. Of all workers with the message, one at a time gets a `Claimed`.

    The same worker may ask again, if it did not get the answer. Raises NotFound, and Conflict for every other worker.
    """
    before = known(services, caller)
    if not callback.may_claim(before, dispatch_count=caller.dispatch_count, hostname=hostname, at=at):
        raise not_due(before)
    claimed = callback.claim(before, at=at, hostname=hostname)
    try:
        services.store.move_callback(claimed)
    except StaleCallback as stale:
        moved = stale.current
        if moved is None or moved.state is not CallbackState.QUEUED or before.state is not CallbackState.PENDING:
            raise not_due(moved) from stale
        # The scheduler noted meanwhile that SQS had accepted the message.
        return claim_callback(services, caller, hostname=hostname, at=at)
    run = services.store.get_run(before.run_key)
    if run is None:
        raise NotFound(f"DagRun with dag_id={before.dag_id} and run_id={before.run_id} not found")
    events = consumed_by(services, run)
    return Claimed(
        callback=opened_callback(services, before),
        run=run,
        version=version_of(services, before, run),
        instance=shown_try(services, before),
        events=events,
        assets=assets_of(services, events),
    )


def version_of(services: Services, of: Callback, run: DagRun) -> DagVersion | None:
    """The run's DAG version, for a deadline's callable; other callbacks do not need it."""
    if of.kind is not CallbackKind.DEADLINE:
        return None
    return services.store.get_version(run.dag_id, run.version_number)


def end_callback(services: Services, caller: Dispatch, *, at: datetime, output: str | None) -> None:
    """running → success, or failed with `output`. Reported twice is no error. Raises NotFound, Conflict."""
    before = known(services, caller)
    if before.dispatch_count == caller.dispatch_count and before.has_ended:
        return
    if before.dispatch_count != caller.dispatch_count or before.state is not CallbackState.RUNNING:
        raise not_due(before)
    try:
        services.store.move_callback(callback.end(before, at=at, output=output))
    except StaleCallback as stale:
        raise not_due(stale.current) from stale


def shown_try(services: Services, of: Callback) -> TaskInstance | None:
    """The callback's try: from the history if another try has taken its place. `None` if the instance has no item."""
    key = of.instance_key
    if key is None:
        return None
    current = services.store.get_instance(key)
    if current is None:
        current = TaskInstance(dag_id=key.dag_id, run_id=key.run_id, task_id=key.task_id, map_index=key.map_index)
    if current.try_number == of.try_number:
        return current
    return next((kept for kept in services.store.list_tries(key) if kept.try_number == of.try_number), current)


def known(services: Services, caller: Dispatch) -> Callback:
    found = services.store.get_callback(caller.key.run, caller.callback_id)
    if found is None:
        raise NotFound("Callback not found")
    return found


def not_due(current: Callback | None) -> Conflict:
    return Conflict.of_state("The callback is not to be run by this message", current)
