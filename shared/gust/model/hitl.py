"""A task's question to people, and their answer. Airflow's words: human in the loop (HITL)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gust.model.keys import TaskInstanceKey


@dataclass(frozen=True, slots=True, kw_only=True)
class HITLAnswer:
    chosen_options: list[str]
    params_input: dict[str, Any] = field(default_factory=dict)
    responded_at: datetime
    """UTC."""
    responded_by: dict[str, str] | None = None
    """`{"id": …, "name": …}`; `None`: the time was up, and the defaults apply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HITLDetail:
    """The question of one try. A later try that asks again repeats it word for word, as Airflow does."""

    key: TaskInstanceKey
    try_number: int
    options: list[str]
    subject: str
    body: str | None = None
    defaults: list[str] | None = None
    multiple: bool = False
    params: dict[str, Any] = field(default_factory=dict)
    """By name: a serialized Param (`value`, `description`, `schema`), or a bare default."""
    assigned_users: list[dict[str, str]] = field(default_factory=list)
    """`{"id": …, "name": …}`; empty: every user may answer."""
    created_at: datetime
    """When the question was asked first. UTC."""
    answer: HITLAnswer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedQuestion:
    """The parts of a question that its instance carries, so that the scheduler can time it out without reading it."""

    try_number: int
    """Of the detail."""
    defaults: tuple[str, ...] | None = None
    params_input: dict[str, Any] = field(default_factory=dict)
    """The defaults of the params."""


@dataclass(frozen=True, slots=True)
class HITLMove:
    """The part of an instance's move that concerns its question, written or checked in the same transaction. The move fails
    if the question has an answer already."""

    try_number: int
    answer: HITLAnswer | None = None
    """`None`: only checked."""


def parked(detail: HITLDetail) -> ParkedQuestion:
    return ParkedQuestion(
        try_number=detail.try_number,
        defaults=None if detail.defaults is None else tuple(detail.defaults),
        params_input={name: _value_of(param) for name, param in detail.params.items()},
    )


def _value_of(param: Any) -> Any:
    return param["value"] if isinstance(param, dict) and "value" in param else param
