"""Reports of a triggerer that the store cannot take."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from gust.errors import Invalid
from gust.model.dispatch import Dispatch, Scope
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import ParkedTrigger, TaskInstance
from gust.scheduling import transition
from gust.scheduling.transition import Transition
from gust.services.scheduler.tick import tick
from gust.services.worker.report_trigger import park, report_fired
from gust.store.memory import MemoryStore
from tests.world import World, chain


class Small:
    """A store that takes no event and no arguments of more than ten characters."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def move(self, change: Transition) -> None:
        if change.edge == "resume" and len(str((change.after.next_kwargs or {})["event"])) > 10:
            raise Invalid("It is too large to be stored")
        if change.edge == "queue_trigger" and change.after.trigger and len(str(change.after.trigger.kwargs)) > 10:
            raise Invalid("It is too large to be stored")
        self._store.move(change)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def given_deferred(world: World) -> TaskInstance:
    world.given_dag(chain("wait"))
    run = world.trigger()
    world.advance(run)
    trigger = ParkedTrigger(classpath="a.Trigger", kwargs={}, next_method="go")
    world.work(run, "wait", lambda instance: transition.defer(instance, trigger=trigger))
    deferred = world.store.get_instance(run.task_instance("wait"))
    assert deferred is not None
    return deferred


def test_an_event_that_is_too_large_fails_the_try_and_is_not_sent_for_ever(world: World) -> None:
    deferred = given_deferred(world)
    services = replace(world.services, store=Small(world.store))
    report_fired(services, Dispatch.of(deferred, Scope.TRIGGER), event="x" * 11)
    resumed = world.store.get_instance(deferred.key)
    assert resumed is not None
    assert (resumed.state, resumed.next_method) == (S.SCHEDULED, transition.FAIL_METHOD)
    assert resumed.reason == "The trigger's event cannot be kept. It is too large to be stored"


def test_a_trigger_that_remembers_more_than_can_be_stored_has_broken(world: World) -> None:
    deferred = given_deferred(world)
    services = replace(world.services, store=Small(world.store))
    now = world.clock.now()

    park(
        services,
        Dispatch.of(deferred, Scope.TRIGGER),
        wake_at=now,
        sleeps_passed=0,
        is_poller=True,
        kwargs={"a": "long"},
    )

    resumed = world.store.get_instance(deferred.key)
    assert resumed is not None
    assert (resumed.state, resumed.next_method) == (S.SCHEDULED, transition.FAIL_METHOD)
    assert resumed.reason == "What the trigger remembers cannot be kept. It is too large to be stored"


def test_a_trigger_that_sleeps_for_days_begins_a_chain_of_its_own_afterwards(world: World) -> None:
    """Handed on from message to message it would be one chain of invocations, of a hundred turns a day."""
    deferred = given_deferred(world)
    world.advance(deferred.key.run)
    sent = len(world.queues.triggers)
    began = world.clock.now()
    wake_at = began + timedelta(days=2)

    dispatch = Dispatch.of(deferred, Scope.TRIGGER)
    park(world.services, dispatch, wake_at=wake_at, sleeps_passed=1, is_poller=True, looks=3, place="there")
    for _ in range(12 * 24 * 3):
        tick(world.services)
        for key, _ in world.store.due_runs(world.clock.now()):
            world.advance(key)
        if world.queues.triggers[sent:]:
            break
        world.clock.advance(300)

    ((workload, delay),) = world.queues.triggers[sent:]
    assert timedelta() <= world.clock.now() - wake_at <= timedelta(minutes=5)
    assert delay == 0
    how = {"sleeps_passed": 1, "is_poller": True, "looks": 3, "place": "there"}
    assert workload.model_dump(include=how.keys()) == how


def test_a_shorter_sleep_is_a_delayed_message(world: World) -> None:
    deferred = given_deferred(world)
    sent = len(world.queues.triggers)

    park(
        world.services,
        Dispatch.of(deferred, Scope.TRIGGER),
        wake_at=world.clock.now() + timedelta(minutes=40),
        sleeps_passed=1,
        is_poller=True,
    )

    assert len(world.queues.triggers) == sent + 1
