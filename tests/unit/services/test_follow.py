"""Quick looks conclude what a full look would, whatever a process remembers, and a wide run needs few full looks."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import Any

import pytest

from gust.model.dag_spec import DagSpec, Expansion, TaskGroupSpec, TaskSpec
from gust.model.keys import DagRunKey
from gust.model.pool import Pool
from gust.model.state import FINISHED, DagRunState, TriggerRule
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.model.workload import WakeRun
from gust.scheduling import transition
from gust.scheduling.clearing import cleared, reset
from gust.scheduling.decision import Decision, SendTask
from gust.scheduling.quick_look import PATIENT, SUCCEEDED, Change
from gust.scheduling.slots import HAS_A_WORKER, admissions, is_on_its_way
from gust.scheduling.transition import Transition
from gust.scheduling.trigger_rule import UpstreamCounts, evaluate
from gust.services.context import Services
from gust.services.memory_of_runs import MemoryOfRuns
from gust.services.scheduler.advance import advance, decide_on
from gust.services.scheduler.follow import Told, follow, quick_look, quick_ring, ring
from gust.store.memory import MemoryStore
from tests.unit.scheduling.given import over_literal, over_xcom
from tests.world import World, chain

OTHERS = {SUCCEEDED, "fail", "retry", "defer", "resume"}
"""Edges of workers and triggers, as far as they are played here."""


class Stream(MemoryStore):
    """Notes what workers write, as the table's stream tells of it, and how often a run is read as a whole."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[Change] = []
        self.full_looks = 0

    def move(self, transition: Transition) -> None:
        before = self.get_instance(transition.before.key)
        super().move(transition)
        after = transition.after
        if transition.edge in OTHERS and self.get_instance(after.key) != before:
            self.records.append(Change(after.task_id, after.map_index, transition.edge, after.dispatch_count))

    def load_run(self, key: DagRunKey) -> Any:
        self.full_looks += 1
        return super().load_run(key)


def layers(*names: list[str], rule: TriggerRule = TriggerRule.ALL_SUCCESS, **fields: Any) -> DagSpec:
    """Each task of a layer waits for all of the layer above."""
    tasks = {}
    for number, layer in enumerate(names):
        above = names[number - 1] if number else []
        below = names[number + 1] if number + 1 < len(names) else []
        for name in layer:
            tasks[name] = TaskSpec(
                task_id=name, upstream_task_ids=tuple(above), downstream_task_ids=tuple(below), trigger_rule=rule
            )
    return chain(**fields).model_copy(update={"tasks": tasks})


