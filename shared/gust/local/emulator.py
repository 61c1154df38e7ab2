"""The emulator's process: MiniStack, with what it lacks around it.

- A front door: a second port, perhaps on another address, on which there is nothing but the stack's HTTP API, at `/`
  (see `front_door`).
- Checkpoints while it runs (see `checkpoint`).
- What functions print goes to a file for each, and what tasks print to others (see `log_files`), not into the emulator's
  memory.
- A server, and shortcuts to what it is mostly asked (see `shortcuts`), that take less of the processor.
- Streams and queues are read side by side; messages of functions that have died come again soon (see `come_back`).
- What cannot be stored is not acknowledged (see `storage`).
- A function has no more processes than it was given (see `function_pool`).
- Containers are processes (see `containers`).
- Only this machine's programs and pages are answered: a browser would carry any page's requests here.
- It ends when the process that started it is gone, whichever way that went.

It speaks on its standard input: end of file means "stop".
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any, Final

import psutil

from gust.local.asgi import Application, Headers, Receive, Scope, Send
from gust.local.checkpoint import NO_ROOM, Checkpoints, repair
from gust.local.come_back import let_messages_come_back
from gust.local.containers import run_containers_as_processes
from gust.local.front_door import FrontDoor, is_from_elsewhere, nodelay
from gust.local.function_pool import FunctionPool, limit_processes
from gust.local.log_files import LogFiles, keep_logs_in_files
from gust.local.shortcuts import parse_expressions_once, straight_to_the_service
from gust.local.storage import Storage, refuse_what_cannot_be_stored

CONTROL: Final = "/_gust/"
"""Paths of ours on the emulator's own port: `POST /_gust/open/<api id>` opens the front door to that API,
`POST /_gust/checkpoint` saves now and answers when it is done; `POST /_gust/storage` answers whether the disk is full and
for how many seconds changes have not been saved; `POST /_gust/waiting/<function>/<queue>` answers how many
messages the function has not begun, how old the oldest is (seconds), and how many it is at."""

_CHECKPOINT_EVERY: Final = 4.0
"""Seconds from one checkpoint to the next while things change. With the time to write one it stays far under the
promised ten."""

_CHECKPOINT_PATIENCE: Final = 30.0
"""Seconds without any of the processor after which a child that writes a checkpoint is given up: it inherited a lock that no
thread will release. One that gets on, however slowly, is waited for."""

_LOOK_EVERY: Final = 0.25
"""Seconds, where nothing says that something came: a message that was held back comes by time alone, and so does another
attempt at what failed."""

_LOOK_AT_DISK_EVERY: Final = 1.0
"""Seconds."""

HEALTH: Final = "/api/v2/monitor/health"
UNHEALTHY: Final = {
    "metadatabase": {"status": "unhealthy"},
    **{
        part: {"status": "unhealthy", f"latest_{part}_heartbeat": None}
        for part in ("scheduler", "triggerer", "dag_processor")
    },
}
"""What Airflow answers of itself where its database does not."""

_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})

_LARGEST_LOG: Final = 20_000_000
"""Bytes after which a function's log starts anew; the one before is kept."""

log = logging.getLogger("gust.emulator")


