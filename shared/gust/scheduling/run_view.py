"""A run's instances while a decision is made: those that the store has, and those without an item.

An untouched instance has no item (state `None`), so the view works out which instances exist: one per plain task; of a
mapped task as many as its length says, or one placeholder with map index -1 until the length is known. The view changes
as the decision grows and remembers every transition, so that the next evaluation sees what a move changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec, TaskSpec
from gust.model.keys import UNMAPPED
from gust.model.state import FINISHED, UNFINISHED, DagRunType
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.scheduling import expansion, transition
from gust.scheduling.transition import Transition, followed_by

InstanceId = tuple[str, int]

NO_STATUS: Final = "no_status"
"""The name under which instances in state `None` are counted."""


class RunView:
    def __init__(self, spec: DagSpec, run: DagRun, stored: Mapping[InstanceId, TaskInstance], now: datetime) -> None:
        self.spec = spec
        self.run = run
        self.now = now
        self.moves: dict[InstanceId, Transition] = {}
        """The decision so far: one move for each instance, merged where it moves twice."""
        self.changes = 0
        """Counts up with every change to the view."""
        self._seen: dict[str, Mapping[int, TaskInstance]] = {}
        """The instances of each task that changed in this round, as they were when it began."""
        self._stored = stored
        self._by_task: dict[str, dict[int, TaskInstance]] = {}
        self._states: dict[str, Counter[S | None]] = {}
        self._lengths: dict[str, int | None] = {}
        self._told_lengths: dict[str, int] = {}
        """The length of each task that has more instances than are stored: every write of one of them carries it."""
        self._stored_indexes: dict[str, list[int]] = {}
        for task_id, map_index in stored:
            self._stored_indexes.setdefault(task_id, []).append(map_index)

    # --- what exists --------------------------------------------------------------------------------------------------

    def instances_of(self, task_id: str) -> Mapping[int, TaskInstance]:
        """By map index, ascending. Empty for a task whose own dates leave this run out."""
        if task_id not in self._by_task:
            instances = dict(sorted(self._existing(self.spec.tasks[task_id]).items()))
            self._by_task[task_id] = instances
            self._states[task_id] = Counter(instance.state for instance in instances.values())
        return self._by_task[task_id]

    def states_of(self, task_id: str) -> Mapping[S | None, int]:
        """How many of the task's instances are in each state."""
        self.instances_of(task_id)
        return self._states[task_id]

    def seen_instances(self, task_id: str) -> Mapping[int, TaskInstance]:
        """The task's instances as they were when the round began."""
        return self._seen[task_id] if task_id in self._seen else self.instances_of(task_id)

    def seen_states(self, task_id: str) -> Mapping[S | None, int]:
        if task_id in self._seen:
            return Counter(instance.state for instance in self._seen[task_id].values())
        return self.states_of(task_id)

    def all_instances(self) -> Iterable[tuple[TaskSpec, TaskInstance]]:
        """In topological order, then by map index.

        Moving and expanding while iterating is safe; new ones are not visited.
        """
        for task in self.spec.tasks.values():
            for instance in list(self.instances_of(task.task_id).values()):
                yield task, instance

    def map_length(self, task: TaskSpec) -> int | None:
        """How many instances the mapped task has; `None` while that is not known."""
        if task.task_id not in self._lengths:
            length = expansion.map_length(self.spec, task, self.instances_of)
            if length is None:
                return None
            self._lengths[task.task_id] = length
        return self._lengths[task.task_id]

    def group_length(self, group_id: str) -> int | None:
        """How many turns the mapped group has, the mapped groups around it counted in; `None` while not known."""
        if group_id not in self._lengths:
            length = expansion.group_length(self.spec, group_id, self.instances_of)
            if length is None:
                return None
            self._lengths[group_id] = length
        return self._lengths[group_id]

    def counted(self) -> dict[str, int]:
        """How many instances of a run that ends are in each state after this decision (`DagRun.instance_states`). Empty
        while one of them is unfinished. Instances of unknown tasks count as removed."""
        instances = [instance for _, instance in self.all_instances() if not is_gone(instance)]
        if any(instance.state is not None and instance.state in UNFINISHED for instance in instances):
            return {}
        removed = sum(task_id not in self.spec.tasks for task_id, _ in self._stored)
        counts = Counter(state_name(instance) for instance in instances) + Counter({S.REMOVED.value: removed})
        return dict(sorted(counts.items()))

    # --- what changes -------------------------------------------------------------------------------------------------

    def begin_round(self) -> frozenset[str]:
        """From now on, `seen_*` shows the instances as they are now. Returns the tasks that changed in the round before."""
        changed = frozenset(self._seen)
        self._seen = {}
        return changed

    def move(self, moved: Transition) -> None:
        """Merges a second move of the same instance: keeps the first edge and `before`, takes the last `after`."""
        moved = self._telling_length(moved)
        first = self.moves.get((moved.after.task_id, moved.after.map_index))
        if first is not None:
            self._replace(first.after, moved.after)
            self.moves[moved.after.task_id, moved.after.map_index] = followed_by(first, moved)
            return
        self._replace(moved.before, moved.after)
        self.moves[moved.after.task_id, moved.after.map_index] = moved

    def take_back(self, instance: TaskInstance) -> TaskInstance:
        """Undoes the instance's move, so that the decision can move it otherwise. Returns it as it was before."""
        moved = self.moves.pop((instance.task_id, instance.map_index), None)
        if moved is None:
            return instance
        self._replace(moved.after, moved.before)
        return moved.before

    def has_moved(self, instance: TaskInstance) -> bool:
        return (instance.task_id, instance.map_index) in self.moves

    def expand(self, task: TaskSpec, length: int) -> None:
        """The placeholder gives way to `length` instances in state `None`."""
        self._remember(task.task_id)
        self._by_task[task.task_id] = {index: self._blank(task.task_id, index) for index in range(length)}
        self._told_lengths[task.task_id] = length
        self._states[task.task_id] = Counter({None: length})
        self.changes += 1

    def grow(self, task: TaskSpec, length: int) -> list[TaskInstance]:
        """Adds the instances below `length` that the expanded task lacks, in state `None`; returns them."""
        existing = self.instances_of(task.task_id)
        new = {index: self._blank(task.task_id, index) for index in range(length) if index not in existing}
        if new:
            self._remember(task.task_id)
            self._by_task[task.task_id] = {**existing, **new}
            self._states[task.task_id][None] += len(new)
            self._told_lengths[task.task_id] = length
            self.changes += 1
        return list(new.values())

    def transitions(self) -> tuple[Transition, ...]:
        """The moves, and an item for each expanded instance that has to wait and has none yet, also where a crash in the
        middle of an expansion left it out. Instances of a literal expansion need no item.
        """
        waiting = [
            transition.expand(instance)
            for task in self.spec.tasks.values()
            if task.is_mapped and not expansion.is_literal(self.spec, task)
            for instance in self.instances_of(task.task_id).values()
            if instance.map_index != UNMAPPED and instance.state is None
            if not self._is_stored(instance) and not self.has_moved(instance)
        ]
        return (*self.moves.values(), *map(self._telling_length, waiting))

    # ------------------------------------------------------------------------------------------------------------------

    def _existing(self, task: TaskSpec) -> dict[int, TaskInstance]:
        stored = {index: self._stored[task.task_id, index] for index in self._stored_indexes.get(task.task_id, ())}
        if not is_in_run(task, self.run):
            return stored
        if not task.is_mapped:
            return {UNMAPPED: stored.get(UNMAPPED) or self._blank(task.task_id, UNMAPPED)}
        placeholder = stored.pop(UNMAPPED, None)
        if placeholder is not None and placeholder.state in FINISHED and not stored:
            return {UNMAPPED: placeholder}
        if stored or expansion.is_literal(self.spec, task):
            length = self._expanded_length(task, stored.values())
            existing = {index: stored.get(index) or self._blank(task.task_id, index) for index in range(length)}
            existing.update(stored)
            if length > len(stored):
                self._told_lengths[task.task_id] = length
            if existing:
                return existing
        return {UNMAPPED: placeholder or self._blank(task.task_id, UNMAPPED)}

    def _expanded_length(self, task: TaskSpec, stored: Iterable[TaskInstance]) -> int:
        """How many instances there are, with or without an item, whatever its sources have pushed since."""
        lengths = [instance.map_length for instance in stored if instance.map_length is not None]
        return max(lengths) if lengths else self.map_length(task) or 0

    def _remember(self, task_id: str) -> None:
        if task_id not in self._seen:
            self._seen[task_id] = dict(self.instances_of(task_id))

    def _replace(self, old: TaskInstance, new: TaskInstance) -> None:
        self._remember(new.task_id)
        self._states[new.task_id][old.state] -= 1
        self._states[new.task_id][new.state] += 1
        self._by_task[new.task_id][new.map_index] = new
        self.changes += 1

    def _is_stored(self, instance: TaskInstance) -> bool:
        return (instance.task_id, instance.map_index) in self._stored

    def _blank(self, task_id: str, map_index: int) -> TaskInstance:
        return TaskInstance(dag_id=self.run.dag_id, run_id=self.run.run_id, task_id=task_id, map_index=map_index)

    def _telling_length(self, moved: Transition) -> Transition:
        """The move with the task's length, so that a crash between two writes loses no instance."""
        length = self._told_lengths.get(moved.after.task_id)
        if length is None or moved.after.map_index == UNMAPPED:
            return moved
        if expansion.is_literal(self.spec, self.spec.tasks[moved.after.task_id]):
            return moved
        return replace(moved, after=replace(moved.after, map_length=length))


