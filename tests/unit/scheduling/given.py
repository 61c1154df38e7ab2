"""DAGs, runs and a small play of workers for the core's tests.

`dag("a >> b", "a >> c")` gives the DagSpec of that graph; `Play` commits what `decide` says into a dict, as the store
would, and lets workers report, so that a test reads as what happens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from gust.model.dag_run import DagRun
from gust.model.dag_spec import (
    DagSpec,
    ExpandedKwarg,
    Expansion,
    Length,
    LiteralLength,
    TaskGroupSpec,
    TaskSpec,
    TimetableSpec,
    XComLength,
)
from gust.model.state import UNFINISHED, DagRunState, DagRunType
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import ParkedTrigger, TaskInstance
from gust.rest_api.lists.shown_run import ShownRun
from gust.scheduling import retry, transition
from gust.scheduling.decide import decide
from gust.scheduling.decision import Decision, SendTask, SendTrigger
from gust.scheduling.past import Past
from gust.scheduling.run_view import NO_STATUS, state_name
from gust.scheduling.timers import Config
from gust.scheduling.transition import Transition

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def dag(
    *chains: str,
    groups: Mapping[str, TaskGroupSpec] | None = None,
    tasks: Mapping[str, Mapping[str, Any]] | None = None,
    **fields: Any,
) -> DagSpec:
    """`chains` like `a >> b >> c`; `tasks` gives single tasks fields of their TaskSpec."""
    upstream: dict[str, set[str]] = {}
    for chain in chains:
        names = [name.strip() for name in chain.split(">>")]
        for name in names:
            upstream.setdefault(name, set())
        for before, after in pairwise(names):
            upstream[after].add(before)
    for name in tasks or {}:
        upstream.setdefault(name, set())
    ordered = _topological(upstream)
    specs = {
        name: TaskSpec(
            task_id=name,
            upstream_task_ids=tuple(sorted(upstream[name])),
            downstream_task_ids=tuple(sorted(d for d, ups in upstream.items() if name in ups)),
            **dict((tasks or {}).get(name, {})),
        )
        for name in ordered
    }
    return DagSpec(
        dag_id="dag",
        timetable=TimetableSpec(type="airflow.timetables.simple.NullTimetable"),
        tasks=specs,
        task_groups=dict(groups or {}),
        **fields,
    )


def run_of(spec: DagSpec, **fields: Any) -> DagRun:
    given: dict[str, Any] = {
        "dag_id": spec.dag_id,
        "run_id": "run",
        "run_type": DagRunType.MANUAL,
        "state": DagRunState.RUNNING,
        "run_after": NOW,
        "queued_at": NOW,
        "start_date": NOW,
        "logical_date": NOW,
        "version_number": 1,
        "spec_key": "specs/x.json",
        "bundle_version": "b1",
    }
    return DagRun(**{**given, **fields})


def ti(task_id: str, state: S | None = None, map_index: int = -1, **fields: Any) -> TaskInstance:
    return TaskInstance(dag_id="dag", run_id="run", task_id=task_id, map_index=map_index, state=state, **fields)


def over_xcom(task_id: str, key: str = "return_value", kwarg: str = "x") -> Expansion:
    return over(**{kwarg: XComLength(task_id=task_id, key=key)})


def over_literal(length: int) -> Expansion:
    return over(x=LiteralLength(length=length))


def over(**lengths: Length) -> Expansion:
    return Expansion(kwargs=tuple(ExpandedKwarg(kwarg=kwarg, length=length) for kwarg, length in lengths.items()))


def _topological(upstream: Mapping[str, set[str]]) -> list[str]:
    ordered: list[str] = []
    while len(ordered) < len(upstream):
        ordered += [name for name, ups in upstream.items() if name not in ordered and ups <= set(ordered)]
    return ordered


class Play:
    """A run over time: `decide` commits, `work` lets workers and time go on."""

    def __init__(
        self, spec: DagSpec, *, config: Config | None = None, past: Past | None = None, **run_fields: Any
    ) -> None:
        self.spec = spec
        self.run = run_of(spec, **run_fields)
        self.config = config or Config()
        self.past = past
        self.now = NOW
        self.instances: dict[tuple[str, int], TaskInstance] = {}
        self.sent: list[TaskInstance] = []
        self.triggers: list[TaskInstance] = []
        self.tries: list[TaskInstance] = []
        self.last = Decision()

    def decide(self) -> Decision:
        """One decision, committed and performed."""
        self.last = decide(self.spec, self.run, self.instances, now=self.now, config=self.config, past=self.past)
        for moved in (*self.last.transitions, *self.last.stopped, *self.last.waiting):
            self.commit(moved)
        if self.last.run is not None:
            self.run = self.last.run
            if self.run.is_finished:
                self.check_count()
        for effect in self.last.effects:
            match effect:
                case SendTask(instance=instance):
                    self.sent.append(instance)
                    self.commit(transition.queue(instance, at=self.now))
                case SendTrigger(instance=instance):
                    self.triggers.append(instance)
                    self.commit(transition.queue_trigger(instance, at=self.now))
                case _:
                    pass
        return self.last

    def check_count(self) -> None:
        """A run that ends says of how many instances in each state it consists, as a list of them would."""
        shown = Counter(state_name(view.instance) for view in ShownRun(self.run, self.instances, self.spec).instances)
        in_hands = {S(name) for name in shown if name != NO_STATUS} & UNFINISHED
        assert self.run.instance_states == ({} if in_hands else shown)

    def commit(self, moved: Transition) -> None:
        key = (moved.after.task_id, moved.after.map_index)
        stored = self.instances.get(key, ti(key[0], map_index=key[1]))
        assert stored == moved.before, "the store would call this stale"
        if moved.finished_try is not None:
            self.tries.append(moved.finished_try)
        self.instances[key] = moved.after

    def start(self, task_id: str, map_index: int = -1) -> None:
        self.commit(transition.start(self.instances[task_id, map_index], at=self.now))

    def succeed(self, task_id: str, map_index: int = -1, *, length: int | None = None, pushed: bool = False) -> None:
        """The worker starts and succeeds; `length` and `pushed` note an XCom as the execution API does."""
        self.start(task_id, map_index)
        running = self.instances[task_id, map_index]
        running = replace(
            running,
            xcom_lengths={"return_value": length} if length is not None else {},
            pushed_keys=("return_value",) if pushed or length is not None else (),
        )
        self.instances[task_id, map_index] = running
        self.commit(transition.succeed(running, at=self.now))

    def fail(self, task_id: str, map_index: int = -1) -> None:
        """The worker starts and fails; tried again while tries remain."""
        self.start(task_id, map_index)
        running, task = self.instances[task_id, map_index], self.spec.tasks[task_id]
        if retry.is_eligible(running):
            due_at = retry.next_retry_at(task, running, logical_date=self.run.logical_date, failed_at=self.now)
            self.commit(transition.retry(running, at=self.now, due_at=due_at))
        else:
            self.commit(transition.fail(running, at=self.now))

    def skip(self, *task_ids: str) -> None:
        """A branch skipped them."""
        for task_id in task_ids:
            self.commit(transition.skip(ti(task_id), at=self.now, reason="The branch did not take it."))

    def defer(self, task_id: str, trigger: ParkedTrigger) -> None:
        self.start(task_id)
        self.commit(transition.defer(self.instances[task_id, -1], trigger=trigger))

    def wait(self, **delta: float) -> None:
        self.now += timedelta(**delta)

    def play(self, work: Callable[[TaskInstance], bool] = lambda _: True, *, rounds: int = 1000) -> DagRunState:
        """Let workers do everything that is sent, `work` telling who succeeds, until the run is over."""
        for _ in range(rounds):
            self.decide()
            if self.run.is_finished:
                return self.run.state
            for instance in [i for i in self.instances.values() if i.state is S.QUEUED]:
                act = self.succeed if work(instance) else self.fail
                act(instance.task_id, instance.map_index)
            due = [i.due_at for i in self.instances.values() if i.due_at is not None]
            self.now = max(self.now + SECOND, min(due, default=self.now))
        raise AssertionError(f"The run did not end: {self.states()} {dict(self.last.reasons)}")

    def states(self) -> dict[str, Any]:
        """State by task id; of expanded tasks a list by map index."""
        states: dict[str, Any] = {}
        for (task_id, map_index), instance in sorted(self.instances.items()):
            if map_index < 0:
                states[task_id] = _name(instance)
            else:
                states.setdefault(task_id, []).append(_name(instance))
        return states


def _name(instance: TaskInstance) -> str | None:
    return None if instance.state is None else instance.state.value
