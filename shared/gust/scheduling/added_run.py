"""A run that is stored in one transaction with what made it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

from gust.model.asset import AssetEvent, AssetQueue, PendingPartition
from gust.model.dag_run import DagRun
from gust.scheduling.callback import CallbackMove


@dataclass(frozen=True, slots=True)
class _AddedRun:
    run: DagRun
    _: KW_ONLY
    callbacks: Sequence[CallbackMove] = ()
    """The run's deadlines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetRun(_AddedRun):
    """A new run of an asset-triggered DAG."""

    consuming: AssetQueue | PendingPartition
    """As the scheduler read it."""
    events: Sequence[AssetEvent]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillRun(_AddedRun):
    """A run that a backfill makes, or queues again."""

    made: int
    """How many runs of its plan the backfill has made then."""
    before: DagRun | None = None
    """The finished run that is queued again; `None`: the run is new."""
