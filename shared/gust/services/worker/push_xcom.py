"""Stores an XCom that a try pushes."""

from typing import Any, Final

from gust.errors import NotFound, StaleTaskInstance
from gust.model.dag_spec import DagSpec
from gust.model.dispatch import Dispatch
from gust.model.keys import UNMAPPED
from gust.model.task_instance import TaskInstance
from gust.model.xcom import XCom
from gust.services.context import Services
from gust.services.specs import spec_of_instance
from gust.services.worker.report_task_instance import not_running, present_dispatch

RETURN_VALUE: Final = "return_value"

SKIP_DECISION: Final = "skipmixin_key"
"""The XCom in which operators with Airflow's SkipMixin name the tasks they skip; the scheduler obeys it
(NotPreviouslySkippedDep)."""


def push_xcom(
    services: Services,
    dispatch: Dispatch,
    *,
    name: str,
    value: Any,
    mapped_length: int | None = None,
    dag_result: bool = False,
) -> None:
    """Store it, and note its length on the instance if a downstream task maps over it.

    The Task SDK sends the length of an unmapped task's value. For a mapped task, the scheduler counts the instances that
    pushed; this notes the push if the DAG needs it, and the tasks that a branch skips. After the try has reported its end
    (links of operators), an XCom that needs a note is refused. Raises NotFound, and Conflict if another dispatch has taken
    the place of this one.
    """
    instance = present_dispatch(services, dispatch)
    if mapped_length is None and name == RETURN_VALUE and value is not None and instance.map_index != UNMAPPED:
        mapped_length = _length_of(value) if is_mapped_over(_spec(services, instance), instance.task_id) else None
    xcom = XCom(
        key=dispatch.key,
        name=name,
        value=value,
        timestamp=services.clock.now(),
        mapped_length=mapped_length,
        skip_decision=skip_decision_of(_spec(services, instance), instance, value) if name == SKIP_DECISION else None,
        dag_result=dag_result,
        dispatch_count=dispatch.dispatch_count,
    )
    try:
        services.store.put_xcom(xcom)
    except StaleTaskInstance as stale:
        raise not_running(stale.current) from stale


def is_mapped_over(spec: DagSpec, task_id: str) -> bool:
    """Whether a task or a group of the DAG maps over the task's results."""
    tasks = [task.expansion for task in spec.tasks.values()]
    groups = [group.expansion for group in spec.task_groups.values()]
    return any(task_id in expansion.upstream_task_ids() for expansion in (*tasks, *groups) if expansion)


def skip_decision_of(spec: DagSpec, instance: TaskInstance, value: Any) -> dict[str, Any] | None:
    """The decision, reduced to the tasks directly downstream: only they need it, and a short circuit names all below it."""
    if not isinstance(value, dict):
        return None
    task = spec.tasks[instance.task_id]
    return {
        kind: [task_id for task_id in task.downstream_task_ids if task_id in value[kind]]
        for kind in ("followed", "skipped")
        if kind in value
    }


def _spec(services: Services, instance: TaskInstance) -> DagSpec:
    run = services.store.get_run(instance.key.run)
    if run is None:
        raise NotFound(f"DagRun with dag_id={instance.dag_id} and run_id={instance.run_id} not found")
    return spec_of_instance(services, run, instance)


def _length_of(value: Any) -> int:
    return len(value) if isinstance(value, list | dict) else 1
