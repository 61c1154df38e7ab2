"""Backfills, in memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from gust.errors import AlreadyExists, StaleBackfill
from gust.model.backfill import Backfill
from gust.scheduling.added_run import BackfillRun
from gust.store.fences import backfill_fence, changed_backfill_fields
from gust.store.memory.runs import MemoryRuns
from gust.store.memory.state import as_stored, atomic


class MemoryBackfills(MemoryRuns):
    """Implements `ports.BackfillStore`."""

    @atomic
    def next_backfill_id(self) -> int:
        self._last_backfill_id += 1
        return self._last_backfill_id

    @atomic
    def create_backfill(self, backfill: Backfill, plan: Sequence[Any]) -> None:
        if backfill.dag_id in self._active_backfills:
            raise AlreadyExists(f"There is already a running backfill for dag {backfill.dag_id}")
        if backfill.backfill_id in self._backfills:
            raise AlreadyExists(f"There is a backfill {backfill.backfill_id} already")
        self._active_backfills[backfill.dag_id] = backfill.backfill_id
        self._backfills[backfill.backfill_id] = as_stored(backfill)
        self._plans[backfill.backfill_id] = json.dumps(list(plan))

    @atomic
    def get_backfill(self, backfill_id: int) -> Backfill | None:
        found = self._backfills.get(backfill_id)
        return None if found is None else as_stored(found)

    @atomic
    def backfill_plan(self, backfill_id: int) -> list[Any]:
        return list(json.loads(self._plans.get(backfill_id, "[]")))

    @atomic
    def list_backfills(self, dag_id: str) -> list[Backfill]:
        return [as_stored(found) for _, found in sorted(self._backfills.items()) if found.dag_id == dag_id]

    @atomic
    def all_backfills(self, *, active: bool = False) -> list[Backfill]:
        found = [backfill for _, backfill in sorted(self._backfills.items())]
        ids = set(self._active_backfills.values())
        return [as_stored(backfill) for backfill in found if not active or backfill.backfill_id in ids]

    @atomic
    def due_backfills(self, until: datetime) -> list[tuple[int, datetime]]:
        due = [(b.backfill_id, b.due_at) for b in self._backfills.values() if b.due_at and b.due_at <= until]
        return sorted(due, key=lambda found: (found[1], found[0]))

    @atomic
    def update_backfill(self, before: Backfill, after: Backfill) -> None:
        self._check_backfill(before)
        self._change_backfill(before, after)

    @atomic
    def end_backfill(self, before: Backfill, after: Backfill, *, cancels: bool = False) -> None:
        current = self._check_backfill(before)
        if (current.unfinished_runs and not cancels) or before.dag_id not in self._active_backfills:
            raise StaleBackfill(f"backfill {before.backfill_id} moved on")
        self._change_backfill(before, after)
        del self._active_backfills[before.dag_id]

    @atomic
    def add_to_backfill(self, backfill: Backfill, added: BackfillRun) -> None:
        before, run = added.before, added.run
        self._check_backfill(backfill)
        if before is None:
            self._check_is_new(run)
        else:
            self._check_run(before)
        self._count_run(before, run)
        self._change_backfill(backfill, replace(backfill, made=added.made))
        if before is None:
            self._keep_run(run)
        else:
            self._change_run(before, run)
        self._write_callbacks(added.callbacks)

    @atomic
    def delete_backfills(self, dag_id: str) -> None:
        for backfill_id in [b.backfill_id for b in self._backfills.values() if b.dag_id == dag_id]:
            del self._backfills[backfill_id], self._plans[backfill_id]
        self._active_backfills.pop(dag_id, None)

    def _check_backfill(self, before: Backfill) -> Backfill:
        current = self._backfills.get(before.backfill_id)
        if current is None or backfill_fence(before) != backfill_fence(current):
            raise StaleBackfill(f"backfill {before.backfill_id} moved on")
        return current

    def _change_backfill(self, before: Backfill, after: Backfill) -> None:
        current = self._backfills[before.backfill_id]
        self._backfills[before.backfill_id] = as_stored(replace(current, **changed_backfill_fields(before, after)))
