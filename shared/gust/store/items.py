"""Model values as DynamoDB items and back.

A field becomes an attribute of the same name by its annotation: text and states S, numbers N, flags BOOL, moments S
(`keyspace.moment`), tuples of text L, dataclasses M, documents (dicts) S holding JSON. A field that has its default is
left out, and a missing attribute reads as the default: items stay small and old items gain new fields. A default
must therefore never change.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from types import UnionType
from typing import Any, Final, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

from gust.errors import Invalid
from gust.model.asset import Asset, AssetAlias, AssetEvent
from gust.model.awaited import Wait
from gust.model.backfill import Backfill
from gust.model.bundle import Bundle, DagWarning, DeploymentTurn, ImportProblem, SourceFile
from gust.model.callback import Callback
from gust.model.connection_test import ConnectionTest
from gust.model.dag import Dag, DagVersion
from gust.model.dag_run import DagRun
from gust.model.event_rule import EventFile
from gust.model.logged_event import LoggedEvent
from gust.model.pool import Pool
from gust.model.task_instance import TaskInstance
from gust.model.watcher import Watcher
from gust.model.worker_group import WorkerGroup
from gust.store import keyspace

Attribute = dict[str, Any]
"""DynamoDB's typed value, e.g. `{"S": "running"}`."""
Item = dict[str, Attribute]

LARGEST_DOCUMENT: Final = 300_000
"""Bytes of JSON that one field may take; an item holds 400 KB."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Kind:
    """How to write and read values of one annotation."""

    write: Callable[[Any], Attribute]
    read: Callable[[Attribute], Any]


class Codec(Generic[T]):
    """Writes and reads one dataclass, except the fields in `keyed`, which are in the item's key."""

    def __init__(self, model: type[T], *, keyed: frozenset[str] = frozenset()) -> None:
        self._model = model
        hints = get_type_hints(model)
        stored = [field for field in fields(model) if field.name not in keyed]  # type: ignore[arg-type]  # a dataclass
        self._kinds = {field.name: _kind(field.name, hints[field.name]) for field in stored}
        self._defaults = {
            field.name: field.default_factory() if field.default_factory is not MISSING else field.default
            for field in stored
        }
        self._absent = {
            field.name: None
            for field in stored
            if self._defaults[field.name] is MISSING and type(None) in _options(hints[field.name])
        }
        """Required fields that may be None, which has no attribute."""

    def item(self, value: T) -> Item:
        return {
            name: attribute
            for name in self._kinds
            if (attribute := self.attribute(name, getattr(value, name))) is not None
        }

    def attribute(self, name: str, value: Any) -> Attribute | None:
        """`None`: the attribute is absent."""
        return None if value == self._defaults[name] or value is None else self._kinds[name].write(value)

    def attributes(self, changes: Mapping[str, Any]) -> dict[str, Attribute | None]:
        return {name: self.attribute(name, value) for name, value in changes.items()}

    def read(self, item: Item, **keyed: Any) -> T:
        stored = {name: kind.read(item[name]) for name, kind in self._kinds.items() if name in item}
        return self._model(**self._absent | stored, **keyed)

    def holds(self, changes: Mapping[str, Any], item: Item | None) -> bool:
        """Whether the stored item has these values."""
        return item is not None and all(item.get(n) == attribute for n, attribute in self.attributes(changes).items())


def text(value: str) -> Attribute:
    return {"S": value}


def number(value: float) -> Attribute:
    return {"N": repr(value)}


def moment(value: datetime) -> Attribute:
    return {"S": keyspace.moment(value)}


def to_json(value: Any) -> str:
    """Compact JSON, text unescaped: DynamoDB bills bytes. Half a surrogate pair, which UTF-8 cannot hold, is escaped."""
    written = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    try:
        written.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"))
    return written


def document(field: str, value: Any) -> Attribute:
    """Raises Invalid if it is larger than an item should hold."""
    written = to_json(value)
    if len(written.encode()) > LARGEST_DOCUMENT:
        raise Invalid(f"{field} is larger than {LARGEST_DOCUMENT // 1000} KB of JSON", field=(field,))
    return {"S": written}


_NUMBERS: Final = (int, float)