def instances_by_task(
    spec: DagSpec, run: DagRun, stored: Mapping[InstanceId, TaskInstance]
) -> dict[str, list[TaskInstance]]:
    """All instances of the run, with or without an item, by task and in the order of their map indexes."""
    view = RunView(spec, run, stored, run.run_after)  # nothing is moved here, so the moment does not matter
    return {task_id: list(view.instances_of(task_id).values()) for task_id in spec.tasks}


def counted(spec: DagSpec, run: DagRun, stored: Mapping[InstanceId, TaskInstance]) -> dict[str, int]:
    return RunView(spec, run, stored, run.run_after).counted()


def is_gone(instance: TaskInstance) -> bool:
    """Whether a person deleted it: once its run has ended, no list shows it."""
    return instance.is_deleted and instance.state is None


def state_name(instance: TaskInstance) -> str:
    return NO_STATUS if instance.state is None else instance.state.value


def is_in_run(task: TaskSpec, run: DagRun) -> bool:
    """Whether the run has the task at all: its own start_date and end_date may leave the logical date out."""
    if run.logical_date is None or run.run_type is DagRunType.BACKFILL_JOB:
        return True
    after_start = task.start_date is None or task.start_date <= run.logical_date
    before_end = task.end_date is None or run.logical_date <= task.end_date
    return after_start and before_end
