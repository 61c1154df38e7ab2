"""Assets, aliases, who uses them, and the events that tasks and people emit for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, Literal, NamedTuple
from uuid import UUID


class AssetKey(NamedTuple):
    """What tells one asset from another. Names and URIs are each unique among active assets, not among all."""

    name: str
    uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    name: str
    uri: str
    group: str = "asset"
    extra: dict[str, Any] = field(default_factory=dict)
    asset_id: int = 0
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def key(self) -> AssetKey:
        return AssetKey(self.name, self.uri)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetAlias:
    name: str
    group: str = "asset"


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetEvent:
    """One update of an asset. `event_id` is derived from its source, so that reporting twice stores once."""

    event_id: str
    name: str
    uri: str
    timestamp: datetime
    group: str = "asset"
    extra: dict[str, Any] = field(default_factory=dict)
    source_dag_id: str | None = None
    source_run_id: str | None = None
    source_task_id: str | None = None
    source_map_index: int = -1
    source_aliases: tuple[str, ...] = ()
    partition_key: str | None = None

    @property
    def asset(self) -> AssetKey:
        return AssetKey(self.name, self.uri)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetReference:
    """A DAG's schedule, or a task's inlet or outlet, names an asset. `what` says by which of name and URI it does."""

    use: Literal["schedule", "inlet", "outlet"]
    what: Literal["asset", "alias", "name_ref", "uri_ref"]
    dag_id: str
    name: str = ""
    uri: str = ""
    task_id: str = ""
    """Empty for a schedule."""
    created_at: datetime | None = None

    @property
    def asset(self) -> AssetKey:
        return AssetKey(self.name, self.uri)


# --- what waits for a DAG ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetQueue:
    """What has happened to the assets of one DAG since it last ran because of them: Airflow's AssetDagRunQueue.

    A run consumes the events after `consumed_until`, up to the latest that has come. No event of these assets is
    stored with a moment that a run has closed, so none is consumed twice and none is passed over.
    """

    dag_id: str
    queued: dict[AssetKey, datetime] = field(default_factory=dict)
    """The first event of each asset since then."""
    consumed_until: datetime | None = None
    """`run_after` of the last run that assets made; `None` before the first."""
    last_run_id: str | None = None
    arrivals: int = 0
    """Grows with every report and with every run; a run is made only by who has seen them all."""
    due_at: datetime | None = None
    """When it is looked at should no word of an event come through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingPartition:
    """A partition of a DAG that has not run yet, and the events that count for it: Airflow's AssetPartitionDagRun."""

    dag_id: str
    partition_key: str
    fingerprint: str
    """What the DAG's partition mappers were when the first of the events came."""
    created_at: datetime
    partition_date: datetime | None = None
    received: tuple[PartitionEvent, ...] = ()
    arrivals: int = 0
    due_at: datetime | None = None


class PartitionEvent(NamedTuple):
    name: str
    uri: str
    source_key: str
    """The event's own partition key, which a mapper turned into the pending partition's."""
    timestamp: datetime
    event_id: str

    @property
    def asset(self) -> AssetKey:
        return AssetKey(self.name, self.uri)


# --- where an event goes ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ToQueue:
    """An event for a DAG. `queues=False`: the DAG takes it along with its next run, but does not run for it."""

    dag_id: str
    queues: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ToPartition:
    """An event for one partition of a DAG."""

    dag_id: str
    partition_key: str
    source_key: str
    fingerprint: str
    partition_date: datetime | None = None


Delivery = ToQueue | ToPartition


@dataclass(frozen=True, slots=True)
class AssetUpdate:
    """An event and where it goes."""

    event: AssetEvent
    deliveries: tuple[Delivery, ...] = ()


def number_of(*names: str) -> int:
    """Airflow numbers assets and aliases; ours have names, whose hash makes a number that JSON and JavaScript keep."""
    return int.from_bytes(sha256("\x1f".join(names).encode()).digest()[:6], "big")


def number_of_event(event_id: str) -> int:
    """The first 53 bits of an event's id."""
    return UUID(event_id).int >> 75
