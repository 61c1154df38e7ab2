"""A task that branched skips what it did not choose."""

from collections.abc import Iterable
from typing import Final

from gust.errors import NotFound, Unwell
from gust.model.dag_spec import DagSpec
from gust.model.dispatch import Dispatch
from gust.model.keys import UNMAPPED
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.scheduling import transition
from gust.services.context import Services
from gust.services.ports import RunState
from gust.services.report_task_instance import not_running
from gust.services.specs import spec_of_instance

ATTEMPTS: Final = 5

SPARED: Final = frozenset({S.RUNNING, S.SUCCESS, S.FAILED, S.SKIPPED})
"""What already runs or has ended is not taken back. As in Airflow; skipped ones are where they shall be."""


def skip_downstream(services: Services, dispatch: Dispatch, targets: Iterable[tuple[str, int]]) -> None:
    """Any but running, success, failed → skipped, for every (task_id, map_index) of the run that exists.

    Raises Conflict unless the dispatch runs, and Unwell where others kept moving the targets.
    """
    targets = list(targets)
    for _ in range(ATTEMPTS):
        state = services.store.load_run(dispatch.key.run)
        if state is None:
            raise NotFound("Task Instance not found")
        branch = state.instances.get((dispatch.key.task_id, dispatch.key.map_index))
        if branch is None or not dispatch.is_current(branch) or branch.state is not S.RUNNING:
            raise not_running(branch)
        spec = spec_of_instance(services, state.run, branch)
        at = services.clock.now()
        skips = [
            transition.skip(instance, at=at, reason=f"Skipped by {branch.task_id}")
            for task_id, map_index in targets
            if (instance := _instance(state, spec, task_id, map_index)) and instance.state not in SPARED
        ]
        if not services.store.move_all(skips):
            return
    raise Unwell(f"what {dispatch.key} skips was moved by others {ATTEMPTS} times")


def _instance(state: RunState, spec: DagSpec, task_id: str, map_index: int) -> TaskInstance | None:
    """The instance as it is stored, or as it would be created; `None` where the run has no such instance."""
    if stored := state.instances.get((task_id, map_index)):
        return stored
    task = spec.tasks.get(task_id)
    if task is None:
        return None
    is_expanded = any(other == task_id and index != UNMAPPED for other, index in state.instances)
    exists = not is_expanded if map_index == UNMAPPED else task.is_mapped
    if not exists:
        return None
    return TaskInstance(dag_id=state.run.dag_id, run_id=state.run.run_id, task_id=task_id, map_index=map_index)
