"""A worker's reports about the try it runs: each kind of report is one function and one conditional write.

A report counts only while its dispatch is current and runs. Reporting the same thing twice is no error: the answer to the
first may have been lost. Everything else is a Conflict: Airflow's supervisor then ends the process.

A try that was cleared while it ran gets Gone. The next try waits for its worker's report of the end, whatever the
outcome: two tries of an instance never run at the same time.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from gust.errors import Conflict, Gone, NotFound, StaleTaskInstance
from gust.model.dag_run import DagRun
from gust.model.dag_spec import AssetRef, TaskSpec
from gust.model.dispatch import Dispatch
from gust.model.place import Limit
from gust.model.state import IN_FLIGHT
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import ParkedTrigger, TaskInstance
from gust.scheduling import retry, transition
from gust.scheduling.retry import lose_try
from gust.scheduling.transition import Transition
from gust.services.context import Services
from gust.services.specs import spec_of_instance
from gust.services.worker.clear_task_state import clear_task_state_on_success
from gust.services.worker.emit_asset_events import OutletEvent, emit_asset_events

LAST_WORDS: Final = timedelta(seconds=90)
"""How long after its worker's last sign a try that has reported its end may still write. Airflow's supervisor gives the
process 20 seconds for its callbacks (`task_success_overtime`), and its last heartbeat may be just as old."""

NOTED_EVERY: Final = timedelta(seconds=15)
"""A worker sends a heartbeat every 5 seconds, which costs a read; it is stored only this often, since a write costs
five times as much. A quarter of the silence that the scheduler allows."""


def report_success(
    services: Services,
    dispatch: Dispatch,
    *,
    at: datetime,
    outlets: Sequence[AssetRef] = (),
    events: Sequence[OutletEvent] = (),
    rendered_map_index: str | None = None,
) -> None:
    """running → success, with the try's asset events.

    The events are written first: after a crash in between the worker reports again, and the events are stored once; a
    success never lacks its events.
    """
    emits = bool(outlets or events)
    if not emits and _succeeds_as_it_started(services, dispatch, at=at, rendered_map_index=rendered_map_index):
        pass
    elif before := ending(services, dispatch, or_already=S.SUCCESS):
        if emits:
            emit_asset_events(services, before, outlets=outlets, events=events, at=at)
        move(services, transition.succeed(before, at=at, rendered_map_index=rendered_map_index))
    clear_task_state_on_success(services, [dispatch.key])


def _succeeds_as_it_started(
    services: Services, dispatch: Dispatch, *, at: datetime, rendered_map_index: str | None
) -> bool:
    """running → success without a read of the instance. False if this process did not start it, or it has moved since."""
    started = services.started_instances.take(dispatch)
    if started is None or started.holds:  # the pool may have changed since
        return False
    with suppress(StaleTaskInstance):
        _store(services, transition.succeed(started, at=at, rendered_map_index=rendered_map_index))
        return True
    return False


def report_failure(
    services: Services, dispatch: Dispatch, *, at: datetime, rendered_map_index: str | None = None
) -> None:
    """running → failed. The task asked for no further try, whatever tries remain."""
    if before := ending(services, dispatch, or_already=S.FAILED):
        move(services, transition.fail(before, at=at, rendered_map_index=rendered_map_index))


def report_stopped(
    services: Services, dispatch: Dispatch, *, state: S, at: datetime, rendered_map_index: str | None = None
) -> None:
    """running → skipped | upstream_failed | removed."""
    if before := ending(services, dispatch, or_already=state):
        move(services, transition.stop(before, state=state, at=at, rendered_map_index=rendered_map_index))


def report_retry(
    services: Services,
    dispatch: Dispatch,
    *,
    at: datetime,
    delay: float | None = None,
    reason: str | None = None,
    rendered_map_index: str | None = None,
) -> None:
    """running → up_for_retry. `delay` (seconds) comes from a retry policy and replaces the task's own delay."""
    if (before := ending(services, dispatch, or_already=S.UP_FOR_RETRY)) is None:
        return
    run, task = run_and_task(services, before)
    due_at = retry.next_retry_at(task, before, logical_date=run.logical_date, failed_at=at, delay_override=delay)
    move(
        services,
        transition.retry(
            before,
            at=at,
            due_at=due_at,
            reason=reason,
            retry_delay_override=delay,
            rendered_map_index=rendered_map_index,
        ),
    )


def report_deferral(
    services: Services, dispatch: Dispatch, *, trigger: ParkedTrigger, rendered_map_index: str | None = None
) -> None:
    """running → deferred."""
    if before := ending(services, dispatch, or_already=S.DEFERRED):
        move(services, transition.defer(before, trigger=trigger, rendered_map_index=rendered_map_index))


def report_reschedule(services: Services, dispatch: Dispatch, *, at: datetime, due_at: datetime) -> None:
    """running → up_for_reschedule until `due_at`."""
    if before := ending(services, dispatch, or_already=S.UP_FOR_RESCHEDULE):
        move(services, transition.reschedule(before, at=at, due_at=due_at))


def report_lost(
    services: Services,
    dispatch: Dispatch,
    *,
    at: datetime,
    reason: str,
    outgrew: Limit | None = None,
    has_called_back: bool = False,
) -> None:
    """scheduled | queued | running → up_for_retry or failed, by the task's own retry rules; restarting → None.

    Reported by the worker's supervisor when the child died without a report, or cannot start.
    """
    before = known(services, dispatch)
    if not dispatch.is_current(before) or before.state not in IN_FLIGHT:
        raise not_running(before)
    run, task = run_and_task(services, before)
    lost = lose_try(task, run, before, at=at, reason=reason, outgrew=outgrew, workers=services.workers)
    if has_called_back:
        lost = replace(lost, callback=None)
    move(services, lost)


