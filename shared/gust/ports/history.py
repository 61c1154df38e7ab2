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
<<<<<<< HEAD
        """`run_after` and key of each run of the DAG, or of all DAGs, whose `run_after` lies in the window; in order of
        (run_after, dag_id, run_id)."""

    def walk_failed_runs(self, window: Window = NEWEST_FIRST) -> Iterator[tuple[datetime, DagRunKey]]:
        """`walk_runs` over all DAGs, restricted to runs in state `failed`."""

    def latest_runs(self, dag_ids: Collection[str], *, dated: bool = False) -> dict[str, tuple[datetime, DagRunKey]]:
        """dag_id → `run_after` and key of the DAG's newest run by `run_after`. A DAG without runs is left out. `dated`
        counts only runs with a logical date. May lag by a moment."""

    def walk_failed_instances(self, window: Window = NEWEST_FIRST) -> Iterator[tuple[datetime, TaskInstanceKey]]:
        """`end_date` and key of each task instance in state `failed` whose `end_date` lies in the window, in that order."""
=======
        """`run_after` and keys of a DAG's runs, or (`None`) of all runs, in order of (run_after, dag_id, run_id), in
        the window's direction; with a `run_after` in the window, both ends included. A lazy walk; like `list_runs` it
        may lag by a moment."""

    def walk_failed_runs(self, window: Window = NEWEST_FIRST) -> Iterator[tuple[datetime, DagRunKey]]:
        """As `walk_runs` of all DAGs, but only runs in state `failed`."""

    def latest_runs(self, dag_ids: Collection[str], *, dated: bool = False) -> dict[str, tuple[datetime, DagRunKey]]:
        """`run_after` and key of each DAG's newest run, by `run_after`, if it has one; `dated`: only runs with a logical
        date count. May lag by a moment."""

    def walk_failed_instances(self, window: Window = NEWEST_FIRST) -> Iterator[tuple[datetime, TaskInstanceKey]]:
        """`end_date` and keys of all task instances in state `failed` with an `end_date` in the window, in the window's
        direction. A lazy walk; may lag by a moment."""
>>>>>>> w-words
