"""What came before a run, for the few DAGs with tasks that depend on it, and who comes after."""

from collections.abc import Iterable

from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec
from gust.model.keys import DagRunKey
from gust.model.state import DagRunType
from gust.scheduling.past import Past, is_needed
from gust.services.context import Services
from gust.services.specs import load_spec

BY_TIMETABLE = frozenset({DagRunType.SCHEDULED, DagRunType.BACKFILL_JOB})


def load_past(services: Services, run: DagRun, spec: DagSpec) -> Past | None:
    """`None` where no task of the DAG asks. A run without a logical date has no past, as in Airflow."""
    if not is_needed(spec):
        return None
    earlier = [other for other in services.store.list_runs(run.dag_id) if precedes(other, run)]
    previous = latest(other for other in earlier if not spec.catchup or other.run_type in BY_TIMETABLE)
    if previous is None:
        return Past()
    state = services.store.load_run(previous.key)
    return Past(
        previous=previous,
        instances=state.instances if state else {},
        known_tasks=frozenset(load_spec(services.objects, previous.spec_key).tasks),
        ever_known_tasks=frozenset(
            task_id
            for spec_key in {other.spec_key for other in earlier}
            for task_id in load_spec(services.objects, spec_key).tasks
        ),
    )


def following_run(services: Services, run: DagRun, spec: DagSpec) -> DagRunKey | None:
    """The unfinished run that may wait for what this one just did; `None` where no task depends on the past."""
    if not is_needed(spec):
        return None
    later = [other for other in services.store.list_runs(run.dag_id) if precedes(run, other) and not other.is_finished]
    return min(later, key=lambda other: other.logical_date or other.run_after).key if later else None


def precedes(one: DagRun, other: DagRun) -> bool:
    return one.logical_date is not None and other.logical_date is not None and one.logical_date < other.logical_date


def latest(runs: Iterable[DagRun]) -> DagRun | None:
    return max(runs, key=lambda run: run.logical_date or run.run_after, default=None)
