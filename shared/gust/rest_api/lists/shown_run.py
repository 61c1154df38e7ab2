"""A run as the API shows it, including instances without an item, which the DagSpec of the run's version gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from aws_lambda_powertools import Logger

from gust.errors import Forbidden, NotFound
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec, TaskSpec
from gust.model.keys import UNMAPPED, DagRunKey
from gust.model.run_state import RunState
from gust.model.task_instance import TaskInstance
from gust.scheduling.run_view import instances_by_task, is_gone
from gust.services.context import Services
from gust.services.people.pending_edit import as_it_will_be
from gust.services.specs import load_spec

log = Logger(service="api", child=True)


@dataclass(frozen=True)
class ShownRun:
    run: DagRun
    stored: Mapping[tuple[str, int], TaskInstance]
    spec: DagSpec | None
    """`None` if it is missing in the bucket: then only stored instances are shown."""

    @cached_property
    def instances(self) -> list[InstanceView]:
        """All instances, in the DAG's topological order and then by map index; those of removed tasks last.

        A mapped task that is not expanded has one instance, with map index -1; one that expanded, or whose length the
        DAG file fixes, has one for each index, and with length zero only the skipped one."""
        by_task = instances_by_task(self.spec, self.run, self.stored) if self.spec else {}
        for (task_id, _), instance in sorted(self.stored.items(), key=lambda item: item[0]):
            if self.spec is None or task_id not in self.spec.tasks:
                by_task.setdefault(task_id, []).append(instance)
        return [
            InstanceView(self.run, instance, self.spec.tasks.get(task_id) if self.spec else None, place)
            for place, (task_id, instances) in enumerate(by_task.items())
            for instance in instances
            if not self._is_gone(instance)
        ]

    def _is_gone(self, instance: TaskInstance) -> bool:
        return self.run.is_finished and is_gone(instance)

    def instance(self, task_id: str, map_index: int = UNMAPPED) -> InstanceView | None:
        return next(
            (v for v in self.instances if v.instance.key == self.run.key.task_instance(task_id, map_index)), None
        )


@dataclass(frozen=True, slots=True)
class InstanceView:
    """An instance with its run and its task."""

    run: DagRun
    instance: TaskInstance
    task: TaskSpec | None
    """`None` for a task that the run's version does not have."""
    place: int = 0
    """The task's position in topological order."""

    @property
    def version_number(self) -> int:
        return self.instance.version_number or self.run.version_number

    @property
    def max_tries(self) -> int:
        """Before the first try the task's retries count."""
        if self.task is not None and self.instance.try_number == 0:
            return max(self.instance.max_tries, self.task.retries)
        return self.instance.max_tries

    @property
    def display_name(self) -> str:
        return (self.task.task_display_name if self.task else "") or self.instance.task_id

    @property
    def pool(self) -> str:
        return self.task.pool if self.task else "default_pool"

    @property
    def queue(self) -> str:
        return self.task.queue if self.task else "default"

    @property
    def operator(self) -> str | None:
        return self.task.operator if self.task else self.instance.operator

    @property
    def operator_name(self) -> str | None:
        return (self.task.operator_name if self.task else None) or self.operator

    @property
    def rendered_map_index(self) -> str | None:
        if self.instance.rendered_map_index is not None:
            return self.instance.rendered_map_index
        return str(self.instance.map_index) if self.instance.map_index >= 0 else None

    def of_try(self, instance: TaskInstance) -> InstanceView:
        """The view of an earlier try of the same instance."""
        return InstanceView(self.run, instance, self.task, self.place)


def load_view(services: Services, key: DagRunKey) -> ShownRun | None:
    state = services.store.load_run(key)
    return None if state is None else view_of(services, state)


def view_of(services: Services, state: RunState) -> ShownRun:
    """The run's view. An edit session that is still open is shown as complete."""
    state = as_it_will_be(services, state)
    return ShownRun(state.run, state.instances, find_spec(services, state.run))


def find_spec(services: Services, run: DagRun) -> DagSpec | None:
    """The spec of the run's version. A list shows the run without it where the bucket lacks or denies it."""
    try:
        return load_spec(services.objects, run.spec_key)
    except NotFound:
        return None
    except Forbidden as error:
        log.warning("%s/%s is shown without its DAG's structure: %s", run.dag_id, run.run_id, error)
        return None
