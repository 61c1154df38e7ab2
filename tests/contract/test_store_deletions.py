"""Deletions remove their item and nothing next to it; and moves of runs that only people make."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gust.errors import StaleDagRun
from gust.model.bundle import DagWarning
from gust.model.dag import DagVersion
from gust.model.keys import TaskInstanceKey
from gust.model.state import DagRunState
from gust.model.state import TaskInstanceState as S
from gust.model.xcom import XCom
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
from tests.contract.test_store_runs import running_runs

LARGE = "x" * 300_000


def with_history(store: Store, key: TaskInstanceKey) -> None:
    before = given_instance(
        store, an_instance(key.task_id, run=a_run(key.run_id), state=S.FAILED, try_number=1, dispatch_count=1)
    )
    store.move(transition(before, keeps_try=True, state=None, dispatch_count=2))
    store.put_rendered_fields(key, {"a": 1}, dispatch_count=1)
    store.put_xcom(XCom(key=key, name="small", value=1, timestamp=NOW))
    store.put_xcom(XCom(key=key, name="large", value=LARGE, timestamp=NOW))


def test_a_run_goes_with_all_that_lies_with_it_and_no_other(store: Store) -> None:
    given_dag(store)
    one = given_run(store, a_run("one", logical_date=NOW))
    other = given_run(store, a_run("one#more"))
    for run in (one, other):
        with_history(store, run.key.task_instance("extract"))
    store.delete_run(one)
    assert store.get_run(one.key) is None
    assert store.load_run(one.key) is None
    extract = one.key.task_instance("extract")
    assert store.get_instance(extract) is None
    assert (store.list_tries(extract), store.get_rendered_fields(extract), store.list_xcoms(one.key)) == ([], None, [])
    assert list(store.runs_before("etl", None)) == []
    assert [run.run_id for run in store.list_runs("etl")] == ["one#more"]
    assert len(store.list_tries(other.key.task_instance("extract"))) == 1
    assert [xcom.value for xcom in store.list_xcoms(other.key)] == [LARGE, 1]
    # The logical date is free again, and deleting what is gone is no error.
    store.create_run(a_run("two", logical_date=NOW))
    store.delete_run(one)


def test_a_run_that_moved_on_is_not_deleted(store: Store) -> None:
    given_dag(store)
    seen = given_run(store)
    store.update_run(seen, replace(seen, clear_number=1))
    with pytest.raises(StaleDagRun) as refused:
        store.delete_run(seen)
    assert refused.value.current == store.get_run(seen.key) == replace(seen, clear_number=1)


def test_a_deleted_run_is_no_longer_counted(store: Store) -> None:
    given_dag(store)
    run = given_running_run(store)
    store.delete_run(run)
    assert running_runs(store) == 0


def test_the_history_of_an_instance_goes_and_the_instance_stays(store: Store) -> None:
    run = given_run(store)
    extract, other = run.key.task_instance("extract"), run.key.task_instance("extract_2")
    for key in (extract, other):
        with_history(store, key)
    kept = store.get_instance(extract)
    store.delete_history(extract)
    assert (store.list_tries(extract), store.get_rendered_fields(extract)) == ([], None)
    assert {xcom.key.task_id for xcom in store.list_xcoms(run.key)} == {"extract_2"}
    assert store.get_instance(extract) == kept
    assert len(store.list_tries(other)) == 1


def test_a_dag_goes_with_its_versions_and_warnings(store: Store) -> None:
    for dag_id in ("etl", "etl_2"):
        given_dag(store, dag_id)
        store.put_version(
            DagVersion(
                dag_id=dag_id, version_number=1, created_at=NOW, bundle_name="b", bundle_version="1", spec_key="s",
                serialized_key="d", source_key="t",
            )
        )  # fmt: skip
        store.put_warning(DagWarning(dag_id=dag_id, warning_type="w", message="m", timestamp=NOW))
    store.delete_dag("etl")
    assert (store.get_dag("etl"), store.get_version("etl", 1), store.list_warnings("etl")) == (None, None, [])
    assert [dag.dag_id for dag in store.list_dags()] == ["etl_2"]
    assert len(store.list_versions("etl_2")) == len(store.list_warnings("etl_2")) == 1
    store.delete_dag("etl")


# --- moves that people make -------------------------------------------------------------------------------------------


def test_a_running_run_is_queued_again_and_counted_no_more(store: Store) -> None:
    given_dag(store)
    run = given_running_run(store)
    queued = replace(run, state=DagRunState.QUEUED, start_date=None, due_at=at(60))
    store.requeue_run(run, queued)
    assert store.get_run(run.key) == queued
    assert running_runs(store) == 0
    assert store.queued_runs("etl", limit=5) == [run.key]
    with pytest.raises(StaleDagRun):
        store.requeue_run(run, queued)
    assert running_runs(store) == 0
    with pytest.raises(ValueError, match="does not move"):
        store.requeue_run(queued, queued)


def test_a_finished_run_is_queued_again_and_found_when_due(store: Store) -> None:
    given_dag(store)
    run = given_running_run(store)
    finished = replace(run, state=DagRunState.SUCCESS, end_date=at(5))
    store.finish_run(run, finished)
    finished = replace(finished, due_at=None)
    again = replace(finished, state=DagRunState.QUEUED, end_date=None, clear_number=1, due_at=at(60), held_by="me")
    store.update_run(finished, again)
    assert store.get_run(run.key) == again
    assert store.queued_runs("etl", limit=5) == [run.key]
    assert [key for key, _ in store.due_runs(at(61))] == [run.key]


def test_a_hold_keeps_others_from_writing_the_run(store: Store) -> None:
    given_dag(store)
    run = given_running_run(store)
    held = replace(run, held_by="me", held_until=at(60))
    store.update_run(run, held)
    finished = replace(run, state=DagRunState.SUCCESS, end_date=at(5))
    for write in (
        lambda: store.finish_run(run, finished),
        lambda: store.update_run(run, replace(run, due_at=at(9))),
        lambda: store.delete_run(run),
    ):
        with pytest.raises(StaleDagRun):
            write()
    assert store.get_run(run.key) == held
    store.finish_run(held, replace(held, state=DagRunState.SUCCESS, held_by=None, held_until=None))
    assert running_runs(store) == 0


def test_rendered_fields_of_a_whole_run(store: Store) -> None:
    run = given_run(store, a_run("one"))
    other = given_run(store, a_run("one#2"))
    store.put_rendered_fields(run.key.task_instance("a#b"), {"x": 1}, dispatch_count=1)
    store.put_rendered_fields(run.key.task_instance("m", 3), {"x": LARGE}, dispatch_count=1)
    store.put_rendered_fields(other.key.task_instance("a"), {"x": 2}, dispatch_count=1)
    assert store.list_rendered_fields(run.key) == {("a#b", -1): {"x": 1}, ("m", 3): {"x": LARGE}}
