"""The slot granter: give a limit's free slots to the first instances in its line.

It reads the limit's index in order. An instance that its run or another limit keeps back is moved to wait there, so that it
does not block those behind it. Two calls, even by two schedulers at once, grant no more than one call: a grant and the slots
that it takes are one transaction. The slot granter sends no task: the table's stream carries the grant to the scheduler, and
`advance` sends the task.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from heapq import merge
from typing import Final

from aws_lambda_powertools import Logger

from gust.errors import LimitReached, StaleDagRun, StaleTaskInstance
from gust.model.dag import Dag
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec, TaskSpec
from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.model.pool import RUN_LIMIT, Pool, pool_of
from gust.model.state import DagRunState
from gust.model.task_instance import TaskInstance
from gust.model.workload import WakeLimit
from gust.scheduling import slots, transition
from gust.scheduling.run_view import InstanceId
from gust.scheduling.slots import Claim, Room
from gust.services.context import Services
from gust.services.specs import NO_SPEC, load_spec
from gust.services.wake import look_soon

ATTEMPTS: Final = 10
"""How often the slot granter tries one instance while other schedulers change its run or the limits that it needs."""

LAG: Final = 2.0
"""Seconds; much longer than an index lags."""

log = Logger(service="scheduler", child=True)


def grant_slots(
    services: Services, limit: str, *, newly_waiting: Collection[TaskInstance] = ()
) -> frozenset[TaskInstanceKey]:
    """Walk the limit's line until the limit is full or the line ends; returns the instances that got slots.
    `newly_waiting`: instances that began to wait so recently that the index may not show them yet."""
    walk = _Walk(services, limit)
    newcomers = sorted((i.waiting_order, i.key) for i in newly_waiting if i.waiting_order is not None)
    served: set[TaskInstanceKey] = set()
    for _, key in merge(services.store.waiting_for(limit), newcomers):
        if walk.is_full():
            break
        if key not in served:
            served.add(key)
            walk.serve(key)
    walk.have_others_looked_at()
    return frozenset(walk.granted)


def walk_again(services: Services, limit: str) -> None:
    """Send a wake-up that walks the line again when its index has caught up. A walk before that, set off by slots that were
    given back, may miss instances that have just begun to wait."""
    services.queues.wake(WakeLimit(limit=limit), delay=LAG)


@dataclass
class _Waiting:
    """A run with instances in the line: as it was read, with this walk's grants applied."""

    dag: Dag
    run: DagRun
    spec: DagSpec
    instances: dict[InstanceId, TaskInstance]

    @property
    def room(self) -> Room:
        return Room(self.dag.max_active_tasks, self.instances.values(), slots.admissions(self.run))


