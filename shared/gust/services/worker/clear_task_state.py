"""Empties the state store of task instances that succeeded, if the stack is configured so."""

import os
from collections.abc import Iterable
from typing import Final

from gust.model.keys import TaskInstanceKey
from gust.services.context import Services

OPTION: Final = "AIRFLOW__STATE_STORE__CLEAR_ON_SUCCESS"
"""Airflow's `[state_store] clear_on_success`, off unless set."""


def clear_task_state_on_success(services: Services, succeeded: Iterable[TaskInstanceKey]) -> None:
    """Empty their state stores if the option is on. By default it is off, and nothing is read."""
    if os.environ.get(OPTION, "").strip().lower() not in {"t", "true", "1"}:
        return
    for key in succeeded:
        services.store.clear_task_state(key.run, key.task_id, key.map_index)
