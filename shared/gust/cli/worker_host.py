"""`./gust worker`: a host of the operator's runs the tasks of one queue (docs/workers.md).

This process runs no task. It starts workers (`gust.host_worker`), starts a dead one again, and shows the stack once a minute
that it is there. The first SIGTERM or SIGINT lets the workers finish their tasks; the second ends those, too.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gust.cli import ROOT
from gust.errors import GustError
from gust.model.worker_group import ELSEWHERE

SHOWN_EVERY: Final = 60.0
"""Seconds between two signs of life."""

LOOK_EVERY: Final = 0.5
STARTED_AGAIN_AFTER: Final = 5.0
"""Seconds after a worker has died."""


class UnknownQueueError(GustError):
    """The stack knows no workers of the queue; the message is for the terminal."""


def environment(outputs: Mapping[str, str], around: Mapping[str, str]) -> dict[str, str]:
    """The variables of a worker. `outputs`: of the stack of the queue's workers."""
    return {
        "AWS_RETRY_MODE": "standard",
        "AWS_MAX_ATTEMPTS": "5",
        **around,
        "PYTHONPATH": str(ROOT / "shared"),
        "PYTHONUNBUFFERED": "1",
        "GUST_BUCKET": outputs["Bucket"],
        "GUST_EXECUTION_API_FUNCTION": outputs["ExecutionApi"],
        "GUST_LOG_GROUP": outputs["TaskLogGroup"],
        "GUST_TASK_QUEUE_URL": outputs["QueueUrl"],
        "GUST_ARCHITECTURE": outputs.get("Architecture", ""),
        "AIRFLOW__API__BASE_URL": outputs["BaseUrl"],
        "AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE": outputs["DefaultDeferrable"],
    }


@dataclass(slots=True)
class HostWorker:
    """One worker process, in a folder of its own for what it unpacks."""

    process: subprocess.Popen[bytes]
    folder: Path

    @classmethod
    def start(cls, queue: str, variables: Mapping[str, str]) -> HostWorker:
        folder = Path(tempfile.mkdtemp(prefix="gust-worker-"))
        stream = f"{ELSEWHERE}{queue}/{socket.gethostname()}/{uuid.uuid4().hex}"
        of_worker = {"TMPDIR": str(folder), "AIRFLOW_HOME": str(folder / "airflow"), "GUST_LOG_STREAM": stream}
        process = subprocess.Popen(
            [sys.executable, "-m", "gust.host_worker"],
            stdin=subprocess.PIPE,  # its end tells the worker to finish
            env={**variables, **of_worker},
            cwd=folder,
            start_new_session=True,  # Ctrl-C is for this process
        )
        return cls(process, folder)

    @property
    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            self.process.stdin.close()  # type: ignore[union-attr]  # it was opened as a pipe

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)

    def forget(self) -> None:
        self.finish()
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(slots=True)
class Host:
    """`show_life` raises UnknownQueueError where the queue's workers were removed: the host then lets its tasks finish."""

    queue: str
    at_once: int
    start_worker: Callable[[], Any]
    """Returns a `HostWorker`."""
    show_life: Callable[[], None]
    say: Callable[[str], object]
    clock: Callable[[], float] = time.monotonic
    wait: Callable[[float], object] = time.sleep
    _workers: list[Any] = field(default_factory=list)
    _told: int = 0
    _started_again_at: float = 0.0
    _shown_at: float = -SHOWN_EVERY

    def tell_to_stop(self, *_: Any) -> None:
        """The first time: take no further task. The second time: end the tasks that run."""
        self._told += 1

    def run(self) -> None:
        """Returns when it was told to stop and all workers have ended."""
        obeyed = 0
        try:
            while not self._told or self._workers:
                if self._told > obeyed:
                    obeyed = self._told
                    self._obey(obeyed)
                self._look()
                self.wait(LOOK_EVERY)
        finally:
            for worker in self._workers:
                worker.stop()
                worker.forget()

    def _obey(self, told: int) -> None:
        if told == 1:
            self.say("Told to stop: the tasks that run are finished; once more ends them.")
        for worker in self._workers:
            worker.finish() if told == 1 else worker.stop()

    def _look(self) -> None:
        now = self.clock()
        if now >= self._shown_at + SHOWN_EVERY:
            self._shown_at = now
            self._show_life()
        for worker in [worker for worker in self._workers if worker.has_ended]:
            self._workers.remove(worker)
            worker.forget()
            if not self._told:
                self.say(f"A worker has ended (exit code {worker.process.returncode}); another one is started.")
                self._started_again_at = now + STARTED_AGAIN_AFTER
        while not self._told and len(self._workers) < self.at_once and now >= self._started_again_at:
            self._workers.append(self.start_worker())

    def _show_life(self) -> None:
        try:
            self.show_life()
        except UnknownQueueError as gone:
            if not self._workers:
                raise
            self.say(f"Stops, because {gone}")
            self._told = max(self._told, 1)


def run(
    clients: Callable[[str], Any], queue: str, at_once: int, outputs: Mapping[str, str], variables: Mapping[str, str]
) -> int:
    """Runs tasks of the queue until SIGTERM or SIGINT. Raises UnknownQueueError."""
    wired = environment(outputs, variables)
    host = Host(
        queue,
        at_once,
        start_worker=lambda: HostWorker.start(queue, wired),
        show_life=SignOfLife(queue, outputs["ExecutionApi"], outputs["Bucket"], clients),
        say=lambda line: print(f"{time.strftime('%H:%M:%S')}  {line}", flush=True),
    )
    assert threading.current_thread() is threading.main_thread()  # noqa: S101  signals come to no other
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, host.tell_to_stop)
    host.say(f"Runs tasks with queue={queue!r}, {at_once} at the same time.")
    host.run()
    host.say("Stopped.")
    return 0


@dataclass(frozen=True, slots=True)
class SignOfLife:
    """Tells the execution API. A failure is shown and harmless: the next one is a minute away."""

    queue: str
    execution_api: str
    bucket: str
    clients: Callable[[str], Any]

    def __call__(self) -> None:
        import httpx

        from gust.airflow_bridge.transport import EXECUTION_API, LambdaTransport
        from gust.aws.invoke import LambdaInvoker
        from gust.aws.objects import S3Objects
        from gust.errors import ServiceUnavailable
        from gust.model.execution_paths import HEAR_OF_WORKERS

        invoke = LambdaInvoker(self.execution_api, self.clients("lambda"))
        transport = LambdaTransport(invoke, S3Objects(self.bucket, self.clients("s3")))
        try:
            with httpx.Client(base_url=EXECUTION_API, transport=transport) as client:
                answer = client.put(HEAR_OF_WORKERS.format(queue=self.queue).lstrip("/"))
        except (httpx.HTTPError, ServiceUnavailable) as error:
            print(f"gust: the stack was not told that this host is there: {error}", file=sys.stderr, flush=True)
            return
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise UnknownQueueError(
                f"the stack has no workers for the queue {self.queue!r}: ./gust workers add {self.queue} --elsewhere"
            )


def around(options: Any) -> dict[str, str]:
    """This process's environment, with the account and region that the options name."""
    given = dict(os.environ)
    if options.profile:
        given["AWS_PROFILE"] = options.profile
    if options.region:
        given |= {"AWS_REGION": options.region, "AWS_DEFAULT_REGION": options.region}
    return given
