"""Run one life of a watcher of assets: as a trigger of a task is run (`trigger.py`), but that its event ends nothing.

A watcher is started again from its arguments at each of its sleeps, and after each event as soon as it has had a moment to
do what it does after one. What it must remember it keeps in the asset's state store, as it must for Airflow's triggerer.
Triggers that share a stream each read one of their own; a stream that wants to be told what was stored (Airflow's ack mode)
is not served, such a trigger's own `run` is.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import structlog
from airflow.sdk import Asset
from airflow.sdk._shared.module_loading import import_string
from airflow.sdk.api.client import Client
from airflow.sdk.api.datamodels._generated import TaskInstance
from airflow.sdk.execution_time import comms, task_runner
from airflow.sdk.execution_time.context import AssetStateStoreAccessors
from airflow.serialization.decoders import smart_decode_trigger_kwargs
from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from gust.airflow_bridge import orphans
from gust.airflow_bridge.bundle import BundleFolder
from gust.airflow_bridge.execute import GONE, enter_child
from gust.airflow_bridge.pipe import Pipe
from gust.airflow_bridge.supervised import Signs
from gust.airflow_bridge.task_log import Sink, stream_name, try_logger
from gust.airflow_bridge.transport import EXECUTION_API, Invoke, LambdaTransport
from gust.airflow_bridge.trigger import (
    CLEANUP_TIME,
    STOP_BEFORE_LIMIT,
    End,
    Pace,
    Parked,
    SupervisedTrigger,
    paced_loop,
)
from gust.errors import StaleWatcher, Unopenable
from gust.model.keys import TASK_INSTANCE_NAMESPACE
from gust.model.workload import WatcherWorkload
from gust.ports.objects import Objects

AFTER_EVENT: Final = 2.0
"""Seconds that a watcher has for what it does after an event (deleting a message, say) before it starts afresh."""

AFTER_ERROR: Final = 30.0
"""Seconds until a watcher that broke, or ended without an event, starts again. Airflow's starts again at once."""


def run_watcher(
    workload: WatcherWorkload,
    *,
    invoke: Invoke,
    objects: Objects,
    bundles: BundleFolder,
    sink: Sink,
    remaining: float,
    now: Callable[[], datetime] = lambda: datetime.now(tz=UTC),
    hide: Callable[[], object] = lambda: None,
) -> End:
    """Run it, report its events and have it parked. Raises StaleWatcher where it is not this message's to run. `hide` is
    called again and again meanwhile: the message stays hidden from other functions."""
    transport = LambdaTransport(invoke, objects)
    client = Client(base_url=EXECUTION_API, token=workload.token, transport=transport)
    url = f"gust/watchers/{workload.id}"
    events: list[Any] = []

    def claim() -> dict[str, Any]:
        return dict(client.patch(f"{url}/run", content=json.dumps({"hostname": stream_name()})).json())

    try:
        if workload.wake_at is not None and (early := (workload.wake_at - now()).total_seconds()) > 1:
            parked = Parked(early, workload.sleeps_passed, workload.is_poller)
        else:
            what = claim()
            # Claimed anew each time: who dies is missed soon, and another may claim it.
            signs = Signs(hide=hide, ask=claim)
            events, parked = _run(
                workload, what, client, transport, signs, bundles=bundles, sink=sink, remaining=remaining
            )
        for number, payload in enumerate(events):
            _report(client, url, number, payload, log=try_logger(sink, str(workload.id)))
        client.post(f"{url}/park", content=json.dumps(parked.to_payload(now())))
    except httpx.HTTPStatusError as error:
        if error.response.status_code not in GONE:
            raise
        raise StaleWatcher(f"Watcher {workload.watcher_id} is not to be run by this message") from error
    finally:
        sink.flush()
    return End.REPORTED if events else End.PARKED


def _report(client: Client, url: str, number: int, payload: Any, *, log: Any) -> None:
    """One that is refused (too large, say) would be refused again: the others must not wait for it."""
    try:
        client.post(f"{url}/event", content=json.dumps({"number": number, "payload": payload}))
    except httpx.HTTPStatusError as error:
        if error.response.status_code in GONE or error.response.status_code >= 500:
            raise
        log.error("The event cannot be kept", error=str(error))


