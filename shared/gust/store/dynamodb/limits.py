"""Pools, and how many slots of each limit are held."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain, repeat
from typing import Any, Final

from gust.errors import AlreadyExists, LimitReached, Stale, StaleDagRun, StaleTaskInstance
from gust.model.dag import Dag
from gust.model.dag_run import DagRun
from gust.model.keys import TaskInstanceKey
from gust.model.pool import Pool, of_pool
from gust.model.state import TaskInstanceState
from gust.model.task_instance import TaskInstance
from gust.ports.limits import DagAndPools
from gust.scheduling.slots import Claim, changes_of_limits
from gust.scheduling.transition import Transition
from gust.store import fences, items, keyspace
from gust.store.dynamodb.dags import read_dag
from gust.store.items import Attribute, Item
from gust.store.keyspace import Key
from gust.store.table import ConditionFailed, Delete, Expression, Put, Table, Update, key_of

GIVEN_BACK: Final = "give_back"
CHANGED: Final = "change"
_TAKEN: Final = "take"
"""The last thing that happened to a limit, in `edge`: the stream's filter lets the first two through (ADR 4)."""

_AT_A_TIME: Final = (10, 50, 100)


class DynamoDBLimits:
    """Implements `ports.LimitStore`."""

    _table: Table

    def get_dag_and_pools(self, dag_id: str, names: Collection[str]) -> tuple[Dag | None, dict[str, Pool]]:
        return dag_and_pools(dag_id, names, self._table.get_all(places_of_dag(dag_id, names)))

    def get_pools(self, names: Collection[str]) -> dict[str, Pool]:
        return _pools(names, self._table.get_all([keyspace.limit(of_pool(name)) for name in names]))

    def list_pools(self) -> list[Pool]:
        names = [keyspace.unescape(key_of(item).sk) for item in self._table.query(keyspace.POOLS)]
        return in_order(self.get_pools(names))

    def put_pool(self, before: Pool | None, after: Pool) -> None:
        where, name = keyspace.limit(after.limit), keyspace.pool_name(after.name)
        current = self._table.get(where)
        stored = None if current is None else items.POOL.read(current, name=after.name)
        if before is None and stored is not None and not stored.is_deleted:
            raise AlreadyExists(f"There is a pool {after.name!r} already")
        expected = stored if before is None else before
        expression = Expression()
        if expected is None:
            expression.is_new()
        else:
            expression.exists().still(items.POOL.attributes(fences.changed_by_a_person(expected)))
        changes: dict[str, Any] = items.POOL.attributes(fences.changed_by_a_person(after)) | {"edge": {"S": CHANGED}}
        listed = Delete(name) if after.is_deleted else Put(name, {})
        try:
            self._table.transact(Update(where, expression.change(changes)), listed)
        except ConditionFailed as failed:
            raise Stale(f"the pool {after.name!r} has changed since it was read") from failed

    def slots_used(self, limit: str) -> int:
        item = self._table.get(keyspace.limit(limit))
        return 0 if item is None or "used" not in item else int(item["used"]["N"])

    def waiting_for(self, limit: str) -> Iterator[tuple[str, TaskInstanceKey]]:
        pages = chain(_AT_A_TIME, repeat(_AT_A_TIME[-1]))
        for item in self._table.query_index(keyspace.INDEX_WAITING, limit, pages=pages):
            if (key := keyspace.instance_key(key_of(item))) is not None:
                yield item["waiting_order"]["S"], key

    def grant(self, transition: Transition, *, run: tuple[DagRun, DagRun], claims: Sequence[Claim]) -> None:
        before, let_go = run
        seen = items.DAG_RUN.attributes(fences.update_fence(before, let_go))
        of_run = (
            Expression()
            .exists()
            .still(seen)
            .change(items.DAG_RUN.attributes({"admitted_dispatches": let_go.admitted_dispatches}))
        )
        try:
            self._table.transact(
                instance_update(transition),
                Update(keyspace.run(before.key), of_run),
                *(Update(keyspace.limit(claim.limit), _take(claim)) for claim in claims),
            )
        except ConditionFailed as failed:
            if failed.failed(0):
                raise StaleTaskInstance(f"grant: {transition.before.key} moved on", None) from failed
            if failed.failed(1):
                raise StaleDagRun(f"DagRun {before.run_id!r} of {before.dag_id!r} moved on", None) from failed
            full = ", ".join(claim.limit for n, claim in enumerate(claims, 2) if failed.failed(n))
            raise LimitReached(f"{full} has no room for {transition.before.key}") from failed


