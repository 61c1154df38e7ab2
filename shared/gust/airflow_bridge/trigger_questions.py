"""Triggers that ask people, as operators did before Airflow 3.3: they look for the answer, and give the default one.

Airflow's supervisor of tasks does not know these requests, which only its triggerer serves; ours runs each trigger as if it
were a task.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from airflow.sdk.api.datamodels._generated import HITLDetailResponse
from airflow.sdk.execution_time.comms import GetHITLDetailResponse, ToTask, UpdateHITLDetail
from pydantic import Field, TypeAdapter


class HITLDetailResponseResult(HITLDetailResponse):  # type: ignore[misc]  # untyped to us
    """Airflow's name of the answer to both requests."""

    type: Literal["HITLDetailResponseResult"] = "HITLDetailResponseResult"


def what_a_trigger_is_told() -> TypeAdapter[Any]:
    """What a task is told, and answers."""
    return TypeAdapter(Annotated[ToTask | HITLDetailResponseResult, Field(discriminator="type")])


def answered(client: Any, asked: Any) -> HITLDetailResponseResult | None:
    """The answer to a request about a question; `None` for every other request."""
    match asked:
        case GetHITLDetailResponse():
            found = client.hitl.get_detail_response(ti_id=asked.ti_id)
        case UpdateHITLDetail():
            found = client.hitl.update_response(
                ti_id=asked.ti_id, chosen_options=asked.chosen_options, params_input=asked.params_input
            )
        case _:
            return None
    return HITLDetailResponseResult(**found.model_dump())
