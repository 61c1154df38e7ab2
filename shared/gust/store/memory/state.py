"""What the parts of the twin in memory share: one lock, what they ask of each other, and copies as DynamoDB gives them."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from threading import RLock
from typing import Any, Final, TypeVar

from gust.errors import Invalid
from gust.model.dag_run import DagRun
from gust.model.keys import DagRunKey
from gust.model.run_state import RunState
from gust.scheduling.callback import CallbackMove
from gust.store.items import Attribute, Item

T = TypeVar("T")


class MemoryPart(ABC):
    """A part of `memory.MemoryStore`, which keeps the runs and so answers for these."""

    _lock: RLock

    @abstractmethod
    def due_backfills(self, until: datetime) -> list[tuple[int, datetime]]: ...

    @abstractmethod
    def create_run(self, run: DagRun, *, callbacks: Sequence[CallbackMove] = ()) -> None: ...

    @abstractmethod
    def load_run(self, key: DagRunKey) -> RunState | None: ...

    @abstractmethod
    def _check_is_new(self, run: DagRun) -> None: ...

    @abstractmethod
    def _check_run(self, before: DagRun) -> None: ...

    @abstractmethod
    def _count_run(self, before: DagRun | None, after: DagRun | None) -> None: ...

    @abstractmethod
    def _keep_run(self, run: DagRun) -> None: ...

    @abstractmethod
    def _change_run(self, before: DagRun, after: DagRun) -> None: ...


LARGEST_ITEM: Final = 400 * 1024


def check_fits(item: Item) -> None:
    """Raises Invalid where DynamoDB would: no twin of it keeps what it refuses."""
    if sum(len(name) + _size(attribute) for name, attribute in item.items()) > LARGEST_ITEM:
        raise Invalid("It is too large to be stored: DynamoDB takes 400 KB with all that belongs to it")


def _size(attribute: Attribute) -> int:
    match attribute:
        case {"S": str(text)}:
            return len(text.encode())
        case {"SS": texts}:
            return sum(len(text.encode()) for text in texts)
        case {"L": parts}:
            return 3 + sum(_size(part) + 1 for part in parts)
        case {"M": parts}:
            return 3 + sum(len(name) + _size(part) + 1 for name, part in parts.items())
    return 21


def as_stored(value: T) -> T:
    """A model's value as DynamoDB would give it back: documents are new objects, moments are UTC."""
    model: Any = value
    copied: dict[str, Any] = {}
    for field in fields(model):
        match getattr(model, field.name):
            case Mapping() as document:
                copied[field.name] = json.loads(json.dumps(document))
            case datetime() as moment:
                copied[field.name] = moment.astimezone(UTC)
    copy: T = replace(model, **copied)
    return copy
