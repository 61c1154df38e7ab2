"""Questions of tries to people. The answer comes over the public API; a trigger may read it and may answer too."""

from gust.errors import NotFound
from gust.execution_api.datamodels.hitl import (
    HITLDetailRequest,
    UpdateHITLDetailPayload,
    answer_response,
    question_response,
)
from gust.execution_api.routing import Access, Call, Fence, Routes
from gust.http.answer import Answer
from gust.model.dispatch import OF_DAGS
from gust.model.hitl import HITLAnswer, HITLDetail
from gust.services.people.answer_question import BY_TRIGGER, AnsweredAlready, answer_question
from gust.services.worker.ask_for_input import ask_for_input

routes = Routes("/hitlDetails")

WITH_TRIGGERS = OF_DAGS
"""The triggers of operators from before Airflow 3.3 poll for the answer, and write the defaults when time is up."""


@routes.post("/{task_instance_id}", access=Access.OWN, body=HITLDetailRequest, fence=Fence.ITSELF)
def upsert_hitl_detail(call: Call[HITLDetailRequest, None]) -> Answer:
    body = call.body
    detail = ask_for_input(
        call.services,
        call.caller,
        options=body.options,
        subject=body.subject,
        body=body.body,
        defaults=body.defaults,
        multiple=body.multiple,
        params=body.params,
        assigned_users=[user.model_dump() for user in body.assigned_users],
    )
    return Answer(201, question_response(call.caller.id, detail))


@routes.patch("/{task_instance_id}", access=Access.OWN, body=UpdateHITLDetailPayload, scopes=WITH_TRIGGERS)
def update_hitl_detail(call: Call[UpdateHITLDetailPayload, None]) -> Answer:
    body = call.body
    answer = HITLAnswer(
        chosen_options=body.chosen_options,
        params_input=body.params_input,
        responded_at=call.services.clock.now(),
    )
    try:
        answer_question(call.services, _question(call), answer, resuming=BY_TRIGGER)
    except AnsweredAlready:
        task_instance_id = call.path["task_instance_id"]
        message = f"Human-in-the-loop detail for Task Instance with id {task_instance_id} already exists."
        return Answer(409, {"detail": message})
    return Answer(body=answer_response(answer))


@routes.get("/{task_instance_id}", access=Access.OWN)
def get_hitl_detail(call: Call[None, None]) -> Answer:
    return Answer(body=answer_response(_question(call).answer))


def _question(call: Call[UpdateHITLDetailPayload, None] | Call[None, None]) -> HITLDetail:
    detail = call.services.store.get_hitl_detail(call.caller.key)
    if detail is None:
        raise NotFound(
            "HITLDetail not found. This happens most likely due to clearing task instance before receiving response."
        )
    return detail