class Play:
    """One run, scheduler processes with a memory each, and workers."""

    def __init__(self, spec: DagSpec, *, processes: int = 1, seed: int = 0) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - it is to be repeatable
        self.stream = Stream()
        self.world = World(store=self.stream)
        self.spec = spec
        self.world.given_dag(spec)
        self.processes = [replace(self.world.services, memory=MemoryOfRuns()) for _ in range(processes)]
        self.key = self.world.trigger()
        self.told: Counter[Told] = Counter()
        advance(self.process(), self.key)

    def process(self) -> Services:
        """Any; now and then one that has just begun and remembers nothing."""
        number = self.chance.randrange(len(self.processes))
        if len(self.processes) > 1 and self.chance.random() < 0.05:
            self.processes[number] = replace(self.world.services, memory=MemoryOfRuns())
        return self.processes[number]

    @property
    def run(self) -> Any:
        return self.world.run(self.key)

    def instances(self) -> list[TaskInstance]:
        state = MemoryStore.load_run(self.stream, self.key)
        assert state is not None
        return list(state.instances.values())

    def in_flight(self) -> list[TaskInstance]:
        admitted = admissions(self.run)
        return [i for i in self.instances() if i.state in HAS_A_WORKER or is_on_its_way(i, admitted)]

    def work(self, instance: TaskInstance, *, outcome: str = "succeed", pushes: int = 3) -> None:
        """`pushes`: the length of what it pushes, over which any may be mapped."""
        now = self.world.clock.now()
        if instance.state is S.QUEUED:
            started = transition.start(instance, at=now, hostname="w", pid=1)
            self.stream.move(started)
            instance = started.after
        pushed = replace(instance, xcom_lengths={"return_value": pushes}, pushed_keys=("return_value",))
        self.stream.move(Transition("push", instance, pushed))
        instance = pushed
        end = transition.fail if outcome == "fail" else transition.succeed
        self.stream.move(end(instance, at=now))

    def begin(self, instance: TaskInstance) -> None:
        """A worker takes its message."""
        self.stream.move(transition.start(instance, at=self.world.clock.now(), hostname="w", pid=1))

    def beat(self, instance: TaskInstance) -> None:
        self.stream.heartbeat(
            instance.key,
            at=self.world.clock.now(),
            try_number=instance.try_number,
            dispatch_count=instance.dispatch_count,
        )

    def full_look(self) -> Decision:
        """What one would decide now."""
        state = MemoryStore.load_run(self.stream, self.key)
        dag, pools = self.stream.get_dag_and_pools(self.key.dag_id, ["default_pool"])
        assert state is not None
        assert dag is not None
        return decide_on(self.world.services, state, dag, pools, now=self.world.clock.now())

    def tell(self, batch: list[Change]) -> Told:
        """A batch of the stream comes to a process."""
        services = self.process()
        told = quick_look(services, self.key, batch)
        self.told[told] += 1
        if told is Told.LOOK:
            advance(services, self.key)
        return told

    def take_wakes(self) -> None:
        wakes, self.world.queues.wakes = self.world.queues.wakes, []
        for wake, delay in wakes:
            if isinstance(wake, WakeRun) and delay < 5:
                advance(self.process(), self.key)

    def what_follows(self) -> tuple[Any, set[tuple[str, int]], bool]:
        """What a full look would do now: moves, whom it sends, and whether the run ends."""
        if self.run.is_finished:
            return (), set(), False
        full = self.full_look()
        sent = {(e.instance.task_id, e.instance.map_index) for e in full.effects if isinstance(e, SendTask)}
        return full.transitions, sent, full.run is not None and full.run.is_finished


# --- what the answer rests on -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", sorted(PATIENT))
def test_one_more_success_changes_no_patient_rules_verdict_while_another_is_unfinished(rule: TriggerRule) -> None:
    for success, failed, upstream_failed, skipped, unfinished, setups in product(range(3), repeat=6):
        total = success + 1 + failed + upstream_failed + skipped + unfinished + 1
        before = UpstreamCounts(
            total=total,
            success=success,
            failed=failed,
            upstream_failed=upstream_failed,
            skipped=skipped,
            setups=min(setups, total),
            setups_success=min(setups, success),
        )
        after = replace(before, success=success + 1, setups_success=min(setups, success + 1))
        assert evaluate(rule, before).verdict is evaluate(rule, after).verdict


# --- a wide run -------------------------------------------------------------------------------------------------------

WIDE = 120


@pytest.mark.parametrize("most", [16, 10_000], ids=["16 at once", "all at once"])
@pytest.mark.parametrize("is_mapped", [False, True])
def test_a_wide_run_is_rarely_looked_at_as_a_whole(most: int, *, is_mapped: bool) -> None:
    spec = wide(is_mapped=is_mapped, max_active_tasks=most)
    play = Play(spec)
    play.work(play.in_flight()[0])
    play.tell([play.stream.records.pop()])
    play.stream.full_looks = 0
    for _ in range(WIDE):
        play.work(play.chance.choice([i for i in play.in_flight() if i.state is S.QUEUED]))
        play.tell([play.stream.records.pop()])
        assert len(play.in_flight()) in {min(most, WIDE), len([i for i in play.instances() if i.state not in FINISHED])}
    assert play.world.state(play.key, "last") is S.QUEUED
    assert play.stream.full_looks <= 32, "of 120 successes: the last ones, and a few that were taken for blockers"


def wide(*, is_mapped: bool, **fields: Any) -> DagSpec:
    """One, then many, then one."""
    if not is_mapped:
        return layers(["first"], [f"t{n}" for n in range(WIDE)], ["last"], **fields)
    spec = layers(["first"], ["many"], ["last"], **fields)
    many = spec.tasks["many"].model_copy(update={"expansion": over_literal(WIDE)})
    return spec.model_copy(update={"tasks": {**spec.tasks, "many": many}})


