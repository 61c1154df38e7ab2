"""Run a DAG author's code in a forked child under Airflow's supervisor, which answers its requests and forwards its log.

`supervise_try` runs one try of a task; `run_supervised` runs a function (a trigger, a watcher, a callback) and returns its
answer. Both use `SupervisedChild`, which differs from Airflow's `ActivitySubprocess` in this:

- It wakes up when the child exits. Airflow's waits only for the child's sockets; the child closes them an instant before it
  exits, and after that nothing wakes the supervisor for a whole heartbeat interval.
- It stops the child shortly before the function's time is up, so that the child's end is logged and reported.
- It kills processes that the child left running.

`SupervisedTry` adds to this:

- The first heartbeat comes after an interval, not at once: the start was a sign of life.
- It reports that a child has ended which it stopped because its try was cleared: the next try begins only after this report.
- It reports the failure of a child that dies without reporting a state. Airflow leaves that to the scheduler if a retry
  remains.
- It reads the whole log before it reports the end, and ships it right after.
- It hides its message from other workers for a minute if its start lasts longer than a moment, and with the first heartbeat
  for the function's whole time: from then on heartbeats show whether the worker lives. A short try hides nothing.

`AnsweringChild` reports no state. While it runs, its supervisor renews a `Lease`: it hides the message and asks the
execution API whether the child is still wanted. A dead supervisor does neither: SQS delivers the message again within a
minute, and another function continues.

This module and `compat` are the only ones that use private names of Airflow; the others import the Task SDK's models from
here.
"""

from __future__ import annotations

import ctypes
import json
import logging
import math
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Self

import attrs
import httpx
import structlog
from airflow.sdk.api.client import Client
from airflow.sdk.api.datamodels._generated import (
    BundleInfo,
    ConnectionTestConnectionResponse,
    ConnectionTestState,
    DagRun,
    HITLDetailResponse,
    TaskInstance,
    TaskInstanceState,
    TIRunContext,
)
from airflow.sdk.execution_time import comms, supervisor
from airflow.sdk.execution_time.coordinator import BaseCoordinator

from gust.airflow_bridge import (
    compat,
    crashes,
    dumpable,
    imports,
    late,
    orphans,
    parsed,
    preparer,
    secrets_backend,
    sensors,
    speech,
    surroundings,
)
from gust.airflow_bridge.credentials import CredentialsEndpoint, ask_through
from gust.airflow_bridge.nursery import Children
from gust.airflow_bridge.preparers import Report, Subject
from gust.airflow_bridge.task_log import Held, Sink, stream_name, try_logger
from gust.airflow_bridge.transport import EXECUTION_API, LambdaTransport
from gust.airflow_bridge.worker_ports import Hide, WorkerPorts, do_nothing
from gust.aws.queues import HIDDEN_FOR, RENEWED_EVERY
from gust.errors import Stale
from gust.model import execution_paths
from gust.model.container_start import HOST
from gust.model.place import Limit
from gust.model.workload import TaskWorkload

__all__ = [
    "GONE",
    "STOP_BEFORE_LIMIT",
    "AnsweringChild",
    "BundleInfo",
    "ConnectionTestConnectionResponse",
    "ConnectionTestState",
    "DagRun",
    "Ended",
    "ExecutionApiClient",
    "HITLDetailResponse",
    "LambdaCoordinator",
    "Lease",
    "SupervisedChild",
    "SupervisedTry",
    "TIRunContext",
    "TaskInstance",
    "TaskInstanceState",
    "TryClient",
    "detail_of",
    "enter_child",
    "run_supervised",
    "supervise_try",
]

COORDINATED_QUEUE: Final = "gust"
"""The queue that `[sdk] queue_to_coordinator` gives to `LambdaCoordinator`. Airflow chooses the coordinator by exact queue
name, and Gust has one coordinator for all queues: `supervise_try` puts every try under this name, and `LambdaCoordinator`
restores the task's own queue before the task sees it."""

STOP_BEFORE_LIMIT: Final = 15.0
"""Seconds before the function's end at which a try or a trigger is stopped, `on_kill` and the last report included."""

