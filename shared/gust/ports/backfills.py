"""Backfills."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from gust.model.backfill import Backfill
from gust.scheduling.added_run import BackfillRun


class BackfillStore(Protocol):
    """Backfills. Each write that creates, starts or ends a run of a backfill counts it there in the same transaction."""

    def next_backfill_id(self) -> int:
        """A number that no other call returns."""

    def create_backfill(self, backfill: Backfill, plan: Sequence[Any]) -> None:
        """Store the backfill and its plan, a JSON document of any length. Raises AlreadyExists if the DAG has an active
        backfill or the id is taken."""

    def get_backfill(self, backfill_id: int) -> Backfill | None:
        """`None` if there is no such backfill."""

    def backfill_plan(self, backfill_id: int) -> list[Any]:
        """The plan that `create_backfill` stored; empty if there is no such backfill."""

    def list_backfills(self, dag_id: str) -> list[Backfill]:
        """The DAG's backfills, oldest first."""

    def all_backfills(self, *, active: bool = False) -> list[Backfill]:
        """Backfills of all DAGs, or the `active` ones, in order of their ids."""

    def due_backfills(self, until: datetime) -> list[tuple[int, datetime]]:
        """Ids and due times of active backfills whose `due_at` is at or before `until`, earliest first. May lag by a
        moment."""

    def update_backfill(self, before: Backfill, after: Backfill) -> None:
        """Write the fields in which `after` differs, never the counts. Raises StaleBackfill if the stored `made`,
        `is_paused` or `completed_at` are not `before`'s."""

    def end_backfill(self, before: Backfill, after: Backfill, *, cancels: bool = False) -> None:
        """`update_backfill`, and free the DAG for another active backfill. Raises StaleBackfill; also if runs of it have not
        ended, unless `cancels`."""

    def add_to_backfill(self, backfill: Backfill, added: BackfillRun) -> None:
        """Store the new run with its deadlines, or queue the finished one again, and set the backfill's `made`, in one
        transaction. Raises StaleBackfill as `update_backfill` does, AlreadyExists as `create_run` does, StaleDagRun as
        `update_run` does."""

    def delete_backfills(self, dag_id: str) -> None:
        """Delete the DAG's backfills and their plans. The caller first ends them and deletes their runs. Repeating it
        changes nothing."""