def test_a_batch_of_successes_lets_as_many_go_in_order() -> None:
    play = Play(layers(["first"], [f"t{n:03}" for n in range(40)], ["last"], max_active_tasks=16))
    play.work(play.in_flight()[0])
    play.tell([play.stream.records.pop()])
    for instance in sorted(play.in_flight(), key=lambda i: i.task_id)[:5]:
        play.work(instance)
    batch, play.stream.records = play.stream.records, []
    assert play.tell(batch) is Told.LET_GO
    assert {i.task_id for i in play.in_flight()} == {f"t{n:03}" for n in range(5, 21)}
    assert play.tell(batch) is Told.NOTHING, "the same batch once more frees no place"
    assert len(play.in_flight()) == 16


def test_a_paused_dag_lets_nobody_go() -> None:
    play = Play(layers(["first"], [f"t{n}" for n in range(40)], ["last"], max_active_tasks=16))
    play.work(play.in_flight()[0])
    play.tell([play.stream.records.pop()])
    dag = play.world.dag()
    play.stream.put_dag(dag, replace(dag, is_paused=True))
    play.work(play.in_flight()[0])
    play.tell([play.stream.records.pop()])
    assert len(play.in_flight()) == 15


def test_a_failure_is_looked_at_as_a_whole() -> None:
    play = Play(layers(["first"], [f"t{n}" for n in range(40)], ["last"], max_active_tasks=16))
    play.work(play.in_flight()[0])
    play.tell([play.stream.records.pop()])
    play.work(play.in_flight()[0], outcome="fail")
    assert play.tell([play.stream.records.pop()]) is Told.LOOK
    assert play.world.state(play.key, "last") is S.UPSTREAM_FAILED


def test_what_the_process_does_not_remember_is_looked_at_as_a_whole() -> None:
    play = Play(layers(["first"], [f"t{n}" for n in range(40)], ["last"], max_active_tasks=16))
    play.work(play.in_flight()[0])
    play.tell([play.stream.records.pop()])
    play.work(play.in_flight()[0])
    fresh = replace(play.world.services, memory=MemoryOfRuns())
    assert quick_look(fresh, play.key, play.stream.records) is Told.LOOK
    follow(fresh, play.key, play.stream.records)
    assert len(play.in_flight()) == 16


def test_whom_another_process_has_let_go_is_counted() -> None:
    play = Play(layers(["first"], [f"t{n:03}" for n in range(40)], ["last"], max_active_tasks=16))
    play.work(play.in_flight()[0])
    play.tell([play.stream.records.pop()])
    one = play.processes[0]
    other = replace(play.world.services, memory=MemoryOfRuns())
    advance(other, play.key)
    play.stream.full_looks = 0
    for number in range(20):
        play.work(min(play.in_flight(), key=lambda i: i.task_id))
        change = play.stream.records.pop()
        assert quick_look((one, other)[number % 2], play.key, [change]) is Told.LET_GO
        assert quick_look((other, one)[number % 2], play.key, [change]) is Told.NOTHING, "the place is taken"
        assert {i.task_id for i in play.in_flight()} == {f"t{n:03}" for n in range(number + 1, number + 17)}
    assert play.stream.full_looks == 0


# --- chains beside each other -----------------------------------------------------------------------------------------


def parallel_chains(width: int, **fields: Any) -> DagSpec:
    """What has more downstream of it goes first, as Airflow weighs."""
    tasks = {}
    for step, number in product(range(3), range(width)):
        tasks[f"s{step}_{number:02}"] = TaskSpec(
            task_id=f"s{step}_{number:02}",
            upstream_task_ids=(f"s{step - 1}_{number:02}",) if step else (),
            downstream_task_ids=(f"s{step + 1}_{number:02}",) if step < 2 else (),
            priority_weight=3 - step,
        )
    return chain(**fields).model_copy(update={"tasks": tasks})


def turns(width: int, *, expansion: Expansion | None = None, **fields: Any) -> DagSpec:
    """One, then a mapped task group of two tasks, then one."""
    spec = chain("first", "g.a", "g.b", "last", **fields)
    inside = {name: spec.tasks[name].model_copy(update={"mapped_groups": ("g",)}) for name in ("g.a", "g.b")}
    group = TaskGroupSpec(group_id="g", children=tuple(inside), expansion=expansion or over_literal(width))
    return spec.model_copy(update={"tasks": {**spec.tasks, **inside}, "task_groups": {"g": group}})


