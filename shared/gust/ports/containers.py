"""The state machine that runs a dispatch in a container of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gust.errors import NotSupportedYet
from gust.model.place import OnFargate
from gust.model.workload import TaskWorkload


@dataclass(frozen=True, slots=True)
class ContainerStart:
    """A dispatch to run in a container."""

    name: str
    """Unique per dispatch, and the same each time that the scheduler sends it."""
    workload: TaskWorkload
    place: OnFargate


class Containers(Protocol):
    """The state machine fargate_task."""

    def start(self, starts: Sequence[ContainerStart]) -> list[TaskWorkload]:
        """Start an execution for each; returns the workloads that Step Functions refused. A repeated name starts no second
        container and is no error."""


class NoContainers:
    """For stacks without Fargate."""

    def start(self, starts: Sequence[ContainerStart]) -> list[TaskWorkload]:
        raise NotSupportedYet(f"This stack has no Fargate for {starts[0].workload.key}")
