"""A dispatch that runs in a container of its own."""

from __future__ import annotations

from dataclasses import dataclass

from gust.model.place import OnFargate
from gust.model.workload import TaskWorkload


@dataclass(frozen=True, slots=True)
class ContainerStart:
    """One container to be started."""

    name: str
    """The same for the same dispatch, different for every other."""
    workload: TaskWorkload
    place: OnFargate