def _run(
    workload: WatcherWorkload,
    what: Mapping[str, Any],
    client: Client,
    transport: LambdaTransport,
    signs: Signs,
    *,
    bundles: BundleFolder,
    sink: Sink,
    remaining: float,
) -> tuple[list[Any], Parked]:
    """Its events, and when it lives again."""
    log = try_logger(sink, str(workload.id)).bind(watcher=what["classpath"])
    try:
        bundle = bundles.fetch(workload.bundle_version) if workload.bundle_version else None
        # DAGs of several folders may want it: it has what all of them have.
        environment = bundles.fetch_environment(bundle, "") if bundle else None
    except Unopenable as error:
        log.error("The watcher's DAGs cannot be read", bundle_version=workload.bundle_version, error=str(error))
        return [], Parked(AFTER_ERROR, 0, is_poller=False)
    time_left = max(1.0, remaining - STOP_BEFORE_LIMIT)
    pace = Pace(
        skip=workload.sleeps_passed, is_poller=workload.is_poller, end=time.monotonic() + max(0.5, time_left - 5)
    )
    orphans.adopt()
    reads, writes = os.pipe()
    workspace = Path(tempfile.mkdtemp(prefix="gust-watcher-"))
    try:
        process = SupervisedTrigger.start(
            what=_nobody(workload),
            dag_rel_path="",
            bundle_info=None,
            client=client,
            transport=transport,
            logger=log,
            target=lambda: _watcher_main(what, pace, bundle, environment, workspace=workspace, writes=writes),
            deadline=time.monotonic() + time_left,
            said=Pipe(reads),
            signs=signs,
        )
        os.close(writes)
        exit_code = process.wait()
        said = process.said.rest()
    finally:
        os.close(reads)
        shutil.rmtree(workspace, ignore_errors=True)
    if said is not None:
        return list(said["events"]), Parked(**said["parked"])
    if process.was_stopped:
        return [], Parked(0.0, pace.skip, pace.is_poller)
    log.error("The watcher's process ended without a word", exit_code=exit_code)
    return [], Parked(AFTER_ERROR, 0, is_poller=False)


def _nobody(workload: WatcherWorkload) -> TaskInstance:
    """Whom the supervisor takes it for; its requests are answered by the watcher's token."""
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


def _watcher_main(
    what: Mapping[str, Any], pace: Pace, bundle: Path | None, environment: Path | None, *, workspace: Path, writes: int
) -> None:
    enter_child(bundle, workspace, environment)
    log = structlog.get_logger(logger_name="trigger")
    task_runner.SUPERVISOR_COMMS = comms.CommsDecoder(log=log)
    loop = paced_loop(pace)
    asyncio.set_event_loop(loop)
    said = loop.run_until_complete(_live(what, pace, log))
    with os.fdopen(writes, "w") as pipe:
        json.dump(said, pipe)


async def _live(what: Mapping[str, Any], pace: Pace, log: Any) -> dict[str, Any]:
    """The events of this life, and where it is parked. What still runs then is left as it stands: the process ends."""
    loop = asyncio.get_running_loop()
    events: list[Any] = []
    pace.parked = loop.create_future()
    pace.task = asyncio.create_task(_watch(what, pace, events, log))
    loop.call_later(max(0.0, pace.end - time.monotonic()), pace.park, 0.0)
    ends: list[asyncio.Future[Any]] = [pace.task, pace.parked]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    if pace.parked.done():
        return {"events": events, "parked": asdict(pace.parked.result())}
    ended: float = pace.task.result()
    return {"events": events, "parked": asdict(Parked(ended, 0, is_poller=pace.is_poller))}


async def _watch(what: Mapping[str, Any], pace: Pace, events: list[Any], log: Any) -> float:
    """Seconds after which it starts again, where it ends by itself."""
    try:
        trigger = _made(what)
    except Exception:
        log.exception("The watcher cannot be made", classpath=what["classpath"])
        return AFTER_ERROR
    pace.trigger = trigger
    try:
        async for event in _stream(trigger, what, log):
            log.info("Trigger fired event", result=repr(event))
            try:
                events.append(json.loads(json.dumps(event.payload)))
            except (TypeError, ValueError):
                log.exception("The event cannot be kept: its payload is no JSON value")
            if len(events) == 1:
                asyncio.get_running_loop().call_later(AFTER_EVENT, pace.park, 0.0)
            pace.start_afresh()
    except Exception:
        log.exception("The watcher broke", classpath=what["classpath"])
        return AFTER_ERROR
    finally:
        with suppress(Exception):
            await asyncio.wait_for(trigger.cleanup(), CLEANUP_TIME)
    if not events:
        log.error("Trigger exited without sending an event.", classpath=what["classpath"])
        return AFTER_ERROR
    return 0.0


def _made(what: Mapping[str, Any]) -> BaseEventTrigger:
    trigger: BaseEventTrigger = import_string(what["classpath"])(**_arguments(what))
    trigger.trigger_id = None
    trigger.triggerer_job_id = None
    trigger.timeout_after = None
    trigger.asset_state_store = AssetStateStoreAccessors(
        inlets=[Asset(name=asset["name"], uri=asset["uri"]) for asset in what["assets"]]
    )
    return trigger


def _arguments(what: Mapping[str, Any]) -> dict[str, Any]:
    return {name: smart_decode_trigger_kwargs(value) for name, value in what["kwargs"].items()}


def _stream(trigger: Any, what: Mapping[str, Any], log: Any) -> AsyncIterator[TriggerEvent]:
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
        stream = trigger.filter_shared_stream(kind.open_shared_stream(_arguments(what)))
    return stream
