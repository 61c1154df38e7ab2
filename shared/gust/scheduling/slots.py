"""Limits on how many instances are active at once: pools, the limits of tasks, the limits of a run.

An instance whose upstreams let it run becomes `scheduled`, as in Airflow, whether or not there is room for it. Without room
it waits, and `blocked_by_limit` says for what: for its run (`RUN_LIMIT`), or for a limit across runs, in whose index it then
stands in Airflow's order. It may be sent once `blocked_by_limit` is `None` (it then holds its slots), or once the run's
`admitted_dispatches` names it. Rules: `_executable_task_instances_to_queued`, `ConcurrencyMap`, `EXECUTION_STATES` and
`ACTIVE_STATES` of Airflow 3.3.2.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, assert_never

from gust.model.bounds import LONGEST_KEY
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec, TaskSpec
from gust.model.keys import UNMAPPED
from gust.model.pool import DEFAULT_POOL, RUN_LIMIT, UNBOUNDED_DEFAULT, UNLIMITED, Pool, of_pool, of_task, pool_of
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance

Pools = Mapping[str, Pool]
"""By name. A pool that is missing does not exist, except the default pool: then that is unbounded."""

HAS_A_WORKER: Final = frozenset({S.QUEUED, S.RUNNING})
"""These count against `max_active_tasks` and hold slots of their pool, as do scheduled instances on their way to a worker
(`is_on_its_way`)."""
PARKED: Final = frozenset({S.DEFERRED, S.AWAITING_INPUT})
"""These count against a task's own limits too. A pool may count deferred instances, never one that waits for a person."""

_LARGEST_WEIGHT: Final = 2**31
_LAST: Final = "~"
"""Sorts after every moment: a run without a logical date comes after those with one, as in PostgreSQL."""


# --- what an instance needs and holds ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Claim:
    """The slots that an instance needs of one limit across runs, with the limit's size as the scheduler read it."""

    limit: str
    slots: int
    maximum: int
    """All slots of the limit, free or held. `UNLIMITED`: slots are counted and never refused."""
    pool: Pool | None = None
    """As the scheduler read it; `None` for a task's limit, and for a pool that does not exist."""

    @property
    def is_bounded(self) -> bool:
        return self.maximum != UNLIMITED

    def has_room(self, used: int) -> bool:
        return not self.is_bounded or used + self.slots <= self.maximum

    @property
    def exists(self) -> bool:
        """False for a pool that does not exist: no instance can hold its slots."""
        return self.pool is not None or pool_of(self.limit) is None


def claims(dag_id: str, task: TaskSpec, pools: Pools) -> tuple[Claim, ...]:
    """The claims of an instance of the task. Empty for most tasks: those in an unbounded default pool without a limit of
    their own."""
    found: list[Claim] = []
    pool = find_pool(pools, task.pool)
    if pool is None:
        found.append(Claim(of_pool(task.pool), task.pool_slots, 0))
    elif not pool.is_uncounted:
        found.append(Claim(pool.limit, task.pool_slots, pool.slots, pool))
    if task.max_active_tis_per_dag is not None:
        found.append(Claim(of_task(dag_id, task.task_id), 1, task.max_active_tis_per_dag))
    return tuple(found)


def find_pool(pools: Pools, name: str) -> Pool | None:
    pool = pools.get(name, UNBOUNDED_DEFAULT if name == DEFAULT_POOL else None)
    return None if pool is None or pool.is_deleted else pool


def pool_names(spec: DagSpec) -> frozenset[str]:
    return frozenset(task.pool for task in spec.tasks.values())


def with_slots(instance: TaskInstance, wanted: Iterable[Claim]) -> TaskInstance:
    """The instance, holding the slots that it claims. A pool that does not exist gives none."""
    taken = [claim for claim in wanted if claim.exists]
    return replace(
        instance,
        holds={claim.limit: claim.slots for claim in taken},
        holds_pool_deferred=any(claim.pool.include_deferred for claim in taken if claim.pool),
    )


def without_released(before: TaskInstance, after: TaskInstance) -> TaskInstance:
    """`after` without the slots and the place in line that its state does not let it keep.

    Every constructor of a transition ends here, so that none can forget to give back what `before` held.
    """
    if not after.holds and not after.holds_pool_deferred and after.blocked_by_limit is None:
        return after
    if after.state is not S.SCHEDULED and after.blocked_by_limit is not None:
        after = replace(after, blocked_by_limit=None, waiting_order=None)
    kept = {limit: slots for limit, slots in after.holds.items() if _keeps(before, after, limit)}
    if len(kept) == len(after.holds):
        return after
    return replace(after, holds=kept, holds_pool_deferred=after.holds_pool_deferred and bool(kept))


