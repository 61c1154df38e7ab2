"""One execution environment of a function, as Lambda has it: AWS's runtime client in a sandbox, and a Runtime API for it.

Between invocations all of its processes are stopped (SIGSTOP), as Lambda freezes an environment; a function that still
runs at its time limit is killed. `Sandbox.lacking` names what this machine refuses.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import psutil

from tests.aws_like import limits
from tests.environment import of_a_user

SCRIPT: Final = Path(__file__).with_name("sandbox.sh")
INIT_LIMIT: Final = 10.0
"""Seconds of an init phase, after which Lambda begins it anew."""


@dataclass(frozen=True)
class Function:
    name: str
    handler: str
    task: Path
    """The unpacked package."""
    opt: Path
    """The unpacked layers, one over the other."""
    memory: int
    storage: int
    """Megabytes, as `memory`."""
    timeout: float
    environment: Mapping[str, str]

    def __post_init__(self) -> None:
        size = sum(len(name.encode()) + len(value.encode()) for name, value in self.environment.items())
        if size > limits.ENVIRONMENT:
            raise ValueError(f"{self.name}: {size} bytes of environment variables; Lambda takes {limits.ENVIRONMENT}")


@dataclass(frozen=True)
class Answer:
    payload: Any
    error: str | None
    """The error's type, as `Sandbox.Timedout`; the payload says more."""
    seconds: float


class InitFailedError(Exception):
    """The function could not be imported; the message is the runtime client's."""


@cache
def what_this_machine_refuses() -> str | None:
    """Why no function can be sandboxed here; `None` if it can."""
    if not sys.platform.startswith("linux"):
        return "sandboxes need Linux"
    if os.getuid() != 0:
        return "sandboxes need root"
    if missing := [name for name in ("unshare", "setpriv", "chroot") if shutil.which(name) is None]:
        return f"there is no {', '.join(missing)} here (util-linux, coreutils)"
    tried = subprocess.run(
        [
            "unshare",
            "--mount",
            "--pid",
            "--ipc",
            "--fork",
            "sh",
            "-ec",
            "mount -t tmpfs t /mnt && mount -t proc p /proc",
        ],
        env=of_a_user(),
        capture_output=True,
        text=True,
        check=False,
    )
    return f"this machine refuses namespaces: {tried.stderr.strip()}" if tried.returncode else None


