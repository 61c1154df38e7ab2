"""Moves a run of a DAG without bundle versioning to the DAG's newest version.

Rules: Airflow's `_verify_integrity_if_dag_changed`. `decide` removes instances of tasks that the newest version lacks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gust.errors import StaleDagRun
from gust.model.dag import Dag
from gust.model.keys import UNMAPPED
from gust.model.run_state import RunState
from gust.model.state import FINISHED
from gust.model.state import TaskInstanceState as S
from gust.scheduling import transition
from gust.scheduling.transition import Transition
from gust.services.context import Services
from gust.services.specs import load_spec


def is_behind(state: RunState, dag: Dag) -> bool:
    return state.run.bundle_version is None and state.run.version_number != dag.version_number


def follow_newest(services: Services, state: RunState, dag: Dag) -> None:
    """Move its instances first, then the run: if the scheduler dies in between, the run is still behind, and the next look
    does the rest. Raises StaleDagRun."""
    run = state.run
    if services.store.move_all(list(_moves(services, state, dag))):
        raise StaleDagRun(f"instances of {run.key} moved on", run)
    services.store.update_run(run, replace(run, version_number=dag.version_number, spec_key=dag.spec_key))


def _moves(services: Services, state: RunState, dag: Dag) -> Iterator[Transition]:
    """Finished instances keep the version in which they ended; a removed instance whose task is back may run."""
    spec, now = load_spec(services.objects, dag.spec_key), services.clock.now()
    for instance in state.instances.values():
        task = spec.tasks.get(instance.task_id)
        if task is not None and instance.state is S.REMOVED and instance.map_index == UNMAPPED:
            yield transition.clear(instance, at=now, retries=task.retries, reason="The DAG has the task again.")
        elif instance.state in FINISHED and instance.version_number is None:
            yield transition.pin(instance, version_number=state.run.version_number)
