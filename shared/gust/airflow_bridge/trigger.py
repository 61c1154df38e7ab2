"""Run the trigger of one deferred try until it fires, breaks, or would sleep; then it is parked and costs nothing.

A trigger runs in a forked child, as a task does: one that blocks, leaks or crashes harms itself alone. Parking ends the
child's process without a cancellation, which some triggers answer by killing the job that they watch. `pace` decides
when a trigger is parked, and where its next life goes on.
"""

from __future__ import annotations

import asyncio
import json
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Any, Final

import structlog
from airflow.sdk.module_loading import import_string
from airflow.sdk.serde import deserialize, serialize
from airflow.triggers.base import BaseTaskEndEvent, BaseTrigger, TriggerEvent

from gust.airflow_bridge import compat, late
from gust.airflow_bridge.pace import Pace, Parked, paced_loop, run_until_parked
from gust.airflow_bridge.supervisor import (
    STOP_BEFORE_LIMIT,
    Ended,
    ExecutionApiClient,
    Lease,
    TaskInstance,
    run_supervised,
    stale_if_gone,
)
from gust.airflow_bridge.task_log import try_logger
from gust.airflow_bridge.trigger_questions import replies_to_triggers, reply_to_question
from gust.airflow_bridge.worker_ports import WorkerPorts
from gust.aws.queues import RENEWED_EVERY
from gust.errors import StaleTaskInstance, Unopenable
from gust.model.execution_paths import PARK_TRIGGER, TRIGGER, TRIGGER_EVENT
from gust.model.keys import TASK_INSTANCE_NAMESPACE
from gust.model.workload import TriggerWorkload

CLEANUP_TIME: Final = 5.0
"""Seconds for a trigger's `cleanup` after it fired."""

AGAIN_AFTER: Final = 10.0
"""Seconds between two polls of a trigger that an event has woken, at most."""

STILL_WANTED_EVERY: Final = 8.0
"""Seconds between two questions to the execution API whether the try still waits for the trigger: one whose task is cleared
or marked ends within ten. A question costs less than a hundredth of what the trigger's function does meanwhile."""


Report = Mapping[str, Any]
"""The report to the execution API: `event`, `error` and `traceback`, or `state` and `xcoms`."""


class End(StrEnum):
    """How one life of a trigger ended."""

    REPORTED = "reported"
    PARKED = "parked"
    EARLY = "early"
    """Its message came before its time, since SQS delays one by 15 minutes at most, and stays on the queue, hidden until
    then: the door reports it as failed."""
    NOT_AWAITED = "not awaited"
    """An event woke it, it has not fired, and it polls next when its other message comes."""


def run_trigger(
    workload: TriggerWorkload,
    ports: WorkerPorts,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(tz=UTC),
    hide_every: float = RENEWED_EVERY,
    confirm_every: float = STILL_WANTED_EVERY,
) -> End:
    """Run the trigger and report how it ended, or have it parked. The message is hidden again every `hide_every`
    seconds, and `confirm_every` seconds the execution API is asked whether the try still waits.

    Raises StaleTaskInstance where the try no longer waits for the trigger."""
    client = ExecutionApiClient(ports, workload.token, workload.correlation_id)
    try:
        with stale_if_gone(lambda _: StaleTaskInstance(f"{workload.key} does not wait for this trigger", None)):
            early = 0.0 if workload.wake_at is None else (workload.wake_at - now()).total_seconds()
            if early > 1.0:
                if ports.hide(early):
                    return End.EARLY
                return _park(workload, client, _as_it_was(workload, early), woken=workload.woken, now=now)
            end = _run(workload, client, hide_every, confirm_every)
            if not isinstance(end, Parked):
                client.post(_url(TRIGGER_EVENT, workload), content=json.dumps(end))
                return End.REPORTED
            if not workload.woken:
                return _park(workload, client, end, woken=0, now=now)
            if workload.woken == 1:
                return End.NOT_AWAITED
            soon = replace(end, delay=min(end.delay, AGAIN_AFTER), kwargs=None)
            return _park(workload, client, soon, woken=workload.woken - 1, now=now)
    finally:
        ports.sink.flush()


def _park(
    workload: TriggerWorkload, client: ExecutionApiClient, end: Parked, *, woken: int, now: Callable[[], datetime]
) -> End:
    parked = {**end.to_payload(now()), "relative_fileloc": workload.relative_fileloc, "woken": woken}
    client.post(_url(PARK_TRIGGER, workload), content=json.dumps(parked))
    return End.PARKED


def _url(path: str, workload: TriggerWorkload) -> str:
    return path.format(task_instance_id=workload.id)