def turns_of_a_list(width: int, **fields: Any) -> DagSpec:
    return turns(width, expansion=over_xcom("first"), **fields)


@pytest.mark.parametrize("most", [16, 10_000], ids=["16 at once", "all at once"])
@pytest.mark.parametrize("shape", [parallel_chains, turns, turns_of_a_list])
def test_parallel_chains_are_rarely_looked_at_as_a_whole(shape: Any, most: int) -> None:
    play = Play(shape(40, max_active_tasks=most))
    successes = 0
    while not play.run.is_finished:
        instance = play.chance.choice([i for i in play.in_flight() if i.state is S.QUEUED])
        play.work(instance, pushes=40)
        play.tell([play.stream.records.pop()])
        successes += 1
    assert successes in {120, 82}
    assert play.told[Told.LOOK] <= 25, "the first, the last ones of all, and a few that were taken for blockers"


def test_the_next_one_of_a_chain_goes_at_once_and_once() -> None:
    play = Play(parallel_chains(4))
    play.stream.full_looks = 0
    play.work(next(i for i in play.in_flight() if i.task_id == "s0_02"))
    change = play.stream.records.pop()
    assert play.tell([change]) is Told.LET_GO
    assert play.world.state(play.key, "s1_02") is S.QUEUED
    assert play.tell([change]) is Told.NOTHING, "the same record once more"
    other = replace(play.world.services, memory=MemoryOfRuns())
    advance(other, play.key)
    assert quick_look(other, play.key, [change]) is Told.NOTHING
    assert Counter(message.task_id for message in play.world.queues.tasks)["s1_02"] == 1
    assert play.stream.full_looks == 1, "of the other process"


def test_the_next_one_of_a_small_chain_goes_without_a_read_of_it_and_of_the_one_before() -> None:
    play = Play(chain("first", "second"))
    asked: list[list[Any]] = []
    read = play.stream.get_dag_and_run

    def noting(key: DagRunKey, *, pools: Any, instances: Any) -> Any:
        asked.append(list(instances))
        return read(key, pools=pools, instances=instances)

    play.stream.get_dag_and_run = noting  # type: ignore[method-assign]
    play.work(play.in_flight()[0])
    assert play.tell([play.stream.records.pop()]) is Told.LET_GO
    assert asked == [[]]
    assert play.world.state(play.key, "second") is S.QUEUED


def test_one_that_another_process_has_let_go_unknown_to_this_one_stays_as_it_is() -> None:
    play = Play(chain("first", "second", "third"))
    one, other = (replace(play.world.services, memory=MemoryOfRuns()) for _ in range(2))
    for process in (one, other):
        advance(process, play.key)
    play.work(play.in_flight()[0])
    change = play.stream.records.pop()
    assert quick_look(one, play.key, [change]) is Told.LET_GO
    (sent,) = play.in_flight()
    play.world.clock.advance(1)
    assert quick_look(other, play.key, [change]) is Told.LOOK, "its write met another dispatch"
    assert play.in_flight() == [sent]


def test_a_record_that_is_older_than_a_clear_lets_nobody_go() -> None:
    play = Play(chain("first", "second", "third"))
    for _ in range(2):
        play.work(play.in_flight()[0])
        late = play.stream.records.pop()
        advance(play.processes[0], play.key)
    for instance in play.instances():
        if (moved := cleared(play.spec, instance, at=play.world.clock.now())) is not None:
            MemoryStore.move(play.stream, moved)
    play.stream.update_run(play.run, reset(play.run, at=play.world.clock.now()))
    play.world.clock.advance(1)
    advance(play.processes[0], play.key)
    assert [instance.task_id for instance in play.in_flight()] == ["first"]

    assert play.tell([late]) is Told.LOOK
    assert [instance.task_id for instance in play.in_flight()] == ["first"]


def test_what_a_person_has_marked_ahead_is_not_let_go() -> None:
    play = Play(chain("first", "second", "third"))
    ahead = TaskInstance(dag_id=play.key.dag_id, run_id=play.key.run_id, task_id="second")
    MemoryStore.move(play.stream, Transition("mark", ahead, replace(ahead, state=S.FAILED)))
    play.work(play.in_flight()[0])
    assert play.tell([play.stream.records.pop()]) is Told.LOOK
    assert play.world.state(play.key, "second") is S.FAILED
    assert play.world.state(play.key, "third") is S.UPSTREAM_FAILED


