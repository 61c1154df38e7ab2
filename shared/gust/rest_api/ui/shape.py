"""The arrangement of a DAG's tasks and groups in grid and graph: of all tasks, or of those around some.

Rules: `partial_subset`, `dag_edges` and the task groups' `get_roots` and `get_leaves` of Airflow 3.3.2, compared with
them by test.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass
from functools import cached_property

from gust.model.dag_spec import DagSpec, TaskGroupSpec, TaskSpec
from gust.scheduling.task_selection import select

Edge = tuple[str, str]


@dataclass(frozen=True)
class Shape:
    spec: DagSpec
    task_ids: frozenset[str]
    """Ids of the tasks shown."""
    is_part: bool = False
    """Groups without a shown task are left out."""

    @classmethod
    def of(
        cls, spec: DagSpec, *, root: str | None = None, upstream: bool = False, downstream: bool = False,
        depth: int | None = None,
    ) -> Shape:  # fmt: skip
        """The whole DAG, or the tasks whose id contains `root` with upstream and downstream tasks as given."""
        if not root:
            return cls(spec, frozenset(spec.tasks))
        matched = [task_id for task_id in spec.tasks if root in task_id]
        shown = select(spec, matched, upstream=upstream, downstream=downstream, depth=depth)
        return cls(spec, frozenset(shown), is_part=True)

    # --- groups -------------------------------------------------------------------------------------------------------

    @cached_property
    def group_ids(self) -> frozenset[str]:
        """Ids of the groups shown."""
        if not self.is_part:
            return frozenset(self.spec.task_groups)
        shown: set[str] = set()
        for task_id in self.task_ids:
            group_id = self.spec.tasks[task_id].group_id
            while group_id is not None and group_id not in shown:
                shown.add(group_id)
                group_id = self.spec.task_groups[group_id].parent_group_id
        return frozenset(shown)

    def children(self, group: TaskGroupSpec | None = None) -> Iterator[TaskSpec | TaskGroupSpec]:
        """Direct children of the group, or of the DAG, in the order shown."""
        for child_id in self.spec.root_children if group is None else group.children:
            if child_id in self.group_ids:
                yield self.spec.task_groups[child_id]
            elif child_id in self.task_ids:
                yield self.spec.tasks[child_id]

    def joins_above(self, group: TaskGroupSpec) -> bool:
        """Whether a task or group outside is directly upstream of the whole group."""
        return bool(self._groups(group.upstream_group_ids) or self._tasks(group.upstream_task_ids))

    def joins_below(self, group: TaskGroupSpec) -> bool:
        return bool(self._groups(group.downstream_group_ids) or self._tasks(group.downstream_task_ids))

    def _groups(self, group_ids: tuple[str, ...]) -> Set[str]:
        return self.group_ids.intersection(group_ids)

    def _tasks(self, task_ids: tuple[str, ...]) -> Set[str]:
        return self.task_ids.intersection(task_ids)

    def _all_in(self, group: TaskGroupSpec) -> frozenset[str]:
        """Tasks of the group and of nested groups."""
        inside: set[str] = set()
        for child in self.children(group):
            if isinstance(child, TaskGroupSpec):
                inside |= self._all_in(child)
            else:
                inside.add(child.task_id)
        return frozenset(inside)

    def _roots(self, group: TaskGroupSpec) -> set[str]:
        inside = self._all_in(group)
        return {t for t in inside if inside.isdisjoint(self.spec.tasks[t].upstream_task_ids)}

    def _leaves(self, group: TaskGroupSpec) -> set[str]:
        """The group's last tasks; a teardown does not count, the tasks before it do."""
        inside = self._all_in(group)
        ends = [self.spec.tasks[t] for t in inside if inside.isdisjoint(self.spec.tasks[t].downstream_task_ids)]
        return {leaf for end in ends for leaf in (self._before(end, inside) if end.is_teardown else {end.task_id})}

    def _before(self, teardown: TaskSpec, inside: frozenset[str]) -> set[str]:
        found: set[str] = set()
        for above in (self.spec.tasks[t] for t in teardown.upstream_task_ids if t in inside):
            if above.is_teardown:
                found |= self._before(above, inside)
            elif not above.is_setup and not self._goes_on(above, inside, without=teardown.task_id):
                found.add(above.task_id)
        return found

    def _goes_on(self, task: TaskSpec, inside: frozenset[str], *, without: str) -> bool:
        below = (t for t in task.downstream_task_ids if t in inside and t != without)
        return any(not self.spec.tasks[t].is_teardown for t in below)

    # --- edges --------------------------------------------------------------------------------------------------------

    def edges(self) -> list[Edge]:
        """Edges between tasks, and between the joins of groups: one edge from a group to its downstream tasks."""
        added: set[Edge] = set()
        hidden: set[Edge] = set()
        for group_id in self.group_ids:
            self._join(self.spec.task_groups[group_id], added, hidden)
        return sorted((self._direct() | added) - hidden)

    def is_setup_teardown(self, edge: Edge) -> bool:
        source, target = (self.spec.tasks.get(end) for end in edge)
        return source is not None and target is not None and source.is_setup and target.is_teardown

    def _direct(self) -> set[Edge]:
        return {(t, below) for t in self.task_ids for below in self._tasks(self.spec.tasks[t].downstream_task_ids)}

    def _join(self, group: TaskGroupSpec, added: set[Edge], hidden: set[Edge]) -> None:
        """Replaces edges from or to each task of a group by one through the group's join."""
        leaves, roots = self._leaves(group), self._roots(group)
        above, below = upstream_join(group), downstream_join(group)
        for other in (self.spec.task_groups[other_id] for other_id in self._groups(group.downstream_group_ids)):
            other_roots, other_above = self._roots(other), upstream_join(other)
            added.add((below, other_above))
            added |= {(leaf, below) for leaf in leaves} | {(other_above, root) for root in other_roots}
            hidden |= {(leaf, root) for leaf in leaves for root in other_roots}
            hidden |= {(leaf, other_above) for leaf in leaves} | {(below, root) for root in other_roots}
        for task_id in self._tasks(group.downstream_task_ids):
            added |= {(below, task_id)} | {(leaf, below) for leaf in leaves}
            hidden |= {(leaf, task_id) for leaf in leaves}
        for task_id in self._tasks(group.upstream_task_ids):
            added |= {(task_id, above)} | {(above, root) for root in roots}
            hidden |= {(task_id, root) for root in roots}


def upstream_join(group: TaskGroupSpec) -> str:
    return f"{group.group_id}.upstream_join_id"


def downstream_join(group: TaskGroupSpec) -> str:
    return f"{group.group_id}.downstream_join_id"


def shown_name(shape: Shape, task: TaskSpec) -> str:
    """The display name, or the id without the group's prefix."""
    if task.task_display_name and task.task_display_name != task.task_id:
        return task.task_display_name
    group = shape.spec.task_groups.get(task.group_id) if task.group_id else None
    if group is not None and group.prefix_group_id:
        return task.task_id[len(group.group_id) + 1 :]
    return task.task_id


def setup_or_teardown(task: TaskSpec) -> str | None:
    return "setup" if task.is_setup else "teardown" if task.is_teardown else None
