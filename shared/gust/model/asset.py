"""Assets, aliases and the events that tasks and people emit for them."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    name: str
    uri: str
    group: str = "asset"
    extra: dict[str, Any] = field(default_factory=dict)
    asset_id: int = 0
    created_at: datetime | None = None


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