def _keeps(before: TaskInstance, after: TaskInstance, limit: str) -> bool:
    match after.state:
        case S.QUEUED | S.RUNNING:
            return True
        case S.SCHEDULED:
            # An instance that comes back from a trigger stands in line again, as in Airflow.
            return before.state in {S.SCHEDULED, S.QUEUED}
        case S.DEFERRED:
            return pool_of(limit) is None or after.holds_pool_deferred
        case S.AWAITING_INPUT:
            return pool_of(limit) is None
        case None | S.UP_FOR_RETRY | S.UP_FOR_RESCHEDULE | S.RESTARTING:
            return False
        case S.SUCCESS | S.FAILED | S.SKIPPED | S.UPSTREAM_FAILED | S.REMOVED:
            return False
        case _:
            assert_never(after.state)


def changes_of_limits(before: TaskInstance, after: TaskInstance) -> dict[str, int]:
    """Limit → how many more slots `after` holds than `before`; negative: fewer. Unchanged limits are left out."""
    limits = {**before.holds, **after.holds}
    changes = {limit: after.holds.get(limit, 0) - before.holds.get(limit, 0) for limit in limits}
    return {limit: change for limit, change in changes.items() if change}


def recounted(instance: TaskInstance, wanted: Iterable[Claim]) -> TaskInstance:
    """The instance, holding the slots of its pool that its state requires. What it holds may be out of date: an API user may
    have given the default pool a size, or changed `include_deferred`, after the instance began. Returns the same object if
    nothing differs."""
    claim = next((claim for claim in wanted if claim.pool is not None), None)
    if claim is None or claim.pool is None or waits(instance):
        return instance
    in_pool = instance.state in HAS_A_WORKER or instance.state is S.SCHEDULED
    if not in_pool and not (instance.state is S.DEFERRED and claim.pool.include_deferred):
        if claim.limit not in instance.holds:
            return instance
        without = {limit: slots for limit, slots in instance.holds.items() if limit != claim.limit}
        return replace(instance, holds=without, holds_pool_deferred=False)
    holds = {claim.limit: claim.slots} | instance.holds
    if holds == instance.holds and instance.holds_pool_deferred == claim.pool.include_deferred:
        return instance
    return replace(instance, holds=holds, holds_pool_deferred=claim.pool.include_deferred)


def waits(instance: TaskInstance) -> bool:
    return instance.state is S.SCHEDULED and instance.blocked_by_limit is not None


# --- order ------------------------------------------------------------------------------------------------------------


def waiting_order(task: TaskSpec, run: DagRun, map_index: int) -> str:
    """A sort key in Airflow's order of waiting instances: the highest priority weight first, then the earliest logical date,
    then the lowest map index. Run and task make the order total. Cut to the length of a sort key."""
    weight = _LARGEST_WEIGHT - task.priority_weight
    date = _LAST + run.run_after.isoformat() if run.logical_date is None else run.logical_date.isoformat()
    index = "-1" if map_index == UNMAPPED else f"{map_index:06d}"
    whole = f"{weight:011d}#{date}#{index}#{run.run_id}#{task.task_id}"
    return whole.encode()[:LONGEST_KEY].decode(errors="ignore")


def order_in_run(task: TaskSpec, instance: TaskInstance) -> tuple[int, int]:
    return order_of(task, instance.map_index)


def order_of(task: TaskSpec, map_index: int) -> tuple[int, int]:
    return -task.priority_weight, map_index


# --- room in the run --------------------------------------------------------------------------------------------------


class Admission(NamedTuple):
    """One dispatch that the run has let go. `DagRun.admitted_dispatches` stores ranges of map indexes, so that a thousand
    mapped instances take a few bytes of the run's item."""

    task_id: str
    dispatch_count: int
    map_index: int


def admission(instance: TaskInstance) -> Admission:
    return Admission(instance.task_id, instance.dispatch_count, instance.map_index)


def admissions(run: DagRun) -> frozenset[Admission]:
    found: set[Admission] = set()
    for written in run.admitted_dispatches:
        task_id, dispatch_count, indexes = written.rsplit("/", 2)
        first, _, last = indexes.partition("..")
        found.update(Admission(task_id, int(dispatch_count), i) for i in range(int(first), int(last or first) + 1))
    return frozenset(found)


def written(admitted: Iterable[Admission]) -> tuple[str, ...]:
    """The form that `DagRun.admitted_dispatches` stores, the same for equal sets:
    `<task_id>/<dispatch_count>/<first>..<last>`."""
    ranges: list[tuple[Admission, int]] = []
    for one in sorted(admitted):
        if ranges and ranges[-1][0][:2] == one[:2] and ranges[-1][1] == one.map_index - 1:
            ranges[-1] = (ranges[-1][0], one.map_index)
        else:
            ranges.append((one, one.map_index))
    return tuple(
        f"{first.task_id}/{first.dispatch_count}/{first.map_index}" + (f"..{last}" if last > first.map_index else "")
        for first, last in ranges
    )


