"""A triggerer's reports about the trigger of a deferred try: it fired, it broke, it ended the task, or it sleeps and
must run again.

Only the first report counts: with it the instance leaves `deferred`, and every later report gets a Conflict.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from gust.errors import Conflict, Invalid, StaleTaskInstance, Unreadable
from gust.model.dispatch import Dispatch
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import ParkedTrigger, TaskInstance
from gust.model.xcom import XCom
from gust.scheduling import transition
from gust.scheduling.retry import fail_try
from gust.services.context import Services
from gust.services.make_workload import bundle_version, trigger_workload
from gust.services.sealed import opened_trigger, sealed_trigger
from gust.services.worker.report_task_instance import known, move, run_and_task

HEARD_OF: Final = timedelta(minutes=10)
"""How old a trigger's last sign of life gets before parking it stores a new one: a poller is parked every few seconds, and
the scheduler checks the sign only after an hour."""

LONG: Final = timedelta(hours=3)
"""Above this, a sleep is left to the run's timer. SQS hides a message for twelve hours at most."""

QUIET: Final = timedelta(minutes=45)
"""A trigger that sleeps longer gives its sign of life so long before it wakes, in advance: after an hour without one the
scheduler sends it again."""


def parked_trigger(services: Services, dispatch: Dispatch) -> tuple[TaskInstance, ParkedTrigger]:
    """The deferred instance and its trigger. Raises NotFound, and Conflict if it no longer waits for the trigger. If no
    key of the stack decrypts the trigger's arguments, the trigger counts as broken, and this raises Conflict too."""
    instance = deferred(services, dispatch)
    if instance.trigger is None:
        raise no_longer_deferred(instance)
    try:
        return instance, opened_trigger(services, instance.trigger)
    except Unreadable as unreadable:
        report_broken(services, dispatch, error=f"The trigger's arguments cannot be read: {unreadable}")
        raise no_longer_deferred(instance) from unreadable


def park(
    services: Services,
    dispatch: Dispatch,
    *,
    wake_at: datetime,
    sleeps_passed: int,
    is_poller: bool,
    looks: int = 0,
    place: str = "",
    woken: int = 0,
    kwargs: dict[str, Any] | None = None,
    relative_fileloc: str = "",
) -> None:
    """Send the trigger to the triggerer again, to run at `wake_at`. A message that comes before, since SQS delays one by 15
    minutes at most, is hidden until then. A trigger that sleeps longer than `LONG` is not sent: the run's timer sends it,
    which begins a new chain of invocations.

    `woken`: how often it polls yet because of an event. `kwargs`: the arguments for its next life; `None`: the present ones.
    `relative_fileloc`: its DAG's file, as the message named it.

    Raises NotFound, and Conflict if the instance no longer waits for it. Called twice, the trigger runs twice and the first
    event counts. If the arguments cannot be stored, the trigger counts as broken."""
    instance = deferred(services, dispatch)
    run = services.store.get_run(dispatch.key.run)
    if run is None:
        raise no_longer_deferred(instance)
    now = services.clock.now()
    if kwargs is not None and instance.trigger is not None:
        kept = sealed_trigger(services, replace(instance.trigger, kwargs=kwargs))
        # Before the message: after a crash in between the trigger runs again, from either arguments.
        try:
            instance = move(services, transition.queue_trigger(instance, at=now, trigger=kept), no_longer_deferred)
        except Invalid as problem:
            return report_broken(services, dispatch, error=f"What the trigger remembers cannot be kept. {problem}")
    if instance.trigger is not None and wake_at > now + LONG:
        resting = replace(
            instance.trigger,
            rests_until=wake_at,
            sleeps_passed=sleeps_passed,
            is_poller=is_poller,
            looks=looks,
            place=place,
        )
        move(services, transition.queue_trigger(instance, at=now, trigger=resting), no_longer_deferred)
        return None
    workload = trigger_workload(
        services,
        run,
        instance,
        bundle=bundle_version(services, run),
        relative_fileloc=relative_fileloc,
        now=now,
        wake_at=wake_at,
        sleeps_passed=sleeps_passed,
        is_poller=is_poller,
        looks=looks,
        place=place,
        woken=woken,
    )
    services.queues.send_triggers([workload], delay=max(0.0, (wake_at - now).total_seconds()))
    sign = max(now, wake_at - QUIET)
    if instance.queued_at is None or instance.queued_at + HEARD_OF < sign:
        move(services, transition.queue_trigger(instance, at=sign), no_longer_deferred)
    return None


def report_fired(services: Services, dispatch: Dispatch, *, event: Any) -> None:
    """deferred → scheduled: the same try continues with `event`, a JSON value as Airflow's serde encodes the payload.

    If the event cannot be stored, the trigger counts as broken: a refused event would be reported for ever."""
    before = deferred(services, dispatch)
    try:
        move(services, transition.resume(before, at=services.clock.now(), event=event), no_longer_deferred)
    except Invalid as problem:
        report_broken(services, dispatch, error=f"The trigger's event cannot be kept. {problem}")


def report_broken(services: Services, dispatch: Dispatch, *, error: str, traceback: list[str] | None = None) -> None:
    """deferred → scheduled: a worker fails the try, with the task's callbacks and retries."""
    before = deferred(services, dispatch)
    move(
        services,
        transition.fail_trigger(before, at=services.clock.now(), traceback=traceback, reason=error),
        no_longer_deferred,
    )


def report_ended(services: Services, dispatch: Dispatch, *, state: S, xcoms: Mapping[str, Any]) -> None:
    """deferred → success | failed | skipped, or up_for_retry instead of failed while tries remain, without a worker: the
    trigger ended the task (`end_from_trigger`). A worker calls the callbacks of a failure or a retry; that of a success is
    not called, as in Airflow.

    The XComs are written first: after a crash in between the report is repeated, while a success without its XComs would
    stay.
    """
    before = deferred(services, dispatch)
    at = services.clock.now()
    match state:
        case S.SUCCESS:
            change = transition.succeed(before, at=at)
        case S.FAILED:
            run, task = run_and_task(services, before)
            change = fail_try(task, run, before, at=at)
        case _:
            change = transition.stop(before, state=state, at=at)
    if change.after.state is not S.UP_FOR_RETRY:
        for name, value in xcoms.items():
            # Airflow 3.3 stores a trigger's XCom as text that holds JSON, and a task that pulls it gets the text.
            _push(services, before, XCom(key=before.key, name=name, value=json.dumps(value), timestamp=at))
    move(services, change, no_longer_deferred)


def _push(services: Services, before: TaskInstance, xcom: XCom) -> None:
    try:
        services.store.put_xcom(replace(xcom, dispatch_count=before.dispatch_count))
    except StaleTaskInstance as stale:
        raise no_longer_deferred(stale.current) from stale


def deferred(services: Services, dispatch: Dispatch) -> TaskInstance:
    instance = known(services, dispatch)
    if not dispatch.is_current(instance) or instance.state is not S.DEFERRED:
        raise no_longer_deferred(instance)
    return instance


def no_longer_deferred(current: TaskInstance | None) -> Conflict:
    return Conflict.of_state("TI no longer waits for this trigger", current)