def test_the_next_one_of_a_chain_waits_where_the_run_is_full() -> None:
    """The places that are free go to the most important ones, in a full run the next of the chain is not one of them."""
    play = Play(parallel_chains(8, max_active_tasks=4))
    play.stream.full_looks = 0
    play.work(next(i for i in play.in_flight() if i.task_id == "s0_01"))
    assert play.tell([play.stream.records.pop()]) is Told.LET_GO
    assert play.world.state(play.key, "s1_01") is S.SCHEDULED
    assert {i.task_id for i in play.in_flight()} == {"s0_00", "s0_02", "s0_03", "s0_04"}
    assert play.stream.full_looks == 0


def test_what_a_quick_look_at_a_chain_does_not_know_is_looked_at_as_a_whole() -> None:
    def paused(play: Play) -> None:
        dag = play.world.dag()
        play.stream.put_dag(dag, replace(dag, is_paused=True))

    def narrowed(play: Play) -> None:
        dag = play.world.dag()
        play.stream.put_dag(dag, replace(dag, max_active_tasks=2))

    def the_default_pool_has_a_size(play: Play) -> None:
        play.stream.put_pool(None, Pool(name="default_pool", slots=2))

    def cleared(play: Play) -> None:
        play.stream.update_run(play.run, replace(play.run, clear_number=1, held_by="a person"))

    def another_version(play: Play) -> None:
        play.stream.update_run(play.run, replace(play.run, spec_key="specs/other.json"))

    for change in (paused, narrowed, the_default_pool_has_a_size, cleared, another_version):
        play = Play(parallel_chains(4))
        play.work(play.in_flight()[0])
        change(play)
        assert quick_look(play.processes[0], play.key, [play.stream.records.pop()]) is Told.LOOK, change.__name__
        assert len(play.in_flight()) == 3, change.__name__


@pytest.mark.parametrize(
    "special",
    [
        {"is_empty": True},
        {"pool": "other"},
        {"max_active_tis_per_dag": 1},
        {"queue": "fargate"},
        {"start_from_trigger": True},
        {"expansion": over_literal(3)},
    ],
    ids=lambda special: next(iter(special)),
)
def test_only_what_is_sent_to_a_worker_goes_by_a_quick_look(special: dict[str, Any]) -> None:
    spec = parallel_chains(4)
    tasks = {**spec.tasks, "s1_02": spec.tasks["s1_02"].model_copy(update=special)}
    play = Play(spec.model_copy(update={"tasks": tasks}))
    play.work(next(i for i in play.in_flight() if i.task_id == "s0_02"))
    assert quick_look(play.processes[0], play.key, [play.stream.records.pop()]) is Told.LOOK


# --- its timers -------------------------------------------------------------------------------------------------------


def long_tasks(**fields: Any) -> Play:
    """More than the run lets go at once, and those run."""
    play = Play(layers(["first"], [f"t{n:03}" for n in range(40)], ["last"], max_active_tasks=16, **fields))
    play.work(play.in_flight()[0])
    play.tell([play.stream.records.pop()])
    for instance in play.in_flight():
        play.begin(instance)
    play.stream.full_looks = 0
    return play


def wait_until_due(play: Play, *, silent: int = 0) -> None:
    """All but so many of the workers are heard of meanwhile."""
    play.world.clock.advance((play.run.due_at - play.world.clock.now()).total_seconds())
    for instance in sorted(play.in_flight(), key=lambda i: i.task_id)[silent:]:
        play.beat(instance)


def test_workers_that_are_heard_of_cost_no_full_look() -> None:
    play = long_tasks()
    for _ in range(5):
        wait_until_due(play)
        full, due_at = play.full_look(), play.run.due_at
        assert quick_ring(play.processes[0], play.key)
        assert due_at < play.run.due_at <= (full.due_at or due_at)
        assert quick_ring(play.processes[0], play.key), "called again, it moves nothing"
    assert play.stream.full_looks == 0


