"""DagRuns: made once, counted exactly, found in order."""

from dataclasses import replace
from typing import Any

import pytest

from gust.errors import AlreadyExists, LimitReached, NotFound, StaleDag, StaleDagRun
from gust.model.history_query import LoggedEventQuery
from gust.model.keys import DagRunKey
from gust.model.logged_event import LoggedEvent
from gust.model.run_state import LastRuns
from gust.model.state import DagRunState, DagRunTriggeredByType, DagRunType
from gust.ports.store import Store
from tests.contract.given import NOW, a_dag, a_run, at, given_dag, given_instance, given_run, given_running_run
from tests.contract.given import an_instance as instance_of
from tests.contract.test_store_backfills import a_backfill

RUNNING, SUCCESS, FAILED, QUEUED = (
    DagRunState.RUNNING,
    DagRunState.SUCCESS,
    DagRunState.FAILED,
    DagRunState.QUEUED,
)


def running_runs(store: Store, dag_id: str = "etl") -> int:
    dag = store.get_dag(dag_id)
    assert dag is not None
    return dag.running_runs


def test_a_run_is_read_as_it_was_written(store: Store) -> None:
    run = a_run(
        "scheduled__2026-03-01T00:00:00+00:00",
        "etl#1 %23",
        run_type=DagRunType.SCHEDULED,
        logical_date=NOW,
        data_interval_start=at(-86400),
        data_interval_end=NOW,
        conf={"a": [1, 2.5, None, {"ü": True}]},
        note="look",
        triggered_by=DagRunTriggeredByType.TIMETABLE,
        triggering_user_name="ada",
        partition_key="p",
        backfill_id=7,
        backfill_ordinal=3,
        partition_date=at(-86400),
        bundle_version="abc",
        clear_number=2,
        due_at=at(60),
        reason="waits",
        held_by="me",
        held_until=at(30),
        edit='{"action": "Clear"}',
        last_scheduling_decision=at(1),
    )
    store.create_run(run)
    assert store.get_run(run.key) == run
    loaded = store.load_run(run.key)
    assert loaded is not None
    assert loaded.run == run
    assert not loaded.instances


def test_what_is_not_there_is_none(store: Store) -> None:
    assert store.get_run(DagRunKey("etl", "no")) is None
    assert store.load_run(DagRunKey("etl", "no")) is None
    assert store.list_runs("etl") == []
    assert store.queued_runs("etl", limit=5) == []
    assert store.due_runs(NOW) == []


def test_load_run_gives_this_runs_instances_alone(store: Store) -> None:
    given_dag(store)
    run, other = given_running_run(store), given_running_run(store, a_run("manual__10"))
    mine = given_instance(store, instance_of("load", 3, run))
    given_instance(store, instance_of("load", 3, other, note="not mine"))
    store.put_rendered_fields(mine.key, {"sql": "select 1"}, dispatch_count=1)
    loaded = store.load_run(run.key)
    assert loaded is not None
    assert loaded.instances == {("load", 3): mine}


# --- create_run -------------------------------------------------------------------------------------------------------


def test_a_run_id_is_taken_once_per_dag(store: Store) -> None:
    given_run(store)
    with pytest.raises(AlreadyExists):
        store.create_run(a_run(note="second"))
    store.create_run(a_run(dag_id="other"))
    kept = store.get_run(a_run().key)
    assert kept is not None
    assert kept.note is None


def test_a_logical_date_is_taken_once_per_dag(store: Store) -> None:
    store.create_run(a_run("one", logical_date=NOW))
    with pytest.raises(AlreadyExists):
        store.create_run(a_run("two", logical_date=NOW))
    store.create_run(a_run("three", logical_date=at(0.000001)))
    store.create_run(a_run("two", dag_id="other", logical_date=NOW))
    assert store.get_run(DagRunKey("etl", "two")) is None


def test_runs_without_a_logical_date_do_not_collide(store: Store) -> None:
    store.create_run(a_run("one"))
    store.create_run(a_run("two"))
    assert len(store.list_runs("etl")) == 2


def test_creating_moves_the_next_run_along(store: Store) -> None:
    dag = given_dag(store, next_logical_date=NOW, next_run_after=at(10))
    after = replace(dag, next_logical_date=at(60), next_run_after=at(70), description="is not written")
    store.create_run(a_run("one", logical_date=NOW), moving=(dag, after))
    assert store.get_dag("etl") == replace(dag, next_logical_date=at(60), next_run_after=at(70))
    assert store.due_dags(at(69)) == []
    assert store.due_dags(at(70)) == [("etl", at(70))]


