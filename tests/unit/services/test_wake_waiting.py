"""An event of AWS wakes the trigger that waits for what it tells of: whatever comes twice, late, early or not at all."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gust.aws.memory import MemoryObjects
from gust.errors import Conflict
from gust.model.awaited import Wait, resource_of
from gust.model.dispatch import Dispatch, Scope
from gust.model.keys import TaskInstanceKey
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import ParkedTrigger, TaskInstance
from gust.model.workload import TriggerWorkload, WakeWaiting
from gust.ports.clock import ManualClock
from gust.scheduling import transition
from gust.services.scheduler.wake_waiting import AT_ONCE, LOOKS, wake_waiting
from gust.services.worker.await_events import KEPT, await_events
from gust.services.worker.report_trigger import park, report_fired
from gust.store.memory import MemoryStore
from tests.world import Unlisted, World, chain

JOBS = "airflow.providers.amazon.aws.triggers.glue.GlueJobCompleteTrigger"
CRAWLER = ParkedTrigger(
    classpath="airflow.providers.amazon.aws.triggers.glue_crawler.GlueCrawlerCompleteTrigger",
    kwargs={"crawler_name": "c"},
    next_method="go",
)
CRAWLS = "Glue Crawler State Change: c"


def a_world(objects: MemoryObjects | None = None) -> World:
    clock = ManualClock(datetime(2026, 3, 1, tzinfo=UTC))
    world = World(clock=clock, store=MemoryStore(clock=clock), objects=objects or MemoryObjects())
    world.services = replace(world.services, wakes_in="eu-west-1")
    return world


def a_trigger(job_run: str, classpath: str = JOBS) -> ParkedTrigger:
    return ParkedTrigger(classpath=classpath, kwargs={"job_name": "etl", "run_id": job_run}, next_method="go")


def given_deferred(world: World, trigger: ParkedTrigger) -> TaskInstance:
    world.given_dag(chain("wait"))
    run = world.trigger()
    world.advance(run)
    key = run.task_instance("wait")

    def defer(instance: TaskInstance) -> Any:
        return transition.defer(instance, trigger=await_events(world.services, Dispatch.of(instance), trigger))

    world.work(run, "wait", defer)
    world.advance(run)
    return instance_of(world, key)


def instance_of(world: World, key: Any) -> TaskInstance:
    found = world.store.get_instance(key)
    assert found is not None
    return found


def told(job_run: str, state: str = "SUCCEEDED") -> dict[str, Any]:
    detail = {"jobName": "etl", "jobRunId": job_run, "state": state}
    return {"source": "aws.glue", "detail-type": "Glue Job State Change", "detail": detail}


def hear(world: World, *events: dict[str, Any]) -> list[TriggerWorkload]:
    """What the triggerer gets because of these events."""
    sent = len(world.queues.triggers)
    for event in events:
        if (resource := resource_of(event)) is not None:
            wake_waiting(world.services, resource)
    return [workload for workload, delay in world.queues.triggers[sent:] if not delay]  # type: ignore[misc]


def test_the_event_of_its_job_has_the_trigger_poll_at_once() -> None:
    world = a_world()
    deferred = given_deferred(world, a_trigger("jr_1"))
    assert deferred.trigger is not None
    assert deferred.trigger.looks_seldom
    assert hear(world, told("jr_2"), told("jr_1", "RUNNING")) == []
    (workload,) = hear(world, told("jr_1"))
    assert (workload.key, workload.woken, workload.wake_at) == (deferred.key, LOOKS, None)
    assert workload.relative_fileloc


def test_an_event_that_comes_before_the_deferral_is_seen_by_the_first_poll() -> None:
    """The wait is there, and the instance still runs: nothing is sent beside the first message, which follows."""
    world = a_world()
    world.given_dag(chain("wait"))
    run = world.trigger()
    world.advance(run)
    world.work(run, "wait", lambda instance: transition.label(instance, rendered_map_index="one"))
    running = instance_of(world, run.task_instance("wait"))
    trigger = await_events(world.services, Dispatch.of(running), a_trigger("jr_1"))
    assert hear(world, told("jr_1")) == []
    assert len(world.store.waits_for("Glue Job State Change: jr_1")) == 1, "it will wait"
    world.store.move(transition.defer(running, trigger=trigger))
    world.advance(run)
    ((first, delay),) = world.queues.triggers
    assert isinstance(first, TriggerWorkload)
    assert (first.key, first.woken, delay) == (running.key, 0, 0)


def test_a_trigger_of_which_no_event_tells_takes_no_write_more() -> None:
    world = a_world()
    trigger = a_trigger("jr_1", "mine.Trigger")
    puts: list[Any] = []
    store = Noting(world.store, puts)
    services = replace(world.services, store=store)  # type: ignore[arg-type]
    dispatch = Dispatch(TaskInstanceKey("d", "r", "wait"), 1, 1)
    assert await_events(services, dispatch, trigger) == trigger
    assert await_events(replace(services, wakes_in=""), dispatch, a_trigger("jr_1")) == a_trigger("jr_1")
    assert puts == []
    await_events(services, dispatch, a_trigger("jr_1"))
    assert len(puts) == 1


class Noting:
    def __init__(self, store: Any, puts: list[Any]) -> None:
        self._store, self._puts = store, puts

    def put_wait(self, wait: Any) -> None:
        self._puts.append(wait)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_what_waits_no_longer_is_not_sent() -> None:
    world = a_world()
    deferred = given_deferred(world, a_trigger("jr_1"))
    report_fired(world.services, Dispatch.of(deferred, Scope.TRIGGER), event=1)
    assert hear(world, told("jr_1")) == []
    world.clock.advance(KEPT.total_seconds())
    assert world.store.waits_for("Glue Job State Change: jr_1") == []


def test_an_event_drops_the_waits_that_are_over() -> None:
    """A crawler's name comes again with each crawl: else each event would look at all that waited within 30 days."""
    world = a_world()
    deferred = given_deferred(world, CRAWLER)
    report_fired(world.services, Dispatch.of(deferred, Scope.TRIGGER), event=1)
    deleted = Dispatch(TaskInstanceKey("deleted", "r", "t"), 1, 1)
    world.store.put_wait(Wait.of(CRAWLS, deleted, world.clock.now() + KEPT))
    assert len(world.store.waits_for(CRAWLS)) == 2
    assert wake_waiting(world.services, CRAWLS) == 0
    assert world.store.waits_for(CRAWLS) == []