def test_a_silent_worker_is_found_lost_by_a_full_look(caplog: pytest.LogCaptureFixture) -> None:
    play = long_tasks()
    play.world.clock.advance(30)
    wait_until_due(play, silent=1)
    assert not quick_ring(play.processes[0], play.key)
    ring(play.processes[0], play.key)
    assert play.world.state(play.key, "t000") is S.FAILED
    (told,) = [record for record in caplog.records if record.message == "A try was lost"]
    assert (told.levelname, vars(told)["task_id"], vars(told)["try_number"]) == ("WARNING", "t000", 1)


def test_a_success_that_comes_when_the_timer_is_due_lets_the_next_one_go() -> None:
    play = long_tasks()
    wait_until_due(play)
    due_at = play.run.due_at
    play.work(play.in_flight()[0])
    assert play.tell([play.stream.records.pop()]) is Told.LET_GO
    assert play.run.due_at > due_at
    assert len(play.in_flight()) == 16


def test_whom_another_process_has_let_go_is_looked_after() -> None:
    play = long_tasks()
    other = replace(play.world.services, memory=MemoryOfRuns())
    advance(other, play.key)
    play.work(play.in_flight()[0])
    assert quick_look(other, play.key, [play.stream.records.pop()]) is Told.LET_GO
    new = next(i for i in play.in_flight() if i.task_id == "t016")
    play.begin(new)
    play.world.clock.advance(60)
    for instance in play.in_flight():
        if instance.key != new.key:
            play.beat(instance)
    assert not quick_ring(play.processes[0], play.key), "the new one is silent"


def test_what_has_another_moment_needs_a_full_look() -> None:
    def retried(play: Play) -> None:
        now = play.world.clock.now()
        play.stream.move(transition.retry(play.in_flight()[0], at=now, due_at=now + timedelta(hours=1)))

    def paused(play: Play) -> None:
        dag = play.world.dag()
        play.stream.put_dag(dag, replace(dag, is_paused=True))

    def ended_long_ago(play: Play) -> None:
        play.work(play.in_flight()[0])
        play.world.clock.advance(60)
        for instance in play.in_flight():
            play.beat(instance)

    def stumbled(play: Play) -> None:
        play.stream.update_run(play.run, replace(play.run, stumbles=1))

    def forgotten(play: Play) -> None:
        play.processes[0] = replace(play.world.services, memory=MemoryOfRuns())

    for change in (retried, paused, ended_long_ago, stumbled, forgotten):
        play = long_tasks()
        wait_until_due(play)
        change(play)
        assert not quick_ring(play.processes[0], play.key), change.__name__


def test_a_run_is_looked_at_as_a_whole_every_ten_minutes() -> None:
    play = long_tasks()
    began = play.world.clock.now()
    while play.stream.full_looks == 0:
        wait_until_due(play)
        ring(play.processes[0], play.key)
    assert timedelta(minutes=9) < play.world.clock.now() - began < timedelta(minutes=12)


def test_a_runs_own_timeout_is_not_put_off() -> None:
    play = long_tasks(dagrun_timeout=90)
    wait_until_due(play)
    assert quick_ring(play.processes[0], play.key)
    assert play.run.due_at == play.run.start_date + timedelta(seconds=90)
    wait_until_due(play)
    assert not quick_ring(play.processes[0], play.key)
    ring(play.processes[0], play.key)
    assert play.run.state is DagRunState.FAILED


TIMERS = {"lose", "resend", "time_out", "time_out_trigger", "time_out_input"}


@pytest.mark.parametrize("seed", range(25))
def test_where_no_timer_is_due_a_full_look_finds_none_and_would_look_no_earlier(seed: int) -> None:
    """Any run and process; workers come late, go on, fall silent, end, fail and are tried again, and some records of that
    have not come yet."""
    chance = random.Random(seed)  # noqa: S311
    spec = random_spec(chance)
    play = Play(spec, processes=2, seed=seed)
    for _ in range(600):
        if play.run.is_finished:
            break
        now = play.world.clock.now()
        for instance in play.in_flight():
            dice = chance.random()
            if instance.state is S.QUEUED and dice < 0.4:
                play.begin(instance)
            elif instance.state is S.RUNNING and dice < 0.05:
                play.stream.move(transition.retry(instance, at=now, due_at=now + timedelta(seconds=40)))
            elif instance.state is S.RUNNING and dice < 0.2:
                play.work(instance, outcome="fail" if chance.random() < 0.05 else "succeed")
            elif instance.state is S.RUNNING and dice < 0.98:
                play.beat(instance)
        late = chance.random() < 0.3
        if play.stream.records and not late:
            batch, play.stream.records = play.stream.records, []
            play.tell(batch)
            play.take_wakes()
        play.world.clock.advance(chance.choice([1, 5, 20]))
        run = play.run
        if run.is_finished or run.due_at is None or run.due_at > play.world.clock.now():
            continue
        full, process = play.full_look(), play.process()
        if not quick_ring(process, play.key):
            advance(process, play.key)
            play.take_wakes()
            continue
        assert not TIMERS.intersection(moved.edge for moved in full.transitions)
        assert play.stream.records or not full.transitions
        assert play.world.clock.now() < play.run.due_at
        assert full.due_at is None or play.run.due_at <= full.due_at


