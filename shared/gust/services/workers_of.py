"""The workers that may run a DAG's tasks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from gust.errors import Forbidden, Invalid
from gust.model.architecture import MACHINES, X86_64
from gust.model.dag_spec import DagSpec, TaskSpec
from gust.model.place import Workers
from gust.model.queue_access import may_use_queue
from gust.model.worker_group import WorkerGroup
from gust.scheduling.placement import OWN_QUEUES
from gust.services.context import Services

_GOING: Final = "The workers that take tasks of the queue {!r} are being removed. Write another queue, or leave it out."


def workers_for(services: Services, spec: DagSpec) -> Workers:
    """The stack's workers, with its worker groups if a task of the DAG names a queue that is not every stack's."""
    return workers_for_tasks(services, spec, spec.tasks.values())


def workers_for_tasks(services: Services, spec: DagSpec, tasks: Iterable[TaskSpec]) -> Workers:
    """As `workers_for`, for some of the DAG's tasks. Reads the registered groups (1 RRU) only if needed, and the access
    document only for a queue that has one: a change of a group counts from the next look on, one of the document within a
    minute."""
    named = {task.queue or "" for task in tasks} - OWN_QUEUES
    if not named:
        return services.workers
    groups = {group.name: group for group in services.store.list_worker_groups()}
    closed = {name: _GOING.format(name) for name, group in groups.items() if group.is_closing}
    for queue in named & groups.keys() - closed.keys():
        if why := why_closed(services, spec, queue):
            closed[queue] = why
    return replace(services.workers, groups=groups, closed=closed)


def why_closed(services: Services, spec: DagSpec, queue: str) -> str:
    """The reason why the access document keeps the DAG off the queue; empty where it does not. A document that cannot be
    read or is invalid opens no queue."""
    try:
        if may_use_queue(services.task_roles.document(), queue, spec.dag_id, spec.relative_fileloc):
            return ""
    except (Forbidden, Invalid) as problem:
        return f"No DAG may use the queue {queue!r} now: {problem}"
    return (
        f"The access document does not let this DAG use the queue {queue!r}. Its entry in `queues` names the DAGs that may, "
        "by their ids or files."
    )


def groups_named_by(spec: DagSpec, workers: Workers) -> list[WorkerGroup]:
    """The worker groups that the DAG's tasks name."""
    named = {task.queue for task in spec.tasks.values()}
    return [group for name, group in workers.groups.items() if name in named]


def architectures_of_workers(services: Services) -> set[str]:
    """The architectures that worker groups and containers have, beside that of the stack's own workers."""
    of_groups = {group.architecture for group in services.store.list_worker_groups()}
    return {*of_groups, X86_64 if services.workers.has_x86_containers else ""} & MACHINES.keys()