def report_rendered_map_index(services: Services, dispatch: Dispatch, *, rendered_map_index: str) -> None:
    """running → running, with the label of a mapped instance."""
    if before := running(services, dispatch):
        move(services, transition.label(before, rendered_map_index=rendered_map_index))


def heartbeat(services: Services, dispatch: Dispatch, *, at: datetime) -> None:
    """Store the heartbeat, unless one was stored recently. Raises NotFound, Gone (a new try took its place) or Conflict (the
    try must end)."""
    before = services.store.get_instance(dispatch.key)
    if before is not None and _is_noted(before, dispatch, at):
        return
    try:
        services.store.heartbeat(
            dispatch.key, try_number=dispatch.try_number, dispatch_count=dispatch.dispatch_count, at=at
        )
    except StaleTaskInstance as stale:
        current = present(dispatch, stale.current)
        if current.state in {None, S.RESTARTING}:
            raise cleared() from stale
        if not dispatch.is_current(current):
            raise Conflict(
                "TI is already running elsewhere",
                reason="running_elsewhere",
                current_hostname=current.hostname,
                current_pid=current.pid,
            ) from stale
        raise Conflict(
            "TI is no longer in the running state and task should terminate",
            reason="not_running",
            current_state=current.state,
        ) from stale


def _is_noted(before: TaskInstance, dispatch: Dispatch, at: datetime) -> bool:
    return (
        before.state is S.RUNNING
        and dispatch.is_current(before)
        and before.heartbeat_at is not None
        and at - before.heartbeat_at < NOTED_EVERY
    )


def ending(services: Services, dispatch: Dispatch, *, or_already: S) -> TaskInstance | None:
    """As `running`, for a report that ends the worker's part of the try. Moves a cleared (`restarting`) try on, so that its
    next try may begin. Where a person or the scheduler has brought the instance to `or_already`, the report moves nothing;
    the rendered fields that came with it are stored here."""
    before = known(services, dispatch)
    if dispatch.is_current(before) and before.state is S.RESTARTING:
        end_cleared(services, before)
        raise cleared()
    in_hand, fields = _in_hand(dispatch, before, or_already), services.rendered_fields
    if in_hand is None and fields is not None and before.rendered_by < dispatch.dispatch_count:
        services.store.put_rendered_fields(dispatch.key, fields, dispatch_count=dispatch.dispatch_count)
    return in_hand


def end_cleared(services: Services, before: TaskInstance) -> None:
    """restarting → None."""
    _, task = run_and_task(services, before)
    at = services.clock.now()
    with suppress(StaleTaskInstance):
        services.store.move(
            transition.restart(before, at=at, retries=task.retries, reason="Cleared; its worker ended it.")
        )


def cleared() -> Gone:
    return Gone("Task Instance not found, it may have been moved to the Task Instance History table")


def running(services: Services, dispatch: Dispatch, *, or_already: S | None = None) -> TaskInstance | None:
    """The instance, if it runs this dispatch; `None` if this dispatch has brought it to `or_already` before.

    Raises NotFound, and Conflict for any other state.
    """
    return _in_hand(dispatch, known(services, dispatch), or_already)


def _in_hand(dispatch: Dispatch, before: TaskInstance, or_already: S | None) -> TaskInstance | None:
    if dispatch.is_current(before):
        if before.state is S.RUNNING:
            return before
        if or_already is not None and before.state is or_already:
            return None
    raise not_running(before)


def present_dispatch(services: Services, dispatch: Dispatch) -> TaskInstance:
    """The instance while the dispatch is its last: it runs, or has just ended and no other has taken its place.

    Airflow's task runner pushes the XComs of operator links, and runs callbacks, after it has reported the end. Raises
    NotFound and Conflict as `running` does.
    """
    found = known(services, dispatch)
    if not dispatch.is_current(found) or found.state in {None, S.SCHEDULED, S.QUEUED, S.RESTARTING}:
        raise not_running(found)
    if found.state is not S.RUNNING and found.last_heard_of + LAST_WORDS < services.clock.now():
        raise not_running(found)
    return found


def known(services: Services, dispatch: Dispatch) -> TaskInstance:
    found = services.store.get_instance(dispatch.key)
    if found is None:
        raise NotFound("Task Instance not found")
    return found


def present(dispatch: Dispatch, current: TaskInstance | None) -> TaskInstance:
    """Raises NotFound, or Gone if a later try (or a person's clear) has taken the place of the dispatch's try."""
    if current is None:
        raise NotFound("Task Instance not found")
    if current.try_number != dispatch.try_number:
        raise cleared()
    return current


def not_running(current: TaskInstance | None) -> Conflict:
    return Conflict.of_state("TI was not in the running state so it cannot be updated", current)


def move(
    services: Services, change: Transition, refusal: Callable[[TaskInstance | None], Conflict] = not_running
) -> TaskInstance:
    """Write the move; returns the instance afterwards. Raises the refusal if the instance moved on."""
    try:
        _store(services, change)
    except StaleTaskInstance as stale:
        raise refusal(stale.current) from stale
    return change.after


def _store(services: Services, change: Transition) -> None:
    """Write the move, with the rendered fields that came with the request. Raises StaleTaskInstance."""
    fields = services.rendered_fields
    services.store.move(change if fields is None else transition.with_rendered_fields(change, fields))


def run_and_task(services: Services, instance: TaskInstance) -> tuple[DagRun, TaskSpec]:
    """The instance's run, and its task in the version that the try runs."""
    run = services.store.get_run(instance.key.run)
    if run is None:
        raise NotFound(f"DagRun with dag_id={instance.dag_id} and run_id={instance.run_id} not found")
    return run, spec_of_instance(services, run, instance).tasks[instance.task_id]
