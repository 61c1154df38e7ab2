"""Quick looks conclude what a full look would, whatever a process remembers, and a wide run needs few full looks."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from gust.model.dag_spec import DagSpec, TaskSpec
from gust.model.keys import DagRunKey
from gust.model.state import FINISHED, DagRunState, TriggerRule
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.model.workload import WakeRun
from gust.scheduling import transition
from gust.scheduling.decision import SendTask
from gust.scheduling.quick_look import PATIENT, SUCCEEDED, Change
from gust.scheduling.slots import HAS_A_WORKER, admissions, is_on_its_way
from gust.scheduling.transition import Transition
from gust.scheduling.trigger_rule import UpstreamCounts, evaluate
from gust.services.advance import advance, decide_on
from gust.services.context import Services
from gust.services.follow import Told, follow, quick_look
from gust.services.memory_of_runs import MemoryOfRuns
from gust.store.memory import MemoryStore
from tests.unit.scheduling.given import over_literal, over_xcom
from tests.unit.services.conftest import World, chain

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

    def work(self, instance: TaskInstance, *, outcome: str = "succeed") -> None:
        now = self.world.clock.now()
        if instance.state is S.QUEUED:
            started = transition.start(instance, at=now, hostname="w", pid=1)
            self.stream.move(started)
            instance = started.after
        end = transition.fail if outcome == "fail" else transition.succeed
        self.stream.move(end(instance, at=now))

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
        state = MemoryStore.load_run(self.stream, self.key)
        dag, pools = self.stream.get_dag_and_pools(self.key.dag_id, ["default_pool"])
        assert state is not None
        assert dag is not None
        if state.run.is_finished:
            return (), set(), False
        full = decide_on(self.world.services, state, dag, pools, now=self.world.clock.now())
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
    assert quick_look(play.processes[0], play.key, play.stream.records) is Told.LOOK, "another process let one go"


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


@pytest.mark.parametrize("seed", range(25))
def test_alone_a_quick_look_says_what_a_full_one_says(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    play = Play(random_spec(chance), seed=seed)
    for _ in range(400):
        if play.run.is_finished:
            return
        running = [i for i in play.in_flight() if i.state is S.QUEUED]
        assert running, "somebody was overlooked"
        for instance in chance.sample(running, min(len(running), chance.choice([1, 1, 2, 4]))):
            play.work(pushing(instance), outcome="fail" if chance.random() < 0.05 else "succeed")
        moves, sent, ends = play.what_follows()
        before = {i.key for i in play.in_flight()}
        batch, play.stream.records = play.stream.records, []
        told = play.tell(batch)
        if told is not Told.LOOK:
            assert not moves
            assert not ends
            assert sent == {(i.task_id, i.map_index) for i in play.in_flight() if i.key not in before}
        play.take_wakes()
        moves, sent, ends = play.what_follows()
        assert (tuple(moves), sent, ends) == ((), set(), False), "a full look finds nothing more"


@pytest.mark.parametrize("seed", range(25))
def test_several_processes_overlook_nobody_and_let_no_more_go_than_may(seed: int) -> None:
    """Records come late, twice, in any order and to any process; nothing else brings the run on but what is told."""
    chance = random.Random(seed)  # noqa: S311
    spec = random_spec(chance)
    play = Play(spec, processes=3, seed=seed)
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
            play.work(pushing(instance), outcome="fail" if chance.random() < 0.03 else "succeed")
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


def pushing(instance: TaskInstance) -> TaskInstance:
    """Any may be mapped over."""
    return replace(instance, xcom_lengths={"return_value": 3}, pushed_keys=("return_value",))