# --- any run, any process ---------------------------------------------------------------------------------------------


def random_spec(chance: random.Random) -> DagSpec:
    names = [[f"l{layer}_{n}" for n in range(chance.choice([1, 1, 2, 5, 12]))] for layer in range(chance.randint(2, 4))]
    spec = layers(*names, max_active_tasks=chance.choice([1, 2, 4, 16, 100]), fail_fast=chance.random() < 0.1)
    rules = [*TriggerRule] if chance.random() < 0.5 else [*PATIENT]
    tasks: dict[str, TaskSpec] = {}
    for task in spec.tasks.values():
        changes: dict[str, Any] = {"priority_weight": chance.randint(1, 3)}
        if chance.random() < 0.3:
            changes["trigger_rule"] = chance.choice(rules)
        if chance.random() < 0.15:
            changes["expansion"] = over_literal(chance.randint(1, 9))
        elif chance.random() < 0.1 and task.upstream_task_ids:
            changes["expansion"] = over_xcom(chance.choice(task.upstream_task_ids))
        if chance.random() < 0.05:
            changes["max_active_tis_per_dagrun"] = 2
        if chance.random() < 0.05:
            changes["is_empty"] = True
        tasks[task.task_id] = task.model_copy(update=changes)
    return spec.model_copy(update={"tasks": tasks})


def random_graph(chance: random.Random) -> DagSpec:
    """Chains beside each other, some of which meet, and perhaps a mapped task group, whose turns are chains too."""
    many = chance.choice([1, 3, 8])
    names = [f"s{step}_{number}" for step in range(chance.randint(2, 4)) for number in range(many)]
    upstream: dict[str, set[str]] = {name: set() for name in names}
    for name in names[many:]:
        step, number = int(name[1]), name[3:]
        upstream[name].add(f"s{step - 1}_{number}")
        if chance.random() < 0.2:
            upstream[name].add(chance.choice([each for each in names if int(each[1]) < step]))
    groups = {}
    if chance.random() < 0.6:
        expansion = over_xcom(names[0]) if chance.random() < 0.5 else over_literal(chance.randint(1, 6))
        inner = [f"g.{number}" for number in range(chance.randint(2, 4))]
        groups["g"] = TaskGroupSpec(group_id="g", children=tuple(inner), expansion=expansion)
        for number, name in enumerate(inner):
            upstream[name] = set(chance.sample(inner[:number], min(number, chance.choice([1, 1, 2])))) or {names[0]}
            if chance.random() < 0.2:
                upstream[name].add(chance.choice(names))
    if chance.random() < 0.7:
        ends = [name for name in upstream if not any(name in above for above in upstream.values())]
        upstream["last"] = set(ends)
    rules = [*TriggerRule] if chance.random() < 0.3 else [TriggerRule.ALL_SUCCESS, TriggerRule.ALL_DONE]
    tasks = {
        name: TaskSpec(
            task_id=name,
            upstream_task_ids=tuple(sorted(above)),
            downstream_task_ids=tuple(sorted(each for each, its in upstream.items() if name in its)),
            mapped_groups=("g",) if name.startswith("g.") else (),
            priority_weight=chance.randint(1, 3),
            trigger_rule=chance.choice(rules) if chance.random() < 0.2 else TriggerRule.ALL_SUCCESS,
            is_empty=chance.random() < 0.03,
            max_active_tis_per_dagrun=2 if chance.random() < 0.01 else None,
        )
        for name, above in upstream.items()
    }
    most = chance.choice([1, 2, 4, 16, 1000])
    return chain(max_active_tasks=most).model_copy(update={"tasks": tasks, "task_groups": groups})


