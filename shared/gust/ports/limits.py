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
        """One call. Missing pools are left out, also a default pool that no API user has changed."""

    def get_pools(self, names: Collection[str]) -> dict[str, Pool]: ...

    def list_pools(self) -> list[Pool]:
        """The stored pools, in the order of their making; the default pool only if an API user has changed it."""

    def put_pool(self, before: Pool | None, after: Pool) -> None:
        """Make a pool, or write the fields that a person may change: `used` stays as it is. A deleted pool is made anew, and
        its held slots count. Raises AlreadyExists if there is one and `before` is None, Stale if the stored one differs from
        `before`."""

    def slots_used(self, limit: str) -> int: ...

    def waiting_for(self, limit: str) -> Iterator[tuple[str, TaskInstanceKey]]:
        """`waiting_order` and key of the instances that wait for the limit, in that order: a lazy walk. May lag by a
        moment."""

    def grant(self, transition: Transition, *, run: tuple[DagRun, DagRun], claims: Sequence[Claim]) -> None:
        """Let a waiting instance go: the move, its slots of every limit it has a claim to, and its place in the run,
        `(before, after)`, of which only `admitted_dispatches` is written, in one transaction. Raises StaleTaskInstance
        if the instance moved, StaleDagRun if the run does not run or has admitted others since it was read,
        LimitReached if a limit has no room or a pool has changed since the claim was made."""