A_MOMENT: Final = 1.0
"""Seconds within which a start is written, unless the execution API starts cold or is unwell: then the message is hidden."""

LONGEST_FUNCTION: Final = 900.0
"""Seconds that Lambda gives a function at most."""

TERMINATION_GRACE: Final = 5.0
"""Seconds between SIGTERM (which runs `on_kill`) and SIGKILL."""

CONTAINER_GRACE: Final = 20.0
"""The same in a container that ECS tells to stop: ECS kills it two minutes later (`StopTimeout` in the template)."""

LARGEST_ANSWER: Final = 64 * 2**20
"""Bytes. A child that writes more is killed: the code in it may have found the pipe, and the supervisor's memory is the
function's."""

TIME_IS_UP: Final = "The task used up the time that a function has"

CONTAINER: Final = "container"

_PR_SET_PDEATHSIG: Final = 1
"""From <linux/prctl.h>."""

GONE: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.GONE})
"""Status codes with which the execution API says that the dispatch is no longer wanted."""


@contextmanager
def stale_if_gone(stale: Callable[[httpx.HTTPStatusError], Stale], *, gone: Collection[int] = GONE) -> Iterator[None]:
    """Raises `stale` where the execution API answers that the message's work is no longer wanted."""
    try:
        yield
    except httpx.HTTPStatusError as error:
        if error.response.status_code not in gone:
            raise
        raise stale(error) from error


class ExecutionApiClient(Client):  # type: ignore[misc]  # untyped to us
    """The Task SDK's client, over `LambdaTransport`."""

    def __init__(self, ports: WorkerPorts, token: str, correlation_id: str = "") -> None:
        transport = LambdaTransport(ports.invoke, ports.objects, correlation_id)
        super().__init__(base_url=EXECUTION_API, token=token, transport=transport)
        self.transport = transport
        self.ports = ports


def detail_of(error: httpx.HTTPStatusError) -> object:
    """The execution API's own words, where the answer has Airflow's shape."""
    return getattr(error, "detail", str(error))


# --- the child's first steps ------------------------------------------------------------------------------------------


def enter_child(
    bundle: Path | None,
    workspace: Path,
    environment: Path | None = None,
    credentials: Mapping[str, str] = surroundings.NO_CREDENTIALS,
) -> None:
    """Prepare a forked child for a DAG author's code: its own workspace, plugins and packages, no settings of Gust's."""
    dumpable.allow()
    _die_with_parent()
    speech.in_the_order_said()
    # Bytecode written into a bundle would be run by later tries.
    sys.dont_write_bytecode = True
    surroundings.enter(bundle, workspace, environment, credentials)


