"""The workers that may run a DAG's tasks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gust.model.dag_spec import DagSpec, TaskSpec
from gust.model.place import Workers
from gust.model.worker_group import WorkerGroup
from gust.scheduling.placement import OWN_QUEUES
from gust.services.context import Services


def workers_for(services: Services, spec: DagSpec) -> Workers:
    """The stack's workers, with its worker groups if a task of the DAG names a queue that is not every stack's."""
    return workers_for_tasks(services, spec.tasks.values())


def workers_for_tasks(services: Services, tasks: Iterable[TaskSpec]) -> Workers:
    """As `workers_for`. Reads the registered groups (1 RRU) only if needed: a change counts from the next look on."""
    if all((task.queue or "") in OWN_QUEUES for task in tasks):
        return services.workers
    return replace(services.workers, groups={group.name: group for group in services.store.list_worker_groups()})


def groups_named_by(spec: DagSpec, workers: Workers) -> list[WorkerGroup]:
    """The worker groups that the DAG's tasks name."""
    named = {task.queue for task in spec.tasks.values()}
    return [group for name, group in workers.groups.items() if name in named]
