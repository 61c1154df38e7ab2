"""A day of runs in bad weather: functions die between any two calls, queues, the stream and EventBridge lose, repeat and
reorder.

Everything is the real thing but the table, the queues and the clock, which are in memory. Each seed is a day of its
own; a failing one fails again.
"""

from __future__ import annotations

import heapq
import itertools
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from gust.errors import Conflict, GustError, NotFound, StaleTaskInstance
from gust.model.asset import Asset, AssetQueue, AssetUpdate
from gust.model.awaited import resource_of
from gust.model.dag_run import DagRun
from gust.model.dag_spec import (
    DagSpec,
    ExpandedKwarg,
    Expansion,
    LiteralLength,
    TaskGroupSpec,
    TaskSpec,
    TimetableSpec,
    XComLength,
)
from gust.model.dispatch import Dispatch, Scope
from gust.model.event_rule import EventFile, EventRule
from gust.model.keys import DagRunKey
from gust.model.pool import DEFAULT_POOL, Pool, of_pool, of_task
from gust.model.state import DagRunState
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import ParkedTrigger
from gust.model.worker_group import WorkerGroup
from gust.model.workload import CallbackWorkload, TaskWorkload, TriggerWorkload, Wake, WakeDag, WakeLimit, WakeRun
from gust.model.xcom import XCom
from gust.ports.clock import ManualClock
from gust.scheduling.added_run import AssetRun
from gust.scheduling.quick_look import Change
from gust.scheduling.slots import changes_of_limits
from gust.scheduling.transition import Transition
from gust.services.assets.asset_references import change_references
from gust.services.events.receive_events import receive_events
from gust.services.memory_of_runs import MemoryOfRuns
from gust.services.runs.create_asset_runs import Most, create_asset_runs
from gust.services.runs.create_dag_run import create_due_runs
from gust.services.scheduler.advance import advance
from gust.services.scheduler.follow import follow, ring
from gust.services.scheduler.grant_slots import grant_slots
from gust.services.scheduler.tick import tick
from gust.services.scheduler.wake_waiting import wake_waiting
from gust.services.specs import load_spec
from gust.services.worker import report_task_instance, report_trigger
from gust.services.worker.await_events import await_events
from gust.services.worker.run_callback import claim_callback, end_callback
from gust.services.worker.start_task_instance import start_task_instance
from gust.store.memory import MemoryStore
from tests.world import START, World, chain

SEEDS = 8
LONGEST_DAY = timedelta(hours=20)
WAKING = {
    *("succeed", "fail", "stop", "retry", "reschedule", "defer", "resume", "fail_trigger", "lose", "restart", "grant"),
    *("await_input", "resume_answered", "answer"),
}
"""Edges that the stream's filter lets through; tests/template holds the template to them."""


class Died(Exception):
    """The function was killed here. Not an error of Gust's: nobody may catch it."""


class Table:
    """The store, where any call may be the last of the function that makes it: before its write or after it."""

    def __init__(self, day: Day, store: Any) -> None:
        self._day = day
        self._store = store

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._store, name)

        def call_or_die(*args: Any, **kwargs: Any) -> Any:
            self._day.may_die()
            answer = call(*args, **kwargs)
            self._day.may_die()
            return answer

        return call_or_die

    def create_run(self, run: DagRun, **kwargs: Any) -> None:
        self._store.create_run(run, **kwargs)
        self._day.on_change(run.key)

    def move(self, change: Transition) -> None:
        self._day.may_die()
        before = self._store.get_instance(change.before.key)
        self._store.move(change)
        if change.callback is not None:
            self._day.lost.add((change.after.run_id, change.callback.callback_id.removeprefix("task/")))
        after = self._store.get_instance(change.before.key)
        if change.edge in WAKING and after != before:
            moved = change.after
            self._day.on_change(
                moved.key.run, Change(moved.task_id, moved.map_index, change.edge, moved.dispatch_count)
            )
        for limit, change_of_slots in changes_of_limits(before or change.before, after).items():
            if change_of_slots < 0:
                self._day.on_given_back(limit)
        self._day.may_die()

    def grant(self, change: Transition, **kwargs: Any) -> None:
        self._day.may_die()
        self._store.grant(change, **kwargs)
        self._day.on_change(change.after.key.run)
        self._day.may_die()

    def put_single_events(self, updates: Sequence[AssetUpdate]) -> None:
        """In transactions of one event, between which the function may die."""
        for update in updates:
            self._day.may_die()
            self._store.put_single_events([update])
            for delivery in update.deliveries:
                self._day.on_queued_event(delivery.dag_id)
            self._day.may_die()

    def close_part(self, seen: AssetQueue, **part: datetime) -> AssetQueue:
        self._day.may_die()
        closed = self._store.close_part(seen, **part)
        self._day.on_queued_event(seen.dag_id)
        self._day.may_die()
        return closed

    def create_asset_run(self, made: AssetRun) -> None:
        self._day.may_die()
        self._store.create_asset_run(made)
        self._day.on_change(made.run.key)
        if isinstance(made.consuming, AssetQueue) and made.consuming.part_from is not None:
            self._day.on_queued_event(made.run.dag_id)
        self._day.may_die()

    def move_all(self, changes: Sequence[Transition]) -> list[Transition]:
        stale = []
        for change in changes:
            try:
                self.move(change)
            except StaleTaskInstance:
                stale.append(change)
        return stale