def _die_with_parent() -> None:
    """Make this process end with its supervisor, be the first that the kernel kills when memory runs out, and die of a crash
    in native code."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("900")
    crashes.make_fatal()
    sensors.watch()


def _in_child(
    target: Callable[..., object], requests: int, stdout: int, stderr: int, logs: int, *descriptors: int
) -> None:
    """Airflow's first steps in a child, then `target`. They configure logging: the level of each logger is set, and each
    time all loggers forget what they have cached, which writes into the memory of each. Here they forget once, after all."""
    sockets = [socket.socket(fileno=each) for each in (requests, stdout, stderr)]
    manager: Any = logging.root.manager
    manager._clear_cache = do_nothing

    def work() -> None:
        del manager._clear_cache  # the class's own is there again
        manager._clear_cache()
        target(*descriptors)

    supervisor._fork_main(*sockets, logs, work)


# --- every child ------------------------------------------------------------------------------------------------------


@attrs.define(kw_only=True)
class SupervisedChild(supervisor.ActivitySubprocess):  # type: ignore[misc]  # untyped to us
    client: ExecutionApiClient
    credentials: CredentialsEndpoint
    """Answers the child's questions for AWS credentials."""
    deadline: float = math.inf
    """On the monotonic clock: when to stop the child, so that it ends before the function does."""
    was_stopped: bool = attrs.field(default=False, init=False)
    """The supervisor has ended the child."""
    _is_swept: bool = attrs.field(default=False, init=False)
    _not_of_child: frozenset[int] = attrs.field(factory=orphans.children, init=False)
    """This process's children when the child started, the child included: `_kill_orphans` leaves them alone."""

    @classmethod
    def start(
        cls,
        *,
        what: TaskInstance,
        dag_rel_path: Any,
        bundle_info: BundleInfo | None,
        client: ExecutionApiClient,
        target: Callable[..., object],
        logger: Any,
        sentry_integration: str = "",
        descriptors: Sequence[int] = (),
        children: Children | None = None,
        **fields: Any,
    ) -> Self:
        """Start a child from `children`, or the nursery, and tell it what to do, as Airflow's `start` does with a fork of
        this process.
        `target` is pickled where there is a nursery, and called with copies of `descriptors`."""
        ours, theirs = zip(*(socket.socketpair() for _ in range(4)), strict=True)
        try:
            born = (children or client.ports.children).fork(
                partial(_in_child, target), [each.fileno() for each in theirs] + list(descriptors), not_for_child=ours
            )
        finally:
            for each in theirs:
                each.close()
        requests, stdout, stderr, logs = ours
        made: Any = cls  # its base is untyped to us
        process: Self = made(
            id=what.id,
            pid=born.pid,
            stdin=requests,
            process=born,
            process_log=logger,
            client=client,
            new_process_group=True,
            **fields,
        )
        process._register_pipe_readers(stdout, stderr, requests, logs, data={})
        process._on_child_started(
            ti=what, dag_rel_path=dag_rel_path, bundle_info=bundle_info, sentry_integration=sentry_integration
        )
        return process

    def _register_pipe_readers(self, *args: Any, **kwargs: Any) -> None:
        super()._register_pipe_readers(*args, **kwargs)
        exit_of_child = _PidFile(self._process.watched())
        self.selector.register(
            exit_of_child, supervisor.selectors.EVENT_READ, (lambda _: False, self.selector.unregister)
        )
        self.selector.register(
            self.credentials, supervisor.selectors.EVENT_READ, (CredentialsEndpoint.serve, self.selector.unregister)
        )
        for sock in self._log_sockets():
            read, close = self.selector.get_key(sock).data
            self.selector.modify(sock, supervisor.selectors.EVENT_READ, (_unless_drained(read), close))

    def _service_subprocess(self, max_wait_time: float, *args: Any, **kwargs: Any) -> int | None:
        if self._exit_code is not None:
            # Only processes that escaped `_kill_orphans` can hold the sockets open now.
            max_wait_time = min(max_wait_time, supervisor.SOCKET_CLEANUP_TIMEOUT)
        if not self.was_stopped:
            max_wait_time = min(max_wait_time, max(0.0, self.deadline - time.monotonic()))
        max_wait_time = min(max_wait_time, self.client.transport.until_held_is_due())
        exit_code: int | None = super()._service_subprocess(max_wait_time, *args, **kwargs)
        if self.client.transport.until_held_is_due() == 0:
            self.client.transport.send_held()
        if exit_code is not None and not self._is_swept:
            self._is_swept = True
            self._kill_orphans()
        if exit_code is None and not self.was_stopped and time.monotonic() >= self.deadline:
            self._stop_at_limit()
        return exit_code

    def _handle_request(self, msg: Any, log: Any, req_id: int) -> None:
        if isinstance(msg, comms.GetVariable) and (secret := secrets_backend.secret_of(msg.key)) is not None:
            answer = self.client.get(execution_paths.secret(*secret)).json()
            self.send_msg(secrets_backend.reply(msg.key, answer), request_id=req_id, error=None)
            return
        super()._handle_request(msg, log, req_id)

    def _stop_at_limit(self) -> None:
        """Stop the child, whose time is up, and note why. Each kind of child has its own way."""
        raise NotImplementedError

    def _drain_logs(self) -> None:
        """Read all that the child wrote before its last request: requests and log lines use different sockets."""
        for sock in self._log_sockets():
            read, close = self.selector.get_key(sock).data
            while _has_something(sock):
                if not read(sock):
                    close(sock)
                    sock.close()
                    break

    def _log_sockets(self) -> list[socket.socket]:
        return [sock for sock, name in self._open_sockets.items() if name != "requests"]

    def _kill_orphans(self) -> None:
        """Kill the processes that the child left running: Lambda would freeze them with this environment, and they would
        continue during another try."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        # It has ended: a process of its own may have its id by now.
        if count := orphans.kill_all(except_=self._not_of_child - {self.pid}):
            self.process_log.warning("The task left processes running; they were killed", count=count)


# --- a try ------------------------------------------------------------------------------------------------------------


class TryClient(ExecutionApiClient):
    """The client of one try. `supervise_task` hands it through untouched, so it carries what `LambdaCoordinator` needs."""

    def __init__(self, ports: WorkerPorts, workload: TaskWorkload, sink: Sink) -> None:
        super().__init__(ports, workload.token, workload.correlation_id)
        self.workload = workload
        self.sink = Held(sink)
        self.deadline = time.monotonic() + ports.seconds_before(STOP_BEFORE_LIMIT)
        self.bundle = Path()
        self.environment: Path | None = None

    @contextmanager
    def source_of_child(self, workspace: Path, *, is_prepared: bool) -> Iterator[tuple[Children, list[int]]]:
        """Where the try's child comes from, and the descriptor to which it reports its imports, if it shall. `is_prepared`:
        whether modules may be imported before it, in `workspace`."""
        known = self.ports.preparers
        if known is None or not is_prepared:
            yield self.ports.children, []
            return
        told = self.workload
        subject = Subject(self.bundle, told.relative_fileloc, told.task_id, self.environment, told.same_parse)
        known.hear(subject, told.modules)
        known.count(subject)
        if not known.is_ready(subject):
            self.ports.hide(HIDDEN_FOR)  # imports take a while
        children = known.children_of(subject, workspace, partial(self.ports.hide, HIDDEN_FOR))
        if known.knows(subject):
            yield children, []
            return
        with Report() as report:
            yield children, [report.writing]
            known.learn(subject, report.read())

    def mark_end_of_log(self) -> None:
        self.sink.mark_end(str(self.workload.id), self.workload.dispatch_count)


def supervise_try(client: TryClient, ti: TaskInstance) -> int:
    """Run the try of `client` in a child and report its end; returns the child's exit code. Raises httpx.HTTPStatusError
    where the execution API refuses a report, TaskAlreadyRunningError where the try may not start."""
    workload = client.workload
    exit_code: int = supervisor.supervise_task(
        ti=ti.model_copy(update={"queue": COORDINATED_QUEUE}),
        bundle_info=BundleInfo(name=workload.bundle_name, version=workload.bundle_version),
        dag_rel_path=workload.relative_fileloc,
        token=workload.token,
        client=client,
    )
    return exit_code


class LambdaCoordinator(BaseCoordinator):  # type: ignore[misc]  # untyped to us
    """Airflow's hook for another supervisor: `supervise_task` asks the coordinator of the task's queue to run it."""

    def execute_task(
        self, *, what: TaskInstance, client: TryClient, logger: Any = None, **kwargs: Any
    ) -> BaseCoordinator.ExecutionResult:
        orphans.adopt()
        bundle, environment = client.bundle, client.environment
        compat.mask_as_told(surroundings.options_of(bundle))
        logger = logger or try_logger(client.sink, str(what.id))
        if client.workload.place:
            logger.info(client.workload.place)
        place = surroundings.place_of_tries() if client.ports.preparers is not None else None
        try:
            with (
                surroundings.workspace("try", at=place) as workspace,
                _credentials(client, logger) as credentials,
                client.source_of_child(workspace, is_prepared=workspace == place) as (children, reports),
            ):
                process = SupervisedTry.start(
                    what=what.model_copy(update={"queue": client.workload.queue}),
                    client=client,
                    children=children,
                    logger=logger,
                    target=partial(_run_task, bundle, workspace, environment, credentials.variables),
                    descriptors=reports,
                    credentials=credentials,
                    deadline=client.deadline,
                    **kwargs,
                )
                exit_code = process.wait()
        finally:
            client.mark_end_of_log()
            client.ports.tidy()
        return self.ExecutionResult(exit_code, process.final_state)


def _credentials(client: ExecutionApiClient, log: Any) -> CredentialsEndpoint:
    return CredentialsEndpoint(ask_through(client), log=log)


def _run_task(
    bundle: Path, workspace: Path, environment: Path | None, credentials: Mapping[str, str], report: int | None = None
) -> None:
    """The child's work. `report`: where to write what it imports."""
    preparer.seed_anew()
    preparer.register_last_calls_anew()
    late.wake_before_threads()
    enter_child(bundle, workspace, environment, credentials)
    from airflow.sdk.execution_time import task_runner

    if report is None:
        with parsed.in_place(), compat.around_the_task(before=do_nothing, after=sensors.tell_if_long):
            task_runner.main()
        return
    os.set_inheritable(report, False)
    recorder = imports.Recorder(surroundings.installed_for(bundle))
    with parsed.in_place(), compat.around_the_task(before=recorder.parsed, after=sensors.tell_if_long):
        try:
            task_runner.main()
        finally:
            recorder.write(report)


