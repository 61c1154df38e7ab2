"""Pools and other limits across runs: how many slots they have and how many are held.

A limit has one name. Its item, its line in the `waiting` index and the instance's `holds` all use it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

DEFAULT_POOL: Final = "default_pool"
UNLIMITED: Final = -1
"""As `slots`: no limit. Airflow's API uses the same number."""

RUN_LIMIT: Final = "run"
"""Where an instance waits that only its own run keeps back: for `max_active_tasks`, say."""

_POOL: Final = "pool:"
_TASK: Final = "task:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A pool, and how many of its slots are held. A deleted pool's item stays while instances hold slots of it: if an API
    user makes the pool again, they count."""

    name: str
    slots: int
    description: str | None = None
    include_deferred: bool = False
    created_at: datetime | None = None
    used: int = 0
    """Changed only in the transaction that moves an instance which claims slots or gives them back."""
    is_uncounted: bool = False
    """The default pool before an API user gives it a size: its slots are not counted; counting costs each task a write."""
    is_deleted: bool = False

    @property
    def limit(self) -> str:
        return of_pool(self.name)

    @property
    def open(self) -> int | None:
        """Free slots; `None`: no limit. Negative after an API user made the pool smaller than its held slots."""
        return None if self.slots == UNLIMITED else self.slots - self.used


UNBOUNDED_DEFAULT: Final = Pool(name=DEFAULT_POOL, slots=UNLIMITED, description="Default pool", is_uncounted=True)
"""The default pool before an API user gives it a size."""


def of_pool(name: str) -> str:
    return f"{_POOL}{name}"


def of_task(dag_id: str, task_id: str) -> str:
    """The limit that `max_active_tis_per_dag` sets: neither id may hold a slash."""
    return f"{_TASK}{dag_id}/{task_id}"


def pool_of(limit: str) -> str | None:
    """The name of the pool; `None` for a limit of another kind."""
    return limit.removeprefix(_POOL) if limit.startswith(_POOL) else None
