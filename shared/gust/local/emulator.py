"""The emulator's process: MiniStack, with what it lacks around it.

- A front door: a second port, perhaps on another address, that serves only the stack's HTTP API, at `/` (see
  `front_door`).
- Checkpoints while it runs (see `checkpoint`).
- Output of functions and of tasks goes to files (see `log_files`), not into the emulator's memory.
- A server, and shortcuts for the most frequent calls (see `shortcuts`), that use less of the processor.
- Streams and queues are read side by side; messages of dead functions come again soon.
- A write that cannot be stored is not acknowledged (see `storage`).
- A function has at most as many processes as it was given (see `function_pool`); they are forks (see `zygote`).
- Containers are processes (see `containers`).
- Requests from elsewhere are refused: a browser would carry any page's requests here.
- It ends when the process that started it is gone, and when its standard input ends.

Every change to MiniStack itself is in `ministack`.
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
import time
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from gust.local import ministack
from gust.local.asgi import Application, Headers, Receive, Scope, Send
from gust.local.checkpoint import NO_ROOM, Checkpoints, repair
from gust.local.front_door import FrontDoor, is_from_elsewhere, nodelay
from gust.local.function_pool import FunctionPool
from gust.local.log_files import LogFiles
from gust.local.metrics import CONTENT_TYPE, Totals
from gust.local.storage import Storage
from gust.local.zygote import Zygote, is_possible

METRICS: Final = "/metrics"
"""At the front door, where Airflow has nothing: see `gust.local.metrics`."""

CONTROL: Final = "/_gust/"
"""Paths of ours on the emulator's own port: `POST /_gust/open/<api id>` opens the front door to that API, `POST
/_gust/checkpoint` saves now and answers when it is done; `POST /_gust/storage` answers whether the disk is full and for
how many seconds changes have not been saved; `POST /_gust/waiting/<function>/<queue>` answers how many messages the
function has not begun, how old the oldest is (seconds), and how many it is at."""

_CHECKPOINT_EVERY: Final = 4.0
"""Seconds from one checkpoint to the next while things change. With the time to write one it stays far under the
promised ten."""

_CHECKPOINT_PATIENCE: Final = 30.0
"""Seconds without processor time after which a child that writes a checkpoint is killed: it inherited a lock that no
thread will release. A child that makes progress, however slowly, may finish."""

_LOOK_EVERY: Final = 0.01
"""Seconds between two looks at that child."""

_FINISH_WITHIN: Final = 1.0
"""Seconds that functions get at the end for what they are at."""

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
"""Airflow's health answer when its database does not respond."""

_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})

log = logging.getLogger("gust.emulator")


def main(wrap: Callable[[Application], Application] = lambda application: application, *, minute: float = 60.0) -> None:
    """`wrap` may put an application in front of MiniStack that sees every call to AWS, as the bench's meter does. `minute`:
    how many seconds a minute of the metrics and alarms takes, for tests."""
    options = _parse(sys.argv[1:])
    zygote = Zygote() if is_possible() else None  # before there are threads, and settings of the emulator's own
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
    try:
        ministack.check()
    except ministack.MiniStackChangedError as changed:
        sys.exit(str(changed))
    logging.getLogger().setLevel(logging.WARNING)  # MiniStack sets its own on import, and logs every request
    totals = Totals()
    ministack.write_function_logs(data / "logs", totals)
    ministack.take_output_with_answers()
    log_files = ministack.keep_logs_in_files(data / "task-logs")
    ministack.parse_expressions_once()
    storage = Storage(data / "state")
    ministack.read_streams_apart(storage)
    ministack.refuse_what_cannot_be_stored(storage)
    ministack.return_messages_of_ended_functions()
    pool = ministack.limit_processes(json.loads(options.processes))
    if zygote is not None:
        ministack.fork_functions(zygote, pool.knows)
    ministack.keep_metrics(totals, pool.waiting, minute=minute)
    ministack.run_containers_as_processes(data / "logs", options.port, limit=options.containers)
    emulator = Emulator(
        wrap(ministack.straight_to_the_service(ministack.application())),
        checkpoints,
        restored=newest,
        public_port=options.public_port,
        door=FrontDoor(options.public_host),
        pool=pool,
        storage=storage,
        log_files=log_files,
        totals=totals,
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


@dataclass(eq=False)
class Emulator:
    application: Application
    checkpoints: Checkpoints
    _: KW_ONLY
    restored: Path | None
    public_port: int
    door: FrontDoor = field(default_factory=FrontDoor)
    pool: FunctionPool | None = None
    storage: Storage | None = None
    log_files: LogFiles | None = None
    totals: Totals = field(default_factory=Totals)
    _api: str | None = field(default=None, init=False)
    """The API's address inside the emulator, without its stage if that is in the paths of requests."""
    _requests: int = field(default=0, init=False)
    _unsaved_since: float | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)
    _saving: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

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
        sockets = [nodelay(socket.create_server(("127.0.0.1", port))), self.door.listen(self.public_port)]
        server = asyncio.create_task(Server(config).serve(sockets))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({server, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if server.done():
            server.result()  # it ends by itself only if it cannot serve
        keeper.cancel()
        log.info("stopping")
        await self._let_finish()
        self._closed = True
        saved = await self._checkpoint()
        ministack.end_functions()
        ministack.end_containers()
        # A normal exit would wait for threads that wait for answers of functions.
        os._exit(0 if saved else 1)

    async def _let_finish(self) -> None:
        """Wait a moment for functions with work: a task's last lines of log follow its state."""
        until = time.monotonic() + _FINISH_WITHIN
        while self.pool and not self.pool.is_idle() and time.monotonic() < until:
            await asyncio.sleep(0.02)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "lifespan":
                await self.application(scope, receive, self._once_loaded(send))
            case "http" if self._closed:
                await _answer(send, 503, b"{}")
            case "http" if self._is_refused(scope):
                await _answer(send, 403, b'{"detail": "Cross-origin request refused"}')
            case "http" if (answer := self._cannot_be_stored(scope)) is not None:
                await _answer(send, *answer)
            case "http" if self._asks_for_metrics(scope):
                await _answer(send, 200, self.totals.exposition().encode(), CONTENT_TYPE)
            case "http" if scope["server"][1] == self.public_port:
                self._requests += 1
                await self._enter(scope, receive, send)
            case "http" if scope["path"].startswith(CONTROL):
                await self._obey(scope, send)
            case "http":
                self._requests += 1
                await self.application(scope, receive, send)

    def _cannot_be_stored(self, scope: Scope) -> tuple[int, bytes] | None:
        """Status and body to answer instead of the API, or of S3, while the disk is full; None to serve the request."""
        if self.storage is None or not self.storage.is_full:
            return None
        is_public = scope["server"][1] == self.public_port
        if is_public and scope["path"] == HEALTH:
            return 200, json.dumps(UNHEALTHY).encode()
        if is_public and scope["method"] not in _READING:
            detail = f"The disk is full: nothing is accepted until {self.storage.needed // 1_000_000} MB are free"
            return 507, json.dumps({"detail": detail}).encode()
        is_object = scope["method"] == "PUT" and not scope["path"].startswith(CONTROL)
        return (503, b"<Error><Code>SlowDown</Code><Message>The disk is full</Message></Error>") if is_object else None

    def _is_refused(self, scope: Scope) -> bool:
        is_public = scope["server"][1] == self.public_port
        return self.door.refuses(scope) if is_public else is_from_elsewhere(scope, links=False)

    def _asks_for_metrics(self, scope: Scope) -> bool:
        """Where callers must log in, there are none: they would tell a stranger what runs."""
        return scope["server"][1] == self.public_port and scope["path"] == METRICS and not self.door.demands_login

    def _once_loaded(self, send: Send) -> Send:
        async def after_start(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "lifespan.startup.complete":
                ministack.leave_saving_to_gust()
                if self.restored:
                    repair(self.restored)
                if self.log_files:
                    ministack.adopt_streams(self.log_files)
            await send(message)

        return after_start

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request at the front door to the API's address inside the emulator."""
        if self._api is None:
            await _answer(send, 503, b'{"detail": "Gust is starting"}')
            return
        prefix = f"/_aws/execute-api/{self._api}"
        headers: Headers = scope["headers"]
        inner = {**scope, "path": prefix + scope["path"], "headers": self.door.inner(headers)}
        if scope.get("raw_path"):
            inner["raw_path"] = prefix.encode() + scope["raw_path"]
        await self.application(inner, receive, send)

    async def _obey(self, scope: Scope, send: Send) -> None:
        match scope["path"].removeprefix(CONTROL).split("/"):
            case ["open", *address]:
                self._api = "/".join(address)
                await _answer(send, 200, b"{}")
            case ["checkpoint"]:
                saved = await self._checkpoint()
                await _answer(send, 200 if saved else 500, b"{}")
            case ["storage"]:
                full = self.storage is not None and self.storage.is_full
                unsaved = time.monotonic() - self._unsaved_since if self._unsaved_since is not None else 0.0
                state = {"full": full, "needed": self.storage.needed if self.storage else 0, "unsaved": unsaved}
                await _answer(send, 200, json.dumps(state).encode())
            case ["waiting", function, queue] if self.pool:
                await _answer(send, 200, json.dumps(_waiting(queue, function, self.pool)).encode())
            case _:
                await _answer(send, 404, b"{}")

    async def _keep_checkpoints(self) -> None:
        saved_at = self._requests
        next_at = time.monotonic() + _CHECKPOINT_EVERY
        while True:
            await asyncio.sleep(_LOOK_AT_DISK_EVERY)
            changed = self.storage is not None and self.storage.look(checkpoint=self.checkpoints.size())
            if not changed and time.monotonic() < next_at:
                continue
            seen = self._requests
            if seen != saved_at and self._unsaved_since is None:
                self._unsaved_since = time.monotonic()
            if (changed or seen != saved_at) and await self._checkpoint():
                saved_at, self._unsaved_since = seen, None
            next_at = time.monotonic() + _CHECKPOINT_EVERY

    async def _checkpoint(self) -> bool:
        """Write a checkpoint; returns whether that succeeded."""
        async with self._saving:
            started = time.monotonic()
            child = self.checkpoints.save_in_fork()
            paused = time.monotonic() - started
            code = await asyncio.to_thread(_wait_for, child)
            saved = code == 0
            if code == NO_ROOM and self.storage:
                self.storage.fill()
            what = "checkpoint %s: paused %.0f ms, took %.0f ms"
            numbers = paused * 1000, (time.monotonic() - started) * 1000
            if saved:
                log.info(what, "written", *numbers)
            else:
                log.error(what, "FAILED", *numbers)
            return saved


def _waiting(queue: str, function: str, pool: FunctionPool) -> dict[str, float]:
    """Messages of a queue that the function has not begun."""
    number, seconds = ministack.visible_messages(queue)
    return {"number": number + pool.waiting(function), "seconds": seconds, "busy": pool.busy(function)}


def _wait_for(child: int, *, patience: float = _CHECKPOINT_PATIENCE) -> int:
    """Its exit code. `patience`: seconds for which it may get no processor time. They are counted in looks: while the whole
    machine is stopped, the child is, too."""
    used, looks = 0.0, 0
    while looks < patience / _LOOK_EVERY:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        times = psutil.Process(child).cpu_times()
        if times.user + times.system > used:
            used, looks = times.user + times.system, 0
        looks += 1
        time.sleep(_LOOK_EVERY)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 1


def _stop_at_end_of_input(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 1024):
        loop.remove_reader(sys.stdin)
        stop.set()


async def _answer(send: Send, status: int, body: bytes, content_type: bytes = b"application/json") -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", content_type)]})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    main()
