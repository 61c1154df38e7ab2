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

DagAndPools = tuple[Dag | None, dict[str, Pool]]


class LimitStore(Protocol):
    """Pools, how many slots of each limit are held, and the instances that wait for slots."""

    def get_dag_and_pools(self, dag_id: str, names: Collection[str]) -> DagAndPools:
        """The DAG and, by name, the pools that exist, in one call. The default pool exists once an API user has changed
        it."""

    def get_pools(self, names: Collection[str]) -> dict[str, Pool]:
        """The pools that exist, by name."""

    def list_pools(self) -> list[Pool]:
        """The pools that exist, oldest first. The default pool exists once an API user has changed it."""

    def put_pool(self, before: Pool | None, after: Pool) -> None:
        """Create the pool, or write the fields that an API user can change; `used` keeps its stored value. Creating a
        deleted pool again keeps counting the slots that are still held. Raises AlreadyExists if `before` is `None` and the
        pool exists, Stale if the stored pool is not `before`."""

    def slots_used(self, limit: str) -> int:
        """Number of slots of the limit that instances hold."""

    def waiting_for(self, limit: str) -> Iterator[tuple[str, TaskInstanceKey]]:
        """`waiting_order` and key of each instance that waits for the limit, in that order. Reads as far as the caller
        iterates. May lag by a moment."""

    def grant(self, transition: Transition, *, run: tuple[DagRun, DagRun], claims: Sequence[Claim]) -> None:
        """Let a waiting instance go. In one transaction, write the transition, take the slots of every claim, and add the
        instance to the run's `admitted_dispatches`; `run=(before, after)`, of which no other field is written. Raises
        StaleTaskInstance if the instance moved; StaleDagRun if the run is not running or admitted others since it was read;
        LimitReached if a limit has no free slot or a pool is not what the claim saw."""
