"""Starts a dispatch of a try for a worker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from gust.errors import Conflict, NotFound, StaleTaskInstance
from gust.model.asset import Asset, AssetEvent, AssetKey
from gust.model.dag_run import DagRun
from gust.model.dispatch import Dispatch
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.scheduling import retry, transition
from gust.services.assets.consumed_events import assets_of, consumed_by
from gust.services.context import Services

UNTIL_WRITTEN: Final = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds between reads of a dispatch that is not written yet. Mostly the write is there before the message."""


@dataclass(frozen=True, slots=True)
class Started:
    """The run, task and context that the worker needs to run the try."""

    instance: TaskInstance
    run: DagRun
    should_retry: bool
    """Whether a failure of this try leads to another."""
    xcom_keys_to_clear: tuple[str, ...]
    """Keys that an earlier dispatch pushed. The worker clears them, since only it can purge a custom XCom backend."""
    events: Sequence[AssetEvent] = ()
    """The asset events that the run consumed, if assets triggered it."""
    assets: Mapping[AssetKey, Asset] = field(default_factory=dict)


def start_task_instance(services: Services, dispatch: Dispatch, *, hostname: str, pid: int, at: datetime) -> Started:
    """scheduled | queued → running. At most one worker gets a `Started` for a dispatch.

    The same worker may ask again, if it did not get the answer. Raises NotFound, and Conflict for every other worker.
    """
    found = _started_unread(services, dispatch, hostname=hostname, pid=pid, at=at)
    if found is None:
        found = _started(services, dispatch, hostname=hostname, pid=pid, at=at)
    instance, run = found
    services.started_instances.put(dispatch, instance)
    events = consumed_by(services, run)
    return Started(
        instance=instance,
        run=run,
        events=events,
        assets=assets_of(services, events),
        should_retry=retry.is_eligible(instance),
        xcom_keys_to_clear=_pushed_before(services, instance),
    )


def _started_unread(
    services: Services, dispatch: Dispatch, *, hostname: str, pid: int, at: datetime
) -> tuple[TaskInstance, DagRun] | None:
    """The start of an instance's first dispatch, which is as its token says, written without a read of the instance. `None`
    if nothing was written: it is another dispatch, has moved, or is not written yet."""
    if dispatch.dispatch_count != 1 or dispatch.scheduled_at is None:
        return None
    run = _known_run(services, dispatch)
    if run is None:
        return None
    started = services.store.move_unread(transition.start(dispatch.as_first_sent(), at=at, hostname=hostname, pid=pid))
    return None if started is None else (started, run)


def _known_run(services: Services, dispatch: Dispatch) -> DagRun | None:
    if (known := services.known_runs.get(dispatch.key.run, dispatch.run_digest)) is not None:
        return known
    run = services.store.get_run(dispatch.key.run)
    if run is not None:
        services.known_runs.put(run)
    return run


def _started(
    services: Services, dispatch: Dispatch, *, hostname: str, pid: int, at: datetime
) -> tuple[TaskInstance, DagRun]:
    before, run = _as_sent(services, dispatch)
    if before is None:
        raise NotFound("Task Instance not found")
    if run is None:
        raise NotFound(f"DagRun with dag_id={before.dag_id} and run_id={before.run_id} not found")
    if dispatch.is_as_sent(before) and before.state is S.RUNNING and (before.hostname, before.pid) == (hostname, pid):
        return before, run
    if dispatch.is_as_sent(before) and before.state in {S.SCHEDULED, S.QUEUED}:
        return _move_to_running(services, before, hostname=hostname, pid=pid, at=at), run
    raise cannot_start(before)


def _as_sent(services: Services, dispatch: Dispatch) -> tuple[TaskInstance | None, DagRun | None]:
    """The instance and its run, once the dispatch is written: the scheduler sends the message just before. If the
    dispatch is never written, the scheduler died, or another writer was faster; the next look sends another message if
    one is needed."""
    before, run = services.store.get_instance_and_run(dispatch.key)
    for pause in UNTIL_WRITTEN:
        if run is None or not dispatch.is_ahead_of(before):
            break
        services.clock.sleep(pause)
        before, run = services.store.get_instance_and_run(dispatch.key)
    return before, run


def cannot_start(current: TaskInstance | None) -> Conflict:
    return Conflict(
        "TI was not in a state where it could be marked as running",
        reason="invalid_state",
        previous_state=current.state if current else None,
    )


def _move_to_running(
    services: Services, before: TaskInstance, *, hostname: str, pid: int, at: datetime
) -> TaskInstance:
    move = transition.start(before, at=at, hostname=hostname, pid=pid)
    try:
        services.store.move(move)
    except StaleTaskInstance as stale:
        moved = stale.current
        if moved is None or not Dispatch.of(before).is_current(moved) or moved.state is not S.QUEUED:
            raise cannot_start(moved) from stale
        # The scheduler noted meanwhile that SQS had accepted the message.
        return _move_to_running(services, moved, hostname=hostname, pid=pid, at=at)
    return move.after


def _pushed_before(services: Services, instance: TaskInstance) -> tuple[str, ...]:
    """The XCom keys of earlier dispatches. None before the first try; a try that resumes from a trigger keeps its XComs."""
    ran_before = instance.try_number > 1 or instance.reschedule_count > 0
    if instance.next_method or not ran_before:
        return ()
    key = instance.key
    xcoms = services.store.list_xcoms(key.run, task_id=key.task_id, map_index=key.map_index)
    return tuple(xcom.name for xcom in xcoms)
