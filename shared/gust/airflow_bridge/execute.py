"""Run one try with Airflow's own supervisor, and see to it that its end is reported once, whatever ends it.

`supervise_task` forks the task runner and serves its requests. It finds `LambdaCoordinator` through Airflow's `[sdk]
coordinators` setting, which starts our `SupervisedTry` in place of the plain supervisor. Ours differs in this:

- it wakes up when the child exits. Airflow's waits for its sockets alone: the child closes them an instant before it is
  gone, and then nothing wakes the supervisor for a whole heartbeat interval;
- the first heartbeat comes after an interval, not at once: the start was a sign of life;
- a child that was ended because its try was cleared is said to be gone: only then does the next try begin;
- a child that dies without a word gets its failure reported here. Airflow leaves that to the scheduler where a retry
  remains;
- shortly before the function's time is up the child is stopped, so that the try ends with a log line and not with
  silence;
- the log is drained before the end is reported, and shipped right after;
- its message is hidden from other workers for a minute while the start is asked for, and with the first heartbeat for the
  function's whole time: from then on heartbeats tell whether the worker lives.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid5

import attrs
import httpx
from airflow.dag_processing.bundles.base import BaseDagBundle, BundleVersion
from airflow.sdk.api.client import Client
from airflow.sdk.api.datamodels._generated import BundleInfo, TaskInstance, TaskInstanceState
from airflow.sdk.exceptions import TaskAlreadyRunningError
from airflow.sdk.execution_time import supervisor
from airflow.sdk.execution_time.coordinator import BaseCoordinator

from gust.airflow_bridge import crashes, dumpable, orphans, speech, surroundings
from gust.airflow_bridge.bundle import BundleFolder
from gust.airflow_bridge.task_log import Held, Sink, try_logger
from gust.airflow_bridge.transport import EXECUTION_API, Invoke, LambdaTransport
from gust.aws.queues import HIDDEN_FOR
from gust.errors import StaleTaskInstance, Unopenable
from gust.model.keys import TASK_INSTANCE_NAMESPACE
from gust.model.workload import TaskWorkload
from gust.ports.objects import Objects

COORDINATED_QUEUE: Final = "gust"
"""The queue that `[sdk] queue_to_coordinator` gives to `LambdaCoordinator`. Airflow chooses the coordinator by exact
queue name, Gust has one for all of them: the try travels under this name and gets its own back before the task sees
it."""

STOP_BEFORE_LIMIT: Final = 15.0
"""Seconds before the function's end at which the child is stopped, `on_kill` and the last report included."""

LONGEST_FUNCTION: Final = 900.0
"""Seconds that Lambda gives a function at most."""

TERMINATION_GRACE: Final = 5.0
"""Seconds between SIGTERM (which runs `on_kill`) and SIGKILL."""

_PR_SET_PDEATHSIG: Final = 1
"""From <linux/prctl.h>."""

Hide = Callable[[float], object]
"""Has SQS give the message to nobody else for so many seconds."""

GONE: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.GONE})
"""Answers of the execution API that say: this dispatch is no longer wanted."""


def do_not_hide(seconds: float) -> None:
    """For where no queue is."""


def run_try(
    workload: TaskWorkload,
    *,
    invoke: Invoke,
    objects: Objects,
    bundles: BundleFolder,
    sink: Sink,
    remaining: float | None = None,
    hide: Hide = do_not_hide,
) -> int:
    """Run one dispatch of one try to its end and report it; returns the exit code of the task's process.

    `remaining` is the time in seconds that the function has left; `hide` keeps the message from other workers. Raises
    StaleTaskInstance where the dispatch is no longer wanted (nothing was run). Any other error comes from before the try
    was started, or its end could not be reported: the message may come again, and finds out."""
    deadline = None if remaining is None else time.monotonic() + max(1.0, remaining - STOP_BEFORE_LIMIT)
    log = sink.of_stream(workload.log_stream)
    client = TryClient(LambdaTransport(invoke, objects), workload, log, deadline, hide)
    try:
        return _run(workload, client, bundles)
    except TaskAlreadyRunningError as error:
        raise StaleTaskInstance(str(error), None) from error
    except httpx.HTTPStatusError as error:
        if error.response.status_code not in GONE:
            raise
        raise StaleTaskInstance(f"{workload.key}: {_detail(error)}", None) from error
    finally:
        client.transport.send_held()
        sink.flush()


