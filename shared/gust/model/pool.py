"""Pools and other limits that cross runs: how many slots there are, and who stands where for them.

A limit has a name of its own, which its item, the index of those who wait for it and what an instance holds all use.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

DEFAULT_POOL: Final = "default_pool"
UNLIMITED: Final = -1
"""As `slots`: as many as one likes. What Airflow's API says too."""

THE_RUN: Final = "run"
"""Where an instance waits that only its own run keeps back: for `max_active_tasks`, say."""

_POOL: Final = "pool:"
_TASK: Final = "task:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A pool, and how many of its slots are held. A deleted one stays behind while instances hold slots of it: should it be
    made again, they count."""

    name: str
    slots: int
    description: str | None = None
    include_deferred: bool = False
    created_at: datetime | None = None
    used: int = 0
    """Changed with the transition of who takes slots or gives them back, and by nothing else."""
    is_uncounted: bool = False
    """The default pool while nobody has given it a size: nobody takes slots of it, which would cost every task a write."""
    is_deleted: bool = False

    @property
    def limit(self) -> str:
        return of_pool(self.name)

    @property
    def open(self) -> int | None:
        """Slots that nobody holds; `None`: without end. Below zero where the pool was made smaller."""
        return None if self.slots == UNLIMITED else self.slots - self.used


UNBOUNDED_DEFAULT: Final = Pool(name=DEFAULT_POOL, slots=UNLIMITED, description="Default pool", is_uncounted=True)
"""The default pool as it is before anybody gave it a size."""


def of_pool(name: str) -> str:
    return f"{_POOL}{name}"


def of_task(dag_id: str, task_id: str) -> str:
    """The limit that `max_active_tis_per_dag` sets: neither id may hold a slash."""
    return f"{_TASK}{dag_id}/{task_id}"


def pool_of(limit: str) -> str | None:
    """The name of the pool; `None` for a limit of another kind."""
    return limit.removeprefix(_POOL) if limit.startswith(_POOL) else None
