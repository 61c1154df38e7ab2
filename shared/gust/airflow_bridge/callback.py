"""Run one callback that the control plane owes to a run: users' code that no task's own process ran.

It runs in a forked child, as a task does, with the same ways to ask: connections, variables, XComs, other runs. What is
called, and with which context, is Airflow's: its dag processor's code for callbacks of DAGs and lost tries, its callback
supervisor's for deadlines. Whatever a callback does harms itself alone; what it raised stands in the log and is reported.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs
import httpx
import structlog
from airflow.sdk.api.client import Client
from airflow.sdk.api.datamodels._generated import TaskInstance
from airflow.sdk.execution_time import comms, task_runner

from gust.airflow_bridge import compat, orphans
from gust.airflow_bridge.bundle import BundleFolder
from gust.airflow_bridge.execute import GONE, enter_child
from gust.airflow_bridge.pipe import Pipe
from gust.airflow_bridge.supervised import Signs, SupervisedChild
from gust.airflow_bridge.task_log import Sink, stream_name, try_logger
from gust.airflow_bridge.transport import EXECUTION_API, Invoke, LambdaTransport
from gust.airflow_bridge.trigger import made_trigger
from gust.errors import StaleCallback, Unopenable
from gust.model.callback import CallbackKind
from gust.model.keys import TASK_INSTANCE_NAMESPACE
from gust.model.workload import CallbackWorkload
from gust.ports.objects import Objects

STOP_BEFORE_LIMIT: Final = 10.0
"""Seconds before the function's end at which a callback that still runs is killed."""

LONGEST_OUTPUT: Final = 2_000
"""Characters of what went wrong that are kept with the callback; all of it stands in the log."""


def run_callback(
    workload: CallbackWorkload,
    *,
    invoke: Invoke,
    objects: Objects,
    bundles: BundleFolder,
    sink: Sink,
    remaining: float,
    hide: Callable[[], object] = lambda: None,
) -> str | None:
    """Claim the callback, run it and report how it ended; returns what went wrong. `remaining`: seconds that the function
    has left. `hide` is called again and again meanwhile: the message stays hidden from other functions.

    Raises StaleCallback where it is not this message's to run (nothing was run). Any other error comes from before the
    callback was begun, or its end could not be reported."""
    transport = LambdaTransport(invoke, objects)
    client = Client(base_url=EXECUTION_API, token=workload.token, transport=transport)
    url = f"gust/callbacks/{workload.id}"

    def claim() -> dict[str, Any]:
        return dict(client.patch(f"{url}/run", content=json.dumps({"hostname": stream_name()})).json())

    try:
        hide()
        what = claim()
        # Claimed again and again: a worker that dies is missed soon, and another may claim the callback.
        signs = Signs(hide=hide, ask=claim)
        output = _run(workload, what, client, transport, signs, bundles=bundles, sink=sink, remaining=remaining)
        if workload.call is not None:
            return output
        client.patch(f"{url}/state", content=json.dumps({"output": output and output[:LONGEST_OUTPUT]}))
    except httpx.HTTPStatusError as error:
        if error.response.status_code not in GONE:
            raise
        raise StaleCallback(
            f"{workload.callback_id} of {workload.run_id} is not to be run by this message", None
        ) from error
    finally:
        sink.flush()
    return output


