"""Deleting instances, runs and DAGs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gust.errors import Conflict, Forbidden, NotFound, ServiceUnavailable
from gust.model.dispatch import Dispatch
from gust.model.keys import DagRunKey
from gust.model.place import Workers
from gust.model.pool import Pool, of_pool
from gust.model.state import DagRunState
from gust.model.state import TaskInstanceState as S
from gust.model.workload import WakeDag, WakeRun
from gust.model.xcom import XCom
from gust.rest_api.lists.shown_run import find_spec
from gust.scheduling import transition
from gust.services.backfills.advance_backfill import AT_ONCE
from gust.services.people.delete_dag import delete_dag
from gust.services.people.delete_dag_run import delete_dag_run, delete_task_instance
from gust.services.people.edit_run import HOLD
from gust.services.runs.create_dag_run import create_due_runs
from gust.services.scheduler.advance import advance
from gust.services.scheduler.grant_slots import grant_slots
from gust.services.settings.pools import unfinished_runs
from gust.services.specs import load_spec
from gust.services.worker.report_task_instance import heartbeat, report_success
from tests.unit.services.test_backfills import backfill, hourly, settle
from tests.unit.services.test_clear import clear, finished_run, instance
from tests.world import RUNNING, START, Unlisted, World, chain


def test_a_run_and_all_of_it_is_gone_and_its_name_is_free(world: World) -> None:
    run = finished_run(world, "a")
    clear(world, run)
    world.store.put_xcom(XCom(key=run.task_instance("a"), name="x", value=1, timestamp=world.clock.now()))
    delete_dag_run(world.services, run)
    assert world.store.load_run(run) is None
    assert world.store.list_tries(run.task_instance("a")) == []
    assert world.store.list_xcoms(run) == []
    with pytest.raises(NotFound):
        delete_dag_run(world.services, run)
    world.trigger()
    assert world.advance(run).state is RUNNING
    assert instance(world, run, "a").try_number == 1


def test_a_running_run_is_not_deleted(world: World) -> None:
    world.given_dag(chain("a"))
    run = world.trigger()
    world.advance(run)
    with pytest.raises(Conflict, match="cannot be deleted in running state"):
        delete_dag_run(world.services, run)
    assert world.run(run).state is RUNNING


def test_a_queued_run_is_not_started_while_it_is_deleted(world: World) -> None:
    world.given_dag(chain("a"))
    run = world.trigger()
    original = world.store.delete_run

    def look_first(doomed: object) -> None:
        advance(world.services, run)
        assert world.run(run).state is DagRunState.QUEUED
        original(doomed)  # type: ignore[arg-type]

    world.store.delete_run = look_first  # type: ignore[method-assign]
    delete_dag_run(world.services, run)
    assert world.store.get_run(run) is None
    assert world.dag().running_runs == 0


def test_a_deleted_instance_has_never_run_and_its_worker_is_told(world: World) -> None:
    world.given_dag(chain("a"))
    run = world.trigger()
    world.advance(run)
    world.store.move(transition.start(instance(world, run, "a"), at=world.clock.now(), hostname="w", pid=1))
    worker = Dispatch.of(instance(world, run, "a"))
    delete_task_instance(world.services, run.task_instance("a"))
    assert (world.state(run, "a"), instance(world, run, "a").try_number) == (None, 0)
    world.advance(run)
    world.store.move(transition.start(instance(world, run, "a"), at=world.clock.now(), hostname="v", pid=2))
    with pytest.raises(Conflict):
        heartbeat(world.services, worker, at=world.clock.now())
    with pytest.raises(Conflict):
        report_success(world.services, worker, at=world.clock.now())
    assert instance(world, run, "a").state is S.RUNNING


def test_a_dag_and_its_history(world: World) -> None:
    run = finished_run(world, "a")
    waiting = world.trigger("waiting")
    delete_dag(world.services, "etl")
    assert world.store.get_dag("etl") is None
    assert [world.store.get_run(key) for key in (run, waiting)] == [None, None]
    with pytest.raises(NotFound):
        delete_dag(world.services, "etl")


def test_a_dag_whose_spec_the_bucket_denies_stays(world: World) -> None:
    """Only its spec names the assets that refer to it. A spec that is missing keeps no DAG from being deleted."""
    run = finished_run(world, "a")
    dag = replace(world.dag(), spec_key="specs/denied.json")
    world.store.put_dag(world.dag(), dag)
    with pytest.raises(Forbidden):
        delete_dag(replace(world.services, objects=Unlisted()), "etl")
    assert world.dag() == dag
    assert world.store.get_run(run) is not None
    delete_dag(world.services, "etl")
    assert world.store.get_dag("etl") is None


def test_a_run_whose_spec_the_bucket_denies_stops_no_other(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The pools of others are counted; it is listed without the spec, which a log line tells; it can be deleted, also in a
    stack with containers."""
    world.given_dag(chain("a"))
    denied, other = world.trigger("denied"), world.trigger("other")
    world.store.update_run(world.run(denied), replace(world.run(denied), spec_key="specs/denied.json"))
    services = replace(world.services, objects=Unlisted(), workers=Workers(has_fargate=True))
    load_spec(world.services.objects, world.run(other).spec_key)
    assert [run.run_id for run, _, _ in unfinished_runs(services)] == ["other"]
    with caplog.at_level("WARNING", logger="api"):
        assert find_spec(services, world.run(denied)) is None
    assert "etl/denied is shown without its DAG's structure" in caplog.text
    delete_dag_run(services, denied)
    assert world.store.get_run(denied) is None


