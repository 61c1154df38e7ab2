"""One decision while it grows: what it is made on, the moves so far, and why other instances wait.

Each phase of `decide` (expiry, propagation, admission, next_look, run_end) reads and extends the same draft.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from gust.model.callback import Callback
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec, TaskSpec
from gust.model.place import LAMBDA_ALONE, Workers
from gust.model.state import UNFINISHED
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.scheduling import callback, slots, transition
from gust.scheduling.dependency import Dependency
from gust.scheduling.past import Past
from gust.scheduling.run_view import InstanceId, RunView
from gust.scheduling.timers import DEFAULTS, Config

BEGUN = frozenset({S.QUEUED, S.RUNNING, S.RESTARTING, S.DEFERRED, S.AWAITING_INPUT})
"""A worker, a trigger or a person has the instance in hand."""


@dataclass(slots=True, kw_only=True)
class Draft:
    spec: DagSpec
    run: DagRun
    instances: Mapping[InstanceId, TaskInstance]
    """Those of the store."""
    now: datetime
    config: Config = DEFAULTS
    past: Past | None = None
    callbacks: Sequence[Callback] = ()
    pools: slots.Pools = field(default_factory=dict)
    used: Mapping[str, int] = field(default_factory=dict)
    max_active_tasks: int = 0
    is_paused: bool = False
    has_backlog: bool = True
    workers: Workers = LAMBDA_ALONE

    view: RunView
    """All instances, with the moves of this decision."""
    reasons: dict[InstanceId, str] = field(default_factory=dict)
    blocked_by: dict[InstanceId, Dependency] = field(default_factory=dict)
    stoppers: list[InstanceId] = field(default_factory=list)
    """Failures for which this decision ends the other instances (`fail_fast`)."""

    def wait(self, instance: TaskInstance, reason: str, dependency: Dependency) -> None:
        key = (instance.task_id, instance.map_index)
        self.reasons[key] = reason
        self.blocked_by[key] = dependency

    def claims(self, task: TaskSpec) -> Sequence[slots.Claim]:
        return slots.claims(self.spec.dag_id, task, self.pools)

    def unfinished(self) -> list[tuple[TaskSpec, TaskInstance]]:
        """In topological order, then by map index."""
        return [(task, i) for task, i in self.view.all_instances() if i.state in UNFINISHED]

    def begun(self) -> list[TaskInstance]:
        return [instance for _, instance in self.view.all_instances() if instance.state in BEGUN]

    # --- what the decision will say -----------------------------------------------------------------------------------

    def transitions(self) -> tuple[transition.Transition, ...]:
        moves = (*self._gone(), *self.view.transitions())
        return tuple(callback.with_trigger_kill(moved) for moved in moves)

    def _gone(self) -> Iterator[transition.Transition]:
        """Removes the instances of tasks that the run's version does not have: the run moved on to another version."""
        for instance in self.instances.values():
            if instance.task_id not in self.spec.tasks and instance.state is not S.REMOVED:
                reason = "The DAG version that its run goes on with has no such task."
                yield transition.remove(instance, at=self.now, reason=reason)

    def stopped(self) -> tuple[transition.Transition, ...]:
        instances = (self.view.instances_of(task_id)[map_index] for task_id, map_index in self.stoppers)
        return tuple(transition.stop_others(instance) for instance in instances if instance.state is S.FAILED)
