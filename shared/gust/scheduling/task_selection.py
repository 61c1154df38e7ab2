"""Which tasks of a DAG belong together when a person acts on some of them.

Rules: `get_flat_relatives`, `partial_subset` and `find_relevant_relatives` of Airflow 3.3.2, compared with them by test.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Set

from gust.model.dag_spec import DagSpec, TaskSpec
from gust.model.keys import UNMAPPED
from gust.scheduling.run_view import RunView

Marker = str | tuple[str, int]
"""A task with all its instances, or one instance by its map index."""


def all_relatives(spec: DagSpec, task_id: str, *, upstream: bool, depth: int | None = None) -> set[str]:
    """All tasks upstream, or downstream, of the task; with `depth`, those at most so many steps away."""
    found: set[str] = set()
    ends = {task_id}
    steps = 0
    while ends and (depth is None or steps < depth):
        tasks = [spec.tasks[end] for end in ends]
        ends = {r for task in tasks for r in (task.upstream_task_ids if upstream else task.downstream_task_ids)} - found
        found |= ends
        steps += 1
    return found


def select(
    spec: DagSpec,
    task_ids: Collection[str],
    *,
    downstream: bool = False,
    upstream: bool = False,
    exclude_original: bool = False,
    depth: int | None = None,
) -> set[str]:
    """The tasks, those upstream or downstream of them as asked for, and the setups and teardowns that they need to run
    again. `exclude_original`: without the tasks themselves, unless one is related to another. `depth`: at most so many
    steps up or down."""
    tasks = spec.tasks
    matched = {task_id for task_id in tasks if task_id in task_ids}
    also: set[str] = set()
    for task_id in matched:
        task = tasks[task_id]
        if downstream:
            for relative in all_relatives(spec, task_id, upstream=False, depth=depth):
                also.add(relative)
                if relative not in matched and not tasks[relative].is_setup and not tasks[relative].is_teardown:
                    also |= setups_and_teardowns(spec, relative)
        if upstream:
            for relative in all_relatives(spec, task_id, upstream=True, depth=depth):
                also.add(relative)
                if tasks[relative].is_setup:
                    also |= teardowns_of(spec, relative) - {task_id}
        elif not task.is_setup and not task.is_teardown:
            also |= setups_and_teardowns(spec, task_id)
        if task.is_setup and not downstream:
            also |= teardowns_of(spec, task_id)
    return also if exclude_original else also | matched


def setups_and_teardowns(spec: DagSpec, task_id: str) -> set[str]:
    """Setups upstream of the task whose teardown is downstream of it, or that have none; and their teardowns."""
    below = {t for t in all_relatives(spec, task_id, upstream=False) if spec.tasks[t].is_teardown}
    found: set[str] = set()
    for setup in all_relatives(spec, task_id, upstream=True):
        teardowns = teardowns_of(spec, setup)
        if spec.tasks[setup].is_setup and (not teardowns or below.intersection(spec.tasks[setup].downstream_task_ids)):
            found |= {setup} | (teardowns - {task_id})
    return found


def teardowns_of(spec: DagSpec, task_id: str) -> set[str]:
    return {t for t in spec.tasks[task_id].downstream_task_ids if spec.tasks[t].is_teardown}


def relatives_in_run(view: RunView, markers: Iterable[Marker], *, upstream: bool) -> set[Marker]:
    """Relatives of the markers in a run: of one mapped instance, within its mapped group, those of its own turn."""
    spec = view.spec
    plain = {marker for marker in markers if isinstance(marker, str)}
    found: set[Marker] = set(_whole(spec, plain, upstream))
    waiting = [marker for marker in markers if not isinstance(marker, str)]
    seen = set(waiting)
    while waiting:
        task_id, map_index = waiting.pop()
        task = spec.tasks.get(task_id)
        if task is None:
            continue
        if not task.is_mapped:
            found |= _whole(spec, {task_id}, upstream)
            continue
        for relative in all_relatives(spec, task_id, upstream=upstream):
            if relative in found:
                continue
            indexes = _turn(view, task, map_index, spec.tasks[relative])
            if indexes is None:
                found |= {relative} | _whole(spec, {relative}, upstream)
                continue
            instances = {(relative, index) for index in indexes}
            found |= instances
            waiting += instances - seen
            seen |= instances
    return found


def _whole(spec: DagSpec, task_ids: Set[str], upstream: bool) -> set[str]:
    return select(spec, task_ids, upstream=upstream, downstream=not upstream, exclude_original=True)


def _turn(view: RunView, task: TaskSpec, map_index: int, relative: TaskSpec) -> Iterable[int] | None:
    """The relative's map indexes that belong to instance `map_index` of the mapped task; `None`: all of them."""
    length = view.map_length(task)
    common = [group for group in relative.mapped_groups if group in task.mapped_groups]
    if not length or not common or map_index == UNMAPPED:
        return None
    turns = view.group_length(common[-1])
    if not turns:
        return None
    turn = map_index * turns // length
    if relative.expansion is None and relative.mapped_groups[-1] == common[-1]:
        return [turn]
    per_turn = length // turns
    return range(turn * per_turn, (turn + 1) * per_turn)
