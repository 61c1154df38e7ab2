from typing import Any
from uuid import UUID

from pydantic import Field

from gust.execution_api.datamodels.base import Payload, moment
from gust.model.hitl import HITLAnswer, HITLDetail


class HITLUser(Payload):
    id: str
    name: str


class HITLDetailRequest(Payload):
    ti_id: UUID
    options: list[str] = Field(min_length=1)
    subject: str
    body: str | None = None
    defaults: list[str] | None = None
    multiple: bool = False
    params: dict[str, Any] = Field(default_factory=dict)
    assigned_users: list[HITLUser] = Field(default_factory=list)


class UpdateHITLDetailPayload(Payload):
    ti_id: UUID
    chosen_options: list[str] = Field(min_length=1)
    params_input: dict[str, Any] = Field(default_factory=dict)


def question_response(ti_id: UUID, detail: HITLDetail) -> dict[str, Any]:
    return {
        "ti_id": str(ti_id),
        "options": detail.options,
        "subject": detail.subject,
        "body": detail.body,
        "defaults": detail.defaults,
        "multiple": detail.multiple,
        "params": detail.params,
        "assigned_users": detail.assigned_users,
    }


def answer_response(answer: HITLAnswer | None) -> dict[str, Any]:
    return {
        "response_received": answer is not None,
        "responded_by_user": answer.responded_by if answer else None,
        "responded_at": moment(answer.responded_at) if answer else None,
        "chosen_options": answer.chosen_options if answer else [],
        "params_input": answer.params_input if answer else {},
    }
