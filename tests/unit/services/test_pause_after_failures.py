"""`max_consecutive_failed_dag_runs`: a DAG is paused with the run that makes it enough failures in a row."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gust.errors import StaleDagRun
from gust.model.dag_spec import DagSpec
from gust.model.history_query import LoggedEventQuery
from gust.model.keys import DagRunKey
from gust.model.run_state import LastRuns
from gust.model.state import DagRunState as R
from gust.scheduling import transition
from gust.services.backfills.create_backfill import BackfillRequest, create_backfill
from gust.services.people.pause_dag import set_paused
from tests.unit.services.test_due_runs import HOURLY
from tests.world import World, chain


def paused_after(limit: int, **fields: object) -> DagSpec:
    return chain("extract", max_consecutive_failed_dag_runs=limit, **fields)


def run_to_its_end(world: World, state: R, run_id: str, **asked: Any) -> DagRunKey:
    key = world.trigger(run_id, **asked)
    world.advance(key)
    end(world, key, state)
    world.pass_time(seconds=1)
    return key


def end(world: World, key: DagRunKey, state: R) -> None:
    report = transition.succeed if state is R.SUCCESS else transition.fail
    world.work(key, "extract", lambda instance: report(instance, at=world.clock.now()))
    assert world.advance(key).state is state


def test_enough_failures_in_a_row_pause_the_dag_and_are_logged(world: World) -> None:
    world.given_dag(paused_after(2))
    run_to_its_end(world, R.FAILED, "a")
    assert not world.dag().is_paused
    at = world.clock.now()
    run_to_its_end(world, R.FAILED, "b")
    assert world.dag().is_paused
    assert world.dag().running_runs == 0
    [event] = world.store.logged_events(LoggedEventQuery("etl"))
    assert (event.when, event.event, event.owner, event.owner_display_name) == (at, "paused", "scheduler", "Scheduler")
    assert event.extra == "[('dag_id', 'etl'), ('is_paused', True)]"


def test_a_success_between_begins_the_count_anew(world: World) -> None:
    world.given_dag(paused_after(2))
    for run_id, state in (("a", R.FAILED), ("b", R.SUCCESS), ("c", R.FAILED)):
        run_to_its_end(world, state, run_id)
    assert not world.dag().is_paused


def test_zero_pauses_never(world: World) -> None:
    world.given_dag(paused_after(0))
    for run_id in "abc":
        run_to_its_end(world, R.FAILED, run_id)
    assert not world.dag().is_paused


def test_a_run_that_still_runs_is_no_failure(world: World) -> None:
    world.given_dag(paused_after(2))
    run_to_its_end(world, R.FAILED, "a")
    later = world.trigger("later")
    world.advance(later)
    world.pass_time(seconds=1)
    run_to_its_end(world, R.FAILED, "b")
    assert not world.dag().is_paused, "of the last two one runs"
    end(world, later, R.FAILED)
    assert world.dag().is_paused


def test_whoever_unpauses_it_keeps_it_unpaused(world: World) -> None:
    world.given_dag(paused_after(1))
    failed = run_to_its_end(world, R.FAILED, "a")
    set_paused(world.services, "etl", False)
    world.advance(failed)
    assert not world.dag().is_paused, "a late word about the failed run changes nothing"


def test_a_run_out_of_time_pauses_nothing_itself(world: World) -> None:
    world.given_dag(paused_after(1, dagrun_timeout=60.0))
    key = world.trigger()
    world.advance(key)
    world.pass_time(minutes=2)
    assert world.advance(key).state is R.FAILED
    assert not world.dag().is_paused


def test_two_runs_that_fail_at_once_pause_it_once(world: World) -> None:
    """Each sees the other run still; who ends second finds that out and looks again."""
    world.given_dag(paused_after(2))
    one, two = world.trigger("one"), world.trigger("two")
    for key in (one, two):
        world.advance(key)
        world.work(key, "extract", lambda instance: transition.fail(instance, at=world.clock.now()))
    seen_by_one = world.store.list_runs

    def meanwhile(dag_id: str, *, limit: int | None = None) -> Any:
        found = seen_by_one(dag_id, limit=limit)
        world.store.list_runs = seen_by_one  # type: ignore[method-assign]  # once
        world.advance(two)
        return found

    world.store.list_runs = meanwhile  # type: ignore[method-assign]  # what happens while `one` is being decided
    assert world.advance(one).state is R.FAILED
    assert world.run(two).state is R.FAILED
    assert world.dag().is_paused
    assert len(world.store.logged_events(LoggedEventQuery("etl"))) == 1


def test_a_backfills_failures_count(world: World) -> None:
    start = datetime(2026, 2, 1, tzinfo=UTC)
    world.given_dag(paused_after(2, timetable=HOURLY, start_date=start + timedelta(days=300)))
    asked = BackfillRequest(dag_id="etl", from_date=start, to_date=start + timedelta(hours=1))
    create_backfill(world.services, asked, user=None)
    for run in sorted(world.store.list_runs("etl"), key=lambda run: run.backfill_ordinal):
        world.advance(run.key)
        end(world, run.key, R.FAILED)
    assert world.dag().is_paused


def test_the_store_wants_the_count_it_was_told(world: World) -> None:
    world.given_dag(paused_after(1))
    key = world.trigger()
    run = world.advance(key)
    with pytest.raises(StaleDagRun):
        world.store.finish_run(run, replace(run, state=R.FAILED), last=LastRuns(7))
    world.store.finish_run(run, replace(run, state=R.FAILED), last=LastRuns(1))
