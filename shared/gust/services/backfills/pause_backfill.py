"""Pause, unpause and cancel a backfill."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final

from gust.errors import Conflict, NotFound, StaleBackfill
from gust.model.backfill import Backfill
from gust.services.backfills.advance_backfill import advance_backfill
from gust.services.context import Services

NOT_FOUND: Final = "Backfill not found"
LOOKED_AFTER_WITHIN: Final = timedelta(seconds=60)


def pause_backfill(services: Services, backfill_id: int, is_paused: bool) -> Backfill:
    """Have its queued runs start, or not. Either way its runs are made, and its running ones continue. Repeating it changes
    nothing. Raises NotFound, and Conflict if the backfill has ended."""

    def set_paused(before: Backfill) -> Backfill:
        if before.is_paused == is_paused:
            return before
        after = replace(before, is_paused=is_paused, updated_at=services.clock.now())
        services.store.update_backfill(before, after)
        return after

    backfill = _change(services, backfill_id, set_paused)
    if not is_paused:
        advance_backfill(services, backfill_id)
    return backfill


def cancel_backfill(services: Services, backfill_id: int) -> Backfill:
    """End it: no further run is made or started, and its queued runs fail. Its running ones continue to their end.

    The first write is enough: if the request dies after it, the tick has the other queued runs ended. The backfill stays
    paused, as in Airflow. Raises NotFound, and Conflict if the backfill has ended."""
    now = services.clock.now()

    def end(before: Backfill) -> Backfill:
        due_at = now + LOOKED_AFTER_WITHIN
        after = replace(before, is_paused=True, completed_at=now, updated_at=now, due_at=due_at)
        services.store.end_backfill(before, after, cancels=True)
        return after

    cancelled = _change(services, backfill_id, end)
    advance_backfill(services, backfill_id)
    return cancelled


def _change(services: Services, backfill_id: int, to: Callable[[Backfill], Backfill]) -> Backfill:
    while True:
        before = services.store.get_backfill(backfill_id)
        if before is None:
            raise NotFound(NOT_FOUND)
        if not before.is_active:
            raise Conflict("Backfill is already completed.")
        try:
            return to(before)
        except StaleBackfill:
            continue
