"""Edits of a run that did not end within their request: the scheduler continues them, and readers see the state after them.

The request is stored in a form from which the same edit can be planned again (`edit_run`, `DagRun.edit`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache, partial
from typing import Any, Final, Protocol

from aws_lambda_powertools import Logger
from pydantic import TypeAdapter

from gust.model.dag_run import DagRun
from gust.model.run_state import RunState
from gust.model.state import DagRunState
from gust.services.context import Services
from gust.services.people.annotate_task_instances import Annotate
from gust.services.people.clear_task_instances import Clear
from gust.services.people.edit_run import Edit, resume_edit, without_repetitions
from gust.services.people.set_state import MarkInRun, MarkRun
from gust.services.time_left import TimeLeft

A_LOOK: Final = timedelta(seconds=10)
"""How long one look at the run continues its edit: other runs wait in the same batch."""

log = Logger(service="scheduler", child=True)


class Action(Protocol):
    def plan(self, services: Services, state: RunState) -> Edit:
        """The edit for that state; on a half-done state, the rest of the edit."""


ACTIONS: Final[dict[str, type[Action]]] = {one.__name__: one for one in (Annotate, Clear, MarkInRun, MarkRun)}


def written(action: Action) -> dict[str, Any]:
    """The action as JSON, for `edit_run` to store."""
    return {"action": type(action).__name__, "asked": _adapter(type(action)).dump_python(action, mode="json")}


def read(stored: dict[str, Any]) -> Action:
    """What `written` wrote."""
    action: Action = _adapter(ACTIONS[stored["action"]]).validate_python(stored["asked"])
    return action


def plan_of(services: Services, run: DagRun) -> Callable[[RunState], Edit]:
    """A planner of the rest of the run's `edit`."""
    return partial(read(json.loads(run.edit or "{}")).plan, services)


def go_on(services: Services, run: DagRun) -> None:
    """Continue the run's edit for a while. Raises nothing: a failure is retried in a minute, a few times."""
    now = services.clock.now()
    try:
        resume_edit(services, run, plan_of(services, run), TimeLeft(services.clock, now + A_LOOK))
    except Exception:
        log.exception("An edit could not be brought forward", **run.names)


def as_it_will_be(services: Services, state: RunState) -> RunState:
    """The state after the run's pending edit, so that no reader sees half of it; the state itself if there is none."""
    run = state.run
    if run.edit is None:
        return state
    stored = json.loads(run.edit)
    before = replace(
        run, state=DagRunState(stored["state"]), version_number=stored["version_number"], spec_key=stored["spec_key"]
    )
    edit = plan_of(services, run)(replace(state, run=before))
    instances = dict(state.instances)
    for step in edit.moves:
        for move in without_repetitions(step):
            instances[move.after.task_id, move.after.map_index] = move.after
    return replace(state, run=edit.last(run) if edit.last else run, instances=instances)


@lru_cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