def _run(
    workload: CallbackWorkload,
    what: Mapping[str, Any],
    client: Client,
    transport: LambdaTransport,
    signs: Signs,
    *,
    bundles: BundleFolder,
    sink: Sink,
    remaining: float,
) -> str | None:
    try:
        bundle = bundles.fetch(str(workload.bundle_version))
        environment = bundles.fetch_environment(bundle, workload.relative_fileloc)
    except Unopenable as error:
        return str(error)
    compat.prepare_callbacks()
    orphans.adopt()
    reads, writes = os.pipe()
    workspace = Path(tempfile.mkdtemp(prefix="gust-callback-"))
    try:
        process = SupervisedCallback.start(
            what=_as_instance(workload, what),
            dag_rel_path="",
            bundle_info=None,
            client=client,
            transport=transport,
            logger=_logger(sink, workload, what),
            target=lambda: _callback_main(workload, what, bundle, environment, workspace=workspace, writes=writes),
            deadline=time.monotonic() + max(1.0, remaining - STOP_BEFORE_LIMIT),
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
        return said["output"] if said["output"] is None else str(said["output"])
    if process.was_stopped:
        return "The callback took all the time that the function has and was stopped"
    return f"The callback's process ended without a word (exit code {exit_code})"


def _as_instance(workload: CallbackWorkload, what: Mapping[str, Any]) -> TaskInstance:
    """Whom the supervisor takes it for; its requests are answered by the callback's token."""
    ti = what["ti"] or {"task_id": "", "try_number": 0, "map_index": -1}
    return TaskInstance(
        id=workload.id,
        task_id=ti["task_id"],
        dag_id=workload.dag_id,
        run_id=workload.run_id,
        try_number=ti["try_number"],
        map_index=ti["map_index"],
        dag_version_id=TASK_INSTANCE_NAMESPACE,
    )


def _logger(sink: Sink, workload: CallbackWorkload, what: Mapping[str, Any]) -> Any:
    """Every line names the callback; those about a try name the try, and so stand in its log."""
    is_of_try = what["kind"] == CallbackKind.TASK and what["ti"]
    ti_id = what["ti"]["id"] if is_of_try else str(workload.id)
    return try_logger(sink.of_stream(what["ti"]["log_stream"] if is_of_try else None), ti_id).bind(
        callback_id=workload.callback_id, dag_id=workload.dag_id, run_id=workload.run_id
    )


@attrs.define(kw_only=True)
class SupervisedCallback(SupervisedChild):
    def _stop_at_limit(self) -> None:
        if not self.was_stopped:
            self.process_log.error("The callback is stopped: the function has no time left.")
        self._stop()


# --- the child --------------------------------------------------------------------------------------------------------


def _callback_main(
    workload: CallbackWorkload,
    what: Mapping[str, Any],
    bundle: Path,
    environment: Path | None,
    *,
    workspace: Path,
    writes: int,
) -> None:
    enter_child(bundle, workspace, environment)
    log = structlog.get_logger(logger_name="callback")
    task_runner.SUPERVISOR_COMMS = comms.CommsDecoder(log=log)
    noting = _NotingErrors(log)
    try:
        _call(workload, what, bundle, noting)
    except Exception as error:
        noting.exception("The callback could not be run", error=str(error))
    with os.fdopen(writes, "w") as pipe:
        json.dump({"output": noting.error}, pipe)


def _call(workload: CallbackWorkload, what: Mapping[str, Any], bundle: Path, log: _NotingErrors) -> None:
    file = bundle / workload.relative_fileloc
    match what["kind"]:
        case CallbackKind.DAG:
            compat.run_dag_callbacks(file, bundle, workload.bundle_name, what, log)
        case CallbackKind.TASK:
            compat.run_task_callbacks(file, bundle, workload.bundle_name, what, log)
        case CallbackKind.LISTENER:
            compat.tell_listeners_of_run(what, log)
        case CallbackKind.HOOK if workload.call is not None:
            compat.call_hook(workload.call, bundle, log)
        case CallbackKind.TRIGGER:
            kill_trigger(_as_instance(workload, what), what["definition"], log)
        case CallbackKind.DEADLINE:
            log.error_is(compat.run_deadline_callback(what, workload.relative_fileloc, bundle, log))
        case kind:
            raise ValueError(f"This worker knows no callbacks of kind {kind!r}")


def kill_trigger(ti: TaskInstance, definition: Mapping[str, Any], log: Any) -> None:
    """The trigger's `on_kill`, then its `cleanup`, on a new one made from the same arguments: Airflow promises triggers no
    more than that."""
    from airflow.configuration import conf

    trigger = made_trigger(definition, ti)

    async def kill() -> None:
        try:
            await asyncio.wait_for(trigger.on_kill(), timeout=conf.getint("triggerer", "on_kill_timeout", fallback=30))
        except Exception:
            log.exception("on_kill() of the trigger raised an exception", classpath=definition["classpath"])
        finally:
            with suppress(Exception):
                await trigger.cleanup()

    log.info("Trigger cancelled by user action, invoking on_kill", classpath=definition["classpath"])
    asyncio.run(kill())


class _NotingErrors:
    """A log that remembers what Airflow's code logs as an exception, which is how it tells that a callback failed."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self.error: str | None = None

    def exception(self, event: str, *args: Any, **fields: Any) -> None:
        error = sys.exc_info()[1]
        self.error_is(event if error is None else "".join(traceback.format_exception_only(error)).strip())
        self._log.exception(event, *args, **fields)

    def error_is(self, error: str | None) -> None:
        self.error = self.error or error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)
