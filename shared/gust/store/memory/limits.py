"""Pools and other limits, in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from gust.errors import AlreadyExists, LimitReached, Stale, StaleDagRun, StaleTaskInstance
from gust.model.keys import TaskInstanceKey
from gust.model.pool import Pool, pool_of
from gust.scheduling.slots import Claim, changes_of_limits
from gust.scheduling.transition import Transition
from gust.store import fences
from gust.store.memory.state import MemoryState, atomic

if TYPE_CHECKING:
    from gust.model.dag import Dag
    from gust.model.dag_run import DagRun


class MemoryLimits(MemoryState):
    """Implements `ports.LimitStore`."""

    @atomic
    def get_dag_and_pools(self, dag_id: str, names: Collection[str]) -> tuple[Dag | None, dict[str, Pool]]:
        return self._dags.get(dag_id), self.get_pools(names)

    @atomic
    def get_pools(self, names: Collection[str]) -> dict[str, Pool]:
        found = (self._stored_pool(name) for name in sorted(names))
        return {pool.name: pool for pool in found if pool is not None and not pool.is_deleted}

    def list_pools(self) -> list[Pool]:
        existing = self.get_pools(self._pools).values()
        return sorted(existing, key=lambda pool: (pool.created_at is not None, str(pool.created_at), pool.name))

    @atomic
    def put_pool(self, before: Pool | None, after: Pool) -> None:
        stored = self._stored_pool(after.name)
        if before is None and stored is not None and not stored.is_deleted:
            raise AlreadyExists(f"There is a pool {after.name!r} already")
        if before is not None and (
            stored is None or fences.changed_by_a_person(stored) != fences.changed_by_a_person(before)
        ):
            raise Stale(f"the pool {after.name!r} has changed since it was read")
        self._pools[after.name] = replace(after, used=0)

    @atomic
    def slots_used(self, limit: str) -> int:
        return self._limits.get(limit, 0)

    @atomic
    def waiting_for(self, limit: str) -> Iterator[tuple[str, TaskInstanceKey]]:
        every = (instance for of_run in self._instances.values() for instance in of_run.values())
        return iter(sorted((i.waiting_order, i.key) for i in every if i.blocked_by_limit == limit and i.waiting_order))

    @atomic
    def grant(self, transition: Transition, *, run: tuple[DagRun, DagRun], claims: Sequence[Claim]) -> None:
        before, after = transition.before, transition.after
        current = self._instances[before.key.run].get((before.task_id, before.map_index))
        if current is None or fences.instance_fence(current) != fences.instance_fence(before):
            raise StaleTaskInstance(f"grant: {before.key} moved on", None)
        seen_run, let_go = run
        stored = self._runs.get(seen_run.key)
        seen = fences.update_fence(seen_run, let_go)
        if stored is None or any(getattr(stored, name) != value for name, value in seen.items()):
            raise StaleDagRun(f"DagRun {seen_run.run_id!r} of {seen_run.dag_id!r} moved on", None)
        if full := [claim.limit for claim in claims if not self._can_take(claim)]:
            raise LimitReached(f"{', '.join(full)} has no room for {before.key}")
        self._runs[seen_run.key] = replace(stored, admitted_dispatches=let_go.admitted_dispatches)
        changed = fences.changed_instance_fields(before, after)
        self._instances[before.key.run][before.task_id, before.map_index] = replace(current, **changed)
        self._count(transition)

    def _can_take(self, claim: Claim) -> bool:
        if (name := pool_of(claim.limit)) is not None and claim.pool is not None:
            stored = self._stored_pool(name)
            if stored is None or fences.slot_rules(stored) != fences.slot_rules(claim.pool):
                return False
        return claim.exists and claim.has_room(self._limits.get(claim.limit, 0))

    def _count(self, transition: Transition) -> None:
        for limit, change in changes_of_limits(transition.before, transition.after).items():
            self._limits[limit] = self._limits.get(limit, 0) + change

    def _stored_pool(self, name: str) -> Pool | None:
        pool = self._pools.get(name)
        return None if pool is None else replace(pool, used=self._limits.get(pool.limit, 0))
