"""Where a try runs, and what a stack has to run it on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from gust.model.architecture import ARM64
from gust.model.environment import SMALLEST_STORAGE, room
from gust.model.worker_group import WorkerGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """The workers that this stack has."""

    architecture: str = ARM64
    """Of the stack's own functions, and of a group that names no other. The local stack has this machine's."""
    has_fargate: bool = False
    has_x86_containers: bool = False
    groups: Mapping[str, WorkerGroup] = field(default_factory=dict)
    """Further worker groups, by the queue that each takes tasks from; also those that are being removed. Loaded only for a
    DAG that names such a queue."""
    closed: Mapping[str, str] = field(default_factory=dict)
    """Of these queues, those that take no further task of the DAG → why."""
    memory: int = 1769
    """MB that a Lambda worker of the default group has."""
    room: int = room(SMALLEST_STORAGE)
    """MB that an environment may take, unpacked, on the disk of such a worker."""


LAMBDA_ALONE: Final = Workers()


class Limit(StrEnum):
    """The limit of Lambda that ended a try."""

    TIME = "time"
    """The try ran for as long as a function may."""
    MEMORY = "memory"
    """The try used up the function's memory."""


TASK_VARIABLES: Final = "GUST_TASK_VARIABLES"
"""Environment variable of a container, a JSON object: the variables that the DAG file gives to its task. The
supervisor, which they would steer, has them in no other form."""

NOT_ITS_TASK: Final = 75
"""Exit code of a container whose dispatch is stale, or runs in another container. It says nothing about the try."""

NO_GUST: Final = 69
"""Exit code of a container that could not fetch Gust's layers: an upgrade has just removed them, or AWS throttled it. It has
not asked for its try, so the state machine may ask for another container, once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnLambda:
    """The Lambda workers of the default group."""

    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InGroup:
    """A worker of the group: Lambda functions of a size of their own, or processes elsewhere."""

    group: WorkerGroup
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnFargate:
    """A container of its own. `cpu` in units (1024 are a vCPU) and `memory` in MB are a pair that Fargate has."""

    cpu: int
    memory: int
    ephemeral_storage: int | None = None
    """GB of disk; `None` for the 20 GB that every container has."""
    spot: bool = False
    architecture: str = ARM64
    environment: tuple[tuple[str, str], ...] = ()
    """Variables that the task's `executor_config` gives the container."""
    why: str = ""

    @property
    def size(self) -> str:
        """For people, in logs: `2 vCPU, 12 GB`."""
        disk = f", {self.ephemeral_storage} GB disk" if self.ephemeral_storage else ""
        other = f", {self.architecture}" if self.architecture != ARM64 else ""
        return f"{self.cpu / 1024:g} vCPU, {self.memory / 1024:g} GB{disk}{', Spot' if self.spot else ''}{other}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Nothing in the stack can run it. `why` tells the DAG author what to write, or the operator what to deploy."""

    why: str


Place = OnLambda | InGroup | OnFargate | Refused


def describe(place: Place) -> str:
    """The place and its reason in a sentence; empty for the default group, which needs no reason."""
    match place:
        case OnFargate():
            return f"Runs on Fargate ({place.size}): {place.why}."
        case OnLambda(why=""):
            return ""
        case OnLambda():
            return f"Runs on Lambda: {place.why}."
        case InGroup(group=group) if group.is_elsewhere:
            return f"Runs on a worker elsewhere: {place.why}."
        case InGroup(group=group):
            size = f"{group.architecture}, {group.memory} MB" if group.architecture else f"{group.memory} MB"
            return f"Runs in the worker group {group.name!r} (Lambda, {size}): {place.why}."
        case Refused():
            return place.why
