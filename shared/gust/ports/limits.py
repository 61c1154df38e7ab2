"""Pools and other limits."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

from gust.model.dag import Dag
from gust.model.dag_run import DagRun
from gust.model.keys import TaskInstanceKey
from gust.model.pool import Pool
from gust.scheduling.slots import Claim
from gust.scheduling.transition import Transition


class LimitStore(Protocol):
    """Pools, how many slots of each limit are held, and the instances that wait for slots."""

    def get_dag_and_pools(self, dag_id: str, names: Collection[str]) -> tuple[Dag | None, dict[str, Pool]]:
        """One call. Pools that do not exist are not among them, nor is a default pool that nobody has changed."""

    def get_pools(self, names: Collection[str]) -> dict[str, Pool]: ...

    def list_pools(self) -> list[Pool]:
        """Those that exist, in the order in which they were made; the default pool only if somebody has changed it."""

    def put_pool(self, before: Pool | None, after: Pool) -> None:
        """Make a pool, or write what a person may change of it: `used` stays what it is. Deleted is made anew, and what
        is still held of it counts. Raises AlreadyExists where there is one and `before` is None, Stale where `before`
        is not what is stored."""

    def slots_used(self, limit: str) -> int: ...

    def waiting_for(self, limit: str) -> Iterator[tuple[str, TaskInstanceKey]]:
        """Instances that wait for the limit with their `waiting_order`, in that order; read as far as they are asked for.
        May lag by a moment."""

    def grant(self, transition: Transition, *, run: tuple[DagRun, DagRun], claims: Sequence[Claim]) -> None:
        """Let an instance go that waits for slots: the move, the slots it takes of every limit it has a claim to, and its
        place in the run, `(before, after)`, of which only `admitted_dispatches` is written, in one transaction. Raises
        StaleTaskInstance where the instance moved, StaleDagRun where the run does not run or others were let go since it
        was read, LimitReached where a limit has no room or a pool is not what the claim saw."""