@pytest.mark.parametrize("objects", [MemoryObjects(), Unlisted()])
def test_one_whose_spec_is_lost_keeps_no_other_asleep(objects: MemoryObjects) -> None:
    world = a_world(objects)
    first = given_deferred(world, CRAWLER)
    world.given_dag(chain("wait", dag_id="lost"))
    lost = world.trigger("r", "lost")
    run = world.store.get_run(lost)
    assert run is not None
    world.store._runs[lost] = replace(run, spec_key="specs/none.json")
    world.store._instances[lost]["wait", -1] = replace(first, dag_id="lost", run_id=lost.run_id)
    waits = Dispatch.of(world.store._instances[lost]["wait", -1])
    world.store.put_wait(Wait.of(CRAWLS, waits, world.clock.now() + KEPT))
    assert wake_waiting(world.services, CRAWLS) == 1


def test_ten_thousand_that_wait_for_one_resource_are_sent_some_at_a_time() -> None:
    world, many = a_world(), 2 * AT_ONCE + 3
    first = given_deferred(world, CRAWLER)
    for index in range(many):
        one = replace(first, map_index=index)
        world.store._instances[first.key.run][one.task_id, index] = one
        world.store.put_wait(Wait.of(CRAWLS, Dispatch.of(one), world.clock.now() + KEPT))
    wakes: list[WakeWaiting] = [WakeWaiting(resource=CRAWLS)]
    world.queues.triggers.clear()
    looks = 0
    while wakes:
        wake, looks = wakes.pop(), looks + 1
        world.queues.wakes.clear()
        assert wake_waiting(world.services, wake.resource, after=wake.after) <= AT_ONCE
        wakes += [one for one, _ in world.queues.wakes if isinstance(one, WakeWaiting)]
    assert looks == 3
    assert len({workload.key for workload, _ in world.queues.triggers}) == many + 1  # type: ignore[union-attr]
    assert len(world.queues.triggers) == many + 1


@pytest.mark.parametrize("seed", range(20))
def test_lost_doubled_and_reordered_events_resume_each_task_once(seed: int) -> None:
    """Each job ends once; its event comes any number of times, in any order, before or after the trigger's own polls. A task
    goes on once, at its event if that came, else at the next poll."""
    dice, world = random.Random(seed), a_world()  # noqa: S311 - a dice for a test
    deferred = given_deferred(world, a_trigger("jr_1"))
    dispatch = Dispatch.of(deferred, Scope.TRIGGER)
    ends_at = world.clock.now() + timedelta(seconds=dice.randint(0, 400))
    resumed = 0
    inbox = [told("jr_1", state) for state in ("RUNNING", "SUCCEEDED") for _ in range(dice.randint(0, 3))]
    dice.shuffle(inbox)
    messages: list[tuple[Any, TriggerWorkload]] = [
        (world.clock.now(), workload) for workload, _ in world.queues.triggers
    ]  # type: ignore[misc]
    heard_end = False
    for _ in range(200):
        now = world.clock.now()
        if now >= ends_at and inbox and dice.random() < 0.7:
            event = inbox.pop()
            heard_end = heard_end or event["detail"]["state"] == "SUCCEEDED"
            messages += [(now, workload) for workload in hear(world, event)]
        for due in [message for message in messages if message[0] <= now]:
            messages.remove(due)
            if dice.random() < 0.2:
                messages.append(due)  # SQS delivers it twice
            try:
                if now >= ends_at:
                    report_fired(world.services, dispatch, event=1)
                    resumed += 1
                elif due[1].woken != 1:
                    park(world.services, dispatch, wake_at=now, sleeps_passed=0, is_poller=True)
                    messages.append((now + timedelta(seconds=300), due[1]))
            except Conflict:
                pass
        if resumed and not inbox:
            break
        world.clock.advance(20)
    assert resumed == 1
    assert instance_of(world, deferred.key).state is S.SCHEDULED
    assert world.clock.now() - ends_at < timedelta(minutes=6 if not heard_end else 5)
