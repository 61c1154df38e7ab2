"""Runs and failed task instances in order of time."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Protocol

from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.model.window import NEWEST_FIRST, Window


class HistoryStore(Protocol):
    """Runs, and failed task instances, in order of time across DAGs. Each walk reads as far as the caller iterates and may
    lag by a moment."""

    def walk_runs(
        self, dag_id: str | None = None, window: Window = NEWEST_FIRST
    ) -> Iterator[tuple[datetime, DagRunKey]]:
        """`run_after` and key of each run of the DAG, or of all DAGs, whose `run_after` lies in the window; in order of
        (run_after, dag_id, run_id)."""

    def walk_failed_runs(self, window: Window = NEWEST_FIRST) -> Iterator[tuple[datetime, DagRunKey]]:
        """`walk_runs` over all DAGs, restricted to runs in state `failed`."""

    def latest_runs(self, dag_ids: Collection[str], *, dated: bool = False) -> dict[str, tuple[datetime, DagRunKey]]:
        """dag_id → `run_after` and key of the DAG's newest run by `run_after`. A DAG without runs is left out. `dated`
        counts only runs with a logical date. May lag by a moment."""

    def walk_failed_instances(self, window: Window = NEWEST_FIRST) -> Iterator[tuple[datetime, TaskInstanceKey]]:
        """`end_date` and key of each task instance in state `failed` whose `end_date` lies in the window, in that order."""
