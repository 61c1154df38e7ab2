"""Task instances of a run as Airflow would list them: those without an item, state `None`, included."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec
from gust.model.task_instance import TaskInstance
from gust.scheduling.run_view import RunView
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
            spec = load_spec(services.objects, run.spec_key)
            yield from all_instances(spec, state, services.clock.now())


def all_instances(spec: DagSpec, state: RunState, now: datetime) -> list[TaskInstance]:
    """Those of the spec's tasks, as far as they are known, then what is left of tasks that the spec no longer has."""
    of_spec = [instance for _, instance in RunView(spec, state.run, state.instances, now).all_instances()]
    gone = sorted(key for key in state.instances if key[0] not in spec.tasks)
    return of_spec + [state.instances[key] for key in gone]


def tasks_of_group(spec: DagSpec, group_id: str) -> frozenset[str] | None:
    """Ids of the tasks in the group and in the groups within it; `None` where there is no such group."""
    group = spec.task_groups.get(group_id)
    if group is None:
        return None
    found: set[str] = set()
    for child in group.children:
        found |= {child} if child in spec.tasks else tasks_of_group(spec, child) or frozenset()
    return frozenset(found)