class Queues:
    """Messages come once, twice, late or never."""

    def __init__(self, day: Day) -> None:
        self._day = day

    def send_tasks(self, workloads: Sequence[TaskWorkload]) -> list[TaskWorkload]:
        refused = [workload for workload in workloads if self._day.happens(0.05)]
        for workload in workloads:
            if workload not in refused:
                self._day.deliver(lambda workload=workload: self._day.work(workload))
        self._day.may_die()
        return refused

    def has_backlog(self, groups: Iterable[WorkerGroup] = ()) -> bool:
        return True

    def send_callbacks(self, workloads: Sequence[CallbackWorkload]) -> list[CallbackWorkload]:
        refused = [workload for workload in workloads if self._day.happens(0.05)]
        for workload in workloads:
            if workload not in refused:
                self._day.deliver(lambda workload=workload: self._day.call_back(workload))
        self._day.may_die()
        return refused

    def send_triggers(self, workloads: Sequence[TriggerWorkload], *, delay: float = 0) -> None:
        for workload in workloads:
            self._day.deliver(lambda workload=workload: self._day.run_trigger(workload), delay=delay)
        self._day.may_die()

    def wake(self, wake: Wake, *, delay: float = 0) -> None:
        match wake:
            case WakeRun(key=key, is_timer=is_timer):
                self._day.deliver(lambda: self._day.look(key, is_timer=is_timer), delay=delay)
            case WakeLimit(limit=limit):
                self._day.deliver(lambda: self._day.on_given_back(limit), delay=delay)
            case WakeDag(dag_id=dag_id):
                self._day.deliver(lambda: self._day.make_runs(dag_id), delay=delay)
        self._day.may_die()

    def wake_all(self, wakes: Sequence[tuple[Wake, float]]) -> None:
        for wake, delay in wakes:
            self.wake(wake, delay=delay)


@dataclass(frozen=True)
class Job:
    """A job outside, for which a deferred task waits."""

    name: str
    began: datetime
    ends: datetime
    shown: datetime
    """When its service's API says that it has ended: after the event, or before."""

    @property
    def event(self) -> dict[str, Any]:
        detail = {"jobName": "etl", "jobRunId": self.name, "state": "SUCCEEDED"}
        return {"source": "aws.glue", "detail-type": "Glue Job State Change", "detail": detail}