def test_a_task_that_nothing_can_run_fails_as_by_a_full_look():
    spec = layers(["a"], ["b"])
    b = spec.tasks["b"].model_copy(update={"executor": "AwsEcsExecutor", "retries": 2})
    play = Play(spec.model_copy(update={"tasks": {**spec.tasks, "b": b}}))
    play.work(play.in_flight()[0])
    play.tell([play.stream.records.pop()])

    assert states(play) == {("a", -1): S.SUCCESS, ("b", -1): S.FAILED}


SPECS = {"layers": random_spec, "graphs": random_graph}
ANY_RUN = [pytest.param(name, seed, id=f"{name}-{seed}") for name in SPECS for seed in range(25)]


@pytest.mark.parametrize(("specs", "seed"), ANY_RUN)
def test_alone_a_quick_look_says_what_a_full_one_says(specs: str, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    play = Play(SPECS[specs](chance), seed=seed)
    for _ in range(400):
        if play.run.is_finished:
            return
        running = [i for i in play.in_flight() if i.state is S.QUEUED]
        assert running, "somebody was overlooked"
        for instance in chance.sample(running, min(len(running), chance.choice([1, 1, 2, 4]))):
            play.work(instance, outcome="fail" if chance.random() < 0.05 else "succeed")
        moves, sent, ends = play.what_follows()
        before = {(i.task_id, i.map_index): i for i in play.instances()}
        batch, play.stream.records = play.stream.records, []
        told = play.tell(batch)
        if told is not Told.LOOK:
            assert not ends
            assert {moved.edge for moved in moves} <= {"schedule"}
            changed = {at: i for i in play.instances() if before.get(at := (i.task_id, i.map_index)) != i}
            assert changed.keys() == sent.union((moved.after.task_id, moved.after.map_index) for moved in moves)
            assert {at for at, instance in changed.items() if instance.state is S.QUEUED} == sent
            assert all(instance.state in {S.QUEUED, S.SCHEDULED} for instance in changed.values())
            assert (told is Told.NOTHING) == (not changed)
        play.take_wakes()
        moves, sent, ends = play.what_follows()
        assert (tuple(moves), sent, ends) == ((), set(), False), "a full look finds nothing more"


@pytest.mark.parametrize(("specs", "seed"), ANY_RUN)
def test_several_processes_overlook_nobody_and_let_no_more_go_than_may(specs: str, seed: int) -> None:
    """Records come late, twice, in any order and to any process; nothing else brings the run on but what is told."""
    chance = random.Random(seed)  # noqa: S311
    spec = SPECS[specs](chance)
    play = Play(spec, processes=3, seed=seed)
    failures = 0.03 if seed % 2 else 0
    ends: Counter[tuple[str, int]] = Counter()
    late: list[Change] = []
    for _ in range(3000):
        if play.run.is_finished:
            break
        running = [i for i in play.in_flight() if i.state is S.QUEUED]
        late += play.stream.records
        play.stream.records = []
        if running and (not late or chance.random() < 0.6):
            instance = chance.choice(running)
            ends[instance.task_id, instance.map_index] += 1
            play.work(instance, outcome="fail" if chance.random() < failures else "succeed")
        elif late:
            batch = chance.sample(late, chance.randint(1, min(5, len(late))))
            late = [change for change in late if change not in batch or chance.random() < 0.1]
            play.tell(batch)
            play.take_wakes()
        else:
            raise AssertionError(f"somebody was overlooked: {play.instances()}")
        assert len(play.in_flight()) <= spec.max_active_tasks
    assert play.run.state in {DagRunState.SUCCESS, DagRunState.FAILED}
    assert set(ends.values()) <= {1}, "each ran once"
    if not failures:  # of a failure and a skip upstream, the first decides
        assert states(play) == states(by_full_looks(spec))


def by_full_looks(spec: DagSpec) -> Play:
    play = Play(spec)
    while not play.run.is_finished:
        play.work(play.in_flight()[0])
        advance(play.processes[0], play.key)
    return play


def states(play: Play) -> dict[tuple[str, int], S | None]:
    return {(i.task_id, i.map_index): i.state for i in play.instances()}
