"""Assets, aliases, the DAGs and tasks that name them, and the events that tasks and API users emit for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, Literal, NamedTuple
from uuid import UUID


class AssetKey(NamedTuple):
    """The identity of an asset. Names and URIs are each unique among active assets, not among all."""

    name: str
    uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _OfAsset:
    """Names an asset by its two fields, as an item does."""

    name: str
    uri: str

    @property
    def asset(self) -> AssetKey:
        return AssetKey(self.name, self.uri)


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
class AssetEvent(_OfAsset):
    """One update of an asset. `event_id` is derived from its source, so that reporting twice stores once."""

    event_id: str
    timestamp: datetime
    group: str = "asset"
    extra: dict[str, Any] = field(default_factory=dict)
    source_dag_id: str | None = None
    source_run_id: str | None = None
    source_task_id: str | None = None
    source_map_index: int = -1
    source_aliases: tuple[str, ...] = ()
    partition_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetReference(_OfAsset):
    """A DAG's schedule, or a task's inlet or outlet, names an asset. `what` says by which of name and URI it does."""

    use: Literal["schedule", "inlet", "outlet"]
    what: Literal["asset", "alias", "name_ref", "uri_ref"]
    dag_id: str
    name: str = ""
    uri: str = ""
    task_id: str = ""
    """Empty for a schedule."""
    created_at: datetime | None = None


# --- events that wait for a DAG ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetQueue:
    """The asset events of one DAG since its last asset-triggered run: Airflow's AssetDagRunQueue.

    A run consumes the events after `consumed_until`, up to the latest one stored. The store accepts no event of these
    assets with a moment that a run has closed, so no event is consumed twice or passed over. Of more events than one run can
    hold, the first ones are closed as a part, which a run of its own takes; what is queued stays for the rest.
    """

    dag_id: str
    queued: dict[AssetKey, datetime] = field(default_factory=dict)
    """The first event of each asset since then."""
    consumed_until: datetime | None = None
    """`run_after` of the last run that assets made, or the end of a part; `None` before the first."""
    part_from: datetime | None = None
    """The events after this moment and up to `consumed_until` are a part for which no run is made yet."""
    last_run_id: str | None = None
    arrivals: int = 0
    """Grows with every report and with every run; making a run is conditional on the current value."""
    due_at: datetime | None = None
    """When the tick looks at it, in case the stream's record of an event was lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingPartition:
    """A partition of a DAG that has not run yet, and the events that count for it: Airflow's AssetPartitionDagRun."""

    dag_id: str
    partition_key: str
    fingerprint: str
    """Hash of the DAG's partition mappers when the first of the events arrived."""
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


# --- the DAGs an event goes to ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ToQueue:
    """An event for a DAG. `queues=False`: the DAG's next run consumes it, but it makes no run."""

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
    """An event and the DAGs and partitions it goes to."""

    event: AssetEvent
    deliveries: tuple[Delivery, ...] = ()


def number_of(*names: str) -> int:
    """A stand-in for Airflow's numeric id of an asset or alias: 48 bits of a hash, which JavaScript reads exactly."""
    return int.from_bytes(sha256("\x1f".join(names).encode()).digest()[:6], "big")


def number_of_event(event_id: str) -> int:
    """The first 53 bits of an event's id."""
    return UUID(event_id).int >> 75
