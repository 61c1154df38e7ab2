"""One request as a handler sees it, and the JSON of answers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Final, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from gust.http.answer import Json, Problem, bad_request, moment_text, wrong_value
from gust.http.check import Query, checked, parse_json, parse_query
from gust.model.user import Session, User

ModelT = TypeVar("ModelT", bound=BaseModel)
ValueT = TypeVar("ValueT")

Whole = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]
"""Airflow's columns hold 32 bits; DynamoDB's numbers hold 38 digits."""

ALL_PAGES: Final = "~"
"""Stands for "all" where a path names a DAG, a run or a task."""


class Body(BaseModel):
    """A request's body; unknown fields are refused. Built when first used, which keeps cold starts short."""

    model_config = ConfigDict(extra="forbid", frozen=True, from_attributes=True, defer_build=True)


class UpdateMask(Query):
    """The fields that a PATCH changes. `None`: the fields of the body."""

    update_mask: list[str] | None = None


class WithoutTeam(Body):
    """A body with Airflow's `team_name`, which must be null while Airflow's teams are off; Gust has none."""

    team_name: str | None = Field(max_length=50, default=None)

    @model_validator(mode="after")
    def _check_team(self) -> Self:
        if self.team_name is not None:
            raise ValueError(
                "team_name cannot be set when multi_team mode is disabled. Please contact your administrator."
            )
        return self


def _named_moment(given: Any) -> datetime:
    try:
        found: datetime = _adapter(datetime).validate_python(given)
    except ValidationError as error:
        wrong = f"Invalid datetime: {given!r}. Please check the date parameter have this value."
        raise Problem(400, wrong) from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


NamedMoment = Annotated[datetime, BeforeValidator(_named_moment)]
"""A query parameter that Airflow parses itself: a wrong one is 400, not FastAPI's 422."""


def unique_constraint(message: str) -> Json:
    """Airflow's `detail` when the database refuses a duplicate."""
    return {
        "reason": "Unique constraint violation",
        "statement": "hidden",
        "orig_error": "hidden",
        "message": message,
    }


@dataclass(frozen=True, slots=True)
class Request:
    path: Mapping[str, str]
    """Path parameters, decoded."""
    user: User
    now: datetime
    query_string: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    """By lower-case name."""
    raw_body: str = ""
    is_text: bool = True
    """Whether the body is UTF-8. Where it is not, `raw_body` has replacement characters."""
    session: Session | None = None
    """The session of the user's token, if the request has one."""
    event: Mapping[str, Any] = field(default_factory=dict)
    """The event of the HTTP API. Only sign-in reads more of it: cookies, route."""

    def query(self, model: type[ModelT]) -> ModelT:
        """The query parameters. Problem 422 names each that is wrong."""
        return parse_query(model, self.query_string)

    def body(self, model: type[ModelT]) -> ModelT:
        """The JSON body. Problem 422 names each field that is wrong."""
        if not self.raw_body.strip():
            raise wrong_value("missing", ("body",), "Field required")
        if not self.is_json:
            # Validated as text, which every model refuses. A browser lets another site's page send text and forms without
            # a preflight request, but not JSON.
            return checked("body", self.raw_body, model.model_validate)
        if not self.is_text:
            raise bad_request("There was an error parsing the body")
        return checked("body", parse_json(self.raw_body, finite=True), model.model_validate)

    @property
    def is_json(self) -> bool:
        """Whether the content type is JSON; FastAPI parses no other body."""
        kind, _, _ = self.headers.get("content-type", "").partition(";")
        main, _, sub = kind.strip().lower().partition("/")
        return main == "application" and (sub == "json" or sub.endswith("+json"))

    def path_value(self, name: str, kind: type[ValueT]) -> ValueT:
        """The path parameter as `kind`. Problem 422 where it is not one."""
        adapter: TypeAdapter[ValueT] = _adapter(kind)  # type: ignore[arg-type] # types are hashable
        return checked("path", self.path[name], adapter.validate_python, name)

    def accepted(self, *, alternative: str) -> str:
        """`application/json` or `alternative`, as the Accept header prefers. Problem 406 if it accepts neither."""
        accept = self.headers.get("accept", "*/*")
        if accept.startswith(("*/*", "application/json")):
            return "application/json"
        if accept.startswith(alternative):
            return alternative
        raise Problem(406, f"Only application/json or {alternative} is supported")


@lru_cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


# --- JSON -------------------------------------------------------------------------------------------------------------


def encode(body: Any) -> str:
    """Compact JSON in UTF-8. Half a surrogate pair, which Lambda cannot return, is escaped; NaN and infinities, which
    only Python reads, are null."""
    try:
        text = json.dumps(body, default=_plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        return encode(_with_nulls(body))
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(body, default=_plain, separators=(",", ":"))
    return text


def _with_nulls(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {name: _with_nulls(part) for name, part in value.items()}
        case list() | tuple():
            return [_with_nulls(part) for part in value]
    return value


def wire_size(text: str) -> int:
    """Bytes of the text in a Lambda function's answer: a JSON string, with quotes escaped again."""
    return len(json.dumps(text))


def _plain(value: Any) -> str:
    """Moments as pydantic writes them; UUIDs and the like by their text."""
    if isinstance(value, datetime):
        return moment_text(value)
    return str(value)