def is_on_its_way(instance: TaskInstance, admitted: Container[Admission]) -> bool:
    """Whether the instance is scheduled and no limit keeps it back: it may be sent, or has been sent."""
    if instance.state is not S.SCHEDULED:
        return False
    return instance.blocked_by_limit is None or (
        instance.blocked_by_limit == RUN_LIMIT and admission(instance) in admitted
    )


MOST_ADMITTED: Final = 24
"""Up to this many admissions, `DagRun.admitted_dispatches` also keeps those of instances that are already queued: other
schedulers' quick looks read them there."""


def admitting(run: DagRun, more: Iterable[Admission], instances: Iterable[TaskInstance]) -> DagRun:
    """The run, with `more` added to its admissions. The write is conditional on the admissions that were read, so a
    scheduler that read the run before it can admit nothing after it. With more than `MOST_ADMITTED`, the earlier admissions
    of instances that are already queued are dropped."""
    before = admissions(run)
    return admitting_next(run, more, on_the_way=(admission(i) for i in instances if is_on_its_way(i, before)))


def admitting_next(run: DagRun, more: Iterable[Admission], *, on_the_way: Iterable[Admission]) -> DagRun:
    """As `admitting`, without the instances: `on_the_way` are the earlier admissions that may not be queued yet."""
    before, new = admissions(run), frozenset(more)
    kept = before if len(before | new) <= MOST_ADMITTED else before.intersection(on_the_way)
    return replace(run, admitted_dispatches=written(kept | new), let_go=run.let_go + len(new - before))


class Room:
    """What a run's own limits leave free: `max_active_tasks`, and `max_active_tis_per_dagrun` of each task."""

    def __init__(
        self, max_active_tasks: int, instances: Iterable[TaskInstance], admitted: Container[Admission]
    ) -> None:
        self.max_active_tasks = max_active_tasks
        self.in_flight = 0
        self._active: Counter[str] = Counter()
        for instance in instances:
            if instance.state in HAS_A_WORKER or is_on_its_way(instance, admitted):
                self.in_flight += 1
                self._active[instance.task_id] += 1
            elif instance.state in PARKED:
                self._active[instance.task_id] += 1

    def objection(self, task: TaskSpec) -> str | None:
        """Why there is no room for one more instance of the task; `None` where there is."""
        if self.is_full:
            return f"The run has {self.in_flight} active tasks; max_active_tasks is {self.max_active_tasks}."
        maximum = task.max_active_tis_per_dagrun
        if maximum is not None and self._active[task.task_id] >= maximum:
            active = self._active[task.task_id]
            return f"The task has {active} active instances in this run; max_active_tis_per_dagrun is {maximum}."
        return None

    @property
    def is_full(self) -> bool:
        return self.in_flight >= self.max_active_tasks

    def take(self, task: TaskSpec) -> None:
        self.in_flight += 1
        self._active[task.task_id] += 1


def can_never_be_full(spec: DagSpec, run: DagRun, max_active_tasks: int, instances: Iterable[TaskInstance]) -> bool:
    """Whether the run's limits cannot bind: no more of its instances can be active at once than may be."""
    count: Counter[str] = Counter()
    for instance in instances:
        task = spec.tasks[instance.task_id]
        if task.is_mapped and instance.map_index == UNMAPPED:
            return False
        count[task.task_id] += 1
    if most_active(spec, run, count) > max_active_tasks:
        return False
    limited = (task for task in spec.tasks.values() if task.max_active_tis_per_dagrun is not None)
    return all(count[task.task_id] <= (task.max_active_tis_per_dagrun or 0) for task in limited)


def most_active(spec: DagSpec, run: DagRun, count: Mapping[str, int]) -> int:
    """The most instances that can be active at once. `count`: task → how many the run has. Those of a chain follow each
    other, unless a person has cleared or marked one, or the run takes up another version of its DAG on the way."""
    total = sum(count.values())
    may_be_overtaken = run.bundle_version is None or run.held_by is not None or run.clear_number > 0
    plain = sum(not task.is_mapped for task in spec.tasks.values())
    if may_be_overtaken or plain < 2 or any(not count.get(t.task_id) for t in spec.tasks.values() if not t.is_mapped):
        return total
    return total - plain + spec.chains


# --- reasons ----------------------------------------------------------------------------------------------------------


def objection(claim: Claim, used: int | None) -> str:
    """Why the instance does not get the slots that it claims, in Airflow's words where Airflow has any. `used`: how many
    slots of the pool are held; `None`: as many as when the scheduler read the pool."""
    name = pool_of(claim.limit)
    if name is None:
        return "The max task concurrency has been reached."
    if claim.pool is None:
        return f"Tasks using non-existent pool '{name}' will not be scheduled"
    open_slots = claim.maximum - (claim.pool.used if used is None else used)
    return f"Not scheduling since there are {open_slots} open slots in pool {name} and require {claim.slots} pool slots"
