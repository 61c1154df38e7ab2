"""Empties the state store of task instances that succeeded, if the stack is configured so."""

from collections.abc import Iterable
from typing import Final

from gust.model.airflow_options import is_true
from gust.model.keys import TaskInstanceKey
from gust.services.context import Services
from gust.services.settings.options import current_options

OPTION: Final = "state_store.clear_on_success"
"""Off unless set."""


def clear_task_state_on_success(services: Services, succeeded: Iterable[TaskInstanceKey]) -> None:
    """Empty their state stores if the option is on."""
    if not is_true(current_options(services).get(OPTION, "")):
        return
    for key in succeeded:
        services.store.clear_task_state(key.run, key.task_id, key.map_index)
