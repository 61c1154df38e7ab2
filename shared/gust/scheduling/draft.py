"""A decision in progress: its inputs, the moves so far, and the reason for each instance that waits.

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
"""The instance was sent to a worker, or waits for its trigger or a person's answer."""


@dataclass(slots=True, kw_only=True)
class Draft:
    spec: DagSpec
    run: DagRun
    instances: Mapping[InstanceId, TaskInstance]
    """The stored ones."""
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
    """All instances, as the moves of this decision leave them."""
    reasons: dict[InstanceId, str] = field(default_factory=dict)
    blocked_by: dict[InstanceId, Dependency] = field(default_factory=dict)
    stoppers: list[InstanceId] = field(default_factory=list)
    """Failed instances for which this decision ends the others (`fail_fast`)."""

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

    # --- the decision's transitions -----------------------------------------------------------------------------------

    def transitions(self) -> tuple[transition.Transition, ...]:
        moves = (*self._gone(), *self.view.transitions())
        return tuple(callback.with_kill(moved, self.spec, self.workers) for moved in moves)

    def _gone(self) -> Iterator[transition.Transition]:
        """Removals of instances whose task the run's version lacks: the run has moved to another version."""
        for instance in self.instances.values():
            if instance.task_id not in self.spec.tasks and instance.state is not S.REMOVED:
                reason = "The DAG version that its run goes on with has no such task."
                yield transition.remove(instance, at=self.now, reason=reason)

    def stopped(self) -> tuple[transition.Transition, ...]:
        instances = (self.view.instances_of(task_id)[map_index] for task_id, map_index in self.stoppers)
        return tuple(transition.stop_others(instance) for instance in instances if instance.state is S.FAILED)
