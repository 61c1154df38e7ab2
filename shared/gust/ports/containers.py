"""The state machine that runs a dispatch in a container of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gust.errors import NotSupportedYet
from gust.model.container_start import ContainerStart
from gust.model.unsent import Unsent


class Containers(Protocol):
    """The state machine fargate_task."""

    def start(self, starts: Sequence[ContainerStart]) -> list[Unsent]:
        """Start the containers. Returns those that AWS refused, with its reason where another attempt cannot help.
        Starting the same name again changes nothing."""

    def stop(self, names: Sequence[str]) -> set[str]:
        """Stop the containers, also those that still start, with SIGTERM first. Returns the names that Step Functions
        refused for now. A name that is unknown, or whose container has ended, is no error."""


class NoContainers:
    """For stacks without Fargate."""

    def start(self, starts: Sequence[ContainerStart]) -> list[Unsent]:
        raise NotSupportedYet(f"This stack has no Fargate for {starts[0].workload.key}")

    def stop(self, names: Sequence[str]) -> set[str]:  # noqa: ARG002
        """None is left: Fargate was removed from the stack."""
        return set()
