"""Backfills: one at a time for each DAG, every run made and counted once, and ended when all have ended."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from gust.errors import AlreadyExists, LimitReached, NotFound, StaleBackfill, StaleDagRun
from gust.model.backfill import Backfill, ReprocessBehavior
from gust.model.dag_run import DagRun
from gust.model.state import DagRunState
from gust.model.window import Window
from gust.ports.store import Store
from gust.scheduling.added_run import BackfillRun
from tests.contract.given import NOW, a_run, at, given_dag, given_run
from tests.contract.stores import OnDynamoDB
from tests.contract.test_store_contention import WRITERS, at_once

PLAN = [["2026-03-01T00:00:00+00:00", None, None, None, "ü"], ["2026-03-02T00:00:00+00:00", None, None, None, None]]


def a_backfill(backfill_id: int = 1, dag_id: str = "etl", **fields: Any) -> Backfill:
    return Backfill(
        **{
            "backfill_id": backfill_id,
            "dag_id": dag_id,
            "from_date": at(-7200),
            "to_date": at(-3600),
            "created_at": NOW,
            "updated_at": NOW,
            "version_number": 1,
            "spec_key": "specs/1.json",
            "planned": 2,
            "due_at": at(60),
            **fields,
        }
    )


def given_backfill(store: Store, backfill: Backfill | None = None) -> Backfill:
    backfill = backfill or a_backfill()
    store.create_backfill(backfill, PLAN)
    return backfill


def its_run(ordinal: int = 1, **fields: Any) -> DagRun:
    return a_run(f"backfill__{ordinal}", **{"backfill_id": 1, "backfill_ordinal": ordinal, **fields})


def stored(store: Store, backfill_id: int = 1) -> Backfill:
    found = store.get_backfill(backfill_id)
    assert found is not None
    return found


def test_a_backfill_is_read_as_it_was_written(store: Store) -> None:
    backfill = a_backfill(
        dag_run_conf={"a": [1, None]},
        is_paused=True,
        reprocess_behavior=ReprocessBehavior.FAILED,
        max_active_runs=3,
        run_on_latest_version=False,
        triggering_user_name="ada",
        bundle_version="b1",
    )
    given_backfill(store, backfill)
    assert store.get_backfill(1) == backfill
    assert store.backfill_plan(1) == PLAN
    assert (store.get_backfill(2), store.backfill_plan(2)) == (None, [])


def test_a_plan_may_be_larger_than_an_item(store: Store) -> None:
    plan = [["x" * 100]] * 5000
    store.create_backfill(a_backfill(), plan)
    assert store.backfill_plan(1) == plan


def test_ids_are_given_once(store: Store) -> None:
    assert [store.next_backfill_id() for _ in range(3)] == [1, 2, 3]


def test_a_dag_has_one_active_backfill(store: Store) -> None:
    first = given_backfill(store)
    given_backfill(store, a_backfill(2, "other#dag"))
    with pytest.raises(AlreadyExists, match="already a running backfill for dag etl"):
        given_backfill(store, a_backfill(3))
    assert store.get_backfill(3) is None
    ended = replace(first, completed_at=at(1), due_at=None)
    store.end_backfill(first, ended)
    given_backfill(store, a_backfill(3))
    assert store.list_backfills("etl") == [ended, a_backfill(3)]
    assert [b.backfill_id for b in store.list_backfills("other#dag")] == [2]


def test_backfills_of_all_dags_are_listed_by_number(store: Store) -> None:
    assert store.all_backfills() == []
    made = [a_backfill(store.next_backfill_id(), f"dag_{n}") for n in range(3)]
    for backfill in reversed(made):
        given_backfill(store, backfill)
    assert store.all_backfills() == store.all_backfills(active=True) == made
    ended = replace(made[1], completed_at=at(1), due_at=None)
    store.end_backfill(made[1], ended)
    assert store.all_backfills() == [made[0], ended, made[2]]
    assert store.all_backfills(active=True) == [made[0], made[2]]
    store.delete_backfills("dag_0")
    assert store.all_backfills() == [ended, made[2]]


def test_a_run_is_made_once(store: Store) -> None:
    given_dag(store)
    backfill = given_backfill(store)
    store.add_to_backfill(backfill, BackfillRun(its_run(logical_date=at(-7200)), made=1))
    assert (stored(store).made, stored(store).unfinished_runs) == (1, 1)
    with pytest.raises(StaleBackfill):
        store.add_to_backfill(backfill, BackfillRun(its_run(2), made=1))
    made_one = stored(store)
    with pytest.raises(AlreadyExists, match="logical date"):
        store.add_to_backfill(made_one, BackfillRun(its_run(2, logical_date=at(-7200)), made=2))
    with pytest.raises(AlreadyExists, match="backfill__1"):
        store.add_to_backfill(made_one, BackfillRun(its_run(1), made=2))
    assert stored(store) == made_one


def test_a_finished_run_is_queued_again_as_the_backfills(store: Store) -> None:
    given_dag(store)
    before = given_run(store, a_run("mine", state=DagRunState.FAILED, logical_date=at(-7200)))
    backfill = given_backfill(store)
    again = replace(before, state=DagRunState.QUEUED, clear_number=1, backfill_id=1, backfill_ordinal=1, due_at=at(60))
    store.add_to_backfill(backfill, BackfillRun(again, made=1, before=before))
    assert store.get_run(before.key) == again
    assert store.queued_runs("etl", limit=9, backfill_id=1) == [before.key]
    assert store.queued_runs("etl", limit=9) == []
    assert stored(store).unfinished_runs == 1
    with pytest.raises(StaleDagRun):
        store.add_to_backfill(stored(store), BackfillRun(again, made=2, before=before))


def test_its_runs_wait_in_its_order_and_start_under_its_limit(store: Store) -> None:
    given_dag(store)
    backfill = given_backfill(store)
    for ordinal in (1, 2):
        run = its_run(ordinal, run_after=at(-ordinal))
        store.add_to_backfill(replace(backfill, made=ordinal - 1), BackfillRun(run, made=ordinal))
    assert store.queued_runs("etl", limit=9, backfill_id=1) == [its_run(1).key, its_run(2).key]
    assert store.queued_runs("etl", limit=9, backfill_id=1, up_to=its_run(1)) == [its_run(1).key]
    first, second = (store.get_run(key) for key in store.queued_runs("etl", limit=9, backfill_id=1))
    assert first is not None
    assert second is not None
    running = replace(first, state=DagRunState.RUNNING)
    store.start_run(first, running, max_active_runs=1)
    with pytest.raises(LimitReached, match="max_active_runs"):
        store.start_run(second, replace(second, state=DagRunState.RUNNING), max_active_runs=1)
    assert (stored(store).running_runs, stored(store).unfinished_runs) == (1, 2)
    dag = store.get_dag("etl")
    assert dag is not None
    assert dag.running_runs == 0
    store.finish_run(running, replace(running, state=DagRunState.SUCCESS))
    assert (stored(store).running_runs, stored(store).unfinished_runs) == (0, 1)


def test_a_paused_backfill_starts_none(store: Store) -> None:
    given_dag(store)
    backfill = given_backfill(store)
    store.add_to_backfill(backfill, BackfillRun(its_run(), made=1))
    seen = stored(store)
    store.update_backfill(seen, replace(seen, is_paused=True))
    with pytest.raises(LimitReached):
        store.start_run(its_run(), replace(its_run(), state=DagRunState.RUNNING), max_active_runs=9)
    store.update_backfill(replace(seen, is_paused=True), seen)
    store.start_run(its_run(), replace(its_run(), state=DagRunState.RUNNING), max_active_runs=9)


def test_what_ends_or_comes_back_without_running_is_counted_too(store: Store) -> None:
    given_dag(store)
    store.add_to_backfill(given_backfill(store), BackfillRun(its_run(due_at=at(5)), made=1))
    failed = replace(its_run(due_at=at(5)), state=DagRunState.FAILED)
    store.update_run(its_run(due_at=at(5)), failed)
    assert stored(store).unfinished_runs == 0
    again = replace(failed, state=DagRunState.QUEUED, clear_number=1, due_at=None)
    store.update_run(replace(failed, due_at=None), again)
    assert stored(store).unfinished_runs == 1
    store.update_run(again, replace(again, note="look"))
    assert stored(store).unfinished_runs == 1


def test_it_ends_when_all_its_runs_have_ended_or_it_is_cancelled(store: Store) -> None:
    given_dag(store)
    store.add_to_backfill(given_backfill(store), BackfillRun(its_run(), made=1))
    seen = stored(store)
    ended = replace(seen, completed_at=at(9), due_at=None)
    with pytest.raises(StaleBackfill):
        store.end_backfill(seen, ended)
    store.end_backfill(seen, ended, cancels=True)
    with pytest.raises(StaleBackfill):
        store.end_backfill(seen, ended, cancels=True)
    with pytest.raises(StaleBackfill):
        store.add_to_backfill(seen, BackfillRun(its_run(2), made=2))
    assert store.due_backfills(at(3600)) == []


def test_counts_are_the_runs_alone(store: Store) -> None:
    given_dag(store)
    seen = given_backfill(store)
    store.add_to_backfill(seen, BackfillRun(its_run(), made=1))
    made_one = replace(seen, made=1)
    store.update_backfill(made_one, replace(made_one, due_at=at(99), unfinished_runs=7))
    assert stored(store) == replace(made_one, due_at=at(99), unfinished_runs=1)
    with pytest.raises(StaleBackfill):
        store.update_backfill(seen, replace(seen, due_at=at(100)))


def test_active_ones_are_due_at_their_time(store: Store) -> None:
    given_backfill(store, a_backfill(7, "a", due_at=at(20)))
    given_backfill(store, a_backfill(8, "b", due_at=at(10)))
    assert store.due_backfills(at(9)) == []
    assert store.due_backfills(at(10)) == [(8, at(10))]
    assert store.due_backfills(at(20)) == [(8, at(10)), (7, at(20))]
    assert store.due_runs(at(99)) == []
    assert store.due_dags(at(99)) == []


def test_a_run_of_no_backfill_that_is_there(store: Store) -> None:
    given_dag(store)
    run = given_run(store, its_run(backfill_id=5))
    with pytest.raises(NotFound):
        store.start_run(run, replace(run, state=DagRunState.RUNNING), max_active_runs=1)


def test_runs_are_found_by_their_dates(store: Store) -> None:
    for day, date in enumerate((at(0), at(10), at(20))):
        given_run(store, a_run(f"r{day}", logical_date=date))
    assert [run.run_id for run in store.runs_of_dates("etl", Window(at(0), at(10), ascending=True))] == ["r0", "r1"]
    assert list(store.runs_of_dates("other", Window(at(0), at(10), ascending=True))) == []


def test_runs_are_found_by_their_partition(store: Store) -> None:
    for name, date in (("b", at(10)), ("a", at(10)), ("c", at(0))):
        given_run(store, a_run(name, partition_date=date, partition_key="k"))
    assert [run.run_id for run in store.runs_of_partition("etl", at(10))] == ["a", "b"]
    assert [run.run_id for run in store.runs_of_partition("etl", None)] == ["c", "a", "b"]


def test_what_a_backfills_run_costs(dynamodb: OnDynamoDB) -> None:
    store, calls = dynamodb.store, dynamodb.calls
    given_dag(store)
    given_run(store)  # the first of its day, which is noted with it
    backfill = given_backfill(store)
    calls.clear()
    store.add_to_backfill(backfill, BackfillRun(its_run(logical_date=at(0)), made=1))
    store.start_run(its_run(), replace(its_run(), state=DagRunState.RUNNING), max_active_runs=1)
    running = replace(its_run(), state=DagRunState.RUNNING)
    store.update_run(running, replace(running, due_at=at(9)))
    store.finish_run(running, replace(running, state=DagRunState.SUCCESS))
    transaction = "transact_write_items"
    assert calls.operations == [transaction, transaction, "update_item", transaction]


def test_many_who_make_and_start_runs_at_once_make_each_once_and_start_no_more_than_may(store: Store) -> None:
    given_dag(store)
    backfill = given_backfill(store)
    outcomes = at_once(
        partial(store.add_to_backfill, backfill, BackfillRun(its_run(maker, logical_date=at(maker)), made=1))
        for maker in range(WRITERS)
    )
    assert outcomes == {"done": 1, "StaleBackfill": WRITERS - 1}
    queued = [given_run(store, its_run(ordinal)) for ordinal in range(100, 100 + WRITERS)]
    outcomes = at_once(
        partial(store.start_run, run, replace(run, state=DagRunState.RUNNING), max_active_runs=3) for run in queued
    )
    assert outcomes == {"done": 3, "LimitReached": WRITERS - 3}
    assert stored(store).running_runs == 3


def test_a_dags_backfills_are_deleted_with_their_plans(store: Store) -> None:
    given_backfill(store)
    store.end_backfill(stored(store), replace(stored(store), completed_at=NOW, due_at=None), cancels=True)
    other = given_backfill(store, a_backfill(backfill_id=2, dag_id="etl_2"))
    for _ in range(2):
        store.delete_backfills("etl")
        assert (store.get_backfill(1), store.backfill_plan(1), store.list_backfills("etl")) == (None, [], [])
        assert store.due_backfills(at(3600)) == [(2, at(60))]
    assert store.list_backfills("etl_2") == [other]
    given_backfill(store, a_backfill(backfill_id=3))
