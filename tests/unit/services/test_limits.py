"""Pools and limits across runs: which instances go, which wait for which limit, and that all slots are given back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gust.aws.memory import MemoryObjects
from gust.errors import BadRequest, NotFound
from gust.model.dag_spec import DagSpec, TaskSpec
from gust.model.keys import DagRunKey
from gust.model.pool import DEFAULT_POOL, RUN_LIMIT, UNLIMITED, Pool, of_pool, of_task
from gust.model.state import DagRunState
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import ParkedTrigger, TaskInstance
from gust.model.workload import WakeLimit, WakeRun
from gust.scheduling import transition
from gust.services.scheduler.grant_slots import grant_slots
from gust.services.settings import pools
from tests.unit.scheduling.given import over_literal
from tests.world import RUNNING, START, Unlisted, World, chain


def side_by_side(dag_id: str = "etl", /, *, max_active_tasks: int = 16, **tasks: Any) -> DagSpec:
    """A DAG whose tasks do not depend on each other."""
    specs = {name: TaskSpec(task_id=name, **fields) for name, fields in tasks.items()}
    return chain(dag_id=dag_id, max_active_tasks=max_active_tasks).model_copy(update={"tasks": specs})


def given_pool(world: World, name: str = "p", slots: int = 1, *, include_deferred: bool = False) -> None:
    pools.create_pool(world.services, name, slots=slots, description=None, include_deferred=include_deferred)


def settle(world: World, *runs: DagRunKey) -> None:
    """What the stream and the queue of wake-ups would have the scheduler do, until nothing moves."""
    for _ in range(20):
        before = world.store.load_run(runs[0]), [world.store.load_run(run) for run in runs], len(world.queues.tasks)
        wakes, world.queues.wakes = world.queues.wakes, []
        for wake, _ in wakes:
            match wake:
                case WakeLimit(limit=limit):
                    grant_slots(world.services, limit)
                case WakeRun(key=key):
                    world.advance(key)
        for run in runs:
            world.advance(run)
        after = world.store.load_run(runs[0]), [world.store.load_run(run) for run in runs], len(world.queues.tasks)
        if after == before:
            return
    raise AssertionError("it does not settle")


def give_back(world: World, limit: str, *runs: DagRunKey) -> None:
    """The record of the limit that slots were given back comes out of the stream."""
    grant_slots(world.services, limit)
    settle(world, *runs)


def instance(world: World, run: DagRunKey, task_id: str) -> TaskInstance:
    found = world.store.get_instance(run.task_instance(task_id))
    assert found is not None
    return found


def used(world: World, name: str = "p") -> int:
    return world.store.slots_used(of_pool(name))


class TestPools:
    @pytest.mark.parametrize("objects", [MemoryObjects(), Unlisted()])
    def test_a_run_whose_spec_cannot_be_read_keeps_no_other_waiting(self, objects: MemoryObjects) -> None:
        world = World(objects=objects)
        given_pool(world, slots=1)
        for dag_id in ("taker", "broken", "etl"):
            world.given_dag(side_by_side(dag_id, a={"pool": "p"}))
        taker, broken, run = (world.trigger(dag_id=dag_id) for dag_id in ("taker", "broken", "etl"))
        for key in (taker, broken, run):
            settle(world, key)
            world.clock.advance(1)
        world.store.update_run(world.run(broken), replace(world.run(broken), spec_key="specs/none.json"))
        world.succeed(taker, "a")
        give_back(world, "pool:p", taker, run)
        assert world.state(run, "a") is S.QUEUED

    def test_no_more_go_than_there_are_slots_and_the_rest_follows(self, world: World) -> None:
        given_pool(world, slots=2)
        world.given_dag(side_by_side(a={"pool": "p"}, b={"pool": "p"}, c={"pool": "p"}))
        run = world.trigger()
        settle(world, run)
        assert [world.state(run, t) for t in "abc"] == [S.QUEUED, S.QUEUED, S.SCHEDULED]
        assert (used(world), instance(world, run, "c").blocked_by_limit) == (2, "pool:p")

        world.succeed(run, "a")
        assert used(world) == 1
        give_back(world, "pool:p", run)
        assert world.state(run, "c") is S.QUEUED
        assert used(world) == 2

        world.succeed(run, "b")
        world.succeed(run, "c")
        settle(world, run)
        assert world.run(run).is_finished
        assert used(world) == 0

    def test_the_most_important_of_all_runs_goes_first_then_the_oldest(self, world: World) -> None:
        given_pool(world)
        world.given_dag(side_by_side("etl", first={"pool": "p", "priority_weight": 100}))
        world.given_dag(side_by_side("low", a={"pool": "p"}))
        world.given_dag(side_by_side("high", a={"pool": "p", "priority_weight": 7}))
        holder = world.trigger()
        settle(world, holder)
        late = world.trigger("late", "low", logical_date=START)
        undated = world.trigger("undated", "low")
        early = world.trigger("early", "low", logical_date=START - timedelta(days=1))
        high = world.trigger("high", "high", logical_date=START - timedelta(hours=1))
        runs = [holder, late, undated, early, high]
        settle(world, *runs)

        gone, current = [], (holder, "first")
        for _ in range(4):
            world.succeed(*current)
            give_back(world, "pool:p", *runs)
            (run,) = [run for run in runs[1:] if world.state(run, "a") is S.QUEUED]
            gone.append(run.run_id)
            current = (run, "a")
        assert gone == ["high", "early", "late", "undated"]

    def test_who_needs_too_many_slots_keeps_nobody_back(self, world: World) -> None:
        given_pool(world, slots=3)
        world.given_dag(
            side_by_side(
                holder={"pool": "p", "pool_slots": 2, "priority_weight": 9},
                big={"pool": "p", "pool_slots": 2, "priority_weight": 5},
                small={"pool": "p"},
            )
        )
        run = world.trigger()
        settle(world, run)
        assert [world.state(run, t) for t in ("holder", "big", "small")] == [S.QUEUED, S.SCHEDULED, S.QUEUED]
        assert used(world) == 3

    def test_more_slots_than_the_pool_has_are_never_granted(self, world: World) -> None:
        given_pool(world, slots=2)
        world.given_dag(side_by_side(giant={"pool": "p", "pool_slots": 3}, small={"pool": "p"}))
        run = world.trigger()
        settle(world, run)
        assert (world.state(run, "giant"), world.state(run, "small")) == (S.SCHEDULED, S.QUEUED)

    def test_a_pool_that_does_not_exist_is_waited_for(self, world: World) -> None:
        world.given_dag(side_by_side(a={"pool": "p"}))
        run = world.trigger()
        settle(world, run)
        assert instance(world, run, "a").state is S.SCHEDULED
        given_pool(world)
        give_back(world, "pool:p", run)
        assert world.state(run, "a") is S.QUEUED

    def test_a_new_size_counts_at_once(self, world: World) -> None:
        given_pool(world, slots=3)
        five: dict[str, Any] = {f"t{n}": {"pool": "p"} for n in range(5)}
        world.given_dag(side_by_side(**five))
        run = world.trigger()
        settle(world, run)
        pools.change_pool(world.services, "p", slots=1)
        assert pools.get_pool(world.services, "p").open == -2
        world.succeed(run, "t0")
        world.succeed(run, "t1")
        give_back(world, "pool:p", run)
        assert used(world) == 1, "it is above its size still: nobody comes in"
        pools.change_pool(world.services, "p", slots=UNLIMITED)
        give_back(world, "pool:p", run)
        assert used(world) == 3

    def test_what_runs_in_a_deleted_pool_counts_when_it_is_made_again(self, world: World) -> None:
        given_pool(world)
        world.given_dag(side_by_side(a={"pool": "p", "priority_weight": 2}, b={"pool": "p"}))
        run = world.trigger()
        settle(world, run)
        pools.delete_pool(world.services, "p")
        with pytest.raises(NotFound):
            pools.get_pool(world.services, "p")
        given_pool(world)
        give_back(world, "pool:p", run)
        assert [world.state(run, t) for t in "ab"] == [S.QUEUED, S.SCHEDULED]
        world.succeed(run, "a")
        give_back(world, "pool:p", run)
        assert world.state(run, "b") is S.QUEUED

    def test_the_default_pool_counts_what_is_in_it_when_it_is_given_a_size(self, world: World) -> None:
        world.given_dag(side_by_side(t0={}, t1={}, t2={}))
        world.given_dag(side_by_side("other", late={}))
        run = world.trigger()
        settle(world, run)
        assert used(world, DEFAULT_POOL) == 0
        pools.change_pool(world.services, DEFAULT_POOL, slots=3)
        assert used(world, DEFAULT_POOL) == 3
        other = world.trigger("o", "other")
        settle(world, run, other)
        assert world.state(other, "late") is S.SCHEDULED
        world.succeed(run, "t0")
        give_back(world, of_pool(DEFAULT_POOL), run, other)
        assert world.state(other, "late") is S.QUEUED
        pools.change_pool(world.services, DEFAULT_POOL, slots=UNLIMITED)
        for task_id in ("t1", "t2"):
            world.succeed(run, task_id)
        world.succeed(other, "late")
        assert used(world, DEFAULT_POOL) == 0

    def test_the_default_pool_cannot_be_deleted(self, world: World) -> None:
        with pytest.raises(BadRequest):
            pools.delete_pool(world.services, DEFAULT_POOL)

    @pytest.mark.parametrize("include_deferred", [True, False])
    def test_who_defers_keeps_its_slot_only_where_the_pool_says_so(self, world: World, include_deferred: bool) -> None:
        given_pool(world, include_deferred=include_deferred)
        world.given_dag(side_by_side(a={"pool": "p", "priority_weight": 2}, b={"pool": "p"}))
        run = world.trigger()
        settle(world, run)
        trigger = ParkedTrigger(classpath="x.T", kwargs={}, next_method="go_on")
        world.work(run, "a", lambda ti: transition.defer(ti, trigger=trigger))
        give_back(world, "pool:p", run)
        assert world.state(run, "b") is (S.SCHEDULED if include_deferred else S.QUEUED)

        pools.change_pool(world.services, "p", include_deferred=not include_deferred)
        give_back(world, "pool:p", run)
        assert world.state(run, "b") is S.QUEUED
        assert used(world) == (1 if include_deferred else 2), "a is counted by what the pool says now"

    def test_who_comes_back_from_its_trigger_stands_in_line_again(self, world: World) -> None:
        given_pool(world)
        world.given_dag(side_by_side(a={"pool": "p", "priority_weight": 2}, b={"pool": "p"}))
        run = world.trigger()
        settle(world, run)
        trigger = ParkedTrigger(classpath="x.T", kwargs={}, next_method="go_on")
        world.work(run, "a", lambda ti: transition.defer(ti, trigger=trigger))
        give_back(world, "pool:p", run)
        world.store.move(transition.resume(instance(world, run, "a"), at=world.clock.now(), event="e"))
        settle(world, run)
        assert (world.state(run, "a"), world.state(run, "b")) == (S.SCHEDULED, S.QUEUED)
        world.succeed(run, "b")
        give_back(world, "pool:p", run)
        assert world.state(run, "a") is S.QUEUED

    @pytest.mark.parametrize(
        "end",
        [
            lambda ti, now: transition.fail(ti, at=now),
            lambda ti, now: transition.retry(ti, at=now, due_at=now + timedelta(hours=1)),
            lambda ti, now: transition.reschedule(ti, at=now, due_at=now + timedelta(hours=1)),
            lambda ti, now: transition.stop(ti, state=S.SKIPPED, at=now),
            lambda ti, now: transition.lose(ti, at=now, reason="gone", retry_at=None),
            lambda ti, now: transition.time_out(ti, at=now, reason="too long"),
            lambda ti, now: transition.remove(ti, at=now, reason="gone"),
            lambda ti, now: transition.interrupt(ti),
            lambda ti, now: transition.mark(ti, state=S.SUCCESS, at=now),
            lambda ti, now: transition.forget(ti),
        ],
    )
    def test_slots_are_given_back_by_whatever_ends_the_hold(self, world: World, end: Any) -> None:
        given_pool(world)
        world.given_dag(side_by_side(a={"pool": "p", "max_active_tis_per_dag": 1}))
        run = world.trigger()
        settle(world, run)
        assert instance(world, run, "a").holds == {"pool:p": 1, "task:etl/a": 1}
        world.work(run, "a", lambda ti: end(ti, world.clock.now()))
        assert (used(world), world.store.slots_used(of_task("etl", "a"))) == (0, 0)
        assert instance(world, run, "a").holds == {}


class TestALineThatLags:
    def test_who_has_just_begun_to_wait_is_let_go_all_the_same(self, world: World) -> None:
        given_pool(world)
        world.given_dag(side_by_side(a={"pool": "p"}))
        run = world.trigger()
        world.store.waiting_for = lambda limit: iter(())  # type: ignore[method-assign]
        world.advance(run)
        world.advance(run)
        assert world.state(run, "a") is S.QUEUED
        assert not [wake for wake, _ in world.queues.wakes if isinstance(wake, WakeLimit)]

    def test_slots_given_back_to_a_line_that_does_not_show_all_yet_are_offered_again(self, world: World) -> None:
        given_pool(world)
        world.given_dag(side_by_side(a={"pool": "p", "priority_weight": 2}, b={"pool": "p"}))
        run = world.trigger()
        world.advance(run)
        world.succeed(run, "a") if world.state(run, "a") is S.QUEUED else world.advance(run)
        (again,) = [(wake, delay) for wake, delay in world.queues.wakes if isinstance(wake, WakeLimit)]
        assert again == (WakeLimit(limit="pool:p"), 2.0)


class TestLimitOfATask:
    def test_it_crosses_runs_and_counts_what_is_deferred(self, world: World) -> None:
        world.given_dag(side_by_side(a={"max_active_tis_per_dag": 1}))
        one, other = world.trigger("one"), world.trigger("other")
        settle(world, one, other)
        assert (world.state(one, "a"), world.state(other, "a")) == (S.QUEUED, S.SCHEDULED)
        trigger = ParkedTrigger(classpath="x.T", kwargs={}, next_method="go_on")
        world.work(one, "a", lambda ti: transition.defer(ti, trigger=trigger))
        give_back(world, of_task("etl", "a"), one, other)
        assert world.state(other, "a") is S.SCHEDULED
        world.store.move(transition.succeed(instance(world, one, "a"), at=world.clock.now()))
        give_back(world, of_task("etl", "a"), one, other)
        assert world.state(other, "a") is S.QUEUED

    def test_who_waits_for_it_keeps_nobody_from_its_pool(self, world: World) -> None:
        given_pool(world, slots=3)
        world.given_dag(
            side_by_side(a={"pool": "p", "max_active_tis_per_dag": 1, "priority_weight": 9}, b={"pool": "p"})
        )
        one, other = world.trigger("one"), world.trigger("other")
        settle(world, one, other)
        assert instance(world, other, "a").blocked_by_limit == of_task("etl", "a")
        assert [world.state(run, "b") for run in (one, other)] == [S.QUEUED, S.QUEUED]
        assert used(world) == 3


class TestTheRunsOwnLimits:
    def test_who_waits_for_its_run_keeps_nobody_from_the_pool(self, world: World) -> None:
        given_pool(world)
        world.given_dag(
            side_by_side(max_active_tasks=1, plain={"priority_weight": 99}, pooled={"pool": "p", "priority_weight": 9})
        )
        world.given_dag(side_by_side("other", low={"pool": "p"}))
        full, other = world.trigger(), world.trigger("o", "other")
        settle(world, full, other)
        assert instance(world, full, "pooled").blocked_by_limit == RUN_LIMIT
        assert (world.state(full, "plain"), world.state(other, "low")) == (S.QUEUED, S.QUEUED)
        world.succeed(full, "plain")
        settle(world, full, other)
        assert instance(world, full, "pooled").blocked_by_limit == "pool:p"
        world.succeed(other, "low")
        give_back(world, "pool:p", full, other)
        assert world.state(full, "pooled") is S.QUEUED

    def test_the_most_important_of_a_full_run_gets_its_place_though_it_needs_a_slot_too(self, world: World) -> None:
        given_pool(world)
        given_pool(world, "q")
        world.given_dag(
            side_by_side(
                max_active_tasks=1,
                plain={"priority_weight": 1},
                in_p={"pool": "p", "priority_weight": 5},
                in_q={"pool": "q", "priority_weight": 9},
            )
        )
        run = world.trigger()
        settle(world, run)
        assert [world.state(run, t) for t in ("in_q", "in_p", "plain")] == [S.QUEUED, S.SCHEDULED, S.SCHEDULED]
        world.succeed(run, "in_q")
        settle(world, run)
        assert [world.state(run, t) for t in ("in_p", "plain")] == [S.QUEUED, S.SCHEDULED]
        world.succeed(run, "in_p")
        settle(world, run)
        assert world.state(run, "plain") is S.QUEUED

    def test_who_does_not_get_its_slot_frees_its_place_in_the_run(self, world: World) -> None:
        given_pool(world)
        world.given_dag(side_by_side("other", first={"pool": "p", "priority_weight": 99}))
        world.given_dag(side_by_side(max_active_tasks=1, plain={}, pooled={"pool": "p", "priority_weight": 9}))
        run, other = world.trigger(), world.trigger("o", "other")
        settle(world, other)
        settle(world, run)
        assert [world.state(run, t) for t in ("pooled", "plain")] == [S.SCHEDULED, S.QUEUED]

    def test_a_paused_dag_keeps_nobody_from_the_pool(self, world: World) -> None:
        from gust.services.people.pause_dag import set_paused

        given_pool(world)
        world.given_dag(side_by_side(a={"pool": "p", "priority_weight": 9}))
        world.given_dag(side_by_side("other", first={"pool": "p", "priority_weight": 99}, low={"pool": "p"}))
        other = world.trigger("o", "other")
        settle(world, other)
        paused = world.trigger()
        settle(world, paused)
        set_paused(world.services, "etl", True)
        world.succeed(other, "first")
        give_back(world, "pool:p", other)
        assert (world.state(paused, "a"), world.state(other, "low")) == (S.SCHEDULED, S.QUEUED)
        set_paused(world.services, "etl", False)
        settle(world, paused, other)
        world.succeed(other, "low")
        give_back(world, "pool:p", paused, other)
        assert world.state(paused, "a") is S.QUEUED

    def test_a_small_run_writes_nothing_of_whom_it_lets_go(self, world: World) -> None:
        sixteen: dict[str, Any] = {f"t{n}": {} for n in range(16)}
        world.given_dag(side_by_side(**sixteen))
        run = world.trigger()
        settle(world, run)
        assert world.run(run).admitted_dispatches == ()
        assert len(world.queues.tasks) == 16

    def test_a_thousand_mapped_instances_are_few_bytes_of_the_run(self, world: World) -> None:
        mapped = {"expansion": over_literal(1000)}
        world.given_dag(side_by_side(max_active_tasks=700, a=mapped, b={}))
        run = world.trigger()
        settle(world, run)
        assert len(world.queues.tasks) == 700
        assert sum(map(len, world.run(run).admitted_dispatches)) < 30

    def test_two_schedulers_that_saw_the_same_room_do_not_both_use_it(self, world: World) -> None:
        """One of them found b, which is more important, after the other had looked and had found only a."""
        spec = side_by_side(max_active_tasks=1, a={}, b={"priority_weight": 5}, first={"priority_weight": 9})
        world.given_dag(spec)
        run = world.trigger()
        world.advance(run)
        world.succeed(run, "first")
        world.store.move(transition.skip(instance(world, run, "b"), at=world.clock.now(), reason="not yet"))
        update_run = world.store.update_run
        raced: list[tuple[str, ...]] = []

        def somebody_is_first(before: Any, after: Any) -> None:
            if not raced and after.admitted_dispatches != before.admitted_dispatches:
                raced.append(after.admitted_dispatches)
                skipped = instance(world, run, "b")
                world.store.move(transition.clear(skipped, at=world.clock.now(), retries=0))
                world.advance(run)
            update_run(before, after)

        world.store.update_run = somebody_is_first  # type: ignore[method-assign]
        world.advance(run)
        assert raced == [("a/1/-1", "first/1/-1")]
        assert [world.state(run, t) for t in "ab"] == [S.SCHEDULED, S.QUEUED]
        assert {sent.task_id for sent in world.queues.tasks} == {"first", "b"}


def test_the_pools_use_is_counted_by_state(world: World) -> None:
    given_pool(world, slots=2)
    world.given_dag(
        side_by_side(a={"pool": "p", "priority_weight": 3}, b={"pool": "p", "priority_weight": 2}, c={"pool": "p"})
    )
    run = world.trigger()
    settle(world, run)
    world.store.move(transition.start(instance(world, run, "a"), at=world.clock.now(), hostname="w", pid=1))
    assert pools.use_of_pools(world.services) == {"p": pools.PoolUse(running=1, queued=1, scheduled=1)}


@pytest.mark.parametrize("gone", [{"is_paused": True}, {"is_stale": True}])
def test_a_lost_worker_gives_back_its_slots_though_its_dag_is_paused(world: World, gone: dict[str, bool]) -> None:
    """Its pool is everybody's. As in Airflow, whose scheduler looks for heartbeats whatever the DAG."""
    spec = chain("a")
    world.given_dag(spec.model_copy(update={"tasks": {"a": spec.tasks["a"].model_copy(update={"pool": "slow"})}}))
    world.store.put_pool(None, Pool(name="slow", slots=1))
    run = world.trigger()
    world.advance(run)
    grant_slots(world.services, of_pool("slow"))
    world.advance(run)
    instance = world.store.get_instance(run.task_instance("a"))
    assert instance is not None
    world.store.move(transition.start(instance, at=world.clock.now(), hostname="w", pid=1))
    world.store.put_dag(world.dag(), replace(world.dag(), **gone))  # type: ignore[arg-type]

    world.pass_time(seconds=45)
    world.store.heartbeat(run.task_instance("a"), try_number=1, dispatch_count=1, at=world.clock.now())
    world.pass_time(seconds=30)
    stood = world.advance(run)
    assert (world.state(run, "a"), world.store.slots_used(of_pool("slow"))) == (S.RUNNING, 1)
    assert stood.due_at is not None
    assert world.clock.now() < stood.due_at <= world.clock.now() + timedelta(seconds=30)

    world.pass_time(seconds=31)
    world.advance(run)
    assert (world.state(run, "a"), world.store.slots_used(of_pool("slow"))) == (S.FAILED, 0)
    assert world.run(run).state is (DagRunState.FAILED if world.dag().is_paused else RUNNING)


def test_a_run_that_many_are_sent_back_to_is_not_looked_at_for_each_of_them(world: World) -> None:
    names = [f"t{number:02}" for number in range(30)]
    tasks = {name: TaskSpec(task_id=name, pool="slow") for name in names}
    world.given_dag(chain(max_active_tasks=2).model_copy(update={"tasks": tasks}))
    world.store.put_pool(None, Pool(name="slow", slots=1))
    run = world.trigger()
    world.advance(run)
    pool = world.store.get_pools(["slow"])["slow"]
    world.store.put_pool(pool, replace(pool, slots=100))
    world.queues.wakes.clear()

    grant_slots(world.services, of_pool("slow"))

    waits = [world.store.get_instance(run.task_instance(name)) for name in names]
    assert sum(i is not None and i.blocked_by_limit == RUN_LIMIT for i in waits) == 28
    assert len([wake for wake, _ in world.queues.wakes if isinstance(wake, WakeRun)]) == 2