def _what_runs() -> str:
    """What this process is to people, where it can be told to stop."""
    return CONTAINER if stream_name().startswith(HOST) else "worker"


@attrs.define(kw_only=True)
class SupervisedTry(SupervisedChild):
    client: TryClient
    _is_hidden_for_good: bool = attrs.field(default=False, init=False)
    _told_to_stop: bool = attrs.field(default=False, init=False)
    """The supervisor received SIGTERM: its container is told to stop."""

    def _on_child_started(self, **kwargs: Any) -> None:
        with if_it_lasts(A_MOMENT, partial(self.client.ports.hide, HIDDEN_FOR)):
            super()._on_child_started(**kwargs)
        self.client.sink.let_go()
        self._last_heartbeat_attempt = time.monotonic()  # type: ignore[misc]  # a slot of the base

    def _monitor_subprocess(self) -> None:
        """Watch the child, and end it on SIGTERM. Airflow's `wait` forwards SIGTERM to the child, which runs `on_kill` and
        then continues. `wait` restores the previous handler."""

        def note(*_: Any) -> None:
            self._told_to_stop = True

        signal.signal(signal.SIGTERM, note)
        super()._monitor_subprocess()

    def _service_subprocess(self, max_wait_time: float, *args: Any, **kwargs: Any) -> int | None:
        exit_code = super()._service_subprocess(max_wait_time, *args, **kwargs)
        if exit_code is None and self._told_to_stop and not self.was_stopped:
            self.was_stopped = True
            self.process_log.error(f"The {_what_runs()} was told to stop; the task is ended.")
            self.kill(signal.SIGTERM, escalation_delay=CONTAINER_GRACE, force=True)
        return exit_code

    def _send_heartbeat_if_needed(self) -> None:
        before = self._last_successful_heartbeat
        super()._send_heartbeat_if_needed()
        if not self._is_hidden_for_good and self._last_successful_heartbeat > before:
            self._is_hidden_for_good = True
            self.client.ports.hide(self._seconds_of_function())

    def _seconds_of_function(self) -> float:
        """Seconds until Lambda has certainly ended the function."""
        if math.isinf(self.deadline):
            return LONGEST_FUNCTION
        return self.deadline - time.monotonic() + 2 * STOP_BEFORE_LIMIT

    def _stop_at_limit(self) -> None:
        self.was_stopped = True
        self.process_log.error(
            "The task is stopped: it has used up the time that AWS Lambda gives one invocation (15 minutes at most). "
            "Split it into shorter tasks, make it deferrable, or write queue='fargate' in a stack that has Fargate.",
            seconds=round(time.monotonic() - self.start_time),
        )
        self.kill(signal.SIGTERM, escalation_delay=TERMINATION_GRACE, force=True)

    def _send_terminal_state_msg(self, msg: Any) -> None:
        self._drain_logs()
        try:
            if self.was_stopped and not self._told_to_stop and isinstance(msg, comms.RetryTask):
                # The supervisor stopped the task at the limit, and the task reported a retry. Reported as lost to the limit,
                # the next try gets more time (`placement`).
                self._pending_terminal_state_msg = msg  # type: ignore[misc]
                self._report_lost(TIME_IS_UP, Limit.TIME, has_called_back=True)
                self._terminal_state = msg.state  # type: ignore[misc]
                self._pending_terminal_state_msg = None
                return
            super()._send_terminal_state_msg(msg)
        except httpx.HTTPStatusError as error:
            if error.response.status_code not in GONE:
                raise
            self._pending_terminal_state_msg = None
            self._terminal_state = supervisor.SERVER_TERMINATED
            self.process_log.warning(
                "The end of the try is not reported: its dispatch has already ended", detail=detail_of(error)
            )

    def update_task_state_if_needed(self) -> None:
        """Report how the child ended. Airflow's loop calls it once, after the child has exited."""
        if self._terminal_state == supervisor.SERVER_TERMINATED:
            self._report_that_it_ended()
        elif self._pending_terminal_state_msg is None and self._terminal_state is None:
            self._report_silent_death()
        elif self._terminal_state in (TaskInstanceState.FAILED, TaskInstanceState.SKIPPED):
            # The task's own report counts, even if its process died in a callback afterwards.
            self._finish(self._terminal_state)
        else:
            super().update_task_state_if_needed()

    def _report_that_it_ended(self) -> None:
        """Report that the child has ended, after the execution API refused a heartbeat or a report. If the try was cleared,
        the next try waits for this."""
        try:
            self._report_lost("It was cleared, and its worker ended it.")
        except httpx.HTTPStatusError as error:
            if error.response.status_code not in GONE:
                raise

    def _report_silent_death(self) -> None:
        """Report a child that died without reporting a state. Its callbacks died with it, so the scheduler has another
        worker call them."""
        reason = TIME_IS_UP
        if self._told_to_stop:
            why = ": AWS took it back (Spot), or StopTask was called" if _what_runs() == CONTAINER else ""
            reason = f"The {_what_runs()} was told to stop{why}"
        elif not self.was_stopped:
            reason = f"The task's process ended without reporting a state (exit code {self._exit_code})"
        self._report_lost(reason, self._outgrown())

    def _outgrown(self) -> Limit | None:
        """The limit of Lambda that ended the child, as far as the supervisor can tell; `None`: another cause."""
        if self._told_to_stop:
            return None
        if self.was_stopped:
            return Limit.TIME
        was_memory = self.client.ports.was_memory_used(self._process.largest_memory)
        return Limit.MEMORY if self._exit_code == -signal.SIGKILL and was_memory else None

    def _report_lost(self, reason: str, outgrew: Limit | None = None, *, has_called_back: bool = False) -> None:
        url = execution_paths.LOSE_TRY.format(task_instance_id=self.id)
        body: dict[str, Any] = {"reason": reason}
        if outgrew:
            body |= {"outgrew": outgrew, "has_called_back": has_called_back}
        self.client.post(url, content=json.dumps(body))

    def _finish(self, state: TaskInstanceState | str) -> None:
        self.client.task_instances.finish(
            id=self.id, state=state, when=datetime.now(tz=UTC), rendered_map_index=self._rendered_map_index
        )


