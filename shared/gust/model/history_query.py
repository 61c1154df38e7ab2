"""What a list of asset events, logged events or questions asks the store for."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Final

from gust.model.asset import AssetKey
from gust.model.window import OLDEST_FIRST, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetEventSource:
    """What events come from: an asset's name, its URI and an alias, where given."""

    name: str | None = None
    uri: str | None = None
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class AssetEventQuery:
    """Events of the asset, or of all assets, whose timestamp lies in the window."""

    asset: AssetKey | None = None
    window: Window = OLDEST_FIRST
    _: KW_ONLY
    source_dag_id: str | None = None
    """Keeps events that tasks of this DAG emitted."""


@dataclass(frozen=True, slots=True)
class _OfDag:
    """Those of the DAG, or of all, whose moment lies in the window."""

    dag_id: str | None = None
    window: Window = OLDEST_FIRST


@dataclass(frozen=True, slots=True)
class LoggedEventQuery(_OfDag):
    _: KW_ONLY
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class HITLQuery(_OfDag):
    """The last question of each instance; its moment is `created_at`."""

    _: KW_ONLY
    answered: bool | None = None
    """Keeps answered or unanswered ones."""


ANY_SOURCE: Final = AssetEventSource()
ALL_ASSET_EVENTS: Final = AssetEventQuery()
ALL_EVENTS: Final = LoggedEventQuery()
ALL_QUESTIONS: Final = HITLQuery()