class Sandbox:
    def __init__(self, function: Function, runtime: Path, *, endpoint: str, log: Path) -> None:
        """`runtime` is where awslambdaric and its dependencies are; functions find AWS at `endpoint`."""
        self.function = function
        self.lacking: list[str] = []
        self._folder = Path(tempfile.mkdtemp(prefix="gust-sandbox-"))
        self._calls: queue.Queue[tuple[str, bytes, float]] = queue.Queue()
        self._waits = threading.Event()
        """Set while the runtime client asks for the next invocation."""
        self._answers: queue.Queue[tuple[str, Any]] = queue.Queue()
        self._gone = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler_class())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self._group = self._limit_memory()
        root = self._folder / "root"
        root.mkdir()
        started = time.monotonic()
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [
                    *("unshare", "--mount", "--pid", "--ipc", "--fork", "--kill-child", "--propagation", "private"),
                    *(
                        "sh",
                        str(SCRIPT),
                        str(root),
                        str(function.task),
                        str(function.opt),
                        str(runtime),
                        sys.base_prefix,
                    ),
                    *(str(function.storage), str(self._group or "")),
                    *([] if self._group else ["prlimit", f"--data={function.memory * limits.MB}"]),
                    *("/var/lang/bin/python3.12", "-m", "awslambdaric", function.handler),
                ],
                env=self._environment(endpoint),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._await_init(function.timeout)
        self.init_seconds = time.monotonic() - started
        self.init_processor_seconds = sum(sum(each.cpu_times()[:2]) for each in self.processes())
        self._freeze()

    def invoke(self, event: Any, request_id: str | None = None) -> Answer:
        """Run one invocation; raises nothing that the function does."""
        name = request_id or str(uuid.uuid4())
        body = json.dumps(event).encode()
        if len(body) > limits.SYNCHRONOUS:
            return Answer({"errorMessage": "The event is larger than 6 MB"}, "Request.TooLarge", 0.0)
        started = time.monotonic()
        deadline = time.time() + self.function.timeout
        self._waits.clear()
        self._calls.put((name, body, deadline))
        self._thaw()
        try:
            kind, payload = self._answer_until(started + self.function.timeout)
        except TimeoutError:
            self.end()
            message = f"Task timed out after {self.function.timeout:.2f} seconds"
            return Answer({"errorMessage": message}, "Sandbox.Timedout", time.monotonic() - started)
        except ProcessLookupError:
            self.end()
            message = f"Runtime exited: {self.process.poll()}"
            return Answer({"errorMessage": message}, "Runtime.ExitError", time.monotonic() - started)
        seconds = time.monotonic() - started
        self._waits.wait(5)  # what a handler leaves running goes on until the client asks for the next invocation
        self._freeze()
        if kind == "error":
            return Answer(payload, payload.get("errorType", "Unhandled"), seconds)
        if limits.too_large(payload, limits.SYNCHRONOUS):
            return Answer({"errorMessage": "The answer is larger than 6 MB"}, "Function.ResponseSizeTooLarge", seconds)
        return Answer(payload, None, seconds)

    @property
    def is_alive(self) -> bool:
        return not self._gone and self.process.poll() is None

    def processes(self) -> list[psutil.Process]:
        """Of the sandbox, without the one that made it."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def end(self) -> None:
        """Kill all processes and take the sandbox away. Calling it again does nothing."""
        if self._gone:
            return
        self._gone = True
        for process in [*self.processes(), psutil.Process(self.process.pid)] if self.process.poll() is None else []:
            with contextlib.suppress(psutil.Error, OSError):
                process.kill()
        self.process.wait()
        self._server.shutdown()
        self._server.server_close()
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._group:
            with contextlib.suppress(psutil.Error, OSError):
                self._group.rmdir()

    # -- the processes ---------------------------------------------------------------------------------------------

    def _freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def _thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        for process in self.processes():
            with contextlib.suppress(psutil.Error, OSError):
                process.send_signal(number)

    def _limit_memory(self) -> Path | None:
        """A memory group with the function's limit. Where this machine gives none, each process is limited for itself."""
        parent = Path("/sys/fs/cgroup/memory")
        file = "memory.limit_in_bytes"
        if not parent.is_dir():
            parent, file = Path("/sys/fs/cgroup"), "memory.max"
        group = parent / f"gust-{uuid.uuid4().hex[:12]}"
        try:
            group.mkdir()
            (group / file).write_text(str(self.function.memory * limits.MB))
        except OSError as problem:
            self.lacking.append(f"memory is limited per process, because there is no memory group: {problem.strerror}")
            with contextlib.suppress(psutil.Error, OSError):
                group.rmdir()
            return None
        return group

    def _environment(self, endpoint: str) -> dict[str, str]:
        """Lambda's own variables, and the function's."""
        function = self.function
        return {
            "AWS_ACCESS_KEY_ID": "000000000000",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_EXECUTION_ENV": "AWS_Lambda_python3.12",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory),
            "AWS_LAMBDA_FUNCTION_NAME": function.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_FORMAT": "JSON",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": f"2026/01/01/[$LATEST]{uuid.uuid4().hex}",
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._server.server_address[1]}",
            "LAMBDA_RUNTIME_DIR": "/var/runtime",
            "LAMBDA_TASK_ROOT": "/var/task",
            "LANG": "en_US.UTF-8",
            "LD_LIBRARY_PATH": "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/task:/opt/lib",
            "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin:/bin:/opt/bin",
            "PYTHONPATH": "/opt/python/lib/python3.12/site-packages:/opt/python:/var/runtime",
            "PYTHONDONTWRITEBYTECODE": "1",  # nowhere could be written to
            "TZ": ":UTC",
            "_HANDLER": function.handler,
            **function.environment,
        }

    # -- the Runtime API -------------------------------------------------------------------------------------------

    def _await_init(self, patience: float) -> None:
        deadline = time.monotonic() + max(patience, 60)
        while not self._waits.wait(0.01):
            if not self._answers.empty():
                kind, payload = self._answers.get()
                self.end()
                raise InitFailedError(f"{self.function.name}: {kind}: {json.dumps(payload)[:2000]}")
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.end()
                raise InitFailedError(f"{self.function.name} ended while it was imported: {self.process.returncode}")

    def _answer_until(self, deadline: float) -> tuple[str, Any]:
        """Raises TimeoutError, and ProcessLookupError if the process ended."""
        while True:
            try:
                return self._answers.get(timeout=0.05)
            except queue.Empty:
                if self.process.poll() is not None:
                    raise ProcessLookupError from None
                if time.monotonic() > deadline:
                    raise TimeoutError from None

    def _handler_class(self) -> type[BaseHTTPRequestHandler]:
        sandbox = self

        class RuntimeApi(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:  # …/runtime/invocation/next
                sandbox._waits.set()
                while True:
                    try:
                        name, body, deadline = sandbox._calls.get(timeout=1)
                    except queue.Empty:
                        if sandbox._gone:
                            self.close_connection = True
                            return
                        continue
                    break
                self.send_response(200)
                self.send_header("Lambda-Runtime-Aws-Request-Id", name)
                self.send_header("Lambda-Runtime-Deadline-Ms", str(int(deadline * 1000)))
                arn = f"arn:aws:lambda:us-east-1:000000000000:function:{sandbox.function.name}"
                self.send_header("Lambda-Runtime-Invoked-Function-Arn", arn)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:  # …/response, …/error, /runtime/init/error
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                sandbox._answers.put((self.path.rpartition("/")[2], json.loads(body or b"null")))
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

        return RuntimeApi