# --- a function that answers ------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Lease:
    """What a supervisor renews while its child runs: that its message is hidden, and that the child is still wanted."""

    hide: Hide
    confirm: Callable[[], object]
    """Asks the execution API whether the child is still wanted. Raises httpx.HTTPStatusError where it is not."""
    hide_every: float = RENEWED_EVERY
    """Seconds."""
    confirm_every: float = RENEWED_EVERY
    """Seconds."""
    hidden_at: float = field(default_factory=time.monotonic)
    confirmed_at: float = field(default_factory=time.monotonic)

    def until_due(self) -> float:
        """Seconds until `renew` has something to do."""
        due_at = min(self.hidden_at + self.hide_every, self.confirmed_at + self.confirm_every)
        return max(0.0, due_at - time.monotonic())

    def renew(self) -> None:
        """Hide and confirm, each if it is due. Raises what `confirm` raises."""
        now = time.monotonic()
        if now >= self.hidden_at + self.hide_every:
            self.hidden_at = now
            self.hide(HIDDEN_FOR)
        if now >= self.confirmed_at + self.confirm_every:
            self.confirmed_at = now
            self.confirm()


@dataclass(frozen=True, slots=True)
class Ended:
    answer: dict[str, Any] | None
    """What the function returned; None if the child ended before it answered."""
    was_stopped: bool
    """The supervisor ended the child: it was no longer wanted, or its time was up."""
    exit_code: int