class _Walk:
    """One walk along a line. It caches what it reads; a write that fails because another scheduler changed something makes
    it read again."""

    def __init__(self, services: Services, limit: str) -> None:
        self._services = services
        self._limit = limit
        self._is_full = False
        self.granted: set[TaskInstanceKey] = set()
        self._sent_back: Counter[DagRunKey] = Counter()
        self._sent_on: Counter[str] = Counter()
        self._runs: dict[DagRunKey, _Waiting] = {}
        self._pools: dict[str, Pool | None] = {}
        self._used: dict[str, int] = {}

    def is_full(self) -> bool:
        """Whether no slot is left that an instance in the line could have."""
        if self._is_full or (name := pool_of(self._limit)) is None:
            return self._is_full
        pool = self._pool(name)
        return pool is None or (pool.open is not None and pool.open <= 0)

    def serve(self, key: TaskInstanceKey) -> None:
        for _ in range(ATTEMPTS):
            waiting = self._load(key.run)
            instance = waiting.instances.get((key.task_id, key.map_index)) if waiting else None
            if (
                waiting is None
                or instance is None
                or instance.blocked_by_limit != self._limit
                or not slots.waits(instance)
            ):
                return  # The index lags, or another scheduler was faster.
            if waiting.run.is_held(self._services.clock.now()):
                return  # The edit session causes a look at the run when it ends, and that look walks this line.
            try:
                self._serve(waiting, instance)
            except (StaleTaskInstance, StaleDagRun, LimitReached):
                self._forget(key.run)
            else:
                return
        # Other schedulers keep changing the instance's run or limits. It stays in the line; a wake-up walks that again.
        self._services.queues.wake(WakeLimit(limit=self._limit), delay=1)

    def _serve(self, waiting: _Waiting, instance: TaskInstance) -> None:
        task = waiting.spec.tasks.get(instance.task_id)
        if task is None or self._is_kept_back(waiting, task):
            self._send_back(instance)
            return
        claims = slots.claims(instance.dag_id, task, self._pools_of(task))
        full = [claim for claim in claims if not claim.has_room(self._used_of(claim))]
        if any(claim.limit == self._limit for claim in full):
            # It needs more slots than are left. In a pool, instances behind it may need fewer; a task's all need one.
            self._is_full = pool_of(self._limit) is None
        elif full:
            self._send_on(waiting, task, instance, full[0])
        else:
            self._grant(waiting, instance, claims)

    def _is_kept_back(self, waiting: _Waiting, task: TaskSpec) -> bool:
        return (
            waiting.dag.is_paused
            or waiting.run.state is not DagRunState.RUNNING
            or waiting.room.objection(task) is not None
        )

    def _send_back(self, instance: TaskInstance) -> None:
        """Let the instance wait for its run, which puts it into the line again when the run has room. The run may have room
        already, so it is woken: with the first instance sent back, in case this walk dies, and once more after the last."""
        self._services.store.move(transition.wait(instance, blocked_by_limit=RUN_LIMIT))
        run = instance.key.run
        self._sent_back[run] += 1
        if self._sent_back[run] == 1:
            look_soon(self._services, run)

    def have_others_looked_at(self) -> None:
        """Wake each run, and walk each line, to which more than one instance went: the wake-up for the first may have come
        too early for the others."""
        for run, how_many in self._sent_back.items():
            if how_many > 1:
                look_soon(self._services, run)
        for limit, how_many in self._sent_on.items():
            if how_many > 1:
                walk_again(self._services, limit)

    def _send_on(self, waiting: _Waiting, task: TaskSpec, instance: TaskInstance, claim: Claim) -> None:
        """Move the instance to the line of the limit that has no room for it."""
        order = slots.waiting_order(task, waiting.run, instance.map_index)
        self._services.store.move(transition.wait(instance, blocked_by_limit=claim.limit, waiting_order=order))
        self._sent_on[claim.limit] += 1
        if self._sent_on[claim.limit] == 1:
            walk_again(self._services, claim.limit)

    def _grant(self, waiting: _Waiting, instance: TaskInstance, claims: tuple[Claim, ...]) -> None:
        granted = transition.grant(instance, claims=claims)
        let_go = slots.admitting(waiting.run, [slots.admission(granted.after)], waiting.instances.values())
        self._services.store.grant(granted, run=(waiting.run, let_go), claims=claims)
        log.info(
            "Slots granted",
            **waiting.run.names,
            task_id=instance.task_id,
            map_index=instance.map_index,
            limits=granted.after.holds,
        )
        self.granted.add(instance.key)
        waiting.run = let_go
        waiting.instances[instance.task_id, instance.map_index] = granted.after
        for claim in claims:
            self._used[claim.limit] = self._used_of(claim) + claim.slots
            if claim.pool is not None:
                self._pools[claim.pool.name] = replace(claim.pool, used=claim.pool.used + claim.slots)

    # --- cached reads -------------------------------------------------------------------------------------------------

    def _load(self, key: DagRunKey) -> _Waiting | None:
        if key not in self._runs:
            state = self._services.store.load_run(key)
            dag = self._services.store.get_dag(key.dag_id)
            if state is None or dag is None:
                return None
            try:
                spec = load_spec(self._services.objects, state.run.spec_key)
            except NO_SPEC:
                return None
            self._runs[key] = _Waiting(dag, state.run, spec, dict(state.instances))
        return self._runs[key]

    def _forget(self, key: DagRunKey) -> None:
        self._runs.pop(key, None)
        self._pools.clear()
        self._used.clear()

    def _pools_of(self, task: TaskSpec) -> dict[str, Pool]:
        pool = self._pool(task.pool)
        return {} if pool is None else {task.pool: pool}

    def _pool(self, name: str) -> Pool | None:
        if name not in self._pools:
            self._pools[name] = self._services.store.get_pools([name]).get(name)
        return self._pools[name]

    def _used_of(self, claim: Claim) -> int:
        if claim.pool is not None:
            return claim.pool.used
        if pool_of(claim.limit) is None and claim.limit not in self._used:
            self._used[claim.limit] = self._services.store.slots_used(claim.limit)
        return self._used.get(claim.limit, 0)