def main(wrap: Callable[[Application], Application] = lambda application: application) -> None:
    """`wrap` puts something in front of MiniStack that sees every call to AWS: the bench's meter."""
    options = _parse(sys.argv[1:])
    data = Path(options.data)
    checkpoints = Checkpoints(data / "state")
    newest = checkpoints.newest()
    os.environ.update(
        BIND_HOST="127.0.0.1",
        GATEWAY_PORT=str(options.port),
        PERSIST_STATE="1",
        STATE_DIR=str(newest or data / "state" / "none"),
        S3_PERSIST="1",
        S3_DATA_DIR=str(data / "s3"),
        # Listeners of services that Gust does not use, which would bind fixed ports.
        SFTP_ENABLED="0",
        IOT_MTLS_ENABLED="0",
    )
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("gust").setLevel(logging.INFO)
    from ministack import app as ministack

    logging.getLogger().setLevel(logging.WARNING)  # MiniStack sets its own on import, and tells of every request
    write_function_logs(data / "logs")
    log_files = keep_logs_in_files(data / "task-logs")
    parse_expressions_once()
    storage = Storage(data / "state")
    read_streams_apart(storage)
    refuse_what_cannot_be_stored(storage)
    let_messages_come_back()
    pool = limit_processes(json.loads(options.processes))
    run_containers_as_processes(data, options.port, most=options.containers)
    emulator = Emulator(
        wrap(straight_to_the_service(ministack.app)),
        checkpoints,
        restored=newest,
        public_port=options.public_port,
        door=FrontDoor(options.public_host),
        pool=pool,
        storage=storage,
        log_files=log_files,
    )
    asyncio.run(emulator.serve(options.port))


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gust.local.emulator")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--public-port", type=int, required=True)
    parser.add_argument("--public-host", default="127.0.0.1")
    parser.add_argument("--data", required=True)
    parser.add_argument("--containers", type=int, default=2, help="how many at the same time")
    parser.add_argument("--processes", default="{}", help="JSON: function → how many at most")
    return parser.parse_args(arguments)


