"""Tasks that depend on the run before: `depends_on_past` and `wait_for_downstream`.

Rules: Airflow's `PrevDagrunDep`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gust.model.bounds import listed
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec, TaskSpec
from gust.model.state import SUCCESSFUL
from gust.model.task_instance import TaskInstance


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """The run before a run. `previous=None`: it is the DAG's first.

    `previous` is the run of the next earlier logical date; of a DAG with catchup the next earlier one that no person
    made (any run type but manual).
    """

    previous: DagRun | None = None
    instances: Mapping[tuple[str, int], TaskInstance] = field(default_factory=dict)
    """All instances of the previous run."""
    known_tasks: frozenset[str] = frozenset()
    """Tasks that the previous run has: those of its version, less those that their own dates leave out."""
    ever_known_tasks: frozenset[str] = frozenset()
    """Tasks that any earlier run had."""

    def objection(self, spec: DagSpec, task: TaskSpec) -> str | None:
        """Why the task may not run yet on account of the past; `None` if it may. Only for a task that depends on it."""
        if self.previous is None:
            return None
        date = self.previous.logical_date
        if spec.catchup and task.start_date is not None and date is not None and date < task.start_date:
            return None
        if task.task_id not in self.known_tasks:
            if task.ignore_first_depends_on_past and task.task_id not in self.ever_known_tasks:
                return None
            return f"It depends on the past, but run {self.previous.run_id} does not have the task."
        if not self._succeeded(task.task_id):
            return f"It depends on the past, and in run {self.previous.run_id} the task has not succeeded."
        if task.wait_for_downstream:
            waiting = [t for t in task.downstream_task_ids if t in self.known_tasks and not self._succeeded(t)]
            if waiting:
                return f"It waits for tasks downstream of itself in run {self.previous.run_id}: {listed(waiting)}."
        return None

    def _succeeded(self, task_id: str) -> bool:
        """An instance without an item has not run."""
        states = [instance.state for (of_task, _), instance in self.instances.items() if of_task == task_id]
        return bool(states) and all(state in SUCCESSFUL for state in states)


def is_needed(spec: DagSpec) -> bool:
    """Whether a decision on the DAG's runs needs to know the past."""
    return spec.looks_back
