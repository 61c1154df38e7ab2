"""Task instances of a run as Airflow would list them: those without an item, state `None`, included."""

from collections.abc import Callable, Iterable, Iterator

from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec
from gust.model.keys import UNMAPPED
from gust.model.task_instance import TaskInstance
from gust.services.context import Services
from gust.services.ports import RunState
from gust.services.specs import load_spec


def runs_of(services: Services, dag_id: str, *, wanted: Callable[[DagRun], bool]) -> list[DagRun]:
    """Newest `run_after` first."""
    return [run for run in services.store.list_runs(dag_id) if wanted(run)]


def instances_of_runs(services: Services, runs: Iterable[DagRun]) -> Iterator[TaskInstance]:
    """All instances of the runs, run by run, in topological order of their tasks, then by map index."""
    for run in runs:
        state = services.store.load_run(run.key)
        if state is not None:
            yield from all_instances(load_spec(services.objects, run.spec_key), state)


def all_instances(spec: DagSpec, state: RunState) -> list[TaskInstance]:
    """A task that is not mapped, or not expanded yet, has one instance, with map index -1."""
    stored: dict[str, list[TaskInstance]] = {}
    for (task_id, _), instance in sorted(state.instances.items()):
        stored.setdefault(task_id, []).append(instance)
    found: list[TaskInstance] = []
    for task_id in spec.tasks:
        found += stored.pop(task_id, []) or [_unseen(state.run, task_id)]
    return found + [instance for gone in stored.values() for instance in gone]


def _unseen(run: DagRun, task_id: str) -> TaskInstance:
    return TaskInstance(dag_id=run.dag_id, run_id=run.run_id, task_id=task_id, map_index=UNMAPPED)


def tasks_of_group(spec: DagSpec, group_id: str) -> frozenset[str] | None:
    """Ids of the tasks in the group and in the groups within it; `None` where there is no such group."""
    group = spec.task_groups.get(group_id)
    if group is None:
        return None
    found: set[str] = set()
    for child in group.children:
        found |= {child} if child in spec.tasks else tasks_of_group(spec, child) or frozenset()
    return frozenset(found)
