"""The runs before and after a run, for the few DAGs with tasks that depend on the past.

Every task of such a DAG needs them, so this reads the neighbouring runs and not the DAG's history.
"""

from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec
from gust.model.keys import DagRunKey
from gust.model.state import DagRunState, DagRunType
from gust.model.task_instance import TaskInstance
from gust.scheduling.past import Past, is_needed
from gust.scheduling.run_view import InstanceId, RunView, is_in_run
from gust.scheduling.timetable import DataInterval, NextRun
from gust.services.context import Services
from gust.services.specs import load_spec

BY_TIMETABLE = frozenset({DagRunType.SCHEDULED, DagRunType.BACKFILL_JOB})


def load_past(services: Services, run: DagRun, spec: DagSpec) -> Past | None:
    """The run's past; `None` if no task of the DAG depends on it. A run without a logical date has no past, as in
    Airflow."""
    if not is_needed(spec):
        return None
    if run.logical_date is None:
        return Past()
    earlier = services.store.runs_before(run.dag_id, run.logical_date)
    previous = next((other for other in earlier if counts(other, spec)), None)
    if previous is None:
        return Past()
    known = tasks_of(services, previous)
    return Past(
        previous=previous,
        instances=instances_of(services, previous),
        known_tasks=known,
        ever_known_tasks=known | known_before(services, run, new_tasks(spec, known)),
    )


def new_tasks(spec: DagSpec, known: frozenset[str]) -> frozenset[str]:
    """Tasks that the run before lacks and for which `decide` must know whether any earlier run had them."""
    return frozenset(
        task.task_id
        for task in spec.tasks.values()
        if task.task_id not in known
        and task.ignore_first_depends_on_past
        and (task.depends_on_past or task.wait_for_downstream)
    )


def instances_of(services: Services, run: DagRun) -> dict[InstanceId, TaskInstance]:
    """All instances of the run, including those without an item."""
    state = services.store.load_run(run.key)
    if state is None:
        return {}
    view = RunView(load_spec(services.objects, run.spec_key), run, state.instances, services.clock.now())
    return {(task.task_id, instance.map_index): instance for task, instance in view.all_instances()}


def tasks_of(services: Services, run: DagRun) -> frozenset[str]:
    """The run's tasks: those of its version, except tasks whose own dates exclude the run."""
    tasks = load_spec(services.objects, run.spec_key).tasks.values()
    return frozenset(task.task_id for task in tasks if is_in_run(task, run))


def known_before(services: Services, run: DagRun, wanted: frozenset[str]) -> frozenset[str]:
    """The wanted tasks that an earlier run had. Rarely needed: only a DAG's new tasks are searched so far back."""
    found: frozenset[str] = frozenset()
    if wanted:
        for other in services.store.runs_before(run.dag_id, run.logical_date):
            found |= wanted.intersection(tasks_of(services, other))
            if found == wanted:
                break
    return found


def following_runs(services: Services, run: DagRun, spec: DagSpec) -> list[DagRunKey]:
    """The runs that may wait for this one; none if no task depends on the past."""
    if not is_needed(spec) or run.logical_date is None:
        return []
    waiting: list[DagRunKey] = []
    for other in services.store.runs_after(run.dag_id, run.logical_date):
        if other.state is DagRunState.RUNNING:
            waiting.append(other.key)
        if counts(other, spec):
            break  # later runs depend on that one, and not on this one
    return waiting


def last_automated_run(
    services: Services, dag_id: str, *, partitioned: bool, but: DagRunKey | None = None
) -> NextRun | None:
    """The latest run that a timetable or a backfill made: by its logical date, or by its partition's date. `but`: a deleted
    run, which the index may still show."""

    def is_meant(run: DagRun) -> bool:
        return run.run_type in BY_TIMETABLE and run.key != but

    if partitioned:
        of_partitions = [run for run in services.store.runs_of_partition(dag_id, None) if is_meant(run)]
        last = max(of_partitions, key=lambda run: (run.partition_date, run.run_after), default=None)
    else:
        last = next((run for run in services.store.runs_before(dag_id, None) if is_meant(run)), None)
    return None if last is None else info_of(last)


def info_of(run: DagRun) -> NextRun:
    """A run in the form that timetables take."""
    start, end = run.data_interval_start, run.data_interval_end
    covered = DataInterval(start, end) if start and end else None
    return NextRun(run.run_after, covered, run.partition_date, run.partition_key)


def counts(run: DagRun, spec: DagSpec) -> bool:
    """Whether later runs depend on this one: in a DAG with catchup, manual runs do not count."""
    return not spec.catchup or run.run_type is not DagRunType.MANUAL
