"""A case that differs, made as small as it can be while it still differs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import fields

from tests.differential.plan import Case, Event, GroupPlan, Source, TaskPlan


def shrink(case: Case, differs: Callable[[Case], bool], *, budget: int = 600) -> Case:
    """The smallest found within `budget` replays; every one of its parts is then needed, if the budget sufficed."""
    smallest = case
    progress = True
    while progress:
        progress = False
        for smaller in _smaller(smallest):
            budget -= 1
            if budget < 0:
                return smallest
            if differs(smaller):
                smallest, progress = smaller, True
                break
    return smallest


def _smaller(case: Case) -> Iterator[Case]:
    yield from _fewer_events(case)
    for task in reversed(case.tasks):
        yield _without_task(case, task.name)
    for group in case.groups:
        yield _without_group(case, group.name)
    yield from _plainer_case(case)
    yield from _plainer_parts(case)


def _fewer_events(case: Case) -> Iterator[Case]:
    for size in (len(case.events) // 2, len(case.events) // 4, 1):
        if size == 0:
            continue
        for start in range(len(case.events) - size, -1, -size):
            yield _with(case, events=case.events[:start] + case.events[start + size :])


def _without_task(case: Case, name: str) -> Case:
    smaller = deepcopy(case)
    smaller.tasks = [task for task in smaller.tasks if task.name != name]
    for task in smaller.tasks:
        task.after = [each for each in task.after if each != name]
        task.over = list(map(_forget(name), task.over))
        task.kwargs_over = _forget(name)(task.kwargs_over) if task.kwargs_over else None
    for group in smaller.groups:
        group.over = _forget(name)(group.over) if group.over else None
    smaller.events = [event for event in smaller.events if event.task != name]
    for event in smaller.events:
        event.follows = None if event.follows is None else [each for each in event.follows if each != name]
    return smaller


def _forget(name: str) -> Callable[[Source], Source]:
    def forget(source: Source) -> Source:
        return ["literal", 2] if name in str(source) else source

    return forget


def _without_group(case: Case, name: str) -> Case:
    smaller = deepcopy(case)
    parent = next(group.parent for group in case.groups if group.name == name)
    smaller.groups = [group for group in smaller.groups if group.name != name]
    for inside in (*smaller.groups, *smaller.tasks):
        match inside:
            case TaskPlan() if inside.group == name:
                inside.group = parent
            case GroupPlan() if inside.parent == name:
                inside.parent = parent
            case _:
                pass
    return smaller


def _plainer_case(case: Case) -> Iterator[Case]:
    plain = Case(tasks=[])
    for name in ("runs", "fail_fast", "timeout", "catchup", "max_active_tasks"):
        if getattr(case, name) != getattr(plain, name):
            yield _with(case, **{name: getattr(plain, name)})


def _plainer_parts(case: Case) -> Iterator[Case]:
    """One field of one task, group or event at its default; a source that is simpler."""
    for part, plain in (("tasks", TaskPlan(name="")), ("groups", GroupPlan(name="")), ("events", Event(do=""))):
        for number, each in enumerate(getattr(case, part)):
            for field in fields(each):
                value, default = getattr(each, field.name), getattr(plain, field.name)
                if field.name in {"name", "do", "task", "index"} or value == default:
                    continue
                simpler = [default]
                if field.name == "outcome":
                    simpler = [] if value == "success" else ["success"]
                if field.name == "after" and len(value) > 1:
                    simpler = [[*value[:n], *value[n + 1 :]] for n in range(len(value))]
                if field.name in {"over", "kwargs_over"}:
                    simpler += _simpler_sources(value)
                for new in simpler:
                    smaller = deepcopy(case)
                    setattr(getattr(smaller, part)[number], field.name, new)
                    yield smaller


def _simpler_sources(value: list[object]) -> list[object]:
    if value and isinstance(value[0], list):
        return [value[:1]] if len(value) > 1 else [[inner] for inner in _simpler_sources(value[0])]
    match value:
        case ["literal", int(length)] if length > 1:
            return [["literal", length - 1]]
        case ["map" | "zip" | "zip_longest" | "concat", *parts]:
            return list(parts)
    return []


def _with(case: Case, **changed: object) -> Case:
    smaller = deepcopy(case)
    for name, value in changed.items():
        setattr(smaller, name, deepcopy(value))
    return smaller