def _run(
    workload: TriggerWorkload, client: ExecutionApiClient, hide_every: float, confirm_every: float
) -> Parked | Report:
    ports, url = client.ports, _url(TRIGGER, workload)
    definition = client.get(url).json()
    lease = Lease(hide=ports.hide, hide_every=hide_every, confirm=lambda: client.get(url), confirm_every=confirm_every)
    try:
        bundle = ports.bundles.fetch(workload.bundle_version) if workload.bundle_version else None
        environment = ports.bundles.fetch_environment(bundle, workload.relative_fileloc) if bundle else None
    except Unopenable as error:
        return {"error": str(error)}
    if compat.needs_models(definition):
        ports.children.call(late.wake_for_children)
    ti = _task_instance(workload)
    seconds = ports.seconds_before(STOP_BEFORE_LIMIT)
    pace = Pace(
        skip=workload.sleeps_passed,
        is_poller=workload.is_poller,
        end=time.monotonic() + max(0.5, seconds - 5),
        looks=workload.looks,
        place=workload.place,
        looks_seldom=bool(definition.get("looks_seldom")),
        is_woken=workload.woken > 0,
    )
    ended = run_supervised(
        partial(_live, definition, ti, pace),
        kind="trigger",
        ti=ti,
        client=client,
        log=try_logger(ports.sink.of_stream(workload.log_stream), str(ti.id)),
        lease=lease,
        seconds=seconds,
        bundle=bundle,
        environment=environment,
        replies=replies_to_triggers,
        answer=reply_to_question,
    )
    return _end(ended, workload)


def _as_it_was(workload: TriggerWorkload, delay: float) -> Parked:
    return Parked(delay, workload.sleeps_passed, workload.is_poller, workload.looks, workload.place)


def _end(ended: Ended, workload: TriggerWorkload) -> Parked | Report:
    if ended.answer is not None:
        return Parked(**ended.answer["parked"]) if "parked" in ended.answer else ended.answer
    if ended.was_stopped:
        return _as_it_was(workload, 0.0)
    return {"error": f"The trigger's process ended without a word (exit code {ended.exit_code})"}


def _task_instance(workload: TriggerWorkload) -> TaskInstance:
    return TaskInstance(**workload.names_of_try, dag_version_id=TASK_INSTANCE_NAMESPACE)


# --- the child --------------------------------------------------------------------------------------------------------


def _live(definition: Mapping[str, Any], ti: TaskInstance, pace: Pace, log: Any) -> dict[str, Any]:
    structlog.contextvars.bind_contextvars(
        dag_id=ti.dag_id, task_id=ti.task_id, run_id=ti.run_id, try_number=ti.try_number, map_index=ti.map_index
    )
    loop = paced_loop(pace)
    asyncio.set_event_loop(loop)
    return loop.run_until_complete(_first_of(definition, ti, pace, log))


async def _first_of(definition: Mapping[str, Any], ti: TaskInstance, pace: Pace, log: Any) -> dict[str, Any]:
    """The trigger's report, or where it is parked. A trigger that is parked is not cancelled: the process ends."""
    task, parked = await run_until_parked(_until_it_fires(definition, ti, pace, log), pace)
    return task.result() if task.done() else {"parked": asdict(parked.result())}


async def _until_it_fires(definition: Mapping[str, Any], ti: TaskInstance, pace: Pace, log: Any) -> dict[str, Any]:
    """What to report. As in Airflow, the first event resumes a task, and an end without an event is an error."""
    try:
        trigger = made_trigger(definition, ti)
    except Exception as error:
        log.exception("The trigger cannot be made", classpath=definition["classpath"])
        return _broken(error)
    try:
        if template := definition.get("template"):
            compat.render_trigger(trigger, ti, template)
        pace.begin(trigger, keeps_arguments=template is not None)
        async for event in trigger.run():
            log.info("Trigger fired event", result=repr(event))
            return _fired(event)
    except Exception as error:
        log.exception("The trigger broke", classpath=definition["classpath"])
        return _broken(error)
    finally:
        with suppress(Exception):
            await asyncio.wait_for(trigger.cleanup(), CLEANUP_TIME)
    log.error("Trigger exited without sending an event. The task will be failed.", classpath=definition["classpath"])
    return {"error": "The trigger ended without an event"}


def made_trigger(definition: Mapping[str, Any], ti: TaskInstance) -> BaseTrigger:
    trigger_class = import_string(definition["classpath"])
    trigger = trigger_class(**compat.trigger_arguments(_decoded(definition["kwargs"])))
    trigger.task_instance = ti
    trigger.trigger_id = ti.id.int >> 96
    trigger.triggerer_job_id = None
    trigger.timeout_after = datetime.fromisoformat(at) if (at := definition.get("timeout_at")) else None
    return trigger


def _decoded(kwargs: dict[str, Any] | str) -> dict[str, Any]:
    """Airflow writes a trigger's arguments with serde; `start_trigger_args` come in the older encoding."""
    raw = json.loads(kwargs) if isinstance(kwargs, str) else kwargs
    try:
        decoded = deserialize(raw)
    except (ImportError, KeyError, AttributeError, TypeError):
        decoded = compat.decoded_values(raw)
    return dict(decoded)


def _fired(event: TriggerEvent) -> dict[str, Any]:
    if isinstance(event, BaseTaskEndEvent):
        xcoms = {name: serialize(value) for name, value in (event.xcoms or {}).items()}
        return {"state": str(event.task_instance_state.value), "xcoms": xcoms}
    return {"event": serialize(event.payload)}


def _broken(error: Exception) -> dict[str, Any]:
    return {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exception(error)}
