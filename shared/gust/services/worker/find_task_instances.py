"""Task instances of a run as Airflow lists them: instances without an item, state `None`, included."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec
from gust.model.keys import DagRunKey
from gust.model.run_state import RunState
from gust.model.task_instance import TaskInstance
from gust.scheduling.run_view import RunView
from gust.services.context import Services
from gust.services.specs import load_spec


def runs_of(services: Services, dag_id: str, *, wanted: Callable[[DagRun], bool]) -> list[DagRun]:
    """Newest `run_after` first."""
    return [run for run in services.store.list_runs(dag_id) if wanted(run)]


def runs_asked_for(
    services: Services,
    dag_id: str,
    *,
    run_ids: Sequence[str] | None,
    logical_dates: Sequence[datetime] | None,
) -> list[DagRun]:
    """The runs with one of the ids and one of the dates, if given; newest `run_after` first.

    Reads all runs of the DAG only if neither is given: sensors call this again and again."""
    store = services.store
    if run_ids:
        found = [store.get_run(DagRunKey(dag_id, run_id)) for run_id in dict.fromkeys(run_ids)]
    elif logical_dates:
        found = [next(store.runs_after(dag_id, date - timedelta.resolution), None) for date in set(logical_dates)]
    else:
        return store.list_runs(dag_id)
    runs = [run for run in found if run is not None and (not logical_dates or run.logical_date in logical_dates)]
    return sorted(runs, key=lambda run: (run.run_after, run.run_id), reverse=True)


def instances_of_runs(services: Services, runs: Iterable[DagRun]) -> Iterator[TaskInstance]:
    """All instances of the runs, run by run, in topological order of their tasks, then by map index."""
    for run in runs:
        state = services.store.load_run(run.key)
        if state is not None:
            spec = load_spec(services.objects, run.spec_key)
            yield from all_instances(spec, state, services.clock.now())


def all_instances(spec: DagSpec, state: RunState, now: datetime) -> list[TaskInstance]:
    """The instances of the spec's tasks, as far as they exist, then those of tasks that the spec no longer has."""
    of_spec = [instance for _, instance in RunView(spec, state.run, state.instances, now).all_instances()]
    gone = sorted(key for key in state.instances if key[0] not in spec.tasks)
    return of_spec + [state.instances[key] for key in gone]


def tasks_of_group(spec: DagSpec, group_id: str) -> frozenset[str] | None:
    """Ids of the tasks in the group and in the groups within it; `None` if there is no such group."""
    group = spec.task_groups.get(group_id)
    if group is None:
        return None
    found: set[str] = set()
    for child in group.children:
        found |= {child} if child in spec.tasks else tasks_of_group(spec, child) or frozenset()
    return frozenset(found)
