"""Errors as the Task SDK expects them: FastAPI's envelope, Airflow's details."""

import json
from typing import Any, Final

from pydantic import ValidationError

from gust.errors import (
    AlreadyExists,
    BadRequest,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    NotSupportedYet,
    Rejected,
    Stale,
    Unauthorized,
)
from gust.execution_api.routing import Answer
from gust.model.json_text import shown

REASONS: Final[dict[type[Rejected], str]] = {
    NotFound: "not_found",
    Gone: "not_found",
    AlreadyExists: "already_exists",
    BadRequest: "value_error",
    NotSupportedYet: "not_supported_yet",
}
"""Airflow's words, and one of ours."""


class Malformed(Rejected):
    """The request is not what the route takes. `errors` are pydantic's, with Airflow's `loc`."""

    status = 422

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__(json.dumps(errors, default=str))
        self.errors = errors

    @classmethod
    def of(cls, problem: ValidationError, place: str) -> "Malformed":
        """`place` is where FastAPI says the value was: body, query, path."""
        errors = problem.errors(include_url=False)
        return cls([{**error, "loc": [place, *error["loc"]], "input": shown(error["input"])} for error in errors])

    @classmethod
    def single(
        cls, kind: str, place: tuple[str | int, ...], message: str, value: Any = None, **ctx: Any
    ) -> "Malformed":
        error = {"type": kind, "loc": list(place), "msg": message, "input": value}
        return cls([{**error, "ctx": ctx} if ctx else error])


def answer_malformed(problem: Malformed) -> Answer:
    # What pydantic keeps beside the message (the exception a validator raised) has no JSON form but its text.
    return Answer(422, {"detail": json.loads(json.dumps(problem.errors, default=str))})


def answer_rejected(problem: Rejected) -> Answer:
    match problem:
        case Unauthorized() | Forbidden():
            detail: Any = str(problem)
        case Conflict():
            detail = {"message": str(problem), **problem.detail}
        case Invalid():
            detail = [{"type": "value_error", "loc": list(problem.field), "msg": str(problem), "input": problem.value}]
        case _:
            reason = next((word for kind, word in REASONS.items() if isinstance(problem, kind)), "invalid_request")
            detail = {"reason": reason, "message": str(problem)}
    return Answer(problem.status, {"detail": detail})


def answer_stale(problem: Stale) -> Answer:
    """Somebody was faster, at a place where no verb had words for it."""
    return Answer(409, {"detail": {"reason": "invalid_state", "message": str(problem), "previous_state": None}})
