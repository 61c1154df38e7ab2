"""A trigger that watches assets: Airflow's asset watchers. Assets that name the same trigger share it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple, Self
from uuid import UUID, uuid5

from gust.model.asset import AssetKey
from gust.model.watched_stream import StreamReader

WATCHER_NAMESPACE: Final = UUID("7b6f0f6e-3c1b-5a52-9a8b-0d3f6f3a9c11")


class Want(NamedTuple):
    """A DAG whose schedule names an asset with this watcher."""

    dag_id: str
    asset_name: str
    asset_uri: str
    watcher_name: str

    @property
    def asset(self) -> AssetKey:
        return AssetKey(self.asset_name, self.asset_uri)

    @classmethod
    def read(cls, written: str) -> Self:
        return cls(*json.loads(written))

    def written(self) -> str:
        return json.dumps(list(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """A life lasts from one park to the next; each life has one message. Moments are UTC."""

    watcher_id: str
    """Follows from class and arguments, as in Airflow: two assets that name the same trigger share it."""
    classpath: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    """As Airflow serializes them."""
    wanted_by: tuple[str, ...] = ()
    """`Want`s, written and in order; of DAGs that have a file, paused or not."""
    bundle_version: str | None = None
    """The bundle with the DAG folder's own triggers."""
    created_at: datetime | None = None
    queue: str | None = None
    """The SQS queue that it reads, if Lambda can read it instead; see `watched_queue.queue_of`."""
    stream: StreamReader | None = None
    """The Kinesis stream that it reads, if Lambda can read it instead."""
    life: int = 0
    """Number of the current life, that of the last message. Reports of an earlier life are refused."""
    claimed_by: str | None = None
    """Name of the triggerer that runs this life."""
    claimed_at: datetime | None = None
    wake_at: datetime | None = None
    """When SQS delivers this life's message."""
    due_at: datetime | None = None
    """When the tick checks whether this life is lost; `None`: no DAG wants the watcher."""
    looked_at: datetime | None = None
    """All that came before this moment it has seen, or need not see because no DAG wanted it. Known where the stream has a
    clock (Kinesis); of others it is when the first life was sent."""

    @property
    def wants(self) -> tuple[Want, ...]:
        return tuple(map(Want.read, self.wanted_by))


def watcher_uuid(classpath: str, kwargs: dict[str, Any]) -> str:
    return str(uuid5(WATCHER_NAMESPACE, json.dumps([classpath, kwargs], sort_keys=True)))