def test_a_dag_with_a_running_task_stays(world: World) -> None:
    world.given_dag(chain("a"))
    run = world.trigger()
    world.advance(run)
    world.store.move(transition.start(instance(world, run, "a"), at=world.clock.now(), hostname="w", pid=1))
    with pytest.raises(Conflict, match="still running"):
        delete_dag(world.services, "etl")
    assert not world.dag().is_stale


def test_what_a_deleted_dag_held_of_a_pool_is_given_back(world: World) -> None:
    spec = chain("a")
    world.given_dag(spec.model_copy(update={"tasks": {"a": spec.tasks["a"].model_copy(update={"pool": "slow"})}}))
    world.store.put_pool(None, Pool(name="slow", slots=1))
    run = world.trigger()
    world.advance(run)
    grant_slots(world.services, of_pool("slow"))
    world.advance(run)
    assert instance(world, run, "a").holds
    assert world.store.slots_used(of_pool("slow")) == 1
    delete_dag(world.services, "etl")
    assert world.store.slots_used(of_pool("slow")) == 0


def test_clearing_gives_back_what_was_held(world: World) -> None:
    spec = chain("a")
    world.given_dag(spec.model_copy(update={"tasks": {"a": spec.tasks["a"].model_copy(update={"pool": "slow"})}}))
    world.store.put_pool(None, Pool(name="slow", slots=1))
    run = world.trigger()
    world.advance(run)
    grant_slots(world.services, of_pool("slow"))
    world.store.move(transition.start(instance(world, run, "a"), at=world.clock.now(), hostname="w", pid=1))
    assert world.store.slots_used(of_pool("slow")) == 1
    clear(world, run)
    # As in Airflow, a pool counts what runs, and no longer what is being ended.
    assert (world.state(run, "a"), world.store.slots_used(of_pool("slow"))) == (S.RESTARTING, 0)


def test_no_slots_are_given_while_a_person_changes_the_run(world: World) -> None:
    spec = chain("a")
    world.given_dag(spec.model_copy(update={"tasks": {"a": spec.tasks["a"].model_copy(update={"pool": "slow"})}}))
    full = Pool(name="slow", slots=0)
    world.store.put_pool(None, full)
    run = world.trigger()
    world.advance(run)
    world.store.put_pool(full, replace(full, slots=1))
    seen = world.run(run)
    world.store.update_run(seen, replace(seen, held_by="me", held_until=world.clock.now() + HOLD))
    grant_slots(world.services, of_pool("slow"))
    assert world.store.slots_used(of_pool("slow")) == 0
    held = world.run(run)
    world.store.update_run(held, replace(held, held_by=None, held_until=None))
    world.advance(run)
    grant_slots(world.services, of_pool("slow"))
    assert world.store.slots_used(of_pool("slow")) == 1


