"""Make, change or delete an XCom for a person.

The instance's notes about its XComs follow, as Airflow's scheduler, which reads XComs, would see them: how many instances
of a mapped task have pushed, and which tasks a branch skips. The length of a plain task's value stays as its worker
reported it: Airflow stores that apart from the XCom too (`task_map`).
"""

from typing import Any

from gust.model.dag_spec import DagSpec
from gust.model.keys import UNMAPPED
from gust.model.task_instance import TaskInstance
from gust.model.xcom import XCom
from gust.services.context import Services
from gust.services.worker.push_xcom import RETURN_VALUE, SKIP_DECISION, is_mapped_over, skip_decision_of


def create_xcom(services: Services, spec: DagSpec | None, instance: TaskInstance, name: str, value: Any) -> XCom:
    """Raises AlreadyExists."""
    xcom = XCom(key=instance.key, name=name, value=value, timestamp=services.clock.now())
    _note(services, spec, instance, name, value, is_pushed=True)
    services.store.create_xcom(xcom)
    return xcom


def update_xcom(services: Services, spec: DagSpec | None, instance: TaskInstance, name: str, value: Any) -> XCom:
    """Store or replace."""
    xcom = XCom(key=instance.key, name=name, value=value, timestamp=services.clock.now())
    _note(services, spec, instance, name, value, is_pushed=True)
    services.store.put_xcom(xcom)
    return xcom


def delete_xcom(services: Services, spec: DagSpec | None, instance: TaskInstance, name: str) -> None:
    _note(services, spec, instance, name, None, is_pushed=False)
    services.store.delete_xcom(instance.key, name)


def _note(
    services: Services, spec: DagSpec | None, instance: TaskInstance, name: str, value: Any, *, is_pushed: bool
) -> None:
    """Update the instance's notes before the XCom: if the API dies in between, the repeated request finds the XCom in its
    old state and is not refused."""
    if spec is None or instance.task_id not in spec.tasks:
        return
    counts = name == RETURN_VALUE and instance.map_index != UNMAPPED and is_mapped_over(spec, instance.task_id)
    decision = (skip_decision_of(spec, instance, value) or {}) if name == SKIP_DECISION else None
    if counts or decision is not None:
        services.store.note_xcom(instance.key, name, is_pushed=is_pushed if counts else None, skip_decision=decision)