class Emulator:
    def __init__(
        self,
        application: Application,
        checkpoints: Checkpoints,
        *,
        restored: Path | None,
        public_port: int,
        door: FrontDoor | None = None,
        pool: FunctionPool | None = None,
        storage: Storage | None = None,
        log_files: LogFiles | None = None,
    ) -> None:
        self._log_files = log_files
        self._pool = pool
        self._storage = storage
        self._application = application
        self._checkpoints = checkpoints
        self._restored = restored
        self._public_port = public_port
        self._door = door or FrontDoor()
        self._api_id: str | None = None
        self._requests = 0
        self._unsaved_since: float | None = None
        self._closed = False
        self._saving = asyncio.Lock()

    async def serve(self, port: int) -> None:
        """Serve until standard input ends or SIGTERM comes; then save once more, and end the process."""
        import uvicorn

        class Server(uvicorn.Server):
            @contextlib.contextmanager
            def capture_signals(self) -> Iterator[None]:
                yield  # stopping is ours: it would wait for every open connection

        # Half the processor time per request that Hypercorn takes, with which MiniStack would serve itself.
        config = uvicorn.Config(
            self.handle,
            interface="asgi3",
            lifespan="on",
            timeout_keep_alive=75,
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_level="warning",
        )
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_signal_handler(signal.SIGINT, stop.set)
        loop.add_reader(sys.stdin, _stop_at_end_of_input, loop, stop)
        keeper = asyncio.create_task(self._keep_checkpoints())
        sockets = [nodelay(socket.create_server(("127.0.0.1", port))), self._door.listen(self._public_port)]
        server = asyncio.create_task(Server(config).serve(sockets))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({server, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if server.done():
            server.result()  # it ends by itself only if it cannot serve
        keeper.cancel()
        self._closed = True
        log.info("stopping")
        saved = await self._checkpoint()
        _end_workers()
        # A normal exit would wait for threads that wait for a function's answer, which nobody wants any more.
        os._exit(0 if saved else 1)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "lifespan":
                await self._application(scope, receive, self._once_loaded(send))
            case "http" if self._closed:
                await _answer(send, 503, b"{}")
            case "http" if self._is_refused(scope):
                await _answer(send, 403, b'{"detail": "A page or a name from elsewhere is not answered"}')
            case "http" if (answer := self._cannot_be_stored(scope)) is not None:
                await _answer(send, *answer)
            case "http" if scope["server"][1] == self._public_port:
                self._requests += 1
                await self._enter(scope, receive, send)
            case "http" if scope["path"].startswith(CONTROL):
                await self._obey(scope, send)
            case "http":
                self._requests += 1
                await self._application(scope, receive, send)

    def _cannot_be_stored(self, scope: Scope) -> tuple[int, bytes] | None:
        """What to answer in place of the API, or of S3, while the disk is full."""
        if self._storage is None or not self._storage.is_full:
            return None
        is_public = scope["server"][1] == self._public_port
        if is_public and scope["path"] == HEALTH:
            return 200, json.dumps(UNHEALTHY).encode()
        if is_public and scope["method"] not in _READING:
            said = f"The disk is full: nothing is accepted until {self._storage.wanted // 1_000_000} MB are free"
            return 507, json.dumps({"detail": said}).encode()
        is_object = scope["method"] == "PUT" and not scope["path"].startswith(CONTROL)
        return (503, b"<Error><Code>SlowDown</Code><Message>The disk is full</Message></Error>") if is_object else None

    def _is_refused(self, scope: Scope) -> bool:
        is_public = scope["server"][1] == self._public_port
        return self._door.refuses(scope) if is_public else is_from_elsewhere(scope, links=False)

    def _once_loaded(self, send: Send) -> Send:
        async def after_start(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "lifespan.startup.complete":
                from ministack import app

                # Saving is ours from here on: MiniStack would write into the checkpoint it came from, file by file.
                app.PERSIST_STATE = False
                if self._restored:
                    repair(self._restored)
                if self._log_files:
                    self._log_files.adopt_all()
            await send(message)

        return after_start

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The front door: the same request, to the API's address inside the emulator."""
        if self._api_id is None:
            await _answer(send, 503, b'{"detail": "Gust is starting"}')
            return
        prefix = f"/_aws/execute-api/{self._api_id}/$default"
        headers: Headers = scope["headers"]
        inner = {**scope, "path": prefix + scope["path"], "headers": self._door.inner(headers)}
        if scope.get("raw_path"):
            inner["raw_path"] = prefix.encode() + scope["raw_path"]
        await self._application(inner, receive, send)

    async def _obey(self, scope: Scope, send: Send) -> None:
        match scope["path"].removeprefix(CONTROL).split("/"):
            case ["open", api_id]:
                self._api_id = api_id
                await _answer(send, 200, b"{}")
            case ["checkpoint"]:
                saved = await self._checkpoint()
                await _answer(send, 200 if saved else 500, b"{}")
            case ["storage"]:
                full = self._storage is not None and self._storage.is_full
                unsaved = time.monotonic() - self._unsaved_since if self._unsaved_since is not None else 0.0
                state = {"full": full, "wanted": self._storage.wanted if self._storage else 0, "unsaved": unsaved}
                await _answer(send, 200, json.dumps(state).encode())
            case ["waiting", function, queue] if self._pool:
                await _answer(send, 200, json.dumps(_waiting(queue, function, self._pool)).encode())
            case _:
                await _answer(send, 404, b"{}")

    async def _keep_checkpoints(self) -> None:
        saved_at = self._requests
        next_at = time.monotonic() + _CHECKPOINT_EVERY
        while True:
            await asyncio.sleep(_LOOK_AT_DISK_EVERY)
            changed = self._storage is not None and self._storage.look(checkpoint=self._checkpoints.size())
            if not changed and time.monotonic() < next_at:
                continue
            seen = self._requests
            if seen != saved_at and self._unsaved_since is None:
                self._unsaved_since = time.monotonic()
            if (changed or seen != saved_at) and await self._checkpoint():
                saved_at, self._unsaved_since = seen, None
            next_at = time.monotonic() + _CHECKPOINT_EVERY

    async def _checkpoint(self) -> bool:
        """Whether it was written."""
        async with self._saving:
            started = time.monotonic()
            child = self._checkpoints.save_in_fork()
            paused = time.monotonic() - started
            code = await asyncio.to_thread(_wait_for, child)
            saved = code == 0
            if code == NO_ROOM and self._storage:
                self._storage.fill()
            what = "checkpoint %s: paused %.0f ms, took %.0f ms"
            numbers = paused * 1000, (time.monotonic() - started) * 1000
            if saved:
                log.info(what, "written", *numbers)
            else:
                log.error(what, "FAILED", *numbers)
            return saved


def write_function_logs(folder: Path) -> None:
    """What a function prints goes to `folder`/<function>.log. MiniStack keeps it in a new log stream per invocation,
    and all of them in memory and in every checkpoint. What tasks print is not touched: the worker sends it itself."""
    from ministack.services import lambda_svc

    def write(function: dict[str, Any], request_id: str, text: str, error: bool, milliseconds: int, **_: Any) -> None:
        name = function.get("config", function).get("FunctionName", "unknown")
        file = folder / f"{name}.log"
        with contextlib.suppress(OSError):
            if file.exists() and file.stat().st_size > _LARGEST_LOG:
                file.replace(file.with_suffix(".log.1"))
            report = f"{time.strftime('%H:%M:%S')} {request_id} {'FAILED' if error else 'done'} in {milliseconds} ms\n"
            with file.open("a") as output:
                output.write((text.rstrip() + "\n" if text.strip() else "") + report)

    lambda_svc._emit_lambda_logs = write


def _waiting(queue: str, function: str, pool: FunctionPool) -> dict[str, float]:
    """Messages of a queue that the function has not begun."""
    from ministack.services import sqs

    now = time.time()
    messages = [each for url, held in sqs._queues._data.items() if queue in str(url) for each in held["messages"]]
    visible = [each for each in messages if each["visible_at"] <= now]
    oldest = min((each["visible_at"] for each in visible), default=now)
    return {"number": len(visible) + pool.waiting(function), "seconds": now - oldest, "busy": pool.busy(function)}


def read_streams_apart(storage: Storage) -> None:
    """One thread of MiniStack's reads all queues and streams in turn, and waits for the function that a stream feeds: while
    the scheduler runs, no worker would be given a task, and none in the 50 ms after a look that found nothing. While the
    disk is full, nothing is read: no task is begun whose end could not be stored."""
    from ministack.services import dynamodb, lambda_svc

    something_came = threading.Event()
    read, keep_looking = lambda_svc._poll_dynamodb_streams, lambda_svc._poll_loop
    read_queues = lambda_svc._poll_sqs

    def keep_reading() -> None:
        while True:
            something_came.clear()
            try:
                has_read = not storage.is_full and read()
            except Exception:
                log.exception("The streams could not be read")
                has_read = False
            if not has_read and not something_came.wait(_LOOK_EVERY):
                lambda_svc._esm_wake.set()  # else the queues are looked at each second

    def keep_looking_at_both() -> None:
        threading.Thread(target=keep_reading, name="gust-streams", daemon=True).start()
        keep_looking()

    dynamodb.esm_wake = something_came
    lambda_svc._poll_dynamodb_streams = lambda: False
    lambda_svc._poll_sqs = lambda: not storage.is_full and read_queues()
    lambda_svc._poll_loop = keep_looking_at_both  # not before MiniStack has its state back
    lambda_svc._ESM_IDLE_WAKE_GAP_SECONDS = 0


def _wait_for(child: int, *, patience: float = _CHECKPOINT_PATIENCE) -> int:
    """Its exit code."""
    used, used_at = 0.0, time.monotonic()
    while time.monotonic() < used_at + patience:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        times = psutil.Process(child).cpu_times()
        if times.user + times.system > used:
            used, used_at = times.user + times.system, time.monotonic()
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 1


def _stop_at_end_of_input(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 1024):
        loop.remove_reader(sys.stdin)
        stop.set()


def _end_workers() -> None:
    """Lambda functions and containers are processes of ours."""
    from ministack.core import lambda_runtime
    from ministack.services import ecs

    lambda_runtime.reset()
    if ecs._docker is not None:
        ecs._docker.end_all()


async def _answer(send: Send, status: int, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    main()
