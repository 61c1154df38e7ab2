"""Values that contract tests start from."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from gust.model.dag import Dag
from gust.model.dag_run import DagRun
from gust.model.state import DagRunState, DagRunType, TaskInstanceState
from gust.model.task_instance import TaskInstance
from gust.ports.store import Store
from gust.scheduling.transition import Transition

NOW = datetime(2026, 3, 1, 10, 0, 0, 123456, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def a_dag(dag_id: str = "etl", **fields: Any) -> Dag:
    return Dag(dag_id=dag_id, version_number=1, spec_key="specs/1.json", **fields)


def a_run(run_id: str = "manual__1", dag_id: str = "etl", **fields: Any) -> DagRun:
    return DagRun(
        **{
            "dag_id": dag_id,
            "run_id": run_id,
            "run_type": DagRunType.MANUAL,
            "state": DagRunState.QUEUED,
            "run_after": NOW,
            "queued_at": NOW,
            "version_number": 1,
            "spec_key": "specs/1.json",
            **fields,
        }
    )


def an_instance(
    task_id: str = "extract", map_index: int = -1, run: DagRun | None = None, **fields: Any
) -> TaskInstance:
    run = run or a_run()
    return TaskInstance(dag_id=run.dag_id, run_id=run.run_id, task_id=task_id, map_index=map_index, **fields)


def transition(before: TaskInstance, keeps_try: bool = False, edge: str = "an_edge", **changes: Any) -> Transition:
    return Transition(edge=edge, before=before, after=replace(before, **changes), keeps_try=keeps_try)


def given_dag(store: Store, dag_id: str = "etl", **fields: Any) -> Dag:
    dag = a_dag(dag_id, **fields)
    store.put_dag(None, dag)
    return dag


def given_run(store: Store, run: DagRun | None = None) -> DagRun:
    run = run or a_run()
    store.create_run(run)
    return run


def given_running_run(store: Store, run: DagRun | None = None) -> DagRun:
    queued = given_run(store, run)
    running = replace(queued, state=DagRunState.RUNNING, start_date=NOW)
    store.start_run(queued, running, max_active_runs=1000)
    return running


def given_instance(store: Store, instance: TaskInstance) -> TaskInstance:
    """Store it as it is, as if it had come there by legal moves."""
    new = an_instance(instance.task_id, instance.map_index, a_run(instance.run_id, instance.dag_id))
    store.move(Transition(edge="given", before=new, after=instance))
    return instance


def given_running_instance(store: Store, task_id: str = "extract", map_index: int = -1) -> TaskInstance:
    return given_instance(
        store,
        an_instance(
            task_id, map_index, state=TaskInstanceState.RUNNING, try_number=1, dispatch_count=1, start_date=NOW
        ),
    )
