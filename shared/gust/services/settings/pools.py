"""Make, change and delete pools, and count their slots.

A change takes effect with its write: granting slots is conditional on the pool as read. The stream carries the write to the
slot granter, which looks again at the instances that wait for the pool.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, assert_never

from gust.errors import AlreadyExists, BadRequest, NotFound, Stale, StaleTaskInstance
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec
from gust.model.pool import DEFAULT_POOL, UNBOUNDED_DEFAULT, UNLIMITED, Pool
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.scheduling import slots, transition
from gust.services.context import Services
from gust.services.specs import NO_SPEC, load_spec

ATTEMPTS: Final = 5
THE_END_OF_TIME: Final = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class PoolUse:
    """Slots by the state of the instances that need or hold them, as Airflow counts them."""

    running: int = 0
    queued: int = 0
    scheduled: int = 0
    deferred: int = 0


def list_pools(services: Services) -> list[Pool]:
    """All pools, by name; the default pool is always among them."""
    stored = services.store.list_pools()
    if any(pool.name == DEFAULT_POOL for pool in stored):
        return stored
    return [UNBOUNDED_DEFAULT, *stored]


def get_pool(services: Services, name: str) -> Pool:
    """Raises NotFound."""
    found = services.store.get_pools([name]).get(name)
    if found is not None:
        return found
    if name == DEFAULT_POOL:
        return UNBOUNDED_DEFAULT
    raise NotFound(f"The Pool with name: `{name}` was not found")


def create_pool(services: Services, name: str, *, slots: int, description: str | None, include_deferred: bool) -> Pool:
    """Raises AlreadyExists."""
    if name == DEFAULT_POOL:
        raise AlreadyExists(f"There is a pool {name!r} already")
    made = Pool(
        name=name,
        slots=slots,
        description=description,
        include_deferred=include_deferred,
        created_at=services.clock.now(),
    )
    services.store.put_pool(None, made)
    return made


def change_pool(services: Services, name: str, **changes: object) -> Pool:
    """Write the differences. Raises NotFound, and Stale if other writers kept changing the pool.

    If the pool begins to count instances that it did not count before (the default pool gets its first size, or
    `include_deferred` changes), they are counted before and after the write: before, so that no instance gets a slot
    that is taken; after, for instances that came in between. Dying half-way leaves a pool that counts and has no limit;
    the repeated request continues from there.
    """
    for _ in range(ATTEMPTS):
        before = get_pool(services, name)
        after = replace(before, **changes)  # type: ignore[arg-type]  # a caller's fields are Pool's
        if name == DEFAULT_POOL:
            after = replace(after, is_uncounted=after.slots == UNLIMITED and not after.include_deferred)
        if after == before:
            return before
        try:
            return _put(services, before, after)
        except Stale:
            continue
    raise Stale(f"other requests kept changing the pool {name!r}")


def _put(services: Services, before: Pool, after: Pool) -> Pool:
    stored = services.store.get_pools([before.name]).get(before.name)
    if before.is_uncounted and not after.is_uncounted:
        counting = replace(before, is_uncounted=False)
        services.store.put_pool(stored, counting)
        stored = counting
    is_counted_otherwise = before.is_uncounted or before.include_deferred != after.include_deferred
    if is_counted_otherwise and not after.is_uncounted:
        count_anew(services, after)
    services.store.put_pool(stored, after)
    if is_counted_otherwise and not after.is_uncounted:
        count_anew(services, after)
    return get_pool(services, after.name)


def delete_pool(services: Services, name: str) -> None:
    """Raises NotFound, and BadRequest for the default pool. Instances that hold its slots continue to their end."""
    if name == DEFAULT_POOL:
        raise BadRequest("Default Pool can't be deleted")
    for _ in range(ATTEMPTS):
        before = get_pool(services, name)
        try:
            return services.store.put_pool(before, replace(before, is_deleted=True))
        except Stale:
            continue
    raise Stale(f"other requests kept changing the pool {name!r}")


def count_anew(services: Services, pool: Pool) -> None:
    """Have every instance in the pool hold exactly the slots that it must hold of it."""
    for run, spec, instances in unfinished_runs(services):
        tasks = {task_id: task for task_id, task in spec.tasks.items() if task.pool == pool.name}
        for instance in instances:
            if (task := tasks.get(instance.task_id)) is None:
                continue
            claims = slots.claims(run.dag_id, task, {pool.name: pool})
            if slots.recounted(instance, claims) is not instance:
                _count(services, instance, claims)


def _count(services: Services, instance: TaskInstance, claims: Collection[slots.Claim]) -> None:
    """Have the instance hold the claims, also if it moves meanwhile."""
    current: TaskInstance | None = instance
    while current is not None and slots.recounted(current, claims) is not current:
        try:
            return services.store.move(transition.recount(current, claims=tuple(claims)))
        except StaleTaskInstance:
            current = services.store.get_instance(instance.key)
    return None


def use_of_pools(services: Services) -> dict[str, PoolUse]:
    """Pool name → its use. Counted from the instances of all unfinished runs, which costs a read of each run: for the API
    only."""
    counts: dict[str, Counter[str]] = {}
    for _, spec, instances in unfinished_runs(services):
        for instance in instances:
            task = spec.tasks.get(instance.task_id)
            state = _counted_as(instance)
            if task is not None and state is not None:
                counts.setdefault(task.pool, Counter())[state] += task.pool_slots
    return {name: PoolUse(**count) for name, count in counts.items()}


def _counted_as(instance: TaskInstance) -> str | None:
    match instance.state:
        case S.RUNNING:
            return "running"
        case S.QUEUED:
            return "queued"
        case S.SCHEDULED:
            # An instance that holds its slots is on its way to the queue.
            return "queued" if instance.holds else "scheduled"
        case S.DEFERRED:
            return "deferred"
        case None | S.UP_FOR_RETRY | S.UP_FOR_RESCHEDULE | S.RESTARTING | S.AWAITING_INPUT:
            return None
        case S.SUCCESS | S.FAILED | S.SKIPPED | S.UPSTREAM_FAILED | S.REMOVED:
            return None
        case _:
            assert_never(instance.state)


def unfinished_runs(services: Services) -> Iterator[tuple[DagRun, DagSpec, Collection[TaskInstance]]]:
    """All unfinished runs, with spec and instances: each has a `due_at` (ADR 7), so the `due` index lists them all."""
    for key, _ in services.store.due_runs(THE_END_OF_TIME):
        state = services.store.load_run(key)
        if state is None or state.run.is_finished:
            continue
        try:
            spec = load_spec(services.objects, state.run.spec_key)
        except NO_SPEC:
            continue
        yield state.run, spec, state.instances.values()
