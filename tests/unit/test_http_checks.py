"""Requests are refused in FastAPI's form, by both APIs alike."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gust.http.answer import Problem
from gust.http.check import Query, parse_json, parse_query


class Wanted(Query):
    key: str
    names: list[str] | None = None


def refused(call: Any) -> Any:
    with pytest.raises(Problem) as problem:
        call()
    assert problem.value.status == 422
    return problem.value.detail


def test_the_last_of_a_repeated_parameter_counts_and_a_list_keeps_all() -> None:
    assert parse_query(Wanted, "key=a&key=b&names=c&names=d&other=1") == Wanted(key="b", names=["c", "d"])


def test_a_missing_parameter_has_no_input() -> None:
    [error] = refused(lambda: parse_query(Wanted, "names=c"))
    assert error == {"type": "missing", "loc": ["query", "key"], "msg": "Field required", "input": None}


@pytest.mark.parametrize(
    ("text", "kind", "loc"),
    [
        ("{", "json_invalid", ["body", 1]),
        ("9" * 5000, "json_invalid", ["body", 0]),
        (b'{"a": "\xff"}', "json_invalid", ["body", 0]),
        ('{"a": ["\\ud800"]}', "string_unicode", ["body", "a", 0]),
        ('{"a": NaN}', "finite_number", ["body", "a"]),
    ],
)
def test_a_body_that_is_no_json_is_refused_with_its_place(text: str | bytes, kind: str, loc: list[object]) -> None:
    [error] = refused(lambda: parse_json(text, finite=True))
    assert (error["type"], error["loc"]) == (kind, loc)


def test_a_worker_may_send_nan() -> None:
    assert math.isnan(parse_json("NaN", finite=False))
