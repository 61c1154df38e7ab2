"""A dispatch that runs in a container of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import uuid4

if TYPE_CHECKING:  # every function imports this module, with its AWS clients
    from gust.model.place import OnFargate
    from gust.model.task_instance import TaskInstance
    from gust.model.workload import TaskWorkload

HOST: Final = "fargate/"
"""`host` begins so."""


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


def host(workload_key: str, environ: Mapping[str, str]) -> str:
    """The hostname of the tries that this container runs, which is also their log stream. Of two containers of the same
    dispatch each has its own, though their process ids may be the same: so only one of them may start the try."""
    name = workload_key.rpartition("/")[2].removesuffix(".json")
    container = environ.get("ECS_CONTAINER_METADATA_URI_V4", "").rpartition("/")[2]
    return f"{HOST}{name}/{container or uuid4().hex}"
