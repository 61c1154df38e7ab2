"""A watcher's life: one constructor per edge. Pure.

The scheduler sends a watcher, a triggerer claims it, and parking it sends its next life. Of two messages of one life only
one is run; a lost one is noticed when the watcher's `due_at` has passed.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from gust.model.watcher import Watcher

LEASE: Final = timedelta(seconds=45)
"""A triggerer renews its claim every 20 seconds: a life with an older claim runs nowhere. Shorter than the renewal hides the
message, so that the next triggerer to receive it may run the life."""

LATE: Final = timedelta(seconds=120)
"""A message so long overdue is lost."""

LONGEST_DELAY: Final = timedelta(seconds=900)
"""Of a message. A watcher that sleeps longer is parked again."""


def send(
    before: Watcher, *, now: datetime, wake_at: datetime | None = None, looked_at: datetime | None = None
) -> Watcher:
    """any → sent: the next life, which begins at `wake_at`. `looked_at`: what came earlier the life before has seen. A
    watcher that was at rest watches from now on; a life that is lost, or has not looked at everything, changes nothing."""
    since = now if before.wake_at is None else before.looked_at
    comes_at = min(max(wake_at or now, now), now + LONGEST_DELAY)
    return replace(
        before,
        life=before.life + 1,
        claimed_by=None,
        claimed_at=None,
        wake_at=comes_at,
        due_at=comes_at + LATE,
        looked_at=looked_at or since,
    )


def claim(before: Watcher, *, by: str, now: datetime) -> Watcher:
    """sent | claimed by the same or by a dead triggerer → claimed."""
    return replace(before, claimed_by=by, claimed_at=now, due_at=now + LEASE + LATE)


def rest(before: Watcher) -> Watcher:
    """any → at rest. No active DAG wants it; every message under way is stale."""
    return replace(
        before, life=before.life + 1, claimed_by=None, claimed_at=None, wake_at=None, due_at=None, looked_at=None
    )


def may_claim(watcher: Watcher, *, life: int, by: str, now: datetime) -> bool:
    if watcher.life != life or watcher.due_at is None:
        return False
    return watcher.claimed_at is None or watcher.claimed_by == by or watcher.claimed_at + LEASE <= now


def is_lost(watcher: Watcher, now: datetime) -> bool:
    """Whether no triggerer runs it and no message is on its way."""
    if watcher.claimed_at is not None:
        return watcher.claimed_at + LEASE <= now
    return watcher.wake_at is None or watcher.wake_at + LATE <= now
