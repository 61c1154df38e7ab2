"""Make, change and delete pools, and count what is in them.

A change takes effect with its write: who grants slots must have seen the pool as it is. The write comes out of the table's
stream, and who waits for the pool is looked at again.
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
from gust.services.specs import load_spec

ATTEMPTS: Final = 5
THE_END_OF_TIME: Final = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class PoolUse:
    """Slots by the state of who needs or has them, as Airflow counts them."""

    running: int = 0
    queued: int = 0
    scheduled: int = 0
    deferred: int = 0


def list_pools(services: Services) -> list[Pool]:
    """The default pool is always there."""
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
    """Write what differs. Raises NotFound, and Stale where others changed it all the time.

    Where the pool begins to count what it did not count before (the default pool gets its first size, `include_deferred`
    changes), what is in it is counted before and after the write: before, so that nobody is let in whom there is no room
    for; after, for whoever came in between. Dying half-way leaves a pool without a limit that counts; asked again, it
    goes on from there.
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
    raise Stale(f"the pool {name!r} was changed by others all the time")


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
    """Raises NotFound, and BadRequest for the default pool. What holds slots of it goes on to its end."""
    if name == DEFAULT_POOL:
        raise BadRequest("Default Pool can't be deleted")
    for _ in range(ATTEMPTS):
        before = get_pool(services, name)
        try:
            return services.store.put_pool(before, replace(before, is_deleted=True))
        except Stale:
            continue
    raise Stale(f"the pool {name!r} was changed by others all the time")


def count_anew(services: Services, pool: Pool) -> None:
    """Have every instance in the pool hold what it must hold of it, no more and no less."""
    for run, spec, instances in unfinished_runs(services):
        tasks = {task_id: task for task_id, task in spec.tasks.items() if task.pool == pool.name}
        for instance in instances:
            if (task := tasks.get(instance.task_id)) is None:
                continue
            claims = slots.claims(run.dag_id, task, {pool.name: pool})
            if slots.should_hold(instance, claims) is not instance:
                _count(services, instance, claims)


def _count(services: Services, instance: TaskInstance, claims: Collection[slots.Claim]) -> None:
    """Also where the instance moves on meanwhile."""
    current: TaskInstance | None = instance
    while current is not None and slots.should_hold(current, claims) is not current:
        try:
            return services.store.move(transition.hold(current, claims=tuple(claims)))
        except StaleTaskInstance:
            current = services.store.get_instance(instance.key)
    return None


def use_of_pools(services: Services) -> dict[str, PoolUse]:
    """By name. Counted from the instances of all unfinished runs: costs a read of each, and is for people who look."""
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
            # What has its slots is on its way to the queue.
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
    """Every unfinished run has a due time (ADR 7), so the index of these lists them all."""
    for key, _ in services.store.due_runs(THE_END_OF_TIME):
        state = services.store.load_run(key)
        if state is None or state.run.is_finished:
            continue
        try:
            spec = load_spec(services.objects, state.run.spec_key)
        except NotFound:
            continue
        yield state.run, spec, state.instances.values()
