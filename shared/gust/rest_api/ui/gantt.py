"""`/ui/gantt`: every try of a run's unmapped instances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gust.http.answer import Json, not_found
from gust.model.keys import UNMAPPED, DagRunKey
from gust.model.state import TaskInstanceState
from gust.model.task_instance import TaskInstance
from gust.rest_api.http.request import Request
from gust.rest_api.http.routing import ui_operation
from gust.rest_api.lists.many import many
from gust.rest_api.lists.shown_run import InstanceView, ShownRun, load_view
from gust.services.context import Services

FEW: Final = 10


@ui_operation("get_gantt_data")
def get_gantt_data(services: Services, request: Request) -> Json:
    dag_id, run_id = request.path["dag_id"], request.path["run_id"]
    view = load_view(services, DagRunKey(dag_id, run_id))
    shown = [] if view is None else [v for v in view.instances if v.instance.map_index == UNMAPPED]
    tried = [v for v in shown if _was_tried_before(v.instance)]
    earlier = _earlier_tries(services, view, tried) if view is not None else []
    bars = [_bar(v, v.instance) for v in shown if v.instance.state is not TaskInstanceState.UP_FOR_RETRY]
    bars += [_bar(v, one) for v, tries in zip(tried, earlier, strict=True) for one in tries]
    if not bars:
        raise not_found(f"No task instances for dag_id={dag_id} run_id={run_id}")
    bars.sort(key=lambda bar: (bar["task_id"], bar["try_number"]))
    return {"dag_id": dag_id, "run_id": run_id, "task_instances": bars}


def _earlier_tries(services: Services, view: ShownRun, tried: Sequence[InstanceView]) -> list[list[TaskInstance]]:
    """Finished tries of each instance: by key for a few instances, with one query of the run for more."""
    if len(tried) <= FEW:
        return many.map(lambda v: services.store.list_tries(v.instance.key), tried)
    of_run = services.store.tries_of_run(view.run.key)
    return [of_run.get((v.instance.task_id, v.instance.map_index), []) for v in tried]


def _was_tried_before(instance: TaskInstance) -> bool:
    """Whether a finished try may be stored. A first try that runs or has ended is the only one."""
    return instance.try_number > 1 or (
        instance.try_number == 1
        and instance.state
        in (None, TaskInstanceState.SCHEDULED, TaskInstanceState.QUEUED, TaskInstanceState.UP_FOR_RETRY)
    )


def _bar(view: InstanceView, one: TaskInstance) -> Json:
    return {
        "task_id": one.task_id,
        "task_display_name": view.display_name,
        "try_number": one.try_number,
        "state": one.state.value if one.state else None,
        "scheduled_dttm": one.scheduled_at,
        "queued_dttm": one.queued_at,
        "start_date": one.start_date,
        "end_date": one.end_date,
        "is_group": False,
        "is_mapped": False,
    }