@pytest.mark.parametrize(
    "meanwhile",
    [{"next_run_after": at(99)}, {"is_paused": True}, {"is_stale": True}, {"next_logical_date": at(1)}],
    ids=lambda fields: next(iter(fields)),
)
def test_a_dag_that_moved_meanwhile_gets_no_run(store: Store, meanwhile: dict[str, Any]) -> None:
    dag = given_dag(store, next_logical_date=NOW, next_run_after=at(10))
    store.put_dag(dag, replace(dag, **meanwhile))
    with pytest.raises(StaleDag) as refused:
        store.create_run(a_run("one", logical_date=NOW), moving=(dag, replace(dag, next_run_after=at(70))))
    assert refused.value.current == replace(dag, **meanwhile)
    assert store.get_run(DagRunKey("etl", "one")) is None
    store.create_run(a_run("two", logical_date=NOW))  # the logical date was not taken either


def test_a_dag_that_is_not_there_gets_no_run(store: Store) -> None:
    with pytest.raises(StaleDag) as refused:
        store.create_run(a_run(), moving=(a_dag(), a_dag(next_run_after=NOW)))
    assert refused.value.current is None


def test_a_run_whose_date_is_taken_does_not_move_the_dag(store: Store) -> None:
    dag = given_dag(store, next_logical_date=NOW, next_run_after=at(10))
    store.create_run(a_run("manual", logical_date=NOW))
    with pytest.raises(AlreadyExists):
        store.create_run(a_run("one", logical_date=NOW), moving=(dag, replace(dag, next_run_after=at(70))))
    assert store.get_dag("etl") == dag


def test_a_run_that_is_made_running_is_counted(store: Store) -> None:
    given_dag(store)
    store.create_run(a_run(state=RUNNING))
    assert running_runs(store) == 1
    with pytest.raises(NotFound):
        store.create_run(a_run(dag_id="unknown", state=RUNNING))


# --- start_run, finish_run --------------------------------------------------------------------------------------------


def test_starting_and_finishing_counts(store: Store) -> None:
    given_dag(store)
    running = given_running_run(store)
    assert running_runs(store) == 1
    assert store.queued_runs("etl", limit=10) == []
    finished = replace(running, state=SUCCESS, end_date=at(5), due_at=None)
    store.finish_run(running, finished)
    assert running_runs(store) == 0
    assert store.get_run(running.key) == finished


def test_a_run_starts_once(store: Store) -> None:
    given_dag(store)
    queued = given_run(store)
    running = replace(queued, state=RUNNING, start_date=NOW)
    store.start_run(queued, running, max_active_runs=16)
    with pytest.raises(StaleDagRun) as refused:
        store.start_run(queued, replace(running, start_date=at(1)), max_active_runs=16)
    assert refused.value.current == running
    assert running_runs(store) == 1


def test_a_run_finishes_once(store: Store) -> None:
    given_dag(store)
    running = given_running_run(store)
    store.finish_run(running, replace(running, state=SUCCESS))
    with pytest.raises(StaleDagRun):
        store.finish_run(running, replace(running, state=FAILED))
    assert running_runs(store) == 0


@pytest.mark.parametrize("limit", [0, 1, 2])
def test_no_more_than_max_active_runs_start(store: Store, limit: int) -> None:
    given_dag(store)
    for number in range(limit):
        queued = given_run(store, a_run(f"run{number}"))
        store.start_run(queued, replace(queued, state=RUNNING), max_active_runs=limit)
    last = given_run(store, a_run("last"))
    with pytest.raises(LimitReached, match=str(limit)):
        store.start_run(last, replace(last, state=RUNNING), max_active_runs=limit)
    assert store.get_run(last.key) == last
    assert running_runs(store) == limit


def test_starting_a_run_of_no_dag_is_refused(store: Store) -> None:
    queued = given_run(store)
    with pytest.raises(NotFound):
        store.start_run(queued, replace(queued, state=RUNNING), max_active_runs=1)
    assert store.get_run(queued.key) == queued


def test_a_finish_decided_before_a_clear_is_stale(store: Store) -> None:
    given_dag(store)
    running = given_running_run(store)
    cleared = replace(running, clear_number=1)
    store.update_run(running, cleared)
    with pytest.raises(StaleDagRun) as refused:
        store.finish_run(running, replace(running, state=SUCCESS))
    assert refused.value.current == cleared
    assert running_runs(store) == 1


