"""Containers without Docker: a container of the emulator's ECS is a process of this machine.

MiniStack starts containers through a Docker client, where it finds one. It is given `Processes` instead, which runs the task
definition's entry point and command with the environment that RunTask gives the container. So the state machine, the
parameters of RunTask, exit codes and StopTask are the real ones. Image and network are not, and of the container's size only
that Fargate refuses some.

MiniStack's own `ecs:runTask.sync` waits for ten minutes at most and fails for no exit code; this one is as Step Functions'.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from gust.scheduling.placement import MEMORY_OF

_LOOK_EVERY: Final = 0.2
"""Seconds between two looks whether a container has stopped."""

_FAILED_TO_START: Final = "TaskFailedToStart"

log = logging.getLogger(__name__)


class Process:
    """What MiniStack wants of a container."""

    attrs: Mapping[str, Any] = {"NetworkSettings": {"Networks": {}}}

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], output: Path) -> None:
        self.id = uuid.uuid4().hex
        self.disk = Path(tempfile.mkdtemp(prefix="gust-container-"))
        """Its own, as a container has one."""
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
        """Nothing is kept that could be old."""

    def wait(self) -> dict[str, int]:
        """The exit code as a container has it: of a signal, 128 more."""
        code = self._process.wait()
        return {"StatusCode": 128 - code if code < 0 else code}

    def stop(self, timeout: float = 10) -> None:
        """SIGTERM to the process, as a container's first one gets it; SIGKILL to what is left of it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def remove(self, **_: Any) -> None:
        self.stop(timeout=0)

    def logs(self, *, stream: bool = False, **_: Any) -> Iterator[bytes] | bytes:
        """Nothing: what the process prints is in a file."""
        return iter(()) if stream else b""


class Processes:
    """What MiniStack wants of a Docker client. `most` run at a time; others wait, as for room."""

    def __init__(self, output: Path, endpoint: str, *, most: int) -> None:
        self._output = output
        self._endpoint = endpoint
        self._environment = dict(os.environ)
        self._room = threading.BoundedSemaphore(most)
        self._running: dict[str, Process] = {}
        self.containers = self
        """`client.containers.run` and so on."""

    def run(self, image: str, *, environment: Mapping[str, str], labels: Mapping[str, str], **asked: Any) -> Process:  # noqa: ARG002
        from ministack.services import ecs

        family, revision = (labels[f"com.amazonaws.ecs.task-definition-{what}"] for what in ("family", "version"))
        definition = ecs._task_defs[f"{family}:{revision}"]["containerDefinitions"][0]
        command = [*definition.get("entryPoint", ()), *(asked.get("command") or ())]
        if command[0] == "python3":
            command[0] = sys.executable
        # Where Docker has the machine answer.
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


def run_containers_as_processes(data: Path, port: int, *, most: int) -> Processes:
    """Once per emulator, before it serves. What containers print goes to `data`/logs/containers.log."""
    from ministack.services import ecs, stepfunctions

    processes = Processes(data / "logs" / "containers.log", f"http://127.0.0.1:{port}", most=most)
    ecs._docker = processes
    stepfunctions._SERVICE_DISPATCH["arn:aws:states:::ecs:runTask"] = run_task
    return processes


def run_task(resource: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """`ecs:runTask` and `ecs:runTask.sync` of a state machine, with the errors that Step Functions has."""
    from ministack.services import ecs, stepfunctions

    failed = stepfunctions._ExecutionError
    request = stepfunctions._pascal_to_camel(asked)
    if (refusal := _refused_size(request.get("overrides", {}))) is not None:
        raise failed("ECS.ClientException", refusal)
    status, _, body = ecs._run_task(request)
    answer = json.loads(body)
    if status >= 400:
        raise failed("ECS.AmazonECSException", answer.get("message", str(answer)))
    if answer.get("failures"):
        raise failed("AmazonECS.Unknown", json.dumps(answer["failures"]))
    if not resource.endswith(".sync"):
        return dict(answer)
    task = _await_end(request["cluster"], answer["tasks"][0]["taskArn"])
    codes = [container.get("ExitCode") for container in task["Containers"]]
    if task.get("StopCode") == _FAILED_TO_START or any(code != 0 for code in codes):
        raise failed("States.TaskFailed", json.dumps(task))
    return task


def _await_end(cluster: str, arn: str) -> dict[str, Any]:
    from ministack.services import ecs

    while True:
        _, _, body = ecs._describe_tasks({"cluster": cluster, "tasks": [arn]})
        (task,) = json.loads(body)["tasks"]
        if task["lastStatus"] == "STOPPED":
            return dict(_pascal(task))
        time.sleep(_LOOK_EVERY)


def _refused_size(overrides: Mapping[str, Any]) -> str | None:
    cpu, memory = int(overrides.get("cpu", 1024)), int(overrides.get("memory", 2048))
    return None if memory in MEMORY_OF.get(cpu, ()) else "No Fargate configuration exists for given values."


def _pascal(value: Any) -> Any:
    match value:
        case dict():
            return {key[:1].upper() + key[1:]: _pascal(inner) for key, inner in value.items()}
        case list():
            return [_pascal(inner) for inner in value]
    return value
