"""Why a task instance does not run: the scheduler's own reason, worked out now. Writes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from gust.model.keys import DagRunKey
from gust.model.pool import DEFAULT_POOL
from gust.model.state import DagRunState
from gust.scheduling.dependency import Dependency
from gust.services.context import Services
from gust.services.scheduler.advance import decide_on


@dataclass(frozen=True, slots=True)
class Objection:
    dependency: Dependency
    reason: str


def explain(services: Services, key: DagRunKey, task_id: str, map_index: int) -> list[Objection]:
    """The objections to the instance, in order; empty where there is none, or where it is under way or over."""
    state = services.store.load_run(key)
    if state is None:
        return []
    run = state.run
    dag, pools = services.store.get_dag_and_pools(run.dag_id, [DEFAULT_POOL])
    found: list[Objection] = []
    if dag is None or dag.is_paused:
        found.append(Objection(Dependency.DAG_IS_ON, f"DAG '{run.dag_id}' is paused"))
    elif dag.is_stale:
        found.append(Objection(Dependency.DAG_IS_ON, f"DAG '{run.dag_id}' is stale: no file defines it any longer"))
    if run.edit is not None:
        found.append(Objection(Dependency.RUN_RUNS, "A person's action on the run is still being carried out"))
    if run.state is not DagRunState.RUNNING:
        reason = run.reason or f"The DagRun is not running, it is {run.state.value}"
        found.append(Objection(Dependency.RUN_RUNS, reason))
    if dag is not None and run.state is DagRunState.RUNNING and run.edit is None:
        decision = decide_on(services, state, dag, pools, now=services.clock.now())
        instance = (task_id, map_index)
        if instance in decision.reasons:
            dependency = decision.blocked_by.get(instance, Dependency.STATE)
            found.append(Objection(dependency, decision.reasons[instance]))
    return sorted(found, key=lambda objection: objection.dependency)