def test_writes_that_would_miscount_are_refused(store: Store) -> None:
    given_dag(store)
    running = given_running_run(store)
    with pytest.raises(ValueError, match="running to failed"):
        store.update_run(running, replace(running, state=FAILED))
    with pytest.raises(ValueError, match="running to running"):
        store.start_run(running, running, max_active_runs=9)
    with pytest.raises(ValueError, match="queued to failed"):
        store.finish_run(a_run(), a_run(state=FAILED))


# --- update_run -------------------------------------------------------------------------------------------------------


def test_an_update_writes_what_changed_and_leaves_the_rest(store: Store) -> None:
    given_dag(store)
    seen = given_running_run(store)
    store.update_run(seen, replace(seen, note="a person's", conf={"x": 1}))
    store.update_run(seen, replace(seen, due_at=at(5), reason="the scheduler's"))
    assert store.get_run(seen.key) == replace(
        seen, note="a person's", conf={"x": 1}, due_at=at(5), reason="the scheduler's"
    )


def test_an_update_takes_fields_back(store: Store) -> None:
    run = given_run(store, a_run(note="x", due_at=at(1), conf={"a": 1}))
    store.update_run(run, replace(run, note=None, due_at=None, conf={}))
    assert store.get_run(run.key) == a_run()
    assert store.due_runs(at(10)) == []


def test_an_update_of_a_run_that_moved_is_stale(store: Store) -> None:
    given_dag(store)
    queued = given_run(store)
    store.start_run(queued, replace(queued, state=RUNNING), max_active_runs=1)
    with pytest.raises(StaleDagRun):
        store.update_run(queued, replace(queued, state=FAILED))
    with pytest.raises(StaleDagRun) as refused:
        store.update_run(a_run("no"), a_run("no", note="x"))
    assert refused.value.current is None
    assert store.get_run(DagRunKey("etl", "no")) is None


def test_a_moment_that_the_writer_has_not_seen_is_not_taken_back(store: Store) -> None:
    """Two schedulers look at one run; the one that saw less writes last."""
    given_dag(store)
    seen = given_running_run(store)
    store.update_run(seen, replace(seen, due_at=at(5)))
    with pytest.raises(StaleDagRun) as refused:
        store.update_run(seen, replace(seen, due_at=at(600)))
    assert refused.value.current is not None
    assert refused.value.current.due_at == at(5)
    assert store.due_runs(at(10)) == [(seen.key, at(5))]


def test_an_update_may_be_repeated(store: Store) -> None:
    queued = given_run(store)
    failed = replace(queued, state=FAILED, end_date=NOW)
    store.update_run(queued, failed)
    store.update_run(queued, failed)
    assert store.get_run(queued.key) == failed


# --- lists ------------------------------------------------------------------------------------------------------------


def test_runs_are_listed_newest_first(store: Store) -> None:
    runs = [a_run(f"r{n}", run_after=at(n)) for n in (3, 1, 2)]
    for run in [*runs, a_run("r9", dag_id="etl2")]:
        store.create_run(run)
    assert [run.run_id for run in store.list_runs("etl")] == ["r3", "r2", "r1"]
    assert store.list_runs("etl")[0] == runs[0]
    assert [run.run_id for run in store.list_runs("etl", limit=2)] == ["r3", "r2"]
    assert store.list_runs("etl", limit=0) == []


def test_the_runs_beside_a_run_are_those_of_the_nearest_logical_dates(store: Store) -> None:
    """Whatever order they were made in; runs without a logical date and of other DAGs are beside none."""
    for n in (3, 1, 2, 5):
        store.create_run(a_run(f"r{n}", run_after=at(-n), logical_date=at(n)))
    store.create_run(a_run("undated"))
    store.create_run(a_run("r2", dag_id="etl2", logical_date=at(2)))
    assert [run.run_id for run in store.runs_before("etl", at(3))] == ["r2", "r1"]
    assert [run.run_id for run in store.runs_after("etl", at(2))] == ["r3", "r5"]
    assert [run.run_id for run in store.runs_before("etl", None)] == ["r5", "r3", "r2", "r1"]
    assert next(store.runs_before("etl", at(3))) == store.get_run(DagRunKey("etl", "r2"))


def test_all_runs_before_a_run_are_found_however_many(store: Store) -> None:
    for n in range(70):
        store.create_run(a_run(f"r{n}", logical_date=at(n)))
    assert [run.run_id for run in store.runs_before("etl", at(65))] == [f"r{n}" for n in reversed(range(65))]