def _kind(field: str, annotation: Any) -> _Kind:
    options = {option for option in _options(annotation) if option is not type(None)}
    if dict in {get_origin(option) or option for option in options}:
        return _Kind(partial(document, field), lambda found: json.loads(found["S"]))
    (option,) = options
    if get_origin(option) is tuple:
        return _Kind(lambda value: {"L": [text(x) for x in value]}, lambda found: tuple(x["S"] for x in found["L"]))
    if option is bool:
        return _Kind(lambda value: {"BOOL": value}, lambda found: found["BOOL"])
    if option in _NUMBERS:
        return _Kind(number, lambda found: option(found["N"]))
    if option is datetime:
        return _Kind(moment, lambda found: keyspace.moment_from(found["S"]))
    if issubclass(option, StrEnum):
        return _Kind(lambda value: text(str(value)), lambda found: option(found["S"]))
    if option is str:
        return _Kind(text, lambda found: found["S"])
    if isinstance(option, type) and is_dataclass(option):
        codec: Codec[Any] = Codec(option)
        return _Kind(lambda value: {"M": codec.item(value)}, lambda found: codec.read(found["M"]))
    raise TypeError(f"{field}: no item attribute is defined for {annotation}")


def _options(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


# --- one codec per model ----------------------------------------------------------------------------------------------

_IN_RUN = frozenset({"dag_id", "run_id"})
_IN_INSTANCE = _IN_RUN | {"task_id", "map_index"}
_PUSHES = frozenset({"xcom_lengths", "pushed_keys"})

DAG_RUN: Final = Codec(DagRun, keyed=_IN_RUN)
BACKFILL: Final = Codec(Backfill, keyed=frozenset({"backfill_id"}))
EVENT_FILE: Final = Codec(EventFile, keyed=frozenset({"filename"}))
WAIT: Final = Codec(Wait, keyed=frozenset({"resource"}))
WATCHER: Final = Codec(Watcher, keyed=frozenset({"watcher_id"}))
WORKER_GROUP: Final = Codec(WorkerGroup, keyed=frozenset({"name"}))
CALLBACK: Final = Codec(Callback, keyed=_IN_RUN | {"callback_id"})
CONNECTION_TEST: Final = Codec(ConnectionTest, keyed=frozenset({"test_id"}))
DAG: Final = Codec(Dag, keyed=frozenset({"dag_id"}))
DAG_VERSION: Final = Codec(DagVersion, keyed=frozenset({"dag_id", "version_number"}))
SOURCE_FILE: Final = Codec(SourceFile)
IMPORT_PROBLEM: Final = Codec(ImportProblem)
DAG_WARNING: Final = Codec(DagWarning)
BUNDLE: Final = Codec(Bundle)
DEPLOYMENT_TURN: Final = Codec(DeploymentTurn)
LOGGED_EVENT: Final = Codec(LoggedEvent)
POOL: Final = Codec(Pool, keyed=frozenset({"name"}))
ASSET: Final = Codec(Asset)
ASSET_EVENT: Final = Codec(AssetEvent)
ASSET_ALIAS: Final = Codec(AssetAlias)


class InstanceCodec(Codec[TaskInstance]):
    """Task instances. `xcom_lengths` is spread over attributes `xcom_length.<name>` and `pushed_keys` is a set (SS), so
    that each push is one write, independent of the others."""

    def __init__(self) -> None:
        super().__init__(TaskInstance, keyed=_IN_INSTANCE | _PUSHES)

    def item(self, value: TaskInstance) -> Item:
        pushes = {name: attribute for name, attribute in _pushes(value).items() if attribute is not None}
        return super().item(value) | pushes

    def changes(self, before: TaskInstance, changed: Mapping[str, Any]) -> dict[str, Attribute | None]:
        """Attributes to write (or, `None`, to remove) so that the fields get the values in `changed`."""
        attributes = self.attributes({name: value for name, value in changed.items() if name not in _PUSHES})
        if "xcom_lengths" in changed:
            attributes |= {length_of(name): None for name in before.xcom_lengths}
            attributes |= {length_of(name): number(length) for name, length in changed["xcom_lengths"].items()}
        if "pushed_keys" in changed:
            attributes["pushed_keys"] = _set(changed["pushed_keys"])
        return attributes

    def read(self, item: Item, **keyed: Any) -> TaskInstance:
        return super().read(
            item,
            xcom_lengths={
                name.removeprefix(_LENGTH): int(value["N"]) for name, value in item.items() if name.startswith(_LENGTH)
            },
            pushed_keys=tuple(sorted(item["pushed_keys"]["SS"])) if "pushed_keys" in item else (),
            **keyed,
        )


_LENGTH: Final = "xcom_length."


def length_of(name: str) -> str:
    """The attribute with the length of the XCom `name`."""
    return f"{_LENGTH}{name}"


def _pushes(instance: TaskInstance) -> dict[str, Attribute | None]:
    lengths: dict[str, Attribute | None] = {length_of(name): number(n) for name, n in instance.xcom_lengths.items()}
    return lengths | {"pushed_keys": _set(instance.pushed_keys)}


def _set(values: tuple[str, ...]) -> Attribute | None:
    return {"SS": sorted(set(values))} if values else None


TASK_INSTANCE: Final = InstanceCodec()
