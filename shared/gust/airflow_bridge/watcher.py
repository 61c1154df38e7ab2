"""Run one life of a watcher of assets: as a trigger of a task is run (`trigger.py`), except that an event does not end it.

A watcher starts again from its arguments at each of its sleeps, and soon after each event. What it must remember it keeps in
the asset's state store, as it must for Airflow's triggerer. Triggers that share a stream each read a stream of their own. A
stream that must be told which events were stored (Airflow's ack mode) is not served; that trigger's own `run` is.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import httpx
from airflow.sdk.module_loading import import_string
from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from gust.airflow_bridge import compat
from gust.airflow_bridge.pace import Pace, Parked, paced_loop, run_until_parked
from gust.airflow_bridge.supervisor import (
    GONE,
    STOP_BEFORE_LIMIT,
    ExecutionApiClient,
    Lease,
    TaskInstance,
    run_supervised,
    stale_if_gone,
)
from gust.airflow_bridge.task_log import stream_name, try_logger
from gust.airflow_bridge.trigger import CLEANUP_TIME, End
from gust.airflow_bridge.trigger_questions import reply_to_question
from gust.airflow_bridge.worker_ports import WorkerPorts
from gust.errors import StaleWatcher, Unopenable
from gust.model.execution_paths import CLAIM_WATCHER, PARK_WATCHER, WATCHER_EVENT
from gust.model.keys import TASK_INSTANCE_NAMESPACE
from gust.model.workload import WatcherWorkload

AFTER_EVENT: Final = 2.0
"""Seconds that a watcher has for what it does after an event (deleting a message, say) before it starts afresh."""

AFTER_ERROR: Final = 30.0
"""Seconds until a watcher that broke, or ended without an event, starts again. Airflow's starts again at once."""


def run_watcher(
    workload: WatcherWorkload, ports: WorkerPorts, *, now: Callable[[], datetime] = lambda: datetime.now(tz=UTC)
) -> End:
    """Run it, report its events and have it parked. Raises StaleWatcher where it is not this message's to run."""
    client = ExecutionApiClient(ports, workload.token)
    events: list[Any] = []
    try:
        with stale_if_gone(lambda _: StaleWatcher(f"Watcher {workload.watcher_id} is not to be run by this message")):
            if workload.wake_at is not None and (early := (workload.wake_at - now()).total_seconds()) > 1:
                parked = Parked(early, workload.sleeps_passed, workload.is_poller)
            else:
                events, parked = _run(workload, client, began=now())
            for number, payload in enumerate(events):
                _report(workload, client, number, payload)
            client.post(_url(PARK_WATCHER, workload), content=json.dumps(parked.to_payload(now())))
    finally:
        ports.sink.flush()
    return End.REPORTED if events else End.PARKED


def _url(path: str, workload: WatcherWorkload) -> str:
    return path.format(watcher_id=workload.id)


def _claim(workload: WatcherWorkload, client: ExecutionApiClient) -> dict[str, Any]:
    """The watcher's definition. Claimed anew while it runs: a claim that is not renewed lets another function run it."""
    body = json.dumps({"hostname": stream_name()})
    return dict(client.patch(_url(CLAIM_WATCHER, workload), content=body).json())


def _report(workload: WatcherWorkload, client: ExecutionApiClient, number: int, payload: Any) -> None:
    """An event that is refused (too large, say) would be refused again: it is logged, and the others follow."""
    try:
        client.post(_url(WATCHER_EVENT, workload), content=json.dumps({"number": number, "payload": payload}))
    except httpx.HTTPStatusError as error:
        if error.response.status_code in GONE or error.response.status_code >= 500:
            raise
        try_logger(client.ports.sink, str(workload.id)).error("The event cannot be kept", error=str(error))


def _run(workload: WatcherWorkload, client: ExecutionApiClient, *, began: datetime) -> tuple[list[Any], Parked]:
    """Its events, and when its next life begins."""
    ports = client.ports
    definition = _claim(workload, client)
    lease = Lease(hide=ports.hide, confirm=lambda: _claim(workload, client))
    log = try_logger(ports.sink, str(workload.id)).bind(watcher=definition["classpath"])
    try:
        bundle = ports.bundles.fetch(workload.bundle_version) if workload.bundle_version else None
        environment = ports.bundles.fetch_environment(bundle, workload.file) if bundle else None
    except Unopenable as error:
        log.error("The watcher's DAGs cannot be read", bundle_version=workload.bundle_version, error=str(error))
        return [], Parked(AFTER_ERROR, 0, is_poller=False)
    seconds = ports.seconds_before(STOP_BEFORE_LIMIT)
    pace = Pace(skip=workload.sleeps_passed, is_poller=workload.is_poller, end=time.monotonic() + max(0.5, seconds - 5))
    ended = run_supervised(
        partial(_live, definition, pace, began, workload.wake_at or began),
        kind="trigger",
        ti=_stand_in(workload),
        client=client,
        log=log,
        lease=lease,
        seconds=seconds,
        bundle=bundle,
        environment=environment,
        answer=reply_to_question,
    )
    if ended.answer is not None:
        return list(ended.answer["events"]), Parked(**ended.answer["parked"])
    if ended.was_stopped:
        return [], Parked(0.0, pace.skip, pace.is_poller)
    log.error("The watcher's process ended without a word", exit_code=ended.exit_code)
    return [], Parked(AFTER_ERROR, 0, is_poller=False)


