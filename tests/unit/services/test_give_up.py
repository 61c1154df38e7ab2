"""A run that no look can bring forward ends as failed with the reason; any other failure only puts it off."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gust.errors import ServiceUnavailable
from gust.model.keys import DagRunKey
from gust.model.state import DagRunState
from gust.model.state import TaskInstanceState as S
from gust.model.workload import WakeRun
from gust.services.scheduler.advance import advance
from gust.services.scheduler.give_up import NEXT_LOOKS, back_off
from tests.world import Unlisted, World, chain


def look(world: World, key: DagRunKey) -> None:
    """As the scheduler's door does."""
    try:
        advance(world.services, key)
    except Exception as error:
        back_off(world.services, key, error)


@pytest.fixture
def world() -> World:
    return World(objects=Unlisted())


@pytest.fixture
def poison(world: World) -> DagRunKey:
    """A run with a task under way whose spec the bucket has lost."""
    world.given_dag(chain("extract", "load", max_active_runs=1))
    key = world.trigger()
    run = world.advance(key)
    world.store.update_run(run, replace(run, spec_key="specs/lost.json"))
    return key


def test_it_fails_after_some_looks_and_says_why(world: World, poison: DagRunKey) -> None:
    for wait in NEXT_LOOKS:
        look(world, poison)
        run = world.run(poison)
        assert not run.is_finished
        assert run.due_at == world.clock.now() + wait, "the tick brings it back"
        look(world, poison)
        assert world.run(poison) == run, "a word that comes twice counts once"
        world.clock.advance(wait.total_seconds())
    look(world, poison)

    run = world.run(poison)
    assert run.state is DagRunState.FAILED
    assert "Forbidden: S3 denies access to 'specs/lost.json'" in (run.reason or "")
    instance = world.store.get_instance(poison.task_instance("extract"))
    assert instance is not None
    assert instance.state is S.SKIPPED
    assert instance.reason == run.reason, "what its log shows"
    assert world.dag().running_runs == 0


def test_the_next_run_takes_its_place(world: World, poison: DagRunKey) -> None:
    following = world.trigger("next")
    world.advance(following)
    assert world.run(following).state is DagRunState.QUEUED
    for wait in (*NEXT_LOOKS, timedelta()):
        look(world, poison)
        world.clock.advance(wait.total_seconds())
    assert following in {wake.key for wake, _ in world.queues.wakes if isinstance(wake, WakeRun)}
    world.advance(following)
    assert world.state(following, "extract") is S.QUEUED


def test_a_run_that_can_be_decided_again_begins_to_count_anew(world: World, poison: DagRunKey) -> None:
    look(world, poison)
    run = world.run(poison)
    assert run.stumbles == 1
    world.store.update_run(run, replace(run, spec_key=world.dag().spec_key))
    look(world, poison)
    assert world.run(poison).stumbles == 0


def test_a_run_backs_off_while_a_service_is_unavailable(world: World, poison: DagRunKey) -> None:
    for _ in range(10):
        world.pass_time(hours=1)
        assert not back_off(world.services, poison, ServiceUnavailable("DynamoDB is gone"))
        run = world.run(poison)
        assert (run.is_finished, run.stumbles) == (False, 0)
        assert run.due_at == world.clock.now() + timedelta(minutes=10)
