"""Answers, and the problems that become one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """Anything but a plain 200 with JSON."""

    status: int = 200
    body: Any = None
    """Encoded as JSON unless `content_type` says otherwise; then text. Not sent with status 204, nor in answer to
    HEAD."""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


NO_CONTENT: Final = Answer(204)


class Problem(Exception):
    """An answer with a status of 4xx or 5xx and Airflow's `detail`: a sentence, an object, or FastAPI's list."""

    def __init__(self, status: int, detail: str | Json | list[Json], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


def bad_request(message: str) -> Problem:
    return Problem(400, message)


def not_found(message: str) -> Problem:
    return Problem(404, message)


def wrong_value(kind: str, place: tuple[str | int, ...], message: str, value: Any = None, **ctx: Any) -> Problem:
    """Problem 422 for one value, in FastAPI's form: `place` begins with `body`, `query`, `path` or `header`."""
    error = {"type": kind, "loc": list(place), "msg": message, "input": value}
    return Problem(422, [{**error, "ctx": ctx} if ctx else error])


def moment_text(moment: datetime) -> str:
    """ISO 8601 in UTC, as pydantic writes it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
