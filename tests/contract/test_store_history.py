"""Walks through the history of all DAGs, and the counts that lists go by."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice

import pytest

from gust.model.dag import Dag
from gust.model.dag_run import DagRun
from gust.model.run_state import RunSummary
from gust.model.state import DagRunState as R
from gust.model.state import TaskInstanceState as S
from gust.model.window import OLDEST_FIRST, Window
from gust.ports.store import Store
from tests.contract.given import (
    NOW,
    a_run,
    an_instance,
    at,
    given_dag,
    given_instance,
    given_run,
    given_running_run,
    transition,
)
from tests.contract.stores import OnDynamoDB

DAY = timedelta(days=1)


def given_runs(store: Store) -> list[DagRun]:
    """Of three days and two DAGs, two of them at one moment; in their order."""
    return [
        given_run(store, a_run("z", "etl", run_after=NOW - 40 * DAY)),
        given_run(store, a_run("a", "etl", run_after=NOW - DAY)),
        given_run(store, a_run("b", "dwh", run_after=NOW)),
        given_run(store, a_run("a", "etl#2", run_after=NOW)),
        given_run(store, a_run("b", "etl", run_after=NOW + timedelta(hours=1))),
    ]


def test_runs_of_all_dags_are_walked_in_order_of_time(store: Store) -> None:
    runs = given_runs(store)
    in_order = [(run.run_after, run.key) for run in runs]
    assert list(store.walk_runs(window=OLDEST_FIRST)) == in_order
    assert list(store.walk_runs()) == in_order[::-1]


def test_walks_keep_their_bounds(store: Store) -> None:
    runs = given_runs(store)
    between = store.walk_runs(window=Window(NOW - DAY, NOW, ascending=True))
    assert [key for _, key in between] == [run.key for run in runs[1:4]]
    of_dag = store.walk_runs("etl", Window(NOW - DAY, NOW, ascending=False))
    assert [key for _, key in of_dag] == [runs[1].key]
    assert not list(store.walk_runs(window=Window(NOW + DAY, ascending=False)))
    assert not list(store.walk_runs(window=Window(NOW, NOW - DAY, ascending=False)))
    assert not list(store.walk_runs("etl", Window(NOW, NOW - DAY, ascending=False)))


def test_runs_of_one_dag_are_walked_alone(store: Store) -> None:
    runs = given_runs(store)
    assert [key for _, key in store.walk_runs("etl")] == [runs[4].key, runs[1].key, runs[0].key]


def test_deleted_runs_are_walked_no_more(store: Store) -> None:
    given_dag(store)
    run = given_run(store)
    store.delete_run(run)
    assert not list(store.walk_runs())


def test_runs_are_read_in_the_order_of_their_keys(store: Store) -> None:
    one, other = given_run(store, a_run("b")), given_run(store, a_run("a"))
    gone = a_run("c")
    assert store.get_runs([one.key, gone.key, other.key]) == [one, other]
    assert [state.run for state in store.load_runs([other.key, gone.key, one.key])] == [other, one]


def test_a_walk_reads_no_further_than_it_is_asked_to(dynamodb: OnDynamoDB) -> None:
    given_runs(dynamodb.store)
    dynamodb.calls.clear()
    assert len(list(islice(dynamodb.store.walk_runs(), 3))) == 3
    assert dynamodb.calls.operations == ["query", "query"]  # the newest days, and the newest of them


def test_the_latest_run_of_each_dag_is_found(store: Store) -> None:
    runs = given_runs(store)
    assert store.latest_runs(["etl", "dwh", "none"]) == {
        "etl": (runs[4].run_after, runs[4].key),
        "dwh": (runs[2].run_after, runs[2].key),
    }


@pytest.mark.parametrize("others", [0, 25], ids=["few", "many"])
def test_of_the_latest_runs_those_with_a_logical_date_may_be_wanted(store: Store, others: int) -> None:
    """Of few DAGs, each is asked; of many, all runs are walked first."""
    dated = given_run(store, a_run("a", run_after=NOW - DAY, logical_date=NOW - DAY))
    given_run(store, a_run("b", run_after=NOW))
    given_run(store, a_run("a", "undated", run_after=NOW))
    names = [f"dag_{n}" for n in range(others)]
    for name in names:
        given_run(store, a_run("a", name, run_after=NOW, logical_date=NOW))
    found = store.latest_runs(["etl", "undated", *names], dated=True)
    assert found.pop("etl") == (dated.run_after, dated.key)
    assert set(found) == set(names)
    newest = [key.run_id for _, key in store.walk_runs("etl")]
    assert newest == ["b", "a"]


# --- failures ---------------------------------------------------------------------------------------------------------


def fail(store: Store, task_id: str, when: datetime) -> None:
    running = given_instance(store, an_instance(task_id, state=S.RUNNING, try_number=1, dispatch_count=1))
    store.move(transition(running, state=S.FAILED, end_date=when))


def test_failed_instances_are_walked_across_runs_the_latest_first(store: Store) -> None:
    fail(store, "extract", at(-90_000))
    fail(store, "load", at(5))
    given_instance(store, an_instance("other", state=S.SUCCESS, end_date=at(7)))
    assert [(when, key.task_id) for when, key in store.walk_failed_instances()] == [
        (at(5), "load"),
        (at(-90_000), "extract"),
    ]
    since = store.walk_failed_instances(Window(NOW, ascending=False))
    assert [key.task_id for _, key in since] == ["load"]


def test_an_instance_that_is_cleared_is_no_failure_any_more(store: Store) -> None:
    fail(store, "extract", at(5))
    failed = store.get_instance(an_instance().key)
    assert failed is not None
    store.move(transition(failed, state=None, end_date=None))
    assert not list(store.walk_failed_instances())


def test_only_what_fails_pays_for_being_found(dynamodb: OnDynamoDB) -> None:
    store = dynamodb.store
    fail(store, "warm_up", at(5))  # notes the day
    running = given_instance(store, an_instance("a", state=S.RUNNING, try_number=1, dispatch_count=1))
    other = given_instance(store, an_instance("b", state=S.RUNNING, try_number=1, dispatch_count=1))
    dynamodb.calls.clear()
    store.move(transition(running, state=S.SUCCESS, end_date=at(5)))
    store.move(transition(other, state=S.FAILED, end_date=at(5)))
    assert [consumed["CapacityUnits"] for consumed in dynamodb.calls.consumed] == [1, 2]


# --- counts -----------------------------------------------------------------------------------------------------------


def of_dag(store: Store) -> Dag:
    dag = store.get_dag("etl")
    assert dag is not None
    return dag


def ended(store: Store, run: DagRun, state: R) -> DagRun:
    after = replace(run, state=state, end_date=at(9), due_at=None)
    store.finish_run(run, after)
    return after


def test_runs_that_end_are_counted_by_how_they_ended(store: Store) -> None:
    given_dag(store)
    ended(store, given_running_run(store, a_run("1")), R.SUCCESS)
    ended(store, given_running_run(store, a_run("2")), R.FAILED)
    ended(store, given_running_run(store, a_run("3")), R.FAILED)
    assert (of_dag(store).success_runs, of_dag(store).failed_runs, of_dag(store).running_runs) == (1, 2, 0)


def test_a_run_that_is_marked_cleared_or_deleted_is_counted_again(store: Store) -> None:
    given_dag(store)
    failed = ended(store, given_running_run(store, a_run("1")), R.FAILED)
    marked = replace(failed, state=R.SUCCESS)
    store.update_run(failed, marked)
    assert (of_dag(store).success_runs, of_dag(store).failed_runs) == (1, 0)
    store.update_run(marked, replace(marked, state=R.QUEUED, clear_number=1, end_date=None))
    assert (of_dag(store).success_runs, of_dag(store).failed_runs) == (0, 0)
    other = ended(store, given_running_run(store, a_run("2")), R.SUCCESS)
    store.delete_run(other)
    assert (of_dag(store).success_runs, of_dag(store).failed_runs) == (0, 0)


def test_writing_a_dag_never_changes_its_counts(store: Store) -> None:
    seen = given_dag(store)
    ended(store, given_running_run(store), R.SUCCESS)
    store.put_dag(seen, replace(seen, description="new", success_runs=7))
    assert (of_dag(store).success_runs, of_dag(store).description) == (1, "new")


@pytest.mark.parametrize("marks", [True, False])
def test_a_run_whose_dag_is_gone_can_be_marked_and_deleted(store: Store, marks: bool) -> None:
    given_dag(store)
    failed = ended(store, given_running_run(store), R.FAILED)
    store.delete_dag("etl")
    if marks:
        store.update_run(failed, replace(failed, state=R.SUCCESS))
    else:
        store.delete_run(failed)
    found = store.get_run(failed.key)
    assert (found and found.state) == (R.SUCCESS if marks else None)
    assert store.list_dags() == []


def test_a_run_says_how_many_of_its_instances_ended_how(store: Store) -> None:
    given_dag(store)
    run = given_running_run(store)
    counts = {"failed": 1, "success": 20, "no_status": 3}
    finished = replace(run, state=R.FAILED, end_date=at(9), due_at=None, instance_states=counts)
    store.finish_run(run, finished)
    assert store.get_run(run.key) == finished
    store.update_run(finished, replace(finished, instance_states={}))
    assert store.get_run(run.key) == replace(finished, instance_states={})


def test_runs_are_summed_up_in_the_order_of_their_keys(store: Store) -> None:
    given_dag(store)
    counts = {"success": 3}
    finished = given_running_run(store, a_run("1", start_date=at(1)))
    store.finish_run(finished, replace(finished, state=R.SUCCESS, end_date=at(9), due_at=None, instance_states=counts))
    queued, gone = given_run(store, a_run("2")), a_run("3")
    assert store.summaries_of_runs([queued.key, gone.key, finished.key]) == [
        RunSummary(queued.key, R.QUEUED, None, None, {}),
        RunSummary(finished.key, R.SUCCESS, finished.start_date, at(9), counts),
    ]


def test_logical_dates_are_told_without_their_runs(store: Store) -> None:
    dated = [given_run(store, a_run(f"{n}", logical_date=NOW + n * DAY)) for n in range(4)]
    given_run(store, a_run("undated"))
    given_run(store, a_run("other", "dwh", logical_date=NOW + DAY))
    window = Window(NOW + DAY, NOW + 2 * DAY, ascending=True)
    assert store.dates_of_runs("etl", window) == [(run.logical_date, run.key) for run in dated[1:3]]
    assert store.dates_of_runs("etl", Window(NOW + DAY, NOW, ascending=True)) == []


def test_counting_an_end_costs_nothing_beside_the_limit(dynamodb: OnDynamoDB) -> None:
    given_dag(dynamodb.store)
    run = given_running_run(dynamodb.store)
    dynamodb.calls.clear()
    states = {"failed": 1, "skipped": 7, "success": 1000, "upstream_failed": 12}
    dynamodb.store.finish_run(run, replace(run, state=R.SUCCESS, end_date=at(9), due_at=None, instance_states=states))
    assert dynamodb.calls.operations == ["transact_write_items"]
    assert sum(consumed["CapacityUnits"] for consumed in dynamodb.calls.consumed[0]) == 4
