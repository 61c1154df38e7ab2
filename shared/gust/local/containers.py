"""Containers without Docker: a container of the emulator's ECS is a process of this machine.

MiniStack starts containers through a Docker client, where it finds one. It is given `Processes` instead, which runs the task
definition's entry point and command with the environment that RunTask gives the container. So the state machine, the
parameters of RunTask, exit codes and StopTask are the real ones. Image and network are not, and of the container's size only
that Fargate refuses some.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gust.scheduling.placement import DEFAULT_CPU, DEFAULT_MEMORY, MEMORY_OF


class Process:
    """The part of a Docker container that MiniStack uses."""

    attrs: Mapping[str, Any] = {"NetworkSettings": {"Networks": {}}}

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], output: Path) -> None:
        self.id = uuid.uuid4().hex
        self.disk = Path(tempfile.mkdtemp(prefix="gust-container-"))
        """The process's own temporary folder, as a container has its own disk."""
        with output.open("ab") as into:
            self._process = subprocess.Popen(
                command,
                env={**environment, "TMPDIR": str(self.disk)},
                cwd=self.disk,
                stdin=subprocess.DEVNULL,
                stdout=into,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def status(self) -> str:
        return "running" if self._process.poll() is None else "exited"

    def reload(self) -> None:
        """Does nothing: no state is cached."""

    def wait(self) -> dict[str, int]:
        """The exit code in Docker's form: 128 and the signal's number after a signal."""
        code = self._process.wait()
        return {"StatusCode": 128 - code if code < 0 else code}

    def stop(self, timeout: float = 10) -> None:
        """SIGTERM to the process, as to a container's first process; then SIGKILL to the processes that are left."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def remove(self, **_: Any) -> None:
        self.stop(timeout=0)

    def logs(self, *, stream: bool = False, **_: Any) -> Iterator[bytes] | bytes:
        """Empty: the process's output is in a file."""
        return iter(()) if stream else b""


class Processes:
    """The part of a Docker client that MiniStack uses. `most` run at a time; others wait, as for room."""

    def __init__(
        self, output: Path, endpoint: str, definition_of: Callable[[str], Mapping[str, Any]], *, limit: int
    ) -> None:
        self._definition_of = definition_of
        """Of the container of a task definition, by the definition's name and revision."""
        self._output = output
        self._endpoint = endpoint
        self._environment = dict(os.environ)
        self._room = threading.BoundedSemaphore(limit)
        self._running: dict[str, Process] = {}
        self.containers = self
        """`client.containers.run` and so on."""

    def run(self, image: str, *, environment: Mapping[str, str], labels: Mapping[str, str], **options: Any) -> Process:  # noqa: ARG002
        family, revision = (labels[f"com.amazonaws.ecs.task-definition-{what}"] for what in ("family", "version"))
        definition = self._definition_of(f"{family}:{revision}")
        command = [*definition.get("entryPoint", ()), *(options.get("command") or ())]
        if command[0] == "python3":
            command[0] = sys.executable
        # Docker's name for the host machine.
        given = {name: value.replace("host.docker.internal", "127.0.0.1") for name, value in environment.items()}
        around = self._environment | given | {"AWS_ENDPOINT_URL": self._endpoint}
        self._room.acquire()
        try:
            process = Process(command, around, self._output)
        except BaseException:
            self._room.release()
            raise
        self._running[process.id] = process
        threading.Thread(target=self._give_room_back, args=(process,), daemon=True).start()
        return process

    def get(self, name: str) -> Process:
        """Raises KeyError."""
        return self._running[name]

    def list(self, **_: Any) -> list[Process]:
        return list(self._running.values())

    def end_all(self) -> None:
        for process in list(self._running.values()):
            process.remove()

    def _give_room_back(self, process: Process) -> None:
        process.wait()
        shutil.rmtree(process.disk, ignore_errors=True)
        self._room.release()


def refused_size(overrides: Mapping[str, Any]) -> str | None:
    """ECS's error for a size that Fargate does not have; `None` for a size that it has."""
    cpu, memory = int(overrides.get("cpu", DEFAULT_CPU)), int(overrides.get("memory", DEFAULT_MEMORY))
    return None if memory in MEMORY_OF.get(cpu, ()) else "No Fargate configuration exists for given values."


def in_pascal_case(value: Any) -> Any:
    """ECS's answer with the key names of Step Functions."""
    match value:
        case dict():
            return {key[:1].upper() + key[1:]: in_pascal_case(inner) for key, inner in value.items()}
        case list():
            return [in_pascal_case(inner) for inner in value]
    return value