def test_deleting_a_queued_run_has_the_next_one_start(world: World) -> None:
    """Which waited behind it, and is looked after once in an hour."""
    world.given_dag(chain("a", max_active_runs=1))
    first = world.trigger("1")
    world.advance(first)
    second, third = (later(world, run_id) for run_id in ("2", "3"))
    world.pass_time(minutes=2)
    for run in (second, third):
        world.advance(run)
    world.succeed(first, "a")
    world.advance(first)
    world.queues.wakes.clear()

    delete_dag_run(world.services, second)

    assert [wake.run_id for wake, _ in world.queues.wakes if isinstance(wake, WakeRun)] == ["3"]
    assert world.advance(third).state is RUNNING


def later(world: World, run_id: str) -> DagRunKey:
    world.pass_time(seconds=1)
    run = world.trigger(run_id)
    world.advance(run)
    return run


def test_a_deleted_dag_takes_its_backfills_along(world: World) -> None:
    """One that went on would make runs of a DAG that is not there, and keep a later one from being made."""
    spec = hourly()
    world.given_dag(spec)
    backfill(world, AT_ONCE + 20)
    assert len(world.store.list_runs("etl")) == AT_ONCE

    delete_dag(world.services, "etl")
    settle(world)

    assert (world.store.list_backfills("etl"), world.store.list_runs("etl")) == ([], [])
    world.given_dag(spec)
    assert backfill(world, 2).is_active


def test_a_dag_that_was_half_deleted_while_backfilling_is_deleted_again(world: World) -> None:
    world.given_dag(hourly())
    backfill(world, 3)
    original = world.store.delete_backfills

    def die(dag_id: str) -> None:
        raise ServiceUnavailable("now")

    world.store.delete_backfills = die  # type: ignore[method-assign]
    with pytest.raises(ServiceUnavailable):
        delete_dag(world.services, "etl")
    world.store.delete_backfills = original  # type: ignore[method-assign]
    settle(world)
    delete_dag(world.services, "etl")
    assert (world.store.list_backfills("etl"), world.store.list_runs("etl"), world.store.get_dag("etl")) == (
        [],
        [],
        None,
    )


class TestTheLatestScheduledRun:
    """Airflow's parser finds the run before it as the latest one, and the scheduler makes the deleted one anew."""

    def given(self, world: World, **fields: object) -> list[DagRunKey]:
        start = START - timedelta(hours=3)
        world.given_dag(hourly(start_date=start, **fields))
        return [run.key for run in create_due_runs(world.services, "etl")]

    def test_it_is_made_anew(self, world: World) -> None:
        *_, latest = self.given(world, catchup=True)
        delete_dag_run(world.services, latest)
        assert world.queues.wakes[-1] == (WakeDag(dag_id="etl", at=START), 0.0)
        assert [run.key for run in create_due_runs(world.services, "etl")] == [latest]

    def test_without_catchup_too_while_no_other_is_due(self, world: World) -> None:
        [latest] = self.given(world)
        delete_dag_run(world.services, latest)
        assert [run.key for run in create_due_runs(world.services, "etl")] == [latest]

    def test_an_earlier_one_is_not(self, world: World) -> None:
        first, *_ = self.given(world, catchup=True)
        before = world.dag()
        delete_dag_run(world.services, first)
        assert world.dag() == before

    def test_nor_is_a_persons(self, world: World) -> None:
        self.given(world, catchup=True)
        manual = world.trigger(logical_date=START + timedelta(minutes=30))
        before = world.dag()
        delete_dag_run(world.services, manual)
        assert world.dag() == before
