"""A dispatch that runs in a container of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gust.model.place import OnFargate
from gust.model.task_instance import TaskInstance
from gust.model.workload import TaskWorkload

HOST: Final = "fargate/"
"""A container's name follows it in the hostname of the try, which is also its log stream."""


@dataclass(frozen=True, slots=True)
class ContainerStart:
    """One container to be started."""

    name: str
    """The same for the same dispatch, different for every other."""
    workload: TaskWorkload
    place: OnFargate


def container_name(instance: TaskInstance) -> str:
    """A name for the dispatch and for the scheduler's decision that made it (`Dispatch.scheduled_at`): at most 80 letters,
    digits and hyphens, the limit of Step Functions."""
    decided = int(instance.scheduled_at.timestamp() * 1_000_000) if instance.scheduled_at else 0
    return f"{instance.key.uuid(instance.try_number)}-{instance.dispatch_count}-{decided}"