def _stand_in(workload: WatcherWorkload) -> TaskInstance:
    """The instance that Airflow's supervisor wants. The execution API goes by the watcher's token."""
    return TaskInstance(
        id=workload.id,
        task_id="",
        dag_id="",
        run_id="",
        try_number=0,
        map_index=-1,
        dag_version_id=TASK_INSTANCE_NAMESPACE,
    )


# --- the child --------------------------------------------------------------------------------------------------------


AGAIN: Final = 0.2
"""Seconds until a watcher that owes a checkpoint is asked again whether it can be parked."""


@dataclass(slots=True)
class _Seen:
    """What a life has come to."""

    events: list[Any] = field(default_factory=list)
    look: compat.KinesisLook = field(default_factory=compat.KinesisLook)


def _live(definition: Mapping[str, Any], pace: Pace, began: datetime, woken_at: datetime, log: Any) -> dict[str, Any]:
    loop = paced_loop(pace)
    asyncio.set_event_loop(loop)
    return loop.run_until_complete(_one_life(definition, pace, began, woken_at, log))


async def _one_life(
    definition: Mapping[str, Any], pace: Pace, began: datetime, woken_at: datetime, log: Any
) -> dict[str, Any]:
    """The events of this life, and where it is parked. A watcher that is parked is not cancelled: the process ends."""
    seen = _Seen()
    task, parked = await run_until_parked(_watch(definition, pace, woken_at, seen, log), pace)
    end = parked.result() if parked.done() else Parked(task.result(), 0, is_poller=pace.is_poller)
    if seen.look.is_complete:
        end = replace(end, looked_at=began.isoformat())
    return {"events": seen.events, "parked": asdict(end)}


async def _watch(definition: Mapping[str, Any], pace: Pace, woken_at: datetime, seen: _Seen, log: Any) -> float:
    """Run until the watcher ends by itself; returns the seconds until it starts again."""
    looked_at = definition.get("looked_at")
    try:
        trigger = _made(definition)
        seen.look = compat.read_kinesis_on(
            trigger, looked_at=datetime.fromisoformat(looked_at) if looked_at else None, woken_at=woken_at
        )
    except Exception:
        log.exception("The watcher cannot be made", classpath=definition["classpath"])
        return AFTER_ERROR
    pace.trigger = trigger
    pace.stays = lambda: seen.look.is_on_the_way
    try:
        async for event in _stream(trigger, definition, log):
            log.info("Trigger fired event", result=repr(event))
            try:
                seen.events.append(json.loads(json.dumps(event.payload)))
            except (TypeError, ValueError):
                log.exception("The event cannot be kept: its payload is no JSON value")
            if len(seen.events) == 1:
                asyncio.get_running_loop().call_later(AFTER_EVENT, park_after_event, pace, seen.look)
            pace.start_afresh()
    except Exception:
        log.exception("The watcher broke", classpath=definition["classpath"])
        return AFTER_ERROR
    finally:
        with suppress(Exception):
            await asyncio.wait_for(trigger.cleanup(), CLEANUP_TIME)
    if not seen.events:
        log.error("Trigger exited without sending an event.", classpath=definition["classpath"])
        return AFTER_ERROR
    return 0.0


def park_after_event(pace: Pace, look: compat.KinesisLook) -> None:
    """Not before the watcher has stored its place: its next life would read the same records, and come no further."""
    if look.owes_checkpoint:
        asyncio.get_running_loop().call_later(AGAIN, park_after_event, pace, look)
    else:
        pace.park(0.0)


def _made(definition: Mapping[str, Any]) -> BaseEventTrigger:
    trigger_class = import_string(definition["classpath"])
    trigger: BaseEventTrigger = trigger_class(**compat.trigger_arguments(definition["kwargs"]))
    trigger.trigger_id = None
    trigger.triggerer_job_id = None
    trigger.timeout_after = None
    trigger.asset_state_store = compat.state_stores_of(definition["assets"])
    return trigger


def _stream(trigger: Any, definition: Mapping[str, Any], log: Any) -> AsyncIterator[TriggerEvent]:
    kind = type(trigger)
    stream: AsyncIterator[TriggerEvent]
    try:
        is_shared = trigger.shared_stream_key() is not None
    except Exception:
        log.exception("shared_stream_key() raised; falling back to standalone run")
        is_shared = False
    acks = kind.create_shared_stream_producer.__func__ is not BaseEventTrigger.create_shared_stream_producer.__func__
    if not is_shared or acks:
        stream = trigger.run()
    else:
        stream = trigger.filter_shared_stream(kind.open_shared_stream(compat.trigger_arguments(definition["kwargs"])))
    return stream
