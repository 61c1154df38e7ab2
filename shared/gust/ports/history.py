"""Runs and failed task instances in order of time."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Protocol

from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.model.window import NEWEST_FIRST, Window


class HistoryStore(Protocol):
    """Runs, and task instances that failed, in order of time across DAGs."""

    def walk_runs(
        self, dag_id: str | None = None, window: Window = NEWEST_FIRST
    ) -> Iterator[tuple[datetime, DagRunKey]]:
        """`run_after` and keys of a DAG's runs, or (`None`) of all runs, in order of (run_after, dag_id, run_id), newest
        first unless `ascending`; with a `run_after` between the moments, both included. They are read as far as they are
        asked for. Like `list_runs` it may lag by a moment."""

    def walk_failed_runs(self, window: Window = NEWEST_FIRST) -> Iterator[tuple[datetime, DagRunKey]]:
        """As `walk_runs` of all DAGs, but of runs in state `failed` alone."""

    def latest_runs(self, dag_ids: Collection[str], *, dated: bool = False) -> dict[str, tuple[datetime, DagRunKey]]:
        """`run_after` and key of each DAG's newest run, by `run_after`, if it has one; `dated`: of those with a logical
        date. May lag by a moment."""

    def walk_failed_instances(self, window: Window = NEWEST_FIRST) -> Iterator[tuple[datetime, TaskInstanceKey]]:
        """`end_date` and keys of all task instances in state `failed`, in that order, newest first unless `ascending`; not
        those that ended before `first`. Read as far as they are asked for; may lag by a moment."""
