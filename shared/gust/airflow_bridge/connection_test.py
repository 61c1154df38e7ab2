"""Test one connection with its provider's own hook, for an API user who waits for the result.

The hook runs in a forked child that may crash, hang or leave processes behind. The child gets the connection as a task would
find it, and no way to request anything else of the control plane.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from pathlib import Path
from posixpath import join
from typing import Any, Final

import structlog

from gust.airflow_bridge import compat, orphans, surroundings
from gust.airflow_bridge.child import run_in_child
from gust.airflow_bridge.credentials import CredentialsEndpoint, ask_through
from gust.airflow_bridge.parse import memory_for_child
from gust.airflow_bridge.supervisor import (
    GONE,
    ConnectionTestConnectionResponse,
    ConnectionTestState,
    ExecutionApiClient,
    enter_child,
    stale_if_gone,
)
from gust.airflow_bridge.worker_ports import WorkerPorts
from gust.errors import Stale, Unopenable
from gust.model.workload import ConnectionTestWorkload

STOP_BEFORE_LIMIT: Final = 10.0
"""Seconds before the function's end at which a hook that still tries is killed."""

GRACE: Final = 5.0
"""Seconds that a child has beside the hook's time, to start and to clean up."""

OVER: Final = GONE | {HTTPStatus.FORBIDDEN}
"""Answers of the execution API after which there is nothing left to do. The token outlives the test: where it has expired,
the message waited too long, or has come again after a worker's death."""


log = structlog.get_logger(logger_name="connection-test")


def run_connection_test(workload: ConnectionTestWorkload, ports: WorkerPorts) -> str:
    """Take the test, run it and report how it ended; returns that state.

    Raises Stale where it is not this message's to run, or its result comes too late. Any other error comes from before it
    was begun, or its end could not be reported."""
    client = ExecutionApiClient(ports, workload.token)
    with stale_if_gone(
        lambda _: Stale(f"the test {workload.test_id} is not this message's to run or to end"), gone=OVER
    ):
        given = client.connection_tests.get_connection(workload.id)
        timeout = min(workload.timeout, ports.seconds_before(STOP_BEFORE_LIMIT))
        is_good, message = _tested(given, workload, client, timeout=max(1.0, timeout))
        state = ConnectionTestState.SUCCESS if is_good else ConnectionTestState.FAILED
        client.connection_tests.update_state(workload.id, state, message)
    return str(state.value)


def _tested(
    given: ConnectionTestConnectionResponse,
    workload: ConnectionTestWorkload,
    client: ExecutionApiClient,
    *,
    timeout: float,
) -> tuple[bool, str]:
    """With the packages of the folder that the workload names: one of those whose provider has the connection's type."""
    environment, bundles = None, client.ports.bundles
    client.ports.leave()
    if workload.bundle_version is not None:
        try:
            bundle = bundles.fetch(workload.bundle_version)
            environment = bundles.fetch_environment(bundle, join(workload.folder, "any.py"))
        except Unopenable as error:
            return False, f"Connection test failed unexpectedly: {error}"
    with surroundings.workspace("connection-test") as workspace:
        is_good, message = _in_child(
            client, partial(_bounded, given, workspace, environment, timeout=timeout), timeout=timeout
        )
    client.ports.tidy()
    return is_good, message


def _in_child(client: ExecutionApiClient, work: Callable[..., object], *, timeout: float) -> tuple[bool, str]:
    """Call `work` in a child, with the variables by which AWS's SDKs find the role's credentials and the descriptor that it
    answers to. What it leaves running is killed."""
    orphans.adopt()
    others = orphans.children()
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as answers, CredentialsEndpoint(ask_through(client), log=log) as credentials:
        try:
            child = client.ports.children.fork(partial(work, credentials.variables), [writing])
        finally:
            os.close(writing)
        said, until = b"", time.monotonic() + timeout + GRACE
        while (left := until - time.monotonic()) > 0:
            ready = select.select([reading, credentials.fileno()], [], [], left)[0]
            if credentials.fileno() in ready:
                credentials.serve()
            if reading in ready:
                part = answers.read(65536)
                said += part
                if not part:
                    break
        else:
            child.send_signal(signal.SIGKILL)
        try:
            exit_code = child.wait(GRACE)
        finally:
            orphans.kill_all(except_=others)
    if not said:
        return False, f"Connection test failed unexpectedly: its process ended with exit code {int(exit_code)}."
    is_good, message = json.loads(said)
    return is_good, message


# --- the child --------------------------------------------------------------------------------------------------------


def _bounded(
    given: ConnectionTestConnectionResponse,
    workspace: Path,
    environment: Path | None,
    credentials: Mapping[str, str],
    writing: int,
    *,
    timeout: float,
) -> None:
    """Test the connection in a child of this one, which may hang or exhaust memory."""
    ended = run_in_child(
        lambda: _test(given, workspace, environment, credentials), timeout=timeout, memory=memory_for_child()
    )
    if ended.answer is not None:
        answer = ended.answer
    elif ended.took_too_long:
        answer = json.dumps([False, f"Connection test timed out after {timeout:g}s"]).encode()
    else:
        answer = json.dumps([False, f"Connection test failed unexpectedly: {ended.how}"]).encode()
    with open(writing, "wb") as pipe:
        pipe.write(answer)


def _test(
    given: ConnectionTestConnectionResponse, workspace: Path, environment: Path | None, credentials: Mapping[str, str]
) -> bytes:
    """As in Airflow's worker, the environment holds the connection too, for hooks that look it up by id."""
    from airflow.sdk import Connection

    enter_child(None, workspace, environment, credentials)
    compat.log_here()
    connection = Connection(
        conn_id=given.conn_id,
        conn_type=given.conn_type,
        host=given.host,
        login=given.login,
        password=given.password,
        schema=given.schema_,
        port=given.port,
        extra=given.extra,
    )
    os.environ[f"AIRFLOW_CONN_{given.conn_id.upper()}"] = connection.get_uri()
    is_good: Any
    try:
        is_good, message = connection.test_connection()
    except Exception as error:  # the hook's own: a driver that is not installed, say
        is_good, message = False, f"Connection test failed unexpectedly: {type(error).__name__}: {error}"
    # Half a surrogate pair has no UTF-8, in which the result is reported.
    return json.dumps([bool(is_good), str(message).encode(errors="replace").decode()]).encode()