def places_of_dag(dag_id: str, pools: Collection[str]) -> list[Key]:
    return [keyspace.dag(dag_id), *(keyspace.limit(of_pool(name)) for name in pools)]


def dag_and_pools(dag_id: str, names: Collection[str], found: Mapping[Key, Item]) -> DagAndPools:
    """Of the items at `places_of_dag`, as far as they exist."""
    of_dag = found.get(keyspace.dag(dag_id))
    return None if of_dag is None else read_dag(of_dag), _pools(names, found)


def _pools(names: Collection[str], found: Mapping[Key, Item]) -> dict[str, Pool]:
    places = {name: keyspace.limit(of_pool(name)) for name in names}
    return _existing({name: items.POOL.read(found[key], name=name) for name, key in places.items() if key in found})


def instance_update(
    transition: Transition, fence: Callable[[TaskInstance], fences.Changes] = fences.instance_fence
) -> Update:
    """The move of the instance alone."""
    before, after = transition.before, transition.after
    changes = items.TASK_INSTANCE.changes(before, fences.changed_instance_fields(before, after))
    seen = items.TASK_INSTANCE.attributes(fence(before))
    # The edge is only for the stream's filter: it tells which writes wake the scheduler (ADR 4).
    edge: dict[str, Attribute | None] = {"edge": {"S": transition.edge}}
    was, becomes = listing_of_failure(before), listing_of_failure(after)
    listed = {name: becomes.get(name) for name in was | becomes} if was != becomes else {}
    return Update(keyspace.instance(before.key), Expression().still(seen).change(changes | edge | listed))


def failure_listed_at(instance: TaskInstance) -> datetime | None:
    """The instance's keys in the index of failures."""
    return instance.end_date if instance.state is TaskInstanceState.FAILED else None


def listing_of_failure(instance: TaskInstance) -> dict[str, Attribute | None]:
    """The attributes of its place in the index of failures; empty if it has not failed."""
    if (at := failure_listed_at(instance)) is None:
        return {}
    return {"recent_pk": items.text(keyspace.FAILURES.of_day(keyspace.day(at))), "recent_sk": items.moment(at)}


def limit_updates(transition: Transition) -> list[Update]:
    """The writes of the slots that the move gives back, and of those that it takes whether there is room or not."""
    return [
        Update(
            keyspace.limit(limit),
            Expression()
            .add("used", items.number(change))
            .change({"edge": {"S": GIVEN_BACK if change < 0 else _TAKEN}}),
        )
        for limit, change in changes_of_limits(transition.before, transition.after).items()
    ]


def _take(claim: Claim) -> Expression:
    expression = Expression().add("used", items.number(claim.slots)).change({"edge": {"S": _TAKEN}})
    if claim.pool is not None:
        expression.exists().still(items.POOL.attributes(fences.slot_rules(claim.pool)))
    return expression.at_most("used", claim.maximum - claim.slots) if claim.is_bounded else expression


def _existing(pools: dict[str, Pool]) -> dict[str, Pool]:
    return {name: pool for name, pool in pools.items() if not pool.is_deleted}


def in_order(pools: Mapping[str, Pool]) -> list[Pool]:
    """The pools in the order of their making; the default pool first, which always existed."""
    return sorted(pools.values(), key=lambda pool: (pool.created_at is not None, str(pool.created_at), pool.name))
