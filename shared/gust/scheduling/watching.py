"""A watcher's life: one constructor per edge. Pure.

A watcher is sent, claimed by who runs it, and parked, which is the next life's sending. Of two messages of one life one is
run; one that got lost is missed when the watcher's `due_at` has passed.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from gust.model.watcher import Watcher

LEASE: Final = timedelta(seconds=45)
"""A triggerer claims the life that it runs again every 20 seconds: one whose claim is older runs nowhere. Shorter than the
message stays hidden after such a sign: the triggerer that gets it next may run the life."""

LATE: Final = timedelta(seconds=120)
"""A message that comes so much after its time must be lost."""

LONGEST_DELAY: Final = timedelta(seconds=900)
"""Of a message. Who sleeps longer is parked once more."""


def send(before: Watcher, *, now: datetime, wake_at: datetime | None = None) -> Watcher:
    """any → sent: the next life, which begins at `wake_at`."""
    comes_at = min(max(wake_at or now, now), now + LONGEST_DELAY)
    return replace(
        before,
        life=before.life + 1,
        claimed_by=None,
        claimed_at=None,
        wake_at=comes_at,
        due_at=comes_at + LATE,
    )


def claim(before: Watcher, *, by: str, now: datetime) -> Watcher:
    """sent | claimed by the same, or by a triggerer that is dead → claimed."""
    return replace(before, claimed_by=by, claimed_at=now, due_at=now + LEASE + LATE)


def rest(before: Watcher) -> Watcher:
    """any → at rest. No DAG that is active wants it; what is under way is stale."""
    return replace(before, life=before.life + 1, claimed_by=None, claimed_at=None, wake_at=None, due_at=None)


def may_claim(watcher: Watcher, *, life: int, by: str, now: datetime) -> bool:
    if watcher.life != life or watcher.due_at is None:
        return False
    return watcher.claimed_at is None or watcher.claimed_by == by or watcher.claimed_at + LEASE <= now


def is_lost(watcher: Watcher, now: datetime) -> bool:
    """Nobody runs it and no message is on its way."""
    if watcher.claimed_at is not None:
        return watcher.claimed_at + LEASE <= now
    return watcher.wake_at is None or watcher.wake_at + LATE <= now