def no_reply(client: Client, request: Any) -> None:
    """`answer` for a child that makes only the requests of tasks: Airflow's supervisor replies to all of those."""


def run_supervised(
    work: Callable[[Any], Mapping[str, Any]],
    *,
    kind: str,
    ti: TaskInstance,
    client: ExecutionApiClient,
    log: Any,
    lease: Lease,
    seconds: float,
    bundle: Path | None,
    environment: Path | None = None,
    replies: Callable[[], Any] | None = None,
    answer: Callable[[Client, Any], Any] = no_reply,
    line_at_limit: str | None = None,
) -> Ended:
    """Call `work(logger)` in a child for at most `seconds`; its result must be a JSON object. `work` and `replies` are
    pickled.

    `kind` names the child's logger. `ti`: the instance that the child's requests are about. `replies`: makes the
    decoder of the supervisor's replies, if the child may get other ones than a task. `answer`: returns the reply to a
    request that only this kind of child makes, None for every request of tasks. `line_at_limit`: logged when the time is
    up."""
    compat.mask_as_told({} if bundle is None else surroundings.options_of(bundle))
    orphans.adopt()
    reading, writing = os.pipe()
    try:
        with surroundings.workspace(kind) as workspace, _credentials(client, log) as credentials:
            try:
                process = AnsweringChild.start(
                    what=ti,
                    dag_rel_path="",
                    bundle_info=None,
                    client=client,
                    logger=log,
                    target=partial(
                        _call_and_answer,
                        work=work,
                        kind=kind,
                        replies=replies,
                        bundle=bundle,
                        workspace=workspace,
                        environment=environment,
                        credentials=credentials.variables,
                    ),
                    descriptors=[writing],
                    credentials=credentials,
                    deadline=time.monotonic() + seconds,
                    pipe=_AnswerPipe(reading),
                    lease=lease,
                    answer=answer,
                    line_at_limit=line_at_limit,
                )
            finally:
                os.close(writing)
            exit_code = process.wait()
            return Ended(process.pipe.answer(), process.was_stopped, exit_code)
    finally:
        os.close(reading)
        client.ports.tidy()


