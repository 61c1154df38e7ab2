"""`/api/v2/dags/{dag_id}/tasks`: the tasks of a DAG's newest version."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

from gust.http.answer import Json, bad_request, not_found
from gust.http.check import Query
from gust.model.dag import Dag
from gust.model.dag_spec import ParamSpec, TaskSpec
from gust.rest_api.http.request import Request
from gust.rest_api.http.routing import operation
from gust.services.context import Services
from gust.services.specs import load_spec

DEFAULT_UI_COLOR: Final = "#fff"
DEFAULT_UI_FGCOLOR: Final = "#000"


def task_response(task: TaskSpec, serialized: Json) -> Json:
    """`serialized` is Airflow's own form of the task. It has fields that the DagSpec lacks: the task's own weight, and
    the params' schemas."""
    return {
        "task_id": task.task_id,
        "task_display_name": task.task_display_name or task.task_id,
        "owner": task.owner,
        "start_date": task.start_date,
        "end_date": task.end_date,
        "trigger_rule": task.trigger_rule.value,
        "depends_on_past": task.depends_on_past,
        "wait_for_downstream": task.wait_for_downstream,
        "retries": task.retries,
        "queue": task.queue,
        "pool": task.pool,
        "pool_slots": task.pool_slots,
        "execution_timeout": _time_delta(task.execution_timeout),
        "retry_delay": _time_delta(task.retry_delay),
        "retry_exponential_backoff": task.retry_exponential_backoff,
        "priority_weight": _own(serialized, "priority_weight", 1),
        "weight_rule": task.weight_rule,
        "ui_color": task.ui_color or DEFAULT_UI_COLOR,
        "ui_fgcolor": task.ui_fgcolor or DEFAULT_UI_FGCOLOR,
        "template_fields": list(task.template_fields),
        "downstream_task_ids": sorted(task.downstream_task_ids),
        "doc_md": task.doc_md,
        "operator_name": task.operator_name or task.operator,
        "params": {name: _serialized_param(param) for name, param in _own(serialized, "params", [])},
        "class_ref": {"module_path": task.module or None, "class_name": task.operator},
        "is_mapped": task.expansion is not None,
        "extra_links": list(task.extra_links),
    }


def _own(serialized: Json, name: str, default: Any) -> Any:
    """The task's own argument; a mapped task has it among the arguments of `partial`."""
    if name in serialized:
        return serialized[name]
    return serialized.get("partial_kwargs", {}).get(name, default)


def _serialized_param(param: Json) -> Json:
    schema = param.get("schema") or {}
    return {
        "value": param.get("default"),
        "schema": schema.get("__var", schema),
        "description": param.get("description"),
        "source": param.get("source"),
    }


def params_response(params: Mapping[str, ParamSpec]) -> Json:
    """Airflow's dump of a DAG's params."""
    return {
        name: {
            "value": param.value if param.has_value else None,
            "schema": param.json_schema,
            "description": param.description,
            "source": param.source,
        }
        for name, param in params.items()
    }


def _time_delta(seconds: float | None) -> Json | None:
    if seconds is None:
        return None
    delta = timedelta(seconds=seconds)
    return {
        "__type": "TimeDelta",
        "days": delta.days,
        "seconds": delta.seconds,
        "microseconds": delta.microseconds,
    }


SORTABLE: Final[Mapping[str, Callable[[TaskSpec], Any]]] = {
    "task_id": lambda t: t.task_id,
    "task_display_name": lambda t: t.task_display_name or t.task_id,
    "owner": lambda t: t.owner,
    "start_date": lambda t: t.start_date,
    "end_date": lambda t: t.end_date,
    "trigger_rule": lambda t: t.trigger_rule.value,
    "depends_on_past": lambda t: t.depends_on_past,
    "wait_for_downstream": lambda t: t.wait_for_downstream,
    "retries": lambda t: t.retries,
    "queue": lambda t: t.queue,
    "pool": lambda t: t.pool,
    "pool_slots": lambda t: t.pool_slots,
    "execution_timeout": lambda t: t.execution_timeout,
    "retry_delay": lambda t: t.retry_delay,
    "retry_exponential_backoff": lambda t: t.retry_exponential_backoff,
    "weight_rule": lambda t: t.weight_rule,
    "ui_color": lambda t: t.ui_color,
    "ui_fgcolor": lambda t: t.ui_fgcolor,
    "operator_name": lambda t: t.operator_name or t.operator,
}


class TasksQuery(Query):
    order_by: str = "task_id"


@operation("get_tasks")
def get_tasks(services: Services, request: Request) -> Json:
    dag = _existing(services, request.path["dag_id"])
    order_by = request.query(TasksQuery).order_by
    name = order_by.lstrip("-")
    if name not in SORTABLE and name != "priority_weight":
        raise bad_request(f"Ordering with '{name}' is disallowed or the attribute does not exist on the model")
    spec, serialized = load_spec(services.objects, dag.spec_key), _serialized_tasks(services, dag)

    def own_weight(task: TaskSpec) -> Any:
        return _own(serialized.get(task.task_id, {}), "priority_weight", 1)

    value = SORTABLE.get(name, own_weight)
    tasks = sorted(spec.tasks.values(), key=lambda t: (value(t) is None, value(t)), reverse=order_by[:1] == "-")
    return {
        "tasks": [task_response(task, serialized.get(task.task_id, {})) for task in tasks],
        "total_entries": len(tasks),
    }


@operation("get_task")
def get_task(services: Services, request: Request) -> Json:
    dag = _existing(services, request.path["dag_id"])
    task = load_spec(services.objects, dag.spec_key).tasks.get(request.path["task_id"])
    if task is None:
        raise not_found(f"Task with id {request.path['task_id']} was not found")
    return task_response(task, _serialized_tasks(services, dag).get(task.task_id, {}))


def _existing(services: Services, dag_id: str) -> Dag:
    dag = services.store.get_dag(dag_id)
    if dag is None:
        raise not_found(f"The Dag with ID: `{dag_id}` was not found")
    return dag


def _serialized_tasks(services: Services, dag: Dag) -> dict[str, Json]:
    """Airflow's form of each task, by task id."""
    serialized = json.loads(services.objects.get(dag.serialized_key))
    return {task["__var"]["task_id"]: task["__var"] for task in serialized["dag"]["tasks"]}
