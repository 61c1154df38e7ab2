"""The instances that go under limits: Airflow's own choice and ours, over random pools, limits and states.

Airflow's is `SchedulerJobRunner._executable_task_instances_to_queued` on a scratch database, called again until it lets no
instance go, as its loop does. Ours are the schedulers and lines of the real services over the store in memory.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models import import_all_models
from airflow.models.base import Base
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from gust.errors import LimitReached
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec, TaskSpec
from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.model.pool import DEFAULT_POOL
from gust.model.state import DagRunState, DagRunType
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import ParkedTrigger, TaskInstance
from gust.scheduling import slots
from gust.scheduling.transition import Transition
from gust.services.settings import pools
from tests.unit.services.test_limits import settle
from tests.world import START, World, chain

CASES = 60


@dataclass(frozen=True)
class Case:
    pools: dict[str, tuple[int, bool]]
    """Size, and whether it counts what is deferred."""
    dags: dict[str, tuple[int, dict[str, TaskSpec]]]
    """`max_active_tasks` and tasks."""
    states: dict[TaskInstanceKey, S]
    dates: dict[DagRunKey, int]


def draw(seed: int) -> Case:
    chance = random.Random(seed)  # noqa: S311
    sizes = {name: (chance.choice((-1, 1, 2, 3, 4)), chance.random() < 0.5) for name in ("p", "q")}
    if chance.random() < 0.3:
        sizes[DEFAULT_POOL] = (chance.randint(1, 4), False)
    weights = chance.sample(range(1, 100), 20)
    dags: dict[str, tuple[int, dict[str, TaskSpec]]] = {}
    states: dict[TaskInstanceKey, S] = {}
    dates: dict[DagRunKey, int] = {}
    for dag_id in ("one", "two"):
        tasks = {
            name: TaskSpec(
                task_id=name,
                pool=chance.choice(("p", "p", "q", DEFAULT_POOL, DEFAULT_POOL, "missing")),
                pool_slots=chance.choice((1, 1, 1, 2, 3)),
                priority_weight=weights.pop(),
                max_active_tis_per_dag=chance.choice((None, None, None, 1, 2)),
                max_active_tis_per_dagrun=chance.choice((None, None, None, 1)),
            )
            for name in ("a", "b", "c", "d")
        }
        dags[dag_id] = (chance.choice((2, 3, 16)), tasks)
        for run_id in ("r1", "r2", "r3"):
            key = DagRunKey(dag_id, run_id)
            dates[key] = len(dates)
            # Airflow looks at the first `max_active_tasks` instances that wait in a run: where these cannot go, those
            # behind them are not let go either, though there may be room for them (docs/airflow-differences.md).
            for name in chance.sample(sorted(tasks), min(len(tasks), dags[dag_id][0])):
                if (
                    state := chance.choice((*[S.SCHEDULED] * 5, S.QUEUED, S.RUNNING, S.DEFERRED, S.SUCCESS))
                ) is not S.SUCCESS:
                    states[key.task_instance(name)] = state
    return Case(sizes, dags, states, dates)


# --- Airflow ----------------------------------------------------------------------------------------------------------


class Executor:
    """One with room for all."""

    slots_available = 10_000
    name = "x"
    pre_assigns_external_executor_id = False


class Airflow:
    def __init__(self) -> None:
        import_all_models()
        self._engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        Base.metadata.create_all(self._engine)

    def lets_go(self, case: Case) -> set[TaskInstanceKey]:
        self._fill(case)
        executor = Executor()
        scheduler: Any = object.__new__(SchedulerJobRunner)
        scheduler.scheduler_dag_bag = SimpleNamespace(
            get_dag_for_run=lambda dag_run, session: AirflowDag(case.dags[dag_run.dag_id][1])
        )
        scheduler.job = SimpleNamespace(id=None, max_tis_per_query=0, executors=[executor], executor=executor)
        scheduler._multi_team = False
        scheduler.executors, scheduler.executor = [executor], executor
        scheduler._try_to_load_executor = lambda *_, **__: executor
        with Session(self._engine) as session:
            while scheduler._executable_task_instances_to_queued(32, session=session):
                session.commit()
            instances = self._table("task_instance")
            rows = session.execute(
                select(instances.c.dag_id, instances.c.run_id, instances.c.task_id).where(instances.c.state == "queued")
            )
            queued = {TaskInstanceKey(*row) for row in rows}
        return {key for key in queued if case.states[key] is S.SCHEDULED}

    def _table(self, name: str) -> Any:
        return Base.metadata.tables[name]

    def _fill(self, case: Case) -> None:
        with self._engine.begin() as connection:
            for name in ("task_instance", "dag_run", "dag", "slot_pool"):
                connection.execute(self._table(name).delete())
            for name, (size, include_deferred) in {DEFAULT_POOL: (-1, False), **case.pools}.items():
                row = {"pool": name, "slots": size, "include_deferred": include_deferred}
                connection.execute(self._table("slot_pool").insert().values(**row))
            for dag_id, (most, _) in case.dags.items():
                connection.execute(
                    self._table("dag")
                    .insert()
                    .values(
                        dag_id=dag_id,
                        bundle_name="dags",
                        is_paused=False,
                        is_stale=False,
                        max_active_tasks=most,
                        max_active_runs=16,
                        max_consecutive_failed_dag_runs=0,
                        has_task_concurrency_limits=True,
                        has_import_errors=False,
                        fail_fast=False,
                    )
                )
            for key, day in case.dates.items():
                date = START + timedelta(days=day)
                connection.execute(
                    self._table("dag_run")
                    .insert()
                    .values(
                        dag_id=key.dag_id,
                        run_id=key.run_id,
                        state="running",
                        run_type="manual",
                        logical_date=date,
                        run_after=date,
                        queued_at=date,
                        clear_number=0,
                    )
                )
            for instance, state in case.states.items():
                task = case.dags[instance.dag_id][1][instance.task_id]
                connection.execute(
                    self._table("task_instance")
                    .insert()
                    .values(
                        id=uuid4(),
                        dag_id=instance.dag_id,
                        run_id=instance.run_id,
                        task_id=instance.task_id,
                        map_index=-1,
                        state=str(state),
                        try_number=1,
                        max_tries=0,
                        pool=task.pool,
                        pool_slots=task.pool_slots,
                        priority_weight=task.priority_weight,
                        queue="default",
                        executor_config={},
                    )
                )


class AirflowDag:
    def __init__(self, tasks: dict[str, TaskSpec]) -> None:
        self._tasks = tasks

    def has_task(self, task_id: str) -> bool:
        return task_id in self._tasks

    def get_task(self, task_id: str) -> TaskSpec:
        return self._tasks[task_id]


# --- ours -------------------------------------------------------------------------------------------------------------


def we_let_go(case: Case) -> set[TaskInstanceKey]:
    world = World()
    for name, (size, include_deferred) in case.pools.items():
        if name == DEFAULT_POOL:
            pools.change_pool(world.services, name, slots=size)
        else:
            pools.create_pool(world.services, name, slots=size, description=None, include_deferred=include_deferred)
    dags = {dag_id: (world.given_dag(given_spec(case, dag_id)), tasks) for dag_id, (_, tasks) in case.dags.items()}
    for key, day in case.dates.items():
        world.store.create_run(
            DagRun(
                dag_id=key.dag_id,
                run_id=key.run_id,
                run_type=DagRunType.MANUAL,
                state=DagRunState.RUNNING,
                run_after=START + timedelta(days=day - 365),
                queued_at=START,
                start_date=START,
                logical_date=START + timedelta(days=day - 365),
                due_at=START + timedelta(hours=1),
                version_number=1,
                spec_key=dags[key.dag_id][0].spec_key,
            )
        )
        known = world.store.get_pools(["p", "q", DEFAULT_POOL])
        for name, task in dags[key.dag_id][1].items():
            state = case.states.get(key.task_instance(name), S.SUCCESS)
            if state is not S.SCHEDULED:
                given(world, key.task_instance(name), state, slots.claims(key.dag_id, task, known))
    # All is ready before anybody is let go, as Airflow sees it.
    grant, world.store.grant = world.store.grant, not_yet  # type: ignore[method-assign]
    settle(world, *case.dates)
    world.store.grant = grant  # type: ignore[method-assign]
    settle(world, *case.dates)
    waiting = (key for key, state in case.states.items() if state is S.SCHEDULED)
    return {key for key in waiting if (i := world.store.get_instance(key)) and i.state is S.QUEUED}


def not_yet(*_: object, **__: object) -> None:
    raise LimitReached("not before all have lined up")


def given_spec(case: Case, dag_id: str) -> DagSpec:
    most, tasks = case.dags[dag_id]
    return chain(dag_id=dag_id, max_active_tasks=most).model_copy(update={"tasks": tasks})


def given(world: World, key: TaskInstanceKey, state: S, claims: tuple[slots.Claim, ...]) -> None:
    new = TaskInstance(dag_id=key.dag_id, run_id=key.run_id, task_id=key.task_id)
    trigger = ParkedTrigger(classpath="x.T", kwargs={}, next_method="go") if state is S.DEFERRED else None
    there = replace(
        slots.with_slots(new, claims),
        state=state,
        try_number=1,
        dispatch_count=1,
        start_date=START,
        queued_at=START,
        heartbeat_at=START,
        trigger=trigger,
    )
    world.store.move(Transition("given", new, slots.without_released(new, there)))


# --- both -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def airflow() -> Iterator[Airflow]:
    import logging

    logging.disable(logging.CRITICAL)
    yield Airflow()
    logging.disable(logging.NOTSET)


def test_the_same_ones_are_let_go(airflow: Airflow) -> None:
    differences = []
    for seed in range(CASES):
        case = draw(seed)
        theirs, ours = airflow.lets_go(case), we_let_go(case)
        if theirs != ours:
            differences.append(f"{seed}: only theirs {sorted(theirs - ours)}, only ours {sorted(ours - theirs)}")
    assert not differences, f"{len(differences)} of {CASES}\n" + "\n".join(differences)
