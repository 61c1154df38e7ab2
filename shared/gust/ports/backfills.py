"""Backfills."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from gust.model.backfill import Backfill
from gust.model.dag_run import DagRun
from gust.scheduling.callback import CallbackMove


class BackfillStore(Protocol):
    """Backfills. What makes, starts and ends a run of one counts it in the same transaction."""

    def next_backfill_id(self) -> int:
        """A number that no other caller gets."""

    def create_backfill(self, backfill: Backfill, plan: Sequence[Any]) -> None:
        """Store it with its plan, a JSON document of any length. Raises AlreadyExists where the DAG has an active one, or
        the id is taken."""

    def get_backfill(self, backfill_id: int) -> Backfill | None: ...

    def backfill_plan(self, backfill_id: int) -> list[Any]: ...

    def list_backfills(self, dag_id: str) -> list[Backfill]:
        """All of a DAG, the oldest first."""

    def all_backfills(self, *, active: bool = False) -> list[Backfill]:
        """Of all DAGs, in order of their ids, which are numbers without gaps but for those of deleted DAGs; or the active
        ones alone."""

    def due_backfills(self, until: datetime) -> list[tuple[int, datetime]]:
        """Active ones whose `due_at` is at or before `until`, earliest first."""

    def update_backfill(self, before: Backfill, after: Backfill) -> None:
        """Write the fields in which `after` differs, but never the counts, if `made`, `is_paused` and `completed_at` are
        `before`'s. Raises StaleBackfill."""

    def end_backfill(self, before: Backfill, after: Backfill, *, cancels: bool = False) -> None:
        """`update_backfill`, and the DAG has no active backfill any more. Unless `cancels`, only if all its runs have
        ended. Raises StaleBackfill."""

    def add_to_backfill(
        self,
        backfill: Backfill,
        run: DagRun,
        *,
        made: int,
        before: DagRun | None = None,
        callbacks: Sequence[CallbackMove] = (),
    ) -> None:
        """Store a new run, or queue the finished run `before` again, and move `made` on, in one transaction. Raises
        StaleBackfill as `update_backfill` does, AlreadyExists as `create_run` does, StaleDagRun as `update_run` does.
        `callbacks` (deadlines) are stored with it."""

    def delete_backfills(self, dag_id: str) -> None:
        """All of the DAG with their plans, once no run of theirs is left and none is active. Again changes nothing."""