def test_queued_runs_wait_in_order(store: Store) -> None:
    given_dag(store)
    for n in (2, 0, 1, 3):
        store.create_run(a_run(f"r{n}", run_after=at(n)))
    first = store.get_run(DagRunKey("etl", "r0"))
    assert first is not None
    store.start_run(first, replace(first, state=RUNNING), max_active_runs=1)
    assert store.queued_runs("etl", limit=2) == [DagRunKey("etl", "r1"), DagRunKey("etl", "r2")]
    second = store.get_run(DagRunKey("etl", "r2"))
    assert store.queued_runs("etl", limit=9, up_to=second) == [DagRunKey("etl", "r1"), DagRunKey("etl", "r2")]


def test_a_cleared_run_is_queued_again(store: Store) -> None:
    given_dag(store)
    running = given_running_run(store)
    finished = replace(running, state=FAILED)
    store.finish_run(running, finished)
    store.update_run(finished, replace(finished, state=QUEUED, clear_number=1))
    assert store.queued_runs("etl", limit=2) == [running.key]


def test_due_runs_are_found_by_time(store: Store) -> None:
    given_dag(store)
    for n, due_at in [(1, at(30)), (2, at(10)), (3, None), (4, at(31))]:
        store.create_run(a_run(f"r{n}", dag_id="a#b", due_at=due_at))
    found = store.due_runs(at(30))
    assert found == [(DagRunKey("a#b", "r2"), at(10)), (DagRunKey("a#b", "r1"), at(30))]


def test_a_run_leaves_the_due_index_when_it_finishes(store: Store) -> None:
    """Even where another writer set its due time meanwhile."""
    given_dag(store)
    seen = given_running_run(store)
    store.update_run(seen, replace(seen, due_at=at(5)))
    store.finish_run(seen, replace(seen, state=FAILED))
    assert store.due_runs(at(100)) == []
    finished = store.get_run(seen.key)
    assert finished is not None
    assert finished.due_at is None


def test_a_run_that_has_ended_is_due_while_an_edit_of_it_is_not_done(store: Store) -> None:
    given_dag(store)
    run = given_running_run(store)
    ended = replace(run, state=SUCCESS, due_at=None)
    store.finish_run(run, ended)
    pending = replace(ended, held_by="me", edit="{}", due_at=at(60))
    store.update_run(ended, pending)
    assert [key for key, _ in store.due_runs(at(60))] == [run.key]
    store.update_run(pending, replace(pending, edit=None, due_at=None))
    assert list(store.due_runs(at(60))) == []


def test_the_end_of_a_run_that_pauses_its_dag(store: Store) -> None:
    given_dag(store, next_run_after=at(60))
    run = given_running_run(store)
    failed = replace(run, state=DagRunState.FAILED)
    event = LoggedEvent(when=NOW, event="paused", dag_id="etl", owner="o", owner_display_name="O", extra="x")
    with pytest.raises(StaleDagRun):
        store.finish_run(run, failed, last=LastRuns(2, event))
    assert store.logged_events(LoggedEventQuery("etl")) == []
    store.finish_run(run, failed, last=LastRuns(1, event))
    dag = store.get_dag("etl")
    assert dag is not None
    assert (dag.is_paused, dag.running_runs) == (True, 0)
    assert store.logged_events(LoggedEventQuery("etl")) == [event]
    assert store.due_dags(at(99)) == []


def test_the_end_of_a_backfills_run_that_pauses_its_dag(store: Store) -> None:
    given_dag(store, next_run_after=at(60))
    store.create_backfill(a_backfill(), [])
    run = given_running_run(store, a_run(backfill_id=1, backfill_ordinal=1))
    event = LoggedEvent(when=NOW, event="paused", dag_id="etl", owner="o", owner_display_name="O", extra="x")
    store.finish_run(run, replace(run, state=DagRunState.FAILED), last=LastRuns(1, event))
    dag = store.get_dag("etl")
    assert dag is not None
    assert dag.is_paused
    assert store.due_dags(at(99)) == []


def test_a_run_that_loses_its_partition_is_not_found_by_it(store: Store) -> None:
    date = at(-86400)
    run = given_run(store, a_run(partition_key="p", partition_date=date))
    other = given_run(store, a_run("other", partition_key="q", partition_date=date))
    assert store.runs_of_partition("etl", date) == [run, other]
    without = replace(run, partition_key=None, partition_date=None)
    store.update_run(run, without)
    store.update_run(run, without)
    assert store.get_run(run.key) == without
    assert store.runs_of_partition("etl", date) == store.runs_of_partition("etl", None) == [other]
    store.delete_run(without)
    assert store.runs_of_partition("etl", None) == [other]
