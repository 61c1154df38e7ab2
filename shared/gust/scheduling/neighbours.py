"""Decides whether one instance may go, from that instance and those directly upstream of it, each read by its key.

`Upstream` evaluates the rule, as in a full look, over a view of the run that holds these instances only. For an instance
that `reads` accepts, the rule depends on no others: its DAG has no setups or teardowns, and the length of its mapping is
known (`known_lengths`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec, TaskSpec
from gust.model.keys import UNMAPPED
from gust.model.pool import DEFAULT_POOL
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.scheduling import expansion
from gust.scheduling.run_view import InstanceId, RunView, is_in_run
from gust.scheduling.trigger_rule import Verdict
from gust.scheduling.upstream import Upstream

MOST_READ: Final = 100
"""Instances upstream of one that a quick look reads; with more, a full look follows."""


def is_in_same_turn(task: TaskSpec, other: TaskSpec) -> bool:
    """Whether instance `i` of one task depends only on instance `i` of the other: both are in the same mapped groups, and
    neither is mapped further."""
    return (
        bool(task.mapped_groups)
        and task.mapped_groups == other.mapped_groups
        and task.expansion is None
        and other.expansion is None
    )


def share_a_group(task: TaskSpec, other: TaskSpec) -> bool:
    return not set(task.mapped_groups).isdisjoint(other.mapped_groups)


def is_plain(task: TaskSpec) -> bool:
    """Whether an instance of the task goes straight to a Lambda worker once its upstreams allow it and its run has a place.
    A full look handles the others: tasks that expand, that the scheduler ends, that begin with a trigger, that need slots,
    or that name a place to run."""
    return (
        task.expansion is None
        and not task.is_empty
        and not task.start_from_trigger
        and task.pool == DEFAULT_POOL
        and task.max_active_tis_per_dag is None
        and task.max_active_tis_per_dagrun is None
        and task.queue == "default"
        and task.executor is None
        and not task.executor_config
    )


def known_lengths(spec: DagSpec, run: DagRun, instances: Mapping[InstanceId, TaskInstance]) -> dict[str, int]:
    """Mapped task → its number of instances, for tasks whose number only an edit of the run can change: all instances are
    stored, and the DAG file or plain tasks that succeeded give the values. A mapped task's XCom does not count: an API user
    may change it without an edit of the run."""
    mapped = [task for task in spec.tasks.values() if task.is_mapped]
    if not mapped:
        return {}
    indexes: dict[str, set[int]] = {task.task_id: set() for task in mapped}
    for task_id, map_index in instances:
        if task_id in indexes:
            indexes[task_id].add(map_index)
    view = RunView(spec, run, instances, run.run_after)  # nothing is moved here, so the moment does not matter
    found: dict[str, int] = {}
    for task in mapped:
        sources = expansion.expansion_sources(spec, task)
        if any(spec.tasks[source].is_mapped or view.states_of(source) != {S.SUCCESS: 1} for source in sources):
            continue
        length, stored = view.map_length(task), indexes[task.task_id]
        is_expanded = not sources or len(stored) == length
        if length and is_expanded and stored.issubset(range(length)):
            found[task.task_id] = length
    return found


def reads(
    spec: DagSpec, run: DagRun, task: TaskSpec, map_index: int, lengths: Mapping[str, int]
) -> list[InstanceId] | None:
    """Keys of the instances that decide whether this one may go, itself first. `None` if they are unknown or too many."""
    if not is_plain(task) or (task.is_mapped and not 0 <= map_index < lengths.get(task.task_id, 0)):
        return None
    found: list[InstanceId] = [(task.task_id, map_index)]
    for upstream_id in task.upstream_task_ids:
        upstream = spec.tasks[upstream_id]
        if not is_in_run(upstream, run):
            continue
        if share_a_group(task, upstream):
            if not is_in_same_turn(task, upstream):
                return None
            found.append((upstream_id, map_index))
        elif not upstream.is_mapped:
            found.append((upstream_id, UNMAPPED))
        elif upstream_id in lengths:
            found += ((upstream_id, index) for index in range(lengths[upstream_id]))
        else:
            return None
        if len(found) > MOST_READ:
            return None
    return found


def as_they_are(
    spec: DagSpec, run: DagRun, wanted: list[InstanceId], found: Mapping[InstanceId, TaskInstance]
) -> dict[InstanceId, TaskInstance] | None:
    """The requested instances, new ones for keys without an item. `None` if a missing item may have been deleted."""
    instances: dict[InstanceId, TaskInstance] = {}
    for task_id, map_index in wanted:
        instance = found.get((task_id, map_index))
        if instance is None:
            if not expansion.is_literal(spec, spec.tasks[task_id]):
                return None
            instance = TaskInstance(dag_id=run.dag_id, run_id=run.run_id, task_id=task_id, map_index=map_index)
        instances[task_id, map_index] = instance
    return instances


class Neighbours(RunView):
    """A view of one instance and those directly upstream of it, as `reads` lists them."""

    def verdict_on(self, of: InstanceId, lengths: Mapping[str, int]) -> Verdict:
        task = self.spec.tasks[of[0]]
        if (length := lengths.get(task.task_id)) is not None:
            # Its mapped group has the same length: see `is_in_same_turn`.
            self._lengths |= dict.fromkeys((task.task_id, *task.mapped_groups[-1:]), length)
        return Upstream(self).evaluate(task, self.instances_of(task.task_id)[of[1]]).verdict

    def _existing(self, task: TaskSpec) -> dict[int, TaskInstance]:
        return {index: self._stored[task.task_id, index] for index in self._stored_indexes.get(task.task_id, ())}
