"""Edits of a run that did not end within their request: who goes on with them, and what the run looks like meanwhile.

What a person asked for is stored in a form from which the same can be planned again (`edit_run`, `DagRun.edit`).
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
"""How long one look at the run goes on with its edit: others wait in the same batch."""

log = Logger(service="scheduler", child=True)


class Action(Protocol):
    def plan(self, services: Services, state: RunState) -> Edit:
        """The same on the same state; on one that is half done, what is left."""


ACTIONS: Final[dict[str, type[Action]]] = {one.__name__: one for one in (Annotate, Clear, MarkInRun, MarkRun)}


def written(action: Action) -> dict[str, Any]:
    """What `edit_run` stores of it."""
    return {"action": type(action).__name__, "asked": _adapter(type(action)).dump_python(action, mode="json")}


def read(stored: dict[str, Any]) -> Action:
    """What `written` wrote."""
    action: Action = _adapter(ACTIONS[stored["action"]]).validate_python(stored["asked"])
    return action


def plan_of(services: Services, run: DagRun) -> Callable[[RunState], Edit]:
    """What is left of the run's `edit`, for a look at it."""
    return partial(read(json.loads(run.edit or "{}")).plan, services)


def go_on(services: Services, run: DagRun) -> None:
    """Do some more of the run's edit. Raises nothing: what fails is tried again in a minute, and given up after some."""
    now = services.clock.now()
    try:
        resume_edit(services, run, plan_of(services, run), TimeLeft(services.clock, now + A_LOOK))
    except Exception:
        log.exception("An edit could not be brought forward", dag_id=run.dag_id, run_id=run.run_id)


def as_it_will_be(services: Services, state: RunState) -> RunState:
    """The run once its edit is done: nobody is shown half of it. The state itself where the run has none."""
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