def _run(workload: TaskWorkload, client: TryClient, bundles: BundleFolder) -> int:
    ti = _task_instance(workload)
    if not bundles.has(str(workload.bundle_version)):
        client.hide(HIDDEN_FOR)  # fetching takes a while
    try:
        client.bundle = bundles.fetch(str(workload.bundle_version))
        if not bundles.has_environment(client.bundle, workload.relative_fileloc):
            client.hide(HIDDEN_FOR)
        client.environment = bundles.fetch_environment(client.bundle, workload.relative_fileloc)
    except Unopenable as error:
        return _fail(client, ti, str(error))
    exit_code: int = supervisor.supervise_task(
        ti=ti,
        bundle_info=BundleInfo(name=workload.bundle_name, version=workload.bundle_version),
        dag_rel_path=workload.relative_fileloc,
        token=workload.token,
        client=client,
    )
    return exit_code


def _detail(error: httpx.HTTPStatusError) -> object:
    """What the control plane said, where it said it as Airflow does."""
    return getattr(error, "detail", str(error))


def _task_instance(workload: TaskWorkload) -> TaskInstance:
    return TaskInstance(
        id=workload.id,
        task_id=workload.task_id,
        dag_id=workload.dag_id,
        run_id=workload.run_id,
        try_number=workload.try_number,
        map_index=workload.map_index,
        dag_version_id=_dag_version_id(workload),
        queue=COORDINATED_QUEUE,
    )


def _dag_version_id(workload: TaskWorkload) -> UUID:
    return uuid5(TASK_INSTANCE_NAMESPACE, f"{workload.dag_id}\x1f{workload.version_number}")


def _fail(client: TryClient, ti: TaskInstance, reason: str) -> int:
    """Start the try and fail it: the person who looks for the reason looks into its log."""
    context = client.task_instances.start(ti.id, os.getpid(), datetime.now(tz=UTC))
    client.sink.let_go()
    try_logger(client.sink, str(ti.id)).error(reason)
    client.mark_end_of_log()
    now = datetime.now(tz=UTC)
    if context.should_retry:
        client.task_instances.retry(id=ti.id, end_date=now, rendered_map_index=None)
    else:
        client.task_instances.finish(id=ti.id, state=TaskInstanceState.FAILED, when=now, rendered_map_index=None)
    return 1


class TryClient(Client):  # type: ignore[misc]  # untyped to us
    """Airflow's client of one try. `supervise_task` hands it through untouched, so it carries what our supervisor
    needs."""

    def __init__(
        self,
        transport: LambdaTransport,
        workload: TaskWorkload,
        sink: Sink,
        limit: float | None,
        hide: Hide = do_not_hide,
    ) -> None:
        super().__init__(base_url=EXECUTION_API, token=workload.token, transport=transport)
        self.transport = transport
        self.workload = workload
        self.sink = Held(sink)
        self.limit = limit
        self.hide = hide
        self.bundle = Path()
        self.environment: Path | None = None

    def mark_end_of_log(self) -> None:
        self.sink.mark_end(str(self.workload.id), self.workload.dispatch_count)


