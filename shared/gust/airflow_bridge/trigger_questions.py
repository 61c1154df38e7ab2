"""Triggers that ask people, as operators did before Airflow 3.3: they poll for the answer, and give the default one.

Only Airflow's triggerer serves these requests; its supervisor of tasks, under which a trigger runs here, does not know them.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal

from airflow.sdk.execution_time.comms import GetHITLDetailResponse, ToTask, UpdateHITLDetail
from pydantic import Field, TypeAdapter

from gust.airflow_bridge.supervisor import HITLDetailResponse


class HITLDetailResponseResult(HITLDetailResponse):  # type: ignore[misc]  # untyped to us
    """The reply to both requests, under Airflow's name."""

    type: Literal["HITLDetailResponseResult"] = "HITLDetailResponseResult"


@cache
def replies_to_triggers() -> TypeAdapter[Any]:
    """Decodes every reply that a trigger may get: those to tasks, and the reply to a question."""
    return TypeAdapter(Annotated[ToTask | HITLDetailResponseResult, Field(discriminator="type")])


def reply_to_question(client: Any, request: Any) -> HITLDetailResponseResult | None:
    """The reply to a request about a question; None for every other request."""
    match request:
        case GetHITLDetailResponse():
            found = client.hitl.get_detail_response(ti_id=request.ti_id)
        case UpdateHITLDetail():
            found = client.hitl.update_response(
                ti_id=request.ti_id, chosen_options=request.chosen_options, params_input=request.params_input
            )
        case _:
            return None
    return HITLDetailResponseResult(**found.model_dump())
