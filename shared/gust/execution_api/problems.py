"""Errors as the Task SDK expects them: FastAPI's envelope, Airflow's details."""

import json
from typing import Any, Final

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
from gust.http.answer import Answer, Problem

REASONS: Final[dict[type[Rejected], str]] = {
    NotFound: "not_found",
    Gone: "not_found",
    AlreadyExists: "already_exists",
    BadRequest: "value_error",
    NotSupportedYet: "not_supported_yet",
}
"""Airflow's reasons, and `not_supported_yet`."""


def answer_problem(problem: Problem) -> Answer:
    # pydantic's `ctx` may hold values without a JSON form; their text is sent.
    return Answer(problem.status, json.loads(json.dumps({"detail": problem.detail}, default=str)))


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
    """409: another writer moved the item first, and the verb raised no error of its own."""
    return Answer(409, {"detail": {"reason": "invalid_state", "message": str(problem), "previous_state": None}})
