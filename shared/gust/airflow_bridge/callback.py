"""Run one callback that the control plane owes to a run: a DAG author's code that no task's own process ran.

It runs in a forked child, as a task does, and may make the same requests: connections, variables, XComs, other runs. Which
function is called, and with which context, is Airflow's decision: its dag processor's code runs callbacks of DAGs and lost
tries, its callback supervisor's those of deadlines. A callback's exception is logged and reported.
"""

from __future__ import annotations

import asyncio
import json
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from gust.airflow_bridge import compat
from gust.airflow_bridge.supervisor import ExecutionApiClient, Lease, TaskInstance, run_supervised, stale_if_gone
from gust.airflow_bridge.task_log import Sink, stream_name, try_logger
from gust.airflow_bridge.trigger import made_trigger
from gust.airflow_bridge.worker_ports import WorkerPorts
from gust.aws.queues import HIDDEN_FOR
from gust.errors import StaleCallback, Unopenable
from gust.model.callback import CallbackKind
from gust.model.execution_paths import CLAIM_CALLBACK, END_CALLBACK
from gust.model.keys import TASK_INSTANCE_NAMESPACE
from gust.model.workload import CallbackWorkload

STOP_BEFORE_LIMIT: Final = 10.0
"""Seconds before the function's end at which a callback that still runs is killed."""

LONGEST_OUTPUT: Final = 2_000
"""Characters of what went wrong that are kept with the callback; all of it stands in the log."""


def run_callback(workload: CallbackWorkload, ports: WorkerPorts) -> str | None:
    """Claim the callback, run it and report how it ended; returns its error.

    Raises StaleCallback where it is not this message's to run (nothing was run). Any other error comes from before the
    callback was begun, or its end could not be reported."""
    client = ExecutionApiClient(ports, workload.token, workload.correlation_id)
    try:
        with stale_if_gone(
            lambda _: StaleCallback(
                f"{workload.callback_id} of {workload.run_id} is not to be run by this message", None
            )
        ):
            ports.hide(HIDDEN_FOR)
            error = _run(workload, client)
            if workload.call is None:
                url = END_CALLBACK.format(callback_uuid=workload.id)
                client.patch(url, content=json.dumps({"output": error and error[:LONGEST_OUTPUT]}))
    finally:
        ports.sink.flush()
    return error


def _claim(workload: CallbackWorkload, client: ExecutionApiClient) -> dict[str, Any]:
    """The callback's definition. Claimed anew while it runs: a claim that is not renewed lets another worker run it."""
    url = CLAIM_CALLBACK.format(callback_uuid=workload.id)
    return dict(client.patch(url, content=json.dumps({"hostname": stream_name()})).json())


def _run(workload: CallbackWorkload, client: ExecutionApiClient) -> str | None:
    ports = client.ports
    claimed = _claim(workload, client)
    lease = Lease(hide=ports.hide, confirm=lambda: _claim(workload, client))
    try:
        bundle = ports.bundles.fetch(str(workload.bundle_version))
        environment = ports.bundles.fetch_environment(bundle, workload.relative_fileloc)
    except Unopenable as error:
        return str(error)
    ports.children.call(compat.prepare_callbacks)
    ended = run_supervised(
        partial(_call_back, workload, claimed, bundle),
        kind="callback",
        ti=_as_instance(workload, claimed),
        client=client,
        log=_logger(ports.sink, workload, claimed),
        lease=lease,
        seconds=ports.seconds_before(STOP_BEFORE_LIMIT),
        bundle=bundle,
        environment=environment,
        line_at_limit="The callback is stopped: the function has no time left.",
    )
    if ended.answer is not None:
        output = ended.answer["output"]
        return None if output is None else str(output)
    if ended.was_stopped:
        return "The callback took all the time that the function has and was stopped"
    return f"The callback's process ended without a word (exit code {ended.exit_code})"


def _as_instance(workload: CallbackWorkload, claimed: Mapping[str, Any]) -> TaskInstance:
    """The instance that Airflow's supervisor wants. The execution API goes by the callback's token."""
    ti = claimed["ti"] or {"task_id": "", "try_number": 0, "map_index": -1}
    return TaskInstance(
        id=workload.id,
        task_id=ti["task_id"],
        dag_id=workload.dag_id,
        run_id=workload.run_id,
        try_number=ti["try_number"],
        map_index=ti["map_index"],
        dag_version_id=TASK_INSTANCE_NAMESPACE,
    )


def _logger(sink: Sink, workload: CallbackWorkload, claimed: Mapping[str, Any]) -> Any:
    """Every line names the callback; those about a try name the try, and so stand in its log, as in Airflow."""
    is_of_try = claimed["kind"] in (CallbackKind.TASK, CallbackKind.TRIGGER) and claimed["ti"]
    ti_id = claimed["ti"]["id"] if is_of_try else str(workload.id)
    return try_logger(sink.of_stream(claimed["ti"]["log_stream"] if is_of_try else None), ti_id).bind(
        callback_id=workload.callback_id, dag_id=workload.dag_id, run_id=workload.run_id
    )


# --- the child --------------------------------------------------------------------------------------------------------


def _call_back(workload: CallbackWorkload, claimed: Mapping[str, Any], bundle: Path, log: Any) -> dict[str, Any]:
    noting = _NotingErrors(log)
    try:
        _call(workload, claimed, bundle, noting)
    except Exception as error:
        noting.exception("The callback could not be run", error=str(error))
    return {"output": noting.error}


def _call(workload: CallbackWorkload, claimed: Mapping[str, Any], bundle: Path, log: _NotingErrors) -> None:
    file = bundle / workload.relative_fileloc
    match claimed["kind"]:
        case CallbackKind.DAG:
            compat.run_dag_callbacks(file, bundle, workload.bundle_name, claimed, log)
        case CallbackKind.TASK:
            compat.run_task_callbacks(file, bundle, workload.bundle_name, claimed, log)
        case CallbackKind.LISTENER:
            compat.tell_listeners_of_run(claimed, log)
        case CallbackKind.HOOK if workload.call is not None:
            compat.call_hook(workload.call, bundle, log)
        case CallbackKind.TRIGGER:
            kill_trigger(_as_instance(workload, claimed), claimed["definition"], log)
        case CallbackKind.DEADLINE:
            log.error_is(compat.run_deadline_callback(claimed, workload.relative_fileloc, bundle, log))
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
