"""Random DAGs, and random things that happen to them. Everything follows from the random generator that is given."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from gust.model.dag_spec import DagSpec
from gust.model.state import TriggerRule
from tests.differential.picture import Picture
from tests.differential.plan import Case, Event, GroupPlan, Source, TaskPlan
from tests.differential.worker import mapped_over

RULES = [rule.value for rule in TriggerRule]
MOST_TASKS = 7


def draw_dag(random: Random) -> Case:
    """A case without events. Not all that is drawn here is a DAG that Airflow allows."""
    traits = {trait for trait in TRAITS if random.random() < TRAITS[trait]}
    case = Case(tasks=[])
    if "groups" in traits:
        case.groups = _groups(random, traits)
    case.fail_fast = "fail_fast" in traits
    case.timeout = random.choice([90, 300]) if "timeout" in traits else None
    if "past" in traits:
        case.runs, case.catchup = 2, random.random() < 0.5
    for number in range(random.randint(2, MOST_TASKS)):
        case.tasks.append(_task(random, case, traits, f"t{number}"))
    if "limits" in traits:
        _limit(random, case)
    if case.groups:
        _map_groups(random, case, traits)
    if "lengths" in traits:
        _map_over_xcoms(random, case)
    return case


TRAITS = {
    "rules": 0.75,
    "groups": 0.45,
    "mapped_groups": 0.75,
    "mapped": 0.5,
    "setups": 0.3,
    "skips": 0.45,
    "empty": 0.3,
    "retries": 0.35,
    "past": 0.15,
    "fail_fast": 0.1,
    "timeout": 0.08,
    "limits": 0.12,
    "lengths": 0.12,
    "deferred": 0.1,
}
"""How likely a DAG has any of it."""


def _groups(random: Random, traits: set[str]) -> list[GroupPlan]:
    groups = [GroupPlan(name="g0")]
    if random.random() < 0.35:
        groups.append(GroupPlan(name="g1", parent=random.choice([None, "g0"])))
    return groups


def _task(random: Random, case: Case, traits: set[str], name: str) -> TaskPlan:
    before = [task.name for task in case.tasks]
    plan = TaskPlan(name=name)
    if before and random.random() < 0.9:
        plan.after = sorted(random.sample(before, min(len(before), random.choice([1, 1, 1, 2, 2, 3]))))
    if "rules" in traits and random.random() < 0.6:
        plan.rule = random.choice(RULES)
    if case.groups and random.random() < 0.6:
        plan.group = random.choice(case.groups).name
    if "skips" in traits and random.random() < 0.35:
        plan.kind = random.choice(["branch", "short"])
        plan.ignores_rules = random.random() < 0.5
    elif "empty" in traits and random.random() < 0.3:
        plan.kind = "empty"
    if "setups" in traits and random.random() < 0.5:
        if random.random() < 0.5:
            plan.is_setup = True
        elif before:
            plan.is_teardown, plan.fails_run = True, random.random() < 0.3
            if plan.rule == "all_success":
                plan.rule = "all_done_setup_success"
    if "mapped" in traits and random.random() < 0.4:
        _map(random, case, plan)
    if "deferred" in traits and plan.kind == "work" and random.random() < 0.5:
        plan.begins_deferred = True
    if "retries" in traits and random.random() < 0.5:
        plan.retries = random.choice([1, 2])
        plan.backoff = random.choice([0, 0, 2.0])
    if "past" in traits and random.random() < 0.6:
        plan.depends_on_past = True
        plan.wait_for_downstream = random.random() < 0.4
        plan.ignore_first_depends_on_past = random.random() < 0.7
    if "past" in traits and random.random() < 0.15:
        plan.starts = 1
    return plan


def _limit(random: Random, case: Case) -> None:
    """No two tasks of one weight: Airflow takes any of them first. Either limit, not both: behind the first
    `max_active_tasks` that wait Airflow does not look, and Gust does (docs/airflow-differences.md)."""
    weights = random.sample(range(1, 50), len(case.tasks))
    for task, weight in zip(case.tasks, weights, strict=True):
        task.weight = weight
    if random.random() < 0.5:
        case.max_active_tasks = random.choice([1, 2, 3])
    else:
        for task in case.tasks:
            task.max_per_run = random.choice([None, None, 1, 2])


def _map(random: Random, case: Case, plan: TaskPlan) -> None:
    sources = [_source(random, case.tasks) for _ in range(random.choice([1, 1, 1, 2]))]
    if random.random() < 0.2:
        plan.kwargs_over = sources[0]
    else:
        plan.over = sources


def _source(random: Random, before: Sequence[TaskPlan]) -> Source:
    if not before or random.random() < 0.35:
        return ["literal", random.choice([0, 1, 2, 2, 3])]
    xcoms: list[Source] = [["xcom", random.choice(before).name] for _ in range(2)]
    kind = random.choice(["xcom", "xcom", "xcom", "xcom", "map", "zip", "zip_longest", "concat"])
    match kind:
        case "xcom":
            return xcoms[0]
        case "map":
            return ["map", xcoms[0]]
        case _:
            return [kind, *xcoms]


def _map_groups(random: Random, case: Case, traits: set[str]) -> None:
    """A group maps over what comes before its first task."""
    if "mapped_groups" not in traits:
        return
    for group in case.groups:
        first = next((n for n, task in enumerate(case.tasks) if _is_in(case, task, group.name)), None)
        if first is not None and random.random() < 0.75:
            group.over = _source(random, list(case.tasks[:first]))


def _map_over_xcoms(random: Random, case: Case) -> None:
    """Nothing but what a clear can give another length."""
    for number, task in enumerate(case.tasks[1:], start=1):
        if random.random() < 0.4:
            continue
        task.over, task.kwargs_over = [["xcom", random.choice(case.tasks[:number]).name]], None


def _is_in(case: Case, task: TaskPlan, name: str) -> bool:
    group = task.group
    while group is not None:
        if group == name:
            return True
        group = next(each for each in case.groups if each.name == group).parent
    return False


# --- what happens -----------------------------------------------------------------------------------------------------

MOODS = [
    {"success": 8, "retry": 1, "skip": 1, "defer": 0.4, "reschedule": 0.4},
    {"success": 4, "retry": 3, "fail": 1, "skip": 2},
    {"success": 30, "retry": 1},
]


class Fate:
    """Draws what happens next, given how things stand."""

    def __init__(self, random: Random, case: Case, spec: DagSpec, *, clears: bool = True) -> None:
        self._random = random
        self._case = case
        self._spec = spec
        self._plans = {task.name: task for task in case.tasks}
        self._mood = random.choice(MOODS)
        self._clears = clears and random.random() < 0.5
        self._sources = mapped_over(spec)
        self._pauses = random.random() < 0.1
        self._is_paused = False

    def next_events(self, picture: Picture) -> list[Event]:
        """One step's: some of what can happen now; none where nothing can."""
        random = self._random
        if self._pauses and random.random() < 0.3:
            return [self._pause_or_unpause()]
        if (
            self._clears
            and random.random() < (0.25 if self._sources else 0.12)
            and (touched := [k for k, i in picture.instances.items() if i.state])
        ):
            # What is mapped over may have another length the next time: only then are instances removed, or come to.
            sources = [key for key in touched if key[1] in self._sources]
            if sources and random.random() < 0.6:
                run, task, index = random.choice(sources)
                return [Event(do="clear", run=run, task=task, index=index, only=random.choice(["", "down", "down"]))]
            run, task, index = random.choice(touched)
            if random.random() < 0.3:
                state = random.choice(["success", "failed", "skipped"])
                return [Event(do="mark", run=run, task=task, index=index, outcome=state)]
            return [Event(do="clear", run=run, task=task, index=index, only=random.choice(["", "all", "down", "down"]))]
        open_ones = [key for key, instance in picture.instances.items() if instance.state in OPEN]
        waits = any(instance.state in WAITING for instance in picture.instances.values())
        timed = self._case.timeout is not None and random.random() < 0.1
        if (waits and random.random() < (0.3 if open_ones else 1)) or timed:
            return [Event(do="wait", seconds=random.choice(PAUSES))]
        if not open_ones:
            return [self._pause_or_unpause()] if self._is_paused else []
        chosen = random.sample(open_ones, min(len(open_ones), random.choice([1, 2, 3, 5, 8])))
        return [event for key in chosen for event in self._work(key, picture.instances[key].state)]

    def _pause_or_unpause(self) -> Event:
        self._is_paused = not self._is_paused
        return Event(do="pause" if self._is_paused else "unpause")

    def _work(self, key: tuple[int, str, int], state: str | None) -> list[Event]:
        run, task, index = key
        at = {"run": run, "task": task, "index": index}
        match state:
            case "deferred":
                return [Event(do="fire", **at)]  # type: ignore[arg-type] # the names are Event's own
            case "restarting":
                return [Event(do="die", **at)]  # type: ignore[arg-type]
            case "running":
                return [self._end(at)]
            case _ if self._random.random() < 0.2:
                return [Event(do="start", **at)]  # type: ignore[arg-type]
        return [Event(do="start", **at), self._end(at)]  # type: ignore[arg-type]

    def _end(self, at: dict[str, object]) -> Event:
        random, plan = self._random, self._plans[str(at["task"])]
        if random.random() < 0.03:
            return Event(do="die", **at)  # type: ignore[arg-type]
        outcome = random.choices(list(self._mood), list(self._mood.values()))[0]
        follows: list[str] | None = None
        if plan.kind == "branch":
            direct = self._spec.tasks[plan.name].downstream_task_ids
            follows = sorted(random.sample(direct, random.randint(0, len(direct)))) if direct else None
        if plan.kind == "short" and random.random() < 0.6:
            follows = []
        length = random.choice([0, 1, 2, 2, 3])
        return Event(do="end", outcome=outcome, length=length, follows=follows, **at)  # type: ignore[arg-type]


PAUSES = [31.0137, 62.0291, 401.0411]
"""Seconds; they never add up to a moment that something is due at, which Airflow takes for too early."""

OPEN = {"queued", "running", "deferred", "restarting"}
WAITING = {"up_for_retry", "up_for_reschedule"}