def _call_and_answer(
    writing: int,
    *,
    work: Callable[[Any], Mapping[str, Any]],
    kind: str,
    replies: Callable[[], Any] | None,
    bundle: Path | None,
    workspace: Path,
    environment: Path | None,
    credentials: Mapping[str, str],
) -> None:
    """The child's work."""
    enter_child(bundle, workspace, environment, credentials)
    log = structlog.get_logger(logger_name=kind)
    decoder = {} if replies is None else {"body_decoder": replies()}
    compat.ask_through(comms.CommsDecoder(log=log, **decoder))
    answer = work(log)
    with os.fdopen(writing, "w") as pipe:
        json.dump(answer, pipe)


@attrs.define(kw_only=True)
class AnsweringChild(SupervisedChild):
    pipe: _AnswerPipe
    lease: Lease
    answer: Callable[[Client, Any], Any]
    line_at_limit: str | None
    _is_killed: bool = attrs.field(default=False, init=False)
    """It answered with too much."""

    def _register_pipe_readers(self, *args: Any, **kwargs: Any) -> None:
        super()._register_pipe_readers(*args, **kwargs)
        self.selector.register(
            self.pipe, supervisor.selectors.EVENT_READ, (_AnswerPipe.receive, self.selector.unregister)
        )

    def _on_child_started(self, **kwargs: Any) -> None:  # noqa: ARG002 - the child starts by itself
        self._note_heartbeat()

    def _service_subprocess(self, max_wait_time: float, *args: Any, **kwargs: Any) -> int | None:
        exit_code = super()._service_subprocess(min(max_wait_time, self.lease.until_due()), *args, **kwargs)
        if exit_code is None and self.pipe.is_too_long and not self._is_killed:
            self._is_killed = True
            self.process_log.error("The process answered with more than can be read; it is killed", most=LARGEST_ANSWER)
            self.kill(signal.SIGKILL, force=True)
        return exit_code

    def _send_heartbeat_if_needed(self) -> None:
        """Renew the lease. Stops a child that is no longer wanted: its task was cleared or timed out, or another function
        runs it now."""
        self._note_heartbeat()
        try:
            self.lease.renew()
        except httpx.HTTPStatusError as error:
            if error.response.status_code in GONE:
                self._stop()
        except httpx.TransportError as error:
            self.process_log.warning("The control plane does not answer", error=str(error))

    def _note_heartbeat(self) -> None:
        """Record a successful heartbeat: without a recent one, Airflow's loop does not wait between two rounds."""
        self._last_successful_heartbeat = time.monotonic()  # type: ignore[misc]  # a slot of the base

    def _handle_request(self, msg: Any, log: Any, req_id: int) -> None:
        if (reply := self.answer(self.client, msg)) is not None:
            self.send_msg(reply, request_id=req_id, error=None)
            return
        super()._handle_request(msg, log, req_id)

    def _stop_at_limit(self) -> None:
        if self.line_at_limit is not None:
            self.process_log.error(self.line_at_limit)
        self._stop()

    def _stop(self) -> None:
        if not self.was_stopped:
            self.was_stopped = True
            self.kill(signal.SIGKILL, force=True)

    def update_task_state_if_needed(self) -> None:
        """Reports nothing: this child has no state, and the caller of `run_supervised` reports the answer."""


