"""The memory store returns what DynamoDB would: values whose documents went through JSON and whose moments are UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any

import pytest

from gust.store.memory.state import as_stored


@dataclass(frozen=True, slots=True)
class Kept:
    document: Mapping[Any, Any]
    at: datetime | None = None
    name: str = "kept"
    tags: tuple[str, ...] = ("a",)


@dataclass(frozen=True, slots=True)
class Single:
    document: Mapping[Any, Any]


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ({}, {}),
        ({"a": 1, "b": None, "c": 1.5, "d": True}, {"a": 1, "b": None, "c": 1.5, "d": True}),
        ({"pair": (1, 2)}, {"pair": [1, 2]}),
        ({7: "seven"}, {"7": "seven"}),
        ({"deep": {"pair": (1, 2)}}, {"deep": {"pair": [1, 2]}}),
    ],
)
def test_documents_go_through_json(given: dict[Any, Any], stored: dict[str, Any]) -> None:
    assert as_stored(Kept(given)).document == stored
    assert as_stored(Single(given)).document == stored


@pytest.mark.parametrize("given", [{}, {"a": 1}, {"deep": {"a": 1}}])
def test_a_later_change_of_a_document_does_not_reach_what_is_stored(given: dict[str, Any]) -> None:
    stored = as_stored(Kept(given))
    before = dict(stored.document)

    given["b"] = 2
    given.setdefault("deep", {})["b"] = 2

    assert stored.document == before
    assert stored.document.get("deep", {}).keys() <= {"a"}


def test_what_json_cannot_say_is_refused() -> None:
    with pytest.raises(TypeError):
        as_stored(Kept({"what": object()}))
    with pytest.raises(TypeError):
        as_stored(Kept(MappingProxyType({"a": 1})))


def test_moments_are_utc_and_the_rest_stays() -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    stored = as_stored(Kept({}, at=noon))

    assert stored == Kept({}, at=noon)
    assert stored.at is not None
    assert stored.at.tzinfo is UTC