class Day:
    def __init__(self, seed: int, spec: DagSpec, *, badness: float) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - it is to be repeatable
        self.badness = badness
        clock = ManualClock(START)
        self.world = World(clock=clock, store=MemoryStore(clock=clock))
        object.__setattr__(self.world.services, "wakes_in", "eu-west-1")
        if spec.timetable.asset_expression is None:
            self.world.given_dag(spec)
        else:
            self._given_listener(spec)
        for pool in POOLS:
            self.world.store.put_pool(None, pool)
        self._agenda: list[tuple[datetime, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.memories = [MemoryOfRuns(), MemoryOfRuns()]
        self.started: Counter[tuple[str, str, int, int, int]] = Counter()
        """(run, task, map index, try, dispatch) → how often a worker began it."""
        self.succeeded: set[tuple[str, str, int]] = set()
        self.called: Counter[tuple[str, str]] = Counter()
        """(run, callback) → how often a worker called it."""
        self.lost: set[tuple[str, str]] = set()
        """(run, callback) of tries that were lost."""
        self.deaths: Counter[tuple[str, str]] = Counter()
        """Of workers that had its message."""
        self.jobs: dict[Dispatch, Job] = {}
        """Dispatch of a deferred task → what it waits for."""
        self.noticed: list[timedelta] = []
        """From each job's end until its task goes on."""
        store = self.world.store
        object.__setattr__(self.world.services, "store", Table(self, store))
        object.__setattr__(self.world.services, "queues", Queues(self))
        self.store = store
        self.keys: list[DagRunKey] = []

    # -- the weather ---------------------------------------------------------------------------------------------------

    def happens(self, probability: float) -> bool:
        return self.chance.random() < probability * self.badness

    def may_die(self) -> None:
        if self.happens(0.02):
            raise Died

    def on_change(self, key: DagRunKey, change: Change | None = None) -> None:
        """The stream tells any of the scheduler's processes. A batch that its function died on comes again, until it is
        given up."""

        def told() -> None:
            self._any_process()
            try:
                follow(self.world.services, key, None if change is None else [change])
            except Died:
                if not self.happens(0.3):
                    self.at(1.0, told)

        for _ in range(0 if self.happens(0.15) else 2 if self.happens(0.1) else 1):
            self.at(0.01 + (self.chance.random() * 5 if self.happens(0.1) else 0), told)

    def on_given_back(self, limit: str) -> None:
        def told() -> None:
            try:
                grant_slots(self.world.services, limit)
            except Died:
                if not self.happens(0.3):
                    self.at(1.0, told)

        if not self.happens(0.15):
            self.at(0.01, told)

    def deliver(self, what: Callable[[], None], *, delay: float = 0) -> None:
        for _ in range(0 if self.happens(0.15) else 2 if self.happens(0.15) else 1):
            self.at(delay + self.chance.random() * (300 if self.happens(0.05) else 1), what)

    def at(self, seconds: float, what: Callable[[], None]) -> None:
        when = self.world.clock.now() + timedelta(seconds=seconds)
        heapq.heappush(self._agenda, (when, next(self._order), what))

    def on_queued_event(self, dag_id: str) -> None:
        """The stream tells the scheduler that an event waits for a DAG."""
        for _ in range(0 if self.happens(0.15) else 2 if self.happens(0.1) else 1):
            self.at(0.01 + self.chance.random(), lambda: self.make_runs(dag_id))

    def from_outside(self, event: dict[str, Any]) -> None:
        """EventBridge delivers to the queue of events, at least once and in any order. A message that fails, or on which its
        function dies, comes again."""
        for number in range(2 if self.happens(0.3) else 1):
            body, name = json.dumps(event), f"m{next(self._order)}-{number}"

            def receive(body: str = body, name: str = name) -> None:
                try:
                    failed = receive_events(self.world.services, {name: body})
                except Died:
                    failed = [name]
                # Done, but Lambda does not hear of it.
                if failed or self.happens(0.1):
                    self.at(60, lambda: receive(body, name))

            self.at(self.chance.random() * (1800 if self.happens(0.2) else 2), receive)

    # -- who lives in it -----------------------------------------------------------------------------------------------

    def look(self, key: DagRunKey, *, is_timer: bool) -> None:
        with suppress(Died):
            self._any_process()
            (ring if is_timer else advance)(self.world.services, key)

    def make_runs(self, dag_id: str) -> None:
        """A run holds few events here, so that most days have a batch that is divided."""
        with suppress(Died):
            dag = self.store.get_dag(dag_id)
            if dag is not None and dag.is_asset_triggered:
                create_asset_runs(self.world.services, dag, Most(events=self.chance.randint(1, 3)))
            else:
                create_due_runs(self.world.services, dag_id)

    def _advance(self, key: DagRunKey) -> None:
        self._any_process()
        advance(self.world.services, key)

    def _any_process(self) -> None:
        """One of two, which remember each what they saw. Now and then it has just begun, and remembers nothing."""
        number = self.chance.randrange(len(self.memories))
        if self.happens(0.1):
            self.memories[number] = MemoryOfRuns()
        object.__setattr__(self.world.services, "memory", self.memories[number])

    def tick_every_minute(self) -> None:
        with suppress(Died):
            tick(self.world.services)
        self.at(60, self.tick_every_minute)

    def work(self, workload: TaskWorkload) -> None:
        """One worker and one message."""
        now = self.world.clock.now()
        dispatch = self.world.services.tokens.dispatch_of(workload.token, now=now)
        hostname = f"worker-{next(self._order)}"
        with suppress(Died, Conflict, NotFound):
            start_task_instance(self.world.services, dispatch, hostname=hostname, pid=1, at=now)
            key = workload.key
            assert (key.run_id, key.task_id, key.map_index) not in self.succeeded, f"{key} runs again after a success"
            self.started[(key.run_id, key.task_id, key.map_index, workload.try_number, workload.dispatch_count)] += 1
            if not self.happens(0.1):  # else it is killed
                self.at(self.chance.random() * 40, lambda: self._report(dispatch))

    def call_back(self, workload: CallbackWorkload) -> None:
        """A worker and a message for a callback. One that dies gets its message again once it cannot live any more."""
        shown = DagRunKey(workload.dag_id, workload.run_id).task_instance("")
        caller = Dispatch(shown, 0, workload.dispatch_count, Scope.CALLBACK, callback_id=workload.callback_id)
        services, name = self.world.services, (workload.run_id, workload.callback_id)
        try:
            claim_callback(services, caller, hostname=f"worker-{next(self._order)}", at=self.world.clock.now())
            self.called[name] += 1
            self.may_die()
            end_callback(services, caller, at=self.world.clock.now(), output=None)
        except Died:
            self.deaths[name] += 1
            self.at(960, lambda: self.call_back(workload))
        except (Conflict, NotFound):
            return

    def _report(self, dispatch: Dispatch) -> None:
        """What the task does at its end. One whose name says so pushes a list, or defers first."""
        now = self.world.clock.now()
        services, key = self.world.services, dispatch.key
        instance = self.store.get_instance(key)
        with suppress(Died, Conflict, GustError):
            if self.happens(0.15):
                report_task_instance.report_retry(services, dispatch, at=now)
            elif key.task_id.startswith("defers") and instance is not None and instance.next_method is None:
                trigger = ParkedTrigger(classpath="x.Trigger", kwargs={}, next_method="go_on")
                report_task_instance.report_deferral(services, dispatch, trigger=trigger)
            elif key.task_id.startswith("waits") and instance is not None and instance.next_method is None:
                self._defer_to_job(dispatch)
            else:
                if key.task_id == "lists":
                    value = list(range(5))
                    pushed = XCom(key=key, name="return_value", value=value, timestamp=now, mapped_length=len(value))
                    services.store.put_xcom(pushed)
                report_task_instance.report_success(services, dispatch, at=now)
        instance = self.store.get_instance(dispatch.key)
        if instance is not None and instance.state is S.SUCCESS:
            self.succeeded.add((dispatch.key.run_id, dispatch.key.task_id, dispatch.key.map_index))

    def _defer_to_job(self, dispatch: Dispatch) -> None:
        """Start a job and wait for it. Its event may come before the deferral is written, twice, late or never."""
        now, services = self.world.clock.now(), self.world.services
        ends = now if self.happens(0.1) else now + timedelta(seconds=self.chance.random() * 3000)
        shown = ends + timedelta(seconds=self.chance.random() * 5)
        job = Job(f"jr_{next(self._order)}", began=now, ends=ends, shown=shown)
        self.jobs[Dispatch(dispatch.key, dispatch.try_number, dispatch.dispatch_count, Scope.TRIGGER)] = job
        kwargs = {"job_name": "etl", "run_id": job.name}
        parked = await_events(services, dispatch, ParkedTrigger(classpath=GLUE_JOB, kwargs=kwargs, next_method="go_on"))
        assert parked.looks_seldom
        resource = resource_of(job.event)
        assert resource is not None
        if ends == now:
            self.hear(resource)
        self.deliver(lambda: self.hear(resource), delay=(ends - now).total_seconds())
        report_task_instance.report_deferral(services, dispatch, trigger=parked)

    def hear(self, resource: str) -> None:
        """The scheduler takes an event of AWS off its queue."""
        try:
            wake_waiting(self.world.services, resource)
        except Died:
            if not self.happens(0.3):
                self.at(30, lambda: self.hear(resource))

    def _poll(self, workload: TriggerWorkload, dispatch: Dispatch, job: Job, *, looks: int) -> None:
        """It fires, or it is parked, for longer and longer. One that an event has woken leaves its parked message alone."""
        now, services = self.world.clock.now(), self.world.services
        with suppress(Died, Conflict, NotFound):
            if now >= job.shown:
                report_trigger.report_fired(services, dispatch, event=job.name)
                self.noticed.append(now - job.ends)
            elif not workload.woken:
                wake_at = now + max(timedelta(seconds=30), (now - job.began) / 2)
                report_trigger.park(services, dispatch, wake_at=wake_at, sleeps_passed=1, is_poller=True)
            elif looks:
                self.at(8, lambda: self._poll(workload, dispatch, job, looks=looks - 1))

    def run_trigger(self, workload: TriggerWorkload) -> None:
        """It fires, or it sleeps and is parked."""
        dispatch = Dispatch(workload.key, workload.try_number, workload.dispatch_count, Scope.TRIGGER)
        services = self.world.services
        if (job := self.jobs.get(dispatch)) is not None:
            self._poll(workload, dispatch, job, looks=workload.woken)
            return
        with suppress(Died, Conflict, NotFound):
            if self.chance.random() < 0.5:
                report_trigger.report_fired(services, dispatch, event="fired")
            else:
                wake_at = self.world.clock.now() + timedelta(seconds=self.chance.random() * 900)
                report_trigger.park(services, dispatch, wake_at=wake_at, sleeps_passed=1, is_poller=False)

    # -- the day -------------------------------------------------------------------------------------------------------

    def trigger(self, run_id: str) -> None:
        key = DagRunKey("etl", run_id)
        while self.store.get_run(key) is None:
            with suppress(Died):
                self.world.trigger(run_id, logical_date=START - timedelta(days=365 - len(self.keys)))
        self.keys.append(key)

    def pass_by(self) -> Iterator[None]:
        """One happening after the other, until all runs are finished."""
        self.at(0, self.tick_every_minute)
        while not all(self.is_over(self.run(key)) for key in self.keys):
            self._go_on()
            yield

    def _go_on(self) -> None:
        when, _, what = heapq.heappop(self._agenda)
        assert when < START + LONGEST_DAY, self.story()
        self.world.clock.set(when)
        what()

    def pass_hours(self, hours: int) -> None:
        self.at(0, self.tick_every_minute)
        while self._agenda[0][0] < START + timedelta(hours=hours):
            self._go_on()

    def _given_listener(self, spec: DagSpec) -> None:
        """A DAG that waits for objects."""
        world = self.world
        world.given_dag(spec, is_asset_triggered=True)
        world.store.put_asset(Asset(name=RAW, uri=RAW))
        change_references(world.services, None, spec, at=START)

    def is_over(self, run: DagRun) -> bool:
        return run.is_finished and not run.calls_back

    def run(self, key: DagRunKey) -> DagRun:
        run = self.store.get_run(key)
        assert run is not None
        return run

    def story(self) -> str:
        states = [state for key in self.keys if (state := self.store.load_run(key)) and not state.run.is_finished]
        return "\n".join(f"{state.run}: {list(state.instances.values())}" for state in states)


def patient(spec: DagSpec) -> DagSpec:
    """As many tries as it takes."""
    update = {"retries": 1000, "retry_delay": 10.0}
    return spec.model_copy(update={"tasks": {name: t.model_copy(update=update) for name, t in spec.tasks.items()}})


def fan() -> DagSpec:
    """One, then five mapped and three plain ones, then one."""
    spec = chain("first", "last")
    middle = {
        "mapped": TaskSpec(
            task_id="mapped",
            upstream_task_ids=("first",),
            downstream_task_ids=("last",),
            expansion=Expansion(kwargs=(ExpandedKwarg(kwarg="x", length=LiteralLength(length=5)),)),
        )
    } | {
        f"plain_{n}": TaskSpec(task_id=f"plain_{n}", upstream_task_ids=("first",), downstream_task_ids=("last",))
        for n in range(3)
    }
    first = spec.tasks["first"].model_copy(update={"downstream_task_ids": tuple(middle)})
    last = spec.tasks["last"].model_copy(update={"upstream_task_ids": tuple(middle)})
    return spec.model_copy(update={"tasks": {"first": first, **middle, "last": last}, "max_active_tasks": 4})


def in_the_footsteps_of_the_past() -> DagSpec:
    spec = chain("a", "b")
    return spec.model_copy(
        update={"tasks": {name: task.model_copy(update={"depends_on_past": True}) for name, task in spec.tasks.items()}}
    )


def mapped_over_a_result() -> DagSpec:
    spec = chain("lists", "mapped", "last")
    length = XComLength(task_id="lists")
    expansion = Expansion(kwargs=(ExpandedKwarg(kwarg="x", length=length),))
    mapped = spec.tasks["mapped"].model_copy(update={"expansion": expansion})
    return spec.model_copy(update={"tasks": {**spec.tasks, "mapped": mapped}})


def in_pools() -> DagSpec:
    """Six tasks that want two slots each of five, then two that defer and keep their slots meanwhile."""
    spec = chain("first", "last", max_active_tasks=4)
    middle = {
        **{f"big_{n}": {"pool": "five", "pool_slots": 2, "priority_weight": n} for n in range(4)},
        **{f"small_{n}": {"pool": "five"} for n in range(2)},
        **{f"defers_{n}": {"pool": "kept"} for n in range(2)},
        "single": {"max_active_tis_per_dag": 1},
    }
    tasks = {
        name: TaskSpec(task_id=name, upstream_task_ids=("first",), downstream_task_ids=("last",), **fields)  # type: ignore[arg-type]
        for name, fields in middle.items()
    }
    first = spec.tasks["first"].model_copy(update={"downstream_task_ids": tuple(middle)})
    last = spec.tasks["last"].model_copy(update={"upstream_task_ids": tuple(middle)})
    return spec.model_copy(update={"tasks": {"first": first, **tasks, "last": last}})


def parallel_chains(max_active_tasks: int) -> DagSpec:
    """Four chains of three tasks, of which two meet in the end."""
    tasks = {}
    for step, number in itertools.product("abc", range(4)):
        before, after = {"a": None, "b": "a", "c": "b"}[step], {"a": "b", "b": "c", "c": None}[step]
        tasks[f"{step}{number}"] = TaskSpec(
            task_id=f"{step}{number}",
            upstream_task_ids=(f"{before}{number}",) if before else (),
            downstream_task_ids=(f"{after}{number}",) if after else ("last",) if number < 2 else (),
        )
    tasks["last"] = TaskSpec(task_id="last", upstream_task_ids=("c0", "c1"))
    return chain(max_active_tasks=max_active_tasks).model_copy(update={"tasks": tasks})


def mapped_group() -> DagSpec:
    """One, then a task group of two tasks mapped over its list, then one."""
    spec = chain("lists", "g.a", "g.b", "last", max_active_tasks=4)
    inside = {name: spec.tasks[name].model_copy(update={"mapped_groups": ("g",)}) for name in ("g.a", "g.b")}
    turns = Expansion(kwargs=(ExpandedKwarg(kwarg="x", length=XComLength(task_id="lists")),))
    group = TaskGroupSpec(group_id="g", children=tuple(inside), expansion=turns)
    return spec.model_copy(update={"tasks": {**spec.tasks, **inside}, "task_groups": {"g": group}})


GLUE_JOB = "airflow.providers.amazon.aws.triggers.glue.GlueJobCompleteTrigger"

RAW = "s3://raw/incoming"

POOLS = (Pool(name="five", slots=5), Pool(name="kept", slots=1, include_deferred=True))

SHAPES: dict[str, Callable[[], DagSpec]] = {
    "chain": lambda: chain("a", "b", "c", "d"),
    "fan": fan,
    "parallel chains": lambda: parallel_chains(16),
    "parallel chains in a full run": lambda: parallel_chains(3),
    "mapped group": mapped_group,
    "past": in_the_footsteps_of_the_past,
    "mapped": mapped_over_a_result,
    "pools": in_pools,
    "deferring": lambda: chain("waits_first", "defers", "waits_last"),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_run_comes_to_its_end(seed: int, shape: str) -> None:
    spec = patient(SHAPES[shape]()).model_copy(update={"max_active_runs": 2})
    day = Day(seed, spec, badness=1.0)
    for n in range(4):
        day.trigger(f"r{n}")

    for _ in day.pass_by():
        unfinished = [run for key in day.keys if not (run := day.run(key)).is_finished]
        assert all(run.due_at for run in unfinished), "a run that nothing would ever look at again"
        running = [run for run in unfinished if run.state is DagRunState.RUNNING]
        assert len(running) == day.world.dag().running_runs <= 2
        assert_limits_are_kept(day)

    assert {day.run(key).state for key in day.keys} == {DagRunState.SUCCESS}, day.story()
    assert [pool.used for pool in day.store.list_pools()] == [0, 0], "slots leaked"
    assert day.store.slots_used(of_task("etl", "single")) == 0
    assert set(day.started.values()) == {1}, "a dispatch began twice"
    for key in day.keys:
        state = day.store.load_run(key)
        assert state is not None
        assert {instance.state for instance in state.instances.values()} == {S.SUCCESS}
        indexes = [map_index for task_id, map_index in sorted(state.instances) if task_id == "mapped"]
        assert indexes in ([], list(range(5)))
        for instance in state.instances.values():
            tries = [each.try_number for each in day.store.list_tries(instance.key)]
            assert tries == list(range(1, instance.try_number)), "a try is missing from the history"


def assert_limits_are_kept(day: Day) -> None:
    """What is counted is what is held, and nobody has a worker without holding what it needs."""
    spec = load_spec(day.world.services.objects, day.world.dag().spec_key)
    held: Counter[str] = Counter()
    busy: Counter[str] = Counter()
    for key in day.keys:
        state = day.store.load_run(key)
        assert state is not None
        with_worker = [i for i in state.instances.values() if i.state in {S.QUEUED, S.RUNNING}]
        assert len(with_worker) <= spec.max_active_tasks
        for instance in state.instances.values():
            held.update(instance.holds)
            task = spec.tasks[instance.task_id]
            counts = {S.QUEUED, S.RUNNING} | ({S.DEFERRED} if task.pool == "kept" else set())
            if instance.state in counts and task.pool != DEFAULT_POOL:
                busy[of_pool(task.pool)] += task.pool_slots
            if instance.state in {S.QUEUED, S.RUNNING, S.DEFERRED} and task.max_active_tis_per_dag:
                busy[of_task("etl", task.task_id)] += 1
    most = {"pool:five": 5, "pool:kept": 1, of_task("etl", "single"): 1}
    for limit, slots in most.items():
        assert busy[limit] <= held[limit] == day.store.slots_used(limit) <= slots


@pytest.mark.parametrize("shape", SHAPES)
def test_in_good_weather_nothing_is_tried_twice(shape: str) -> None:
    """What the storm is measured against: without it, each task runs once and nobody waits for a tick."""
    day = Day(0, patient(SHAPES[shape]()), badness=0.0)
    day.trigger("r")
    for _ in day.pass_by():
        pass
    assert {try_number for *_, try_number, _ in day.started} == {1}
    longest = timedelta(hours=3) if shape in {"deferring", "pools"} else timedelta(minutes=4)
    assert day.world.clock.now() - START < longest
    # By the event: polls are up to half an hour apart by then.
    assert all(late < timedelta(seconds=20) for late in day.noticed)
    assert len(day.noticed) == (2 if shape == "deferring" else 0)


def calling_back() -> DagSpec:
    """Whatever can be called back: the end of the run, its start and end by listeners, lost tries, deadlines."""
    spec = patient(chain("a", "b"))
    tasks = {name: task.model_copy(update={"has_on_retry_callback": True}) for name, task in spec.tasks.items()}
    deadline = {
        "reference": {"reference_type": "DagRunQueuedAtDeadline"},
        "callback": {"__classname__": "airflow.sdk.definitions.callback.SyncCallback", "__data__": {"path": "x.y"}},
    }
    return spec.model_copy(
        update={
            "tasks": tasks,
            "max_active_runs": 2,
            "has_on_success_callback": True,
            "listeners": ("on_dag_run_running", "on_dag_run_success"),
            "deadline": [{**deadline, "interval": 45.0}, {**deadline, "interval": 10 * 3600.0}],
        }
    )


@pytest.mark.parametrize("seed", range(SEEDS))
def test_everybody_is_called_back_once_whatever_dies(seed: int) -> None:
    day = Day(seed, calling_back(), badness=1.0)
    for n in range(4):
        day.trigger(f"r{n}")
    for _ in day.pass_by():
        waiting = [run for key in day.keys if not day.is_over(run := day.run(key))]
        assert all(run.due_at for run in waiting), "a run that nothing would ever look at again"

    for key in day.keys:
        found = {callback.callback_id: callback for callback in day.store.list_callbacks(key)}
        assert {"dag/0", "listener/on_dag_run_running/0", "listener/on_dag_run_success/0"} <= found.keys()
        assert "deadline/1" not in found, "a deadline that was met is dropped"
        assert ("deadline/0" in found) == ("deadline/0" in {name for run, name in day.called if run == key.run_id})
        assert all(callback.has_ended for callback in found.values())
        lost = [each for each in day.lost if each[0] == key.run_id]
        assert {name for name in found if name.startswith("task/")} == {f"task/{rest}" for _, rest in lost}
        for name in found:
            calls, deaths = day.called[key.run_id, name], day.deaths[key.run_id, name]
            assert 1 <= calls <= 1 + deaths, f"{name} of {key} was called {calls} times, {deaths} workers died"


def taking_files() -> DagSpec:
    """A DAG that waits for objects in a bucket."""
    expression = {"asset": {"name": RAW, "uri": RAW, "group": "asset"}}
    timetable = TimetableSpec(
        type="airflow.timetables.simple.AssetTriggeredTimetable", asset_expression=expression, periodic=False
    )
    return patient(chain("a", timetable=timetable)).model_copy(update={"max_active_runs": 2})


def created(number: int) -> dict[str, Any]:
    about = {"key": f"incoming/{number}.csv", "size": 4, "sequencer": f"{number:04X}"}
    detail = {"bucket": {"name": "raw"}, "object": about}
    return {
        "source": "aws.s3",
        "detail-type": "Object Created",
        "id": f"o{number}",
        "time": "2026-03-01T00:00:00Z",
        "detail": detail,
    }


@pytest.mark.parametrize("seed", range(SEEDS))
def test_each_event_from_outside_counts_once(seed: int) -> None:
    day = Day(seed, taking_files(), badness=1.0)
    day.world.given_dag(patient(chain("a", dag_id="orders")))
    rule = EventRule(line=1, pattern={"source": ["shop"]}, dag_id="orders", dedup_key="{% detail.order %}")
    day.store.put_event_file(EventFile.of("events.yaml", [rule]))
    objects, orders = range(20), range(4)
    for number in objects:
        within = 0.5 if number % 2 else 3600
        day.at(day.chance.random() * within, lambda number=number: day.from_outside(created(number)))  # type: ignore[misc]
    for number in [*orders, *orders]:
        # The shop sends each order twice, as two events.
        event = {
            "id": f"e{next(day._order)}",
            "time": "2026-03-01T00:00:00Z",
            "source": "shop",
            "detail": {"order": f"A-{number}"},
        }
        message = {"pattern": rule.pattern_id, "event": event}
        day.at(day.chance.random() * 3600, lambda message=message: day.from_outside(message))  # type: ignore[misc]
    day.pass_hours(4)

    runs = day.store.list_runs("etl")
    found = [event.extra["key"] for run in runs for event in day.store.consumed_events(run.key)]
    assert sorted(found) == sorted(f"incoming/{number}.csv" for number in objects), (
        "an object was lost or counted twice"
    )
    made = day.store.list_runs("orders")
    assert sorted(run.run_id for run in made) == [f"event__A-{number}" for number in orders]
    assert {run.state for run in [*runs, *made]} == {DagRunState.SUCCESS}, day.story()
