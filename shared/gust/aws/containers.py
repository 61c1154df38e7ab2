"""Step Functions: the state machine fargate_task, one execution for one dispatch."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as ConnectionFailed

from gust.errors import ServiceUnavailable
from gust.model import bucket_keys
from gust.model.architecture import ARM64, X86_64
from gust.model.container_start import ContainerStart
from gust.model.place import TASK_VARIABLES, OnFargate
from gust.model.unsent import Unsent
from gust.ports.objects import Objects

CONTAINER: Final = "worker"
"""Name of the container in the task definition."""

DEFINITIONS: Final = (ARM64, X86_64)
"""Architectures of the state machine's task definitions, in its order."""

FIRST_PAUSE: Final = 10
"""Seconds until the state machine asks again for a container that Fargate had no room for. Doubles each time."""

AT_ONCE: Final = 8

_THROTTLED: Final = frozenset(
    {"ThrottlingException", "ExecutionLimitExceeded", "ServiceUnavailable", "InternalFailure"}
)

_STARTED_BEFORE: Final = "ExecutionAlreadyExists"

_HAS_ENDED: Final = frozenset({"ExecutionDoesNotExist", "ValidationException"})
"""What StopExecution answers about an execution that was never started, or is over."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StepFunctionsContainers:
    """Implements `ports.Containers`."""

    state_machine_arn: str
    client: Any
    objects: Objects

    def start(self, starts: Sequence[ContainerStart]) -> list[Unsent]:
        with ThreadPoolExecutor(min(AT_ONCE, len(starts))) as several:
            return [unsent for unsent in several.map(self._start, starts) if unsent is not None]

    def _start(self, start: ContainerStart) -> Unsent | None:
        """`None`: started."""
        key = bucket_keys.workload(start.name)
        try:
            self.objects.put(key, start.workload.model_dump_json().encode(), content_type="application/json")
            arguments = json.dumps(execution_input(start, key))
            self.client.start_execution(stateMachineArn=self.state_machine_arn, name=start.name, input=arguments)
        except (ClientError, HTTPClientError, ConnectionFailed, ServiceUnavailable) as error:
            code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
            if code == _STARTED_BEFORE:
                return None
            log.warning("AWS does not start %s: %s", start.name, error)
            is_for_good = bool(code) and code not in _THROTTLED and not _is_theirs(error)
            return Unsent(start.workload, f"AWS does not start the container: {error}" if is_for_good else "")
        return None

    def stop(self, names: Sequence[str]) -> set[str]:
        """Stops the executions; Step Functions then stops the ECS task that an execution waits for."""
        with ThreadPoolExecutor(min(AT_ONCE, len(names))) as several:
            return {
                name for name, was_taken in zip(names, several.map(self._stop, names), strict=True) if not was_taken
            }

    def _stop(self, name: str) -> bool:
        execution = f"{self.state_machine_arn.replace(':stateMachine:', ':execution:')}:{name}"
        try:
            self.client.stop_execution(executionArn=execution, cause="The scheduler has ended the try.")
        except (ClientError, HTTPClientError, ConnectionFailed) as error:
            code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
            if code in _HAS_ENDED:
                return True
            log.warning("Step Functions does not stop %s: %s", name, error)
            return bool(code) and code not in _THROTTLED
        return True


def _is_theirs(error: Exception) -> bool:
    """Step Functions has failed, and may answer the next time."""
    return isinstance(error, ClientError) and error.response["ResponseMetadata"].get("HTTPStatusCode", 0) >= 500


def execution_input(start: ContainerStart, workload_key: str) -> dict[str, Any]:
    """The state machine's input. `dispatch` comes back with the container's end."""
    workload = start.workload
    return {
        "dispatch": {
            "dag_id": workload.dag_id,
            "run_id": workload.run_id,
            "task_id": workload.task_id,
            "map_index": workload.map_index,
            "try_number": workload.try_number,
            "dispatch_count": workload.dispatch_count,
            "name": start.name,
        },
        "provider": "FARGATE_SPOT" if start.place.spot else "FARGATE",
        "definition": DEFINITIONS.index(start.place.architecture),
        "overrides": overrides(start.place, workload_key),
        "attempt": 1,
        "pause": FIRST_PAUSE,
    }


def overrides(place: OnFargate, workload_key: str) -> dict[str, Any]:
    """The overrides of RunTask, with the key names of state machines."""
    environment = {"GUST_WORKLOAD": workload_key}
    if place.environment:
        environment[TASK_VARIABLES] = json.dumps(dict(place.environment))
    arguments: dict[str, Any] = {
        "Cpu": str(place.cpu),
        "Memory": str(place.memory),
        "ContainerOverrides": [
            {"Name": CONTAINER, "Environment": [{"Name": name, "Value": value} for name, value in environment.items()]}
        ],
    }
    if place.ephemeral_storage is not None:
        arguments["EphemeralStorage"] = {"SizeInGiB": place.ephemeral_storage}
    return arguments