class _AnswerPipe:
    """The reading end of a pipe through which a child sends one JSON object; a selector can wait for it."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._received = bytearray()

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        """`run_supervised` closes the descriptor."""

    @property
    def is_too_long(self) -> bool:
        return len(self._received) > LARGEST_ANSWER

    def receive(self) -> bool:
        """Read some of the available bytes. Returns whether to wait for more."""
        with suppress(BlockingIOError):
            part = os.read(self._fd, 65536)
            self._received += part
            return bool(part) and not self.is_too_long
        return True

    def answer(self) -> dict[str, Any] | None:
        """The object; None where it is cut off, missing, too long, or something else."""
        with suppress(BlockingIOError):
            while not self.is_too_long and (part := os.read(self._fd, 65536)):
                self._received += part
        if self.is_too_long:
            return None
        try:
            answer = json.loads(self._received)
        except (ValueError, RecursionError):
            return None
        return answer if isinstance(answer, dict) else None


# --- what to wait for -------------------------------------------------------------------------------------------------


@contextmanager
def if_it_lasts(seconds: float, do: Callable[[], object]) -> Iterator[None]:
    """Call `do` in a thread if the block runs for longer than `seconds`. The thread ends with the block: one that went on
    could hold a lock while the next try's child is forked."""
    timer = threading.Timer(seconds, do)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _unless_drained(read: Callable[[socket.socket], bool]) -> Callable[[socket.socket], bool]:
    """`read`, for a socket that may have been drained or closed since it was selected. A plain `read` would block forever,
    because the child writes nothing before its request is answered."""

    def read_what_is_there(sock: socket.socket) -> bool:
        return not _has_something(sock) or read(sock)

    return read_what_is_there


def _has_something(sock: socket.socket) -> bool:
    """Whether reading would not block: there are bytes, or the end. False for a closed one."""
    if sock.fileno() < 0:
        return False
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


class _PidFile:
    """A process that a selector can wait for: readable once it has exited."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        os.close(self._fd)
