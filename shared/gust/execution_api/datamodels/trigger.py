"""The triggerer's requests and answers, which are Gust's own. See `routes/triggers.py`."""

from typing import Any, Literal

from pydantic import AwareDatetime, Field, JsonValue, model_validator

from gust.execution_api.datamodels.base import Strict, moment
from gust.execution_api.datamodels.dagrun import dag_run_response
from gust.model.bounds import LONGEST_PATH
from gust.model.dispatch import Dispatch
from gust.model.place import Limit
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import ParkedTrigger
from gust.services.worker.make_trigger_template import TriggerTemplate


class TriggerEventPayload(Strict):
    """Exactly one of `event` (the trigger fired), `error` (it failed) and `state` (it ended the task itself)."""

    event: JsonValue = None
    error: str | None = None
    traceback: list[str] | None = None
    state: Literal[S.SUCCESS, S.FAILED, S.SKIPPED] | None = None
    xcoms: dict[str, JsonValue] | None = None

    @model_validator(mode="after")
    def _is_one_thing(self) -> "TriggerEventPayload":
        if len(self.model_fields_set & {"event", "error", "state"}) != 1:
            raise ValueError("give one of event, error and state")
        return self


class ParkPayload(Strict):
    """The trigger is parked. `TriggerWorkload` has the fields for its next invocation."""

    wake_at: AwareDatetime
    sleeps_passed: int = Field(ge=0)
    is_poller: bool
    looks: int = Field(default=0, ge=0)
    place: str = Field(default="", max_length=64)
    woken: int = Field(default=0, ge=0)
    kwargs: dict[str, JsonValue] | None = None
    """The trigger's new arguments, if they have changed."""
    relative_fileloc: str = Field(default="", max_length=LONGEST_PATH)


class LostPayload(Strict):
    reason: str
    outgrew: Limit | None = None
    """The limit of Lambda's that ended the try."""
    has_called_back: bool = False
    """The supervisor told the task to end, and the task has run its callbacks."""


def parked_trigger_response(
    dispatch: Dispatch, trigger: ParkedTrigger, template: TriggerTemplate | None, *, looks_seldom: bool
) -> dict[str, Any]:
    return {
        "id": str(dispatch.id),
        "dag_id": dispatch.key.dag_id,
        "run_id": dispatch.key.run_id,
        "task_id": dispatch.key.task_id,
        "map_index": dispatch.key.map_index,
        "try_number": dispatch.try_number,
        "classpath": trigger.classpath,
        "kwargs": trigger.kwargs,
        "queue": trigger.queue,
        "next_method": trigger.next_method,
        "timeout_at": moment(trigger.timeout_at),
        "looks_seldom": looks_seldom,
        "template": template and _template_response(template),
    }


def _template_response(template: TriggerTemplate) -> dict[str, Any]:
    return {
        "serialized_dag": template.serialized_dag,
        "dag_run": dag_run_response(template.run),
        "max_tries": template.max_tries,
    }
