"""Checks of a request's query and body, with the errors of FastAPI in Airflow's APIs."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, get_args, get_origin
from urllib.parse import parse_qs

from pydantic import BaseModel, ConfigDict, ValidationError

from gust.http.answer import Json, Problem, wrong_value
from gust.model.json_text import half_character, shown, without_number

ModelT = TypeVar("ModelT", bound=BaseModel)
ValueT = TypeVar("ValueT")


class Query(BaseModel):
    """A request's query parameters: unknown ones are ignored, a field that is a list may repeat. Built when first used:
    a cold start must not wait for it."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)


def parse_query(model: type[ModelT], query_string: str) -> ModelT:
    """The query parameters; the last value counts of one that repeats and is no list. Problem 422 names each wrong one."""
    given, lists = parse_qs(query_string, keep_blank_values=True), _lists(model)
    values = {name: given[name] if name in lists else given[name][-1] for name in model.model_fields if name in given}
    return checked("query", values, model.model_validate)


@cache
def _lists(model: type[BaseModel]) -> frozenset[str]:
    def is_list(annotation: Any) -> bool:
        return get_origin(annotation) is list or any(get_origin(part) is list for part in get_args(annotation))

    return frozenset(name for name, info in model.model_fields.items() if is_list(info.annotation))


def parse_json(text: str | bytes, *, finite: bool) -> Any:
    """The JSON value of a body. `finite`: without NaN and infinities. Problem 422."""
    try:
        given = json.loads(text)
    except ValueError as error:
        at, what = getattr(error, "pos", 0), getattr(error, "msg", str(error))
        raise wrong_value("json_invalid", ("body", at), "JSON decode error", {}, error=what) from error
    if found := half_character(text, given):
        where, half = found
        message = "Input should be a valid string, unable to parse raw data as a unicode string"
        raise wrong_value("string_unicode", ("body", *where), message, shown(half))
    if finite and (place := without_number(given)) is not None:
        raise wrong_value("finite_number", ("body", *place), "Input should be a finite number")
    return given


def checked(place: str, given: Any, validate: Callable[[Any], ValueT], *where: str) -> ValueT:
    """Returns `validate(given)`. Problem 422 if pydantic refuses the value."""
    try:
        return validate(given)
    except ValidationError as error:
        raise invalid(place, error, *where) from error


def invalid(place: str, error: ValidationError, *where: str) -> Problem:
    """Problem 422 of pydantic's errors; `place` is `body`, `query` or `path`."""
    return Problem(422, [_fastapi_form(place, where, one) for one in error.errors(include_url=False)])


def _fastapi_form(place: str, where: tuple[str, ...], error: Any) -> Json:
    shaped: Json = {
        "type": error["type"],
        "loc": [place, *where, *error["loc"]],
        "msg": error["msg"],
        # FastAPI shows no input for a missing parameter, and for a missing field the object that lacks it.
        "input": None if place == "query" and error["type"] == "missing" else shown(error["input"]),
    }
    if "ctx" in error:
        # An exception has no JSON form; FastAPI shows an empty object for it.
        shaped["ctx"] = {key: {} if isinstance(value, Exception) else value for key, value in error["ctx"].items()}
    return shaped
