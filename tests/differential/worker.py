"""A worker's requests to either side, computed from the DAG once: the tasks that a branch skips or a clear selects."""

from __future__ import annotations

from typing import Any

from gust.model.dag_spec import DagSpec
from tests.differential.plan import Case, Event

Target = str | tuple[str, int]


def run_id(number: int) -> str:
    return f"run_{number}"


def mapped_over(spec: DagSpec) -> frozenset[str]:
    """Tasks whose results something maps over: the SDK tells the length of what they push."""
    expansions = [task.expansion for task in spec.tasks.values()] + [g.expansion for g in spec.task_groups.values()]
    return frozenset(task_id for expansion in expansions if expansion for task_id in expansion.upstream_task_ids())


def skips(case: Case, spec: DagSpec, event: Event) -> tuple[dict[str, Any] | None, list[Target]]:
    """The XCom `skipmixin_key` and the targets of `skip-downstream`, as `SkipMixin` and `ShortCircuitOperator` make
    them. A mapped instance leaves the skipping to the XCom."""
    plan = next(task for task in case.tasks if task.name == event.task)
    task = spec.tasks[event.task]
    follows = event.follows
    if plan.kind not in {"branch", "short"} or follows is None or not task.downstream_task_ids:
        return None, []
    if plan.kind == "branch":
        followed = set(follows) | {below for each in follows for below in downstream(spec, each)}
        direct = task.downstream_task_ids
        decision = {"followed": [each for each in direct if each in followed]}
        return decision, [(each, event.index) for each in direct if each not in followed]
    below = downstream(spec, event.task) if plan.ignores_rules else task.downstream_task_ids
    skipped = sorted(each for each in below if not spec.tasks[each].is_teardown)
    return ({"skipped": skipped}, list(skipped)) if skipped else (None, [])


def cleared(spec: DagSpec, event: Event) -> frozenset[Target]:
    """What is cleared: whole tasks, and single instances."""
    match event.only:
        case "down":
            return frozenset({event.task, *downstream(spec, event.task)})
        case "all":
            return frozenset({event.task})
    return frozenset({(event.task, event.index)})


def downstream(spec: DagSpec, task_id: str) -> set[str]:
    found: set[str] = set()
    ends = [task_id]
    while ends:
        for below in spec.tasks[ends.pop()].downstream_task_ids:
            if below not in found:
                found.add(below)
                ends.append(below)
    return found
