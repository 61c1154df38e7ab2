"""How many instances a mapped task has.

Lengths come from the DAG file, or from what upstream instances pushed: the execution API notes on the pushing
instance how long the value is (`xcom_lengths`), so that the scheduler never reads an XCom. A length is a plain
function of the run, found again whenever it is needed and stored nowhere.

Airflow's `max_map_length` is enforced where the value is pushed: a longer one fails the pushing task, so a length
found here is always allowed. Rules: `airflow/serialization/definitions/{xcom_arg,mappedoperator}.py`,
`airflow/models/expandinput.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import prod

from gust.model.dag_spec import (
    ConcatLength,
    DagSpec,
    ExpandedKwarg,
    Expansion,
    Length,
    LiteralLength,
    TaskSpec,
    XComLength,
    ZipLength,
)
from gust.model.keys import UNMAPPED
from gust.model.state import FINISHED
from gust.model.task_instance import TaskInstance

Instances = Callable[[str], Mapping[int, TaskInstance]]
"""The instances of a task by map index, those without an item included."""


def expansions_of(spec: DagSpec, task: TaskSpec) -> tuple[Expansion, ...]:
    """What multiplies the task's instances: the mapped groups around it, outermost first, then its own expansion."""
    around = [spec.task_groups[group_id].expansion for group_id in task.mapped_groups]
    return tuple(expansion for expansion in (*around, task.expansion) if expansion is not None)


def map_length(spec: DagSpec, task: TaskSpec, instances_of: Instances) -> int | None:
    """How many instances the mapped `task` has; `None` while that is not known.

    The product over its mapped groups and its own arguments, as nested mapping multiplies.
    """
    return total_length(spec, expansions_of(spec, task), instances_of)


def group_length(spec: DagSpec, group_id: str, instances_of: Instances) -> int | None:
    """How many times the mapped group `group_id` is there, the mapped groups around it counted in."""
    nested = [*_outer_groups(spec, group_id), group_id]
    expansions = [spec.task_groups[g].expansion for g in nested]
    return total_length(spec, [e for e in expansions if e is not None], instances_of)


def total_length(spec: DagSpec, expansions: Iterable[Expansion], instances_of: Instances) -> int | None:
    lengths = [_length(spec, kwarg.length, instances_of) for expansion in expansions for kwarg in _kwargs_of(expansion)]
    known = [length for length in lengths if length is not None]
    return prod(known) if len(known) == len(lengths) else None


def is_literal(spec: DagSpec, task: TaskSpec) -> bool:
    """Whether the DAG file alone says how many instances there are: then they exist from the run's start."""
    return not expansion_sources(spec, task)


def expansion_sources(spec: DagSpec, task: TaskSpec) -> frozenset[str]:
    """Tasks whose XCom decides the length, by the task's own expansion or a mapped group around it."""
    return frozenset(source for e in expansions_of(spec, task) for source in e.upstream_task_ids())


def closest_expansion_sources(spec: DagSpec, task: TaskSpec) -> frozenset[str]:
    """Of these, those of the task's own expansion, or else of its innermost mapped group: the ones that must
    succeed.
    """
    expansions = expansions_of(spec, task)
    return expansions[-1].upstream_task_ids() if expansions else frozenset()


def _kwargs_of(expansion: Expansion) -> tuple[ExpandedKwarg, ...]:
    # `expand()` without arguments makes no instance at all, where an empty product would make one.
    return expansion.kwargs or (ExpandedKwarg(kwarg="", length=LiteralLength(length=0)),)


def _length(spec: DagSpec, length: Length, instances_of: Instances) -> int | None:
    match length:
        case LiteralLength(length=literal):
            return literal
        case XComLength(task_id=task_id, key=key):
            return _pushed_length(spec, task_id, key, instances_of(task_id))
        case ZipLength(parts=parts, has_fillvalue=has_fillvalue):
            of_parts = _all_known(_length(spec, part, instances_of) for part in parts)
            return None if of_parts is None else (max if has_fillvalue else min)(of_parts, default=0)
        case ConcatLength(parts=parts):
            of_parts = _all_known(_length(spec, part, instances_of) for part in parts)
            return None if of_parts is None else sum(of_parts)


def _pushed_length(spec: DagSpec, task_id: str, key: str, instances: Mapping[int, TaskInstance]) -> int | None:
    """What one task pushed: its length, or how many of a mapped task's instances pushed at all, once all are
    finished.
    """
    if spec.tasks[task_id].expansion is None:
        # One inside a mapped group too: Airflow looks for the length of an unmapped push and finds none there, so that
        # nothing can be mapped over such a task from outside its group.
        instance = instances.get(UNMAPPED)
        return instance.xcom_lengths.get(key) if instance else None
    if any(instance.state not in FINISHED for instance in instances.values()):
        return None
    return sum(key in instance.pushed_keys for index, instance in instances.items() if index != UNMAPPED)


def _all_known(lengths: Iterable[int | None]) -> list[int] | None:
    known: list[int] = []
    for length in lengths:
        if length is None:
            return None
        known.append(length)
    return known


def _outer_groups(spec: DagSpec, group_id: str) -> list[str]:
    """The groups around `group_id`, outermost first."""
    outer: list[str] = []
    parent = spec.task_groups[group_id].parent_group_id
    while parent is not None:
        outer.insert(0, parent)
        parent = spec.task_groups[parent].parent_group_id
    return outer
