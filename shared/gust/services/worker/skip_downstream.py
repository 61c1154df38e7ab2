"""Skips the tasks that a branch did not choose."""

from collections.abc import Iterable
from typing import Final

from gust.errors import NotFound, ServiceUnavailable
from gust.model.dispatch import Dispatch
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.scheduling import transition
from gust.scheduling.run_view import RunView
from gust.services.context import Services
from gust.services.specs import spec_of_instance
from gust.services.worker.report_task_instance import not_running

ATTEMPTS: Final = 5

SPARED: Final = frozenset({S.RUNNING, S.SUCCESS, S.FAILED, S.SKIPPED})
"""Running and ended instances stay as they are, as in Airflow; skipped ones need no move."""


def skip_downstream(services: Services, dispatch: Dispatch, targets: Iterable[tuple[str, int]]) -> None:
    """Any state but running, success, failed → skipped, for every existing (task_id, map_index) of the run.

    Raises Conflict unless the dispatch runs, and ServiceUnavailable if other writers kept moving the targets.
    """
    targets = list(targets)
    for _ in range(ATTEMPTS):
        state = services.store.load_run(dispatch.key.run)
        if state is None:
            raise NotFound("Task Instance not found")
        branch = state.instances.get((dispatch.key.task_id, dispatch.key.map_index))
        if branch is None or not dispatch.is_current(branch) or branch.state is not S.RUNNING:
            raise not_running(branch)
        at = services.clock.now()
        view = RunView(spec_of_instance(services, state.run, branch), state.run, state.instances, at)
        skips = [
            transition.skip(instance, at=at, reason=f"Skipped by {branch.task_id}")
            for task_id, map_index in targets
            for instance in _instances(view, task_id, map_index)
            if instance.state not in SPARED
        ]
        if not services.store.move_all(skips):
            return
    raise ServiceUnavailable(f"other writers moved the tasks that {dispatch.key} skips {ATTEMPTS} times")


def _instances(view: RunView, task_id: str, map_index: int) -> list[TaskInstance]:
    """The existing instance of that map index. As in Airflow, expanded instances of a mapped task are skipped later, when
    the scheduler looks at them, if the branch is directly upstream (`Upstream`, by the branch's `skip_decision`)."""
    if task_id not in view.spec.tasks:
        return []
    instance = view.instances_of(task_id).get(map_index)
    return [] if instance is None else [instance]
