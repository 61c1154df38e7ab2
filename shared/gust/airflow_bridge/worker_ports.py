"""What a worker or triggerer reaches outside its process, and the time it has for one message."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gust.airflow_bridge.bundle import BundleFolder
from gust.airflow_bridge.nursery import Children, Forks
from gust.airflow_bridge.preparers import Preparers
from gust.airflow_bridge.task_log import Sink
from gust.airflow_bridge.transport import Invoke
from gust.ports.objects import Objects

ALL_BUT_SPENT: Final = 0.7
"""The part of a function's memory for the child: the supervisor and the runtime have the rest."""

Hide = Callable[[float], object]
"""Hides the message from other functions for so many seconds."""


def do_not_hide(seconds: float) -> None:
    """For a workload that came by no queue."""


def do_nothing() -> None:
    """For a disk that is thrown away, or that others use, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPorts:
    """The first four are made once per process; `remaining` and `hide` belong to one message."""

    invoke: Invoke
    """Sends an event to the execution API."""
    objects: Objects
    bundles: BundleFolder
    sink: Sink
    """Takes log lines."""
    remaining: float | None = None
    """Seconds that the function has left; None where it has no limit."""
    hide: Hide = do_not_hide
    children: Children = field(default_factory=Forks)
    """Made once per process, too."""
    preparers: Preparers | None = None
    """Makes the imports of tasks before their children are forked; None where each child makes its own."""
    tidy: Callable[[], object] = do_nothing
    """Called after each child: removes what it left on the disk."""
    megabytes: int | None = None
    """Memory that the function has; None where it has no limit of its own."""

    def leave(self, environment: Path | None = None, file: tuple[str, str] | None = None) -> bool:
        """See `Preparers.leave`, before a child with the environment's packages, of a DAG file (its bundle and its path in
        it), if it is a task's. Returns whether the files that the child will use must be looked at again."""
        if self.preparers is None or not self.preparers.leave(environment, file):
            return False
        self.tidy()
        return True

    def was_memory_used(self, largest: int) -> bool:
        """Whether a child that took `largest` kB has come close to the function's memory: then the kernel killed it, if it
        was killed."""
        return self.megabytes is not None and largest / 1024 > self.megabytes * ALL_BUT_SPENT

    def seconds_before(self, reserve: float) -> float:
        """Seconds that a child may run so that `reserve` seconds remain after it: at least one, infinite without a limit."""
        return math.inf if self.remaining is None else max(1.0, self.remaining - reserve)
