"""A try pushes an XCom."""

from typing import Any, Final

from gust.errors import NotFound, StaleTaskInstance
from gust.model.dag_spec import DagSpec
from gust.model.dispatch import Dispatch
from gust.model.keys import UNMAPPED
from gust.model.task_instance import TaskInstance
from gust.services.context import Services
from gust.services.ports import XCom
from gust.services.report_task_instance import not_running, present_dispatch
from gust.services.specs import spec_of_instance

RETURN_VALUE: Final = "return_value"


def push_xcom(
    services: Services,
    dispatch: Dispatch,
    *,
    name: str,
    value: Any,
    mapped_length: int | None = None,
    dag_result: bool = False,
) -> None:
    """Store it, and note its length on the instance where a downstream maps over it.

    The Task SDK tells the length of what an unmapped task pushes. Of a mapped task, the scheduler counts the instances
    that pushed; that is noted here, where the DAG needs it. After the try has reported its end (links of operators) only
    what nothing maps over is taken. Raises NotFound, and Conflict where another dispatch has taken the place of this.
    """
    instance = present_dispatch(services, dispatch)
    if mapped_length is None and name == RETURN_VALUE and value is not None and instance.map_index != UNMAPPED:
        mapped_length = _length_of(value) if _is_mapped_over(services, instance) else None
    xcom = XCom(
        key=dispatch.key,
        name=name,
        value=value,
        timestamp=services.clock.now(),
        mapped_length=mapped_length,
        dag_result=dag_result,
    )
    try:
        services.store.put_xcom(xcom)
    except StaleTaskInstance as stale:
        raise not_running(stale.current) from stale


def _is_mapped_over(services: Services, instance: TaskInstance) -> bool:
    run = services.store.get_run(instance.key.run)
    if run is None:
        raise NotFound(f"DagRun with dag_id={instance.dag_id} and run_id={instance.run_id} not found")
    spec = spec_of_instance(services, run, instance)
    return instance.task_id in _mapped_over(spec)


def _mapped_over(spec: DagSpec) -> frozenset[str]:
    """Tasks over whose results a task or a group of the DAG maps."""
    tasks = [task.expansion for task in spec.tasks.values()]
    groups = [group.expansion for group in spec.task_groups.values()]
    return frozenset(source for expansion in (*tasks, *groups) if expansion for source in expansion.upstream_task_ids())


def _length_of(value: Any) -> int:
    return len(value) if isinstance(value, list | dict) else 1
