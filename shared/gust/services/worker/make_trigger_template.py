"""Collects what a triggerer needs to render a trigger's arguments. Only a task that starts in its trigger
(`start_from_trigger`) has templates left in them; for any other nothing is read."""

import json
from dataclasses import dataclass
from typing import Any

from gust.errors import NotFound
from gust.model.dag_run import DagRun
from gust.model.task_instance import ParkedTrigger, TaskInstance
from gust.services.context import Services
from gust.services.specs import spec_of_instance


@dataclass(frozen=True, slots=True)
class TriggerTemplate:
    serialized_dag: dict[str, Any]
    """Airflow's own form of the DAG in the version of the try."""
    run: DagRun
    max_tries: int


def make_trigger_template(services: Services, instance: TaskInstance, trigger: ParkedTrigger) -> TriggerTemplate | None:
    """`None` if nothing in the arguments looks like a template, or Airflow would not render it: a worker that defers has
    rendered the arguments already. Raises NotFound if the version is gone."""
    if not _may_have_templates(trigger):
        return None
    run = services.store.get_run(instance.key.run)
    if run is None:
        raise NotFound(f"DagRun with dag_id={instance.dag_id} and run_id={instance.run_id} not found")
    task = spec_of_instance(services, run, instance).tasks.get(instance.task_id)
    if task is None or not task.start_from_trigger:
        return None
    number = instance.version_number or run.version_number
    version = services.store.get_version(run.dag_id, number)
    if version is None:
        raise NotFound(f"DAG {run.dag_id!r} has no version {number}")
    serialized = json.loads(services.objects.get(version.serialized_key))
    return TriggerTemplate(serialized_dag=serialized, run=run, max_tries=task.retries)


def _may_have_templates(trigger: ParkedTrigger) -> bool:
    text = trigger.kwargs if isinstance(trigger.kwargs, str) else json.dumps(trigger.kwargs)
    return any(mark in text for mark in ("{{", "{%", "{#"))
