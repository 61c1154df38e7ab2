"""The memory store's fields, and copies of values as DynamoDB would return them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from functools import cache, wraps
from operator import attrgetter
from threading import RLock
from typing import Any, Concatenate, Final, NamedTuple, ParamSpec, TypeVar

from gust.errors import Invalid
from gust.model.asset import Asset, AssetAlias, AssetEvent, AssetKey, AssetQueue, AssetReference, PendingPartition
from gust.model.awaited import Wait
from gust.model.backfill import Backfill
from gust.model.bundle import Bundle, DagWarning, DeploymentTurn, ImportProblem, SourceFile
from gust.model.callback import Callback
from gust.model.connection_test import ConnectionTest
from gust.model.dag import Dag, DagVersion
from gust.model.dag_run import DagRun
from gust.model.event_rule import EventFile
from gust.model.hitl import HITLDetail
from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.model.logged_event import LoggedEvent
from gust.model.pool import Pool
from gust.model.state_entry import StateEntry
from gust.model.task_instance import TaskInstance
from gust.model.watcher import Watcher
from gust.model.worker_group import WorkerGroup
from gust.model.xcom import XCom
from gust.ports.clock import Clock, SystemClock
from gust.ports.metrics import Metrics, NoMetrics
from gust.store.items import Attribute, Item
from gust.store.keyspace import Key

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound="MemoryState")

ReferenceKey = tuple[str, str, str, str, str, str]


class StoredSetting(NamedTuple):
    document: str
    """JSON."""
    expires_at: datetime | None
    made_at: datetime


class MemoryState:
    """The stored rows, a field for each kind; each part of `MemoryStore` reads and writes its own."""

    def __init__(self, *, clock: Clock | None = None, metrics: Metrics | None = None) -> None:
        self._clock: Clock = clock or SystemClock()
        self._metrics: Metrics = metrics or NoMetrics()
        self._lock = RLock()

        self._runs: dict[DagRunKey, DagRun] = {}
        self._logical_dates: dict[tuple[str, datetime], str] = {}
        self._callbacks: dict[tuple[DagRunKey, str], Callback] = {}
        self._instances: dict[DagRunKey, dict[tuple[str, int], TaskInstance]] = defaultdict(dict)
        self._tries: dict[TaskInstanceKey, dict[int, TaskInstance]] = defaultdict(dict)
        self._rendered_fields: dict[TaskInstanceKey, tuple[int, str]] = {}
        self._xcoms: dict[tuple[TaskInstanceKey, str], tuple[XCom, str]] = {}
        self._hitl_details: dict[TaskInstanceKey, dict[int, HITLDetail]] = {}
        self._task_states: dict[TaskInstanceKey, dict[str, StateEntry]] = {}

        self._dags: dict[str, Dag] = {}
        self._versions: dict[tuple[str, int], DagVersion] = {}
        self._source_files: dict[str, SourceFile] = {}
        self._import_problems: dict[str, ImportProblem] = {}
        self._warnings: dict[tuple[str, str], DagWarning] = {}
        self._bundle: Bundle | None = None
        self._turn: DeploymentTurn | None = None
        self._alive: dict[str, datetime] = {}

        self._last_backfill_id = 0
        self._backfills: dict[int, Backfill] = {}
        self._plans: dict[int, str] = {}
        self._active_backfills: dict[str, int] = {}

        self._assets: dict[tuple[str, str], Asset] = {}
        self._asset_states: dict[AssetKey, dict[str, StateEntry]] = {}
        self._aliases: dict[str, AssetAlias] = {}
        self._of_alias: dict[str, set[AssetKey]] = defaultdict(set)
        self._reports: set[str] = set()
        self._asset_events: dict[str, AssetEvent] = {}
        self._references: dict[ReferenceKey, AssetReference] = {}
        self._queues: dict[str, AssetQueue] = {}
        self._partitions: dict[tuple[str, str], PendingPartition] = {}
        self._consumed: dict[DagRunKey, list[AssetEvent]] = {}
        self._consumers: dict[str, set[DagRunKey]] = defaultdict(set)
        self._watchers: dict[str, Watcher] = {}
        self._watched_sources: set[str] = set()
        self._event_files: dict[str, EventFile] = {}
        self._waits: dict[Key, Wait] = {}
        self._worker_groups: dict[str, WorkerGroup] = {}

        self._limits: dict[str, int] = {}
        self._pools: dict[str, Pool] = {}
        """`used` is in `_limits`."""
        self._settings: dict[tuple[str, str], StoredSetting] = {}
        self._connection_tests: dict[str, ConnectionTest] = {}
        self._active_connection_tests: dict[str, str] = {}
        self._logged_events: dict[int, LoggedEvent] = {}


def atomic(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """The method runs under the store's lock, as one transaction."""

    @wraps(method)
    def locked(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self._lock:
            return method(self, *args, **kwargs)

    return locked


LARGEST_ITEM: Final = 400 * 1024


def check_fits(item: Item) -> None:
    """Raises Invalid as DynamoDB would: the twin must refuse the same values."""
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
        case _:
            return 21


def as_stored(value: T) -> T:
    """A model's value as DynamoDB would give it back: documents are new objects, moments are UTC."""
    model: Any = type(value)
    names, read = _fields_of(model)
    parts = dict(zip(names, read(value), strict=True))
    for name, part in parts.items():
        kind: Any = type(part)
        if kind in _PLAIN:
            continue
        if isinstance(part, datetime):
            parts[name] = part.astimezone(UTC)
        elif _is_document(kind):
            parts[name] = _new_document(part)
    stored: T = model(**parts)
    return stored


_PLAIN: Final = frozenset({str, int, float, bool, type(None)})
"""The types of most fields, and of most values of documents. Each load of a run asks for every field of every instance."""


@cache
def _fields_of(model: type[Any]) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
    """The names of a model's fields, and a function that returns all their values."""
    names = tuple(field.name for field in fields(model))
    read = attrgetter(*names)
    return names, read if len(names) > 1 else lambda value: (read(value),)


@cache
def _is_document(kind: type[Any]) -> bool:
    return issubclass(kind, Mapping)


def _new_document(document: Mapping[Any, Any]) -> Any:
    """A copy after a way through JSON: tuples are lists then, and keys texts. Flat documents, which are most, would be
    the same."""
    if type(document) is dict and all(type(key) is str and type(part) in _PLAIN for key, part in document.items()):
        return document.copy()
    return json.loads(json.dumps(document))


def as_stored_or_none(found: T | None) -> T | None:
    return None if found is None else as_stored(found)


def holds(expected: Mapping[str, Any], stored: object) -> bool:
    """Whether the fields of `stored` have the expected values."""
    return all(getattr(stored, name) == value for name, value in expected.items())
