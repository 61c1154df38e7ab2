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
    """A dispatch that shall run in a container."""

    name: str
    """The same for the same dispatch, and for no other."""
    workload: TaskWorkload
    place: OnFargate


class Containers(Protocol):
    """The state machine fargate_task."""

    def start(self, starts: Sequence[ContainerStart]) -> list[TaskWorkload]:
        """Have containers started; returns the workloads that Step Functions refused. The same name again starts no second
        container and is no error."""


class NoContainers:
    """For stacks without Fargate."""

    def start(self, starts: Sequence[ContainerStart]) -> list[TaskWorkload]:
        raise NotSupportedYet(f"This stack has no Fargate for {starts[0].workload.key}")