class UnpackedBundle(BaseDagBundle):  # type: ignore[misc]  # untyped to us
    """A bundle as `BundleFolder` left it below `root`. Airflow asks for it by version; it never changes."""

    supports_versioning = True

    def __init__(self, *, root: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._root = Path(root)

    @property
    def path(self) -> Path:
        return self._root / str(self.version)

    def get_current_version(self) -> BundleVersion:
        return BundleVersion(version=str(self.version))

    def refresh(self) -> None:
        """Nothing to do: a version is immutable."""


class LambdaCoordinator(BaseCoordinator):  # type: ignore[misc]  # untyped to us
    """Airflow's way in: `supervise_task` asks the coordinator of the task's queue to run it."""

    def execute_task(
        self, *, what: TaskInstance, client: TryClient, logger: Any = None, **kwargs: Any
    ) -> BaseCoordinator.ExecutionResult:
        orphans.adopt()
        bundle, environment = client.bundle, client.environment
        workspace = Path(tempfile.mkdtemp(prefix="gust-try-"))
        try:
            process = SupervisedTry.start(
                what=what.model_copy(update={"queue": client.workload.queue}),
                client=client,
                logger=logger or try_logger(client.sink, str(what.id)),
                target=lambda: _task_main(bundle, workspace, environment),
                transport=client.transport,
                deadline=client.limit,
                hide=client.hide,
                **kwargs,
            )
            exit_code = process.wait()
        finally:
            client.mark_end_of_log()
            shutil.rmtree(workspace, ignore_errors=True)
        return self.ExecutionResult(exit_code, process.final_state)


def _task_main(bundle: Path, workspace: Path, environment: Path | None) -> None:
    enter_child(bundle, workspace, environment)
    from airflow.sdk.execution_time.task_runner import main

    main()


def enter_child(bundle: Path | None, workspace: Path, environment: Path | None = None) -> None:
    """A child's first steps: its own place to write, its own plugins and packages, and nothing of how Gust is wired."""
    dumpable.allow()
    _die_first()
    speech.in_the_order_said()
    # Bytecode in a bundle would be run by later tries.
    sys.dont_write_bytecode = True
    logging.getLogger("httpx").setLevel(logging.NOTSET)
    surroundings.enter(bundle, workspace, environment)


def _die_first() -> None:
    """Neither outlive the supervisor, nor make the kernel choose it when memory runs out, nor survive a crash."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("900")
    crashes.make_fatal()


@attrs.define(kw_only=True)
class SupervisedTry(supervisor.ActivitySubprocess):  # type: ignore[misc]  # untyped to us
    """Airflow's supervisor of one try, with the differences this module opens with."""

    client: TryClient
    transport: LambdaTransport
    deadline: float | None = None
    """On the monotonic clock: when to stop the child, lest the function is cut off."""
    hide: Hide = attrs.field(default=do_not_hide)
    _stopping: bool = attrs.field(default=False, init=False)
    _is_swept: bool = attrs.field(default=False, init=False)
    _is_hidden_for_good: bool = attrs.field(default=False, init=False)
    _others: frozenset[int] = attrs.field(factory=orphans.children, init=False)
    """Children of this process that are not the try's."""

    def _register_pipe_readers(self, *args: Any, **kwargs: Any) -> None:
        super()._register_pipe_readers(*args, **kwargs)
        exit_of_child = _PidFile(os.pidfd_open(self.pid))
        self.selector.register(
            exit_of_child, supervisor.selectors.EVENT_READ, (lambda _: False, self.selector.unregister)
        )
        for sock in self._log_sockets():
            read, close = self.selector.get_key(sock).data
            self.selector.modify(sock, supervisor.selectors.EVENT_READ, (_unless_drained(read), close))

    def _on_child_started(self, **kwargs: Any) -> None:
        with _meanwhile(self.hide, HIDDEN_FOR):
            super()._on_child_started(**kwargs)
        self.client.sink.let_go()
        self._last_heartbeat_attempt = time.monotonic()  # type: ignore[misc]  # a slot of the base

    def _service_subprocess(self, max_wait_time: float, *args: Any, **kwargs: Any) -> int | None:
        if self._exit_code is not None:
            # Only what escaped `_kill_orphans` can hold the sockets open now.
            max_wait_time = min(max_wait_time, supervisor.SOCKET_CLEANUP_TIMEOUT)
        if self.deadline is not None and not self._stopping:
            max_wait_time = min(max_wait_time, max(0.0, self.deadline - time.monotonic()))
        max_wait_time = min(max_wait_time, self.transport.until_held_is_due())
        exit_code: int | None = super()._service_subprocess(max_wait_time, *args, **kwargs)
        if self.transport.until_held_is_due() == 0:
            self.transport.send_held()
        if exit_code is not None and not self._is_swept:
            self._is_swept = True
            self._kill_orphans()
        if exit_code is None and self.deadline is not None and time.monotonic() >= self.deadline:
            self._stop_at_limit()
        return exit_code

    def _send_heartbeat_if_needed(self) -> None:
        before = self._last_successful_heartbeat
        super()._send_heartbeat_if_needed()
        if not self._is_hidden_for_good and self._last_successful_heartbeat > before:
            self._is_hidden_for_good = True
            self.hide(self._time_left())

    def _time_left(self) -> float:
        """Seconds until the function is certainly gone."""
        return LONGEST_FUNCTION if self.deadline is None else self.deadline - time.monotonic() + 2 * STOP_BEFORE_LIMIT

    def _stop_at_limit(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        self.process_log.error(
            "The task is stopped: it has used up the time that AWS Lambda gives one invocation (15 minutes at most). "
            "Split it, make it deferrable, or send it to a queue without that limit.",
            seconds=round(time.monotonic() - self.start_time),
        )
        self.kill(signal.SIGTERM, escalation_delay=TERMINATION_GRACE, force=True)

    def _send_terminal_state_msg(self, msg: Any) -> None:
        self._drain_logs()
        try:
            super()._send_terminal_state_msg(msg)
        except httpx.HTTPStatusError as error:
            if error.response.status_code not in GONE:
                raise
            self._pending_terminal_state_msg = None  # type: ignore[misc]
            self._terminal_state = supervisor.SERVER_TERMINATED  # type: ignore[misc]
            self.process_log.warning(
                "The end of the try is not reported: it was ended by somebody else", detail=_detail(error)
            )

    def _drain_logs(self) -> None:
        """Read what the child wrote before it asked for its end: requests and lines come through different sockets."""
        for sock in self._log_sockets():
            read, close = self.selector.get_key(sock).data
            while _has_something(sock):
                if not read(sock):
                    close(sock)
                    sock.close()
                    break

    def _log_sockets(self) -> list[socket.socket]:
        return [sock for sock, name in self._open_sockets.items() if name != "requests"]

    def update_task_state_if_needed(self) -> None:
        """Called once, when the child is gone."""
        if self._terminal_state == supervisor.SERVER_TERMINATED:
            self._report_that_it_ended()
        elif self._pending_terminal_state_msg is None and self._terminal_state is None:
            self._report_silent_death()
        elif self._terminal_state in (TaskInstanceState.FAILED, TaskInstanceState.SKIPPED):
            # What the task said counts, also where it died in a callback afterwards.
            self._finish(self._terminal_state)
        else:
            super().update_task_state_if_needed()

    def _report_that_it_ended(self) -> None:
        """The control plane had it ended. Where it was cleared, the next try waits for this word; else nobody does."""
        try:
            self.client.post(f"gust/tries/{self.id}/lost", json={"reason": "It was cleared, and its worker ended it."})
        except httpx.HTTPStatusError as error:
            if error.response.status_code not in GONE:
                raise

    def _report_silent_death(self) -> None:
        """Its callbacks died with it: the control plane has them run by another worker."""
        reason = "The task used up the time that a function has"
        if not self._stopping:
            reason = f"The task's process ended without reporting a state (exit code {self._exit_code})"
        self.client.post(f"gust/tries/{self.id}/lost", content=json.dumps({"reason": reason}))

    def _finish(self, state: TaskInstanceState | str) -> None:
        self.client.task_instances.finish(
            id=self.id, state=state, when=datetime.now(tz=UTC), rendered_map_index=self._rendered_map_index
        )

    def _kill_orphans(self) -> None:
        """What the task started and left running would be frozen with this environment and wake up in another's try."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        if count := orphans.kill_all(except_=self._others):
            self.process_log.warning("The task left processes running; they were killed", count=count)


@contextmanager
def _meanwhile(do: Callable[[float], object], argument: float) -> Iterator[None]:
    """In a thread, which has ended afterwards: the next try's process is forked, and a thread may hold a lock then."""
    thread = threading.Thread(target=do, args=(argument,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _unless_drained(read: Callable[[socket.socket], bool]) -> Callable[[socket.socket], bool]:
    """`read`, for a socket that may have been drained or closed since it was selected: reading it would block for good,
    as the child writes no more before its request is answered."""

    def read_what_is_there(sock: socket.socket) -> bool:
        return not _has_something(sock) or read(sock)

    return read_what_is_there


def _has_something(sock: socket.socket) -> bool:
    """Whether reading would not block: there are bytes, or the end. Of a closed one, nothing."""
    if sock.fileno() < 0:
        return False
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


class _PidFile:
    """A process as something to select on: readable once it has exited."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        os.close(self._fd)
