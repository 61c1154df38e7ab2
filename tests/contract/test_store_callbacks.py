"""Callbacks that a run owes: made and deleted with the write that makes them due, moved by one writer at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from gust.errors import StaleCallback, StaleDagRun, StaleTaskInstance
from gust.model.callback import Callback, CallbackKind, CallbackState
from gust.model.dag_run import DagRun
from gust.model.keys import DagRunKey
from gust.model.state import DagRunState, TaskInstanceState
from gust.model.window import NEWEST_FIRST, Window
from gust.ports.store import Store
from gust.scheduling.callback import CallbackMove, claim, end, queue
from tests.contract.given import (
    NOW,
    a_run,
    an_instance,
    at,
    given_dag,
    given_run,
    given_running_instance,
    given_running_run,
    transition,
)


def a_callback(callback_id: str = "dag/0", run: DagRun | None = None, **fields: Any) -> Callback:
    run = run or a_run()
    return Callback(
        **{
            "dag_id": run.dag_id,
            "run_id": run.run_id,
            "callback_id": callback_id,
            "kind": CallbackKind.DAG,
            "event": "success",
            "state": CallbackState.PENDING,
            "created_at": NOW,
            "updated_at": NOW,
            "dispatch_count": 1,
            **fields,
        }
    )


def new(callback: Callback) -> CallbackMove:
    return CallbackMove(None, callback)


FULL = a_callback(
    "task/a#b %/3/1/2",
    kind=CallbackKind.DEADLINE,
    event="missed",
    state=CallbackState.SCHEDULED,
    reason="why",
    task_id="a#b %",
    map_index=3,
    try_number=1,
    due_at=at(5),
    alert_id="an id",
    name="a name",
    follows_queueing=True,
    definition={"path": "a.b", "kwargs": {"n": [1, None]}},
    sent_at=at(1),
    started_at=at(2),
    ended_at=at(3),
    hostname="stream",
    output="ValueError: no",
)


def test_what_is_stored_is_read_back(store: Store) -> None:
    given_run(store)
    store.move_callback(new(FULL))

    assert store.get_callback(FULL.run_key, FULL.callback_id) == FULL
    assert store.list_callbacks(FULL.run_key) == [FULL]
    state = store.load_run(FULL.run_key)
    assert state is not None
    assert state.callbacks == (FULL,)
    assert state.instances == {}
    assert store.get_callback(FULL.run_key, "another") is None
    assert store.list_callbacks(DagRunKey("etl", "another")) == []


def test_it_is_made_with_its_run(store: Store) -> None:
    given_dag(store)
    run = a_run(logical_date=NOW)
    store.create_run(run, callbacks=[new(a_callback("deadline/0")), new(a_callback("deadline/1"))])

    assert [c.callback_id for c in store.list_callbacks(run.key)] == ["deadline/0", "deadline/1"]


def test_it_is_made_with_the_runs_start(store: Store) -> None:
    given_dag(store)
    run = given_run(store)
    running = replace(run, state=DagRunState.RUNNING, start_date=NOW)
    store.start_run(run, running, max_active_runs=1, callbacks=[new(a_callback())])

    assert store.list_callbacks(run.key) == [a_callback()]


def test_the_runs_end_makes_some_and_unmakes_others(store: Store) -> None:
    given_dag(store)
    run = given_running_run(store)
    deadline = a_callback("deadline/0", state=CallbackState.SCHEDULED, due_at=at(60))
    store.move_callback(new(deadline))
    finished = replace(run, state=DagRunState.SUCCESS, end_date=NOW, calls_back=True, due_at=at(60))
    store.finish_run(run, finished, callbacks=[CallbackMove(deadline, None), new(a_callback())])

    assert store.list_callbacks(run.key) == [a_callback()]
    assert store.get_run(run.key) == finished
    assert store.due_runs(at(60)) == [(run.key, at(60))]


def test_an_end_that_was_decided_on_other_callbacks_writes_nothing(store: Store) -> None:
    given_dag(store)
    run = given_running_run(store)
    deadline = a_callback("deadline/0", state=CallbackState.SCHEDULED, due_at=at(60))
    missed = replace(deadline, state=CallbackState.PENDING)
    store.move_callback(new(missed))
    finished = replace(run, state=DagRunState.SUCCESS, end_date=NOW)
    with pytest.raises(StaleDagRun):
        store.finish_run(run, finished, callbacks=[CallbackMove(deadline, None), new(a_callback())])

    assert store.list_callbacks(run.key) == [missed]
    assert store.get_run(run.key) == run


def test_a_finished_run_without_callbacks_is_due_no_more(store: Store) -> None:
    given_dag(store)
    run = given_running_run(store)
    finished = replace(run, state=DagRunState.SUCCESS, end_date=NOW, calls_back=True, due_at=at(60))
    store.finish_run(run, finished, callbacks=[new(a_callback())])
    store.update_run(finished, replace(finished, calls_back=False, due_at=None))

    assert store.due_runs(at(9999)) == []
    stored = store.get_run(run.key)
    assert stored is not None
    assert (stored.calls_back, stored.due_at) == (False, None)


def test_it_is_made_with_the_try_that_is_lost(store: Store) -> None:
    given_run(store)
    running = given_running_instance(store)
    lost = replace(transition(running, state=TaskInstanceState.FAILED), callback=a_callback("task/1"))
    store.move(lost)
    store.move(lost)

    assert store.list_callbacks(a_run().key) == [a_callback("task/1")]


def test_a_try_that_moved_on_leaves_no_callback(store: Store) -> None:
    given_run(store)
    running = given_running_instance(store)
    store.move(transition(running, state=TaskInstanceState.SUCCESS))
    with pytest.raises(StaleTaskInstance):
        store.move(replace(transition(running, state=TaskInstanceState.FAILED), callback=a_callback()))

    assert store.list_callbacks(a_run().key) == []


def test_a_try_that_is_kept_may_owe_a_callback_too(store: Store) -> None:
    given_run(store)
    running = given_running_instance(store)
    again = transition(running, keeps_try=True, state=TaskInstanceState.SCHEDULED, try_number=2)
    store.move(replace(again, callback=a_callback()))

    assert len(store.list_tries(an_instance().key)) == 1
    assert store.list_callbacks(a_run().key) == [a_callback()]


def test_it_moves_from_where_the_mover_saw_it(store: Store) -> None:
    given_run(store)
    store.move_callback(new(a_callback()))
    queued = queue(a_callback(), at=at(1))
    store.move_callback(queued)
    store.move_callback(queued)
    assert queued.after
    claimed = claim(queued.after, at=at(2), hostname="one")
    store.move_callback(claimed)
    with pytest.raises(StaleCallback) as stale:
        store.move_callback(queue(a_callback(), at=at(3)))
    assert stale.value.current == claimed.after
    assert claimed.after
    ended = end(claimed.after, at=at(4), output=None)
    store.move_callback(ended)

    assert store.get_callback(a_run().key, "dag/0") == ended.after


def test_what_is_there_is_not_made_again(store: Store) -> None:
    given_run(store)
    store.move_callback(new(a_callback()))
    store.move_callback(new(a_callback()))
    with pytest.raises(StaleCallback):
        store.move_callback(new(a_callback(dispatch_count=2)))


def test_of_many_workers_one_claims_it(store: Store) -> None:
    given_run(store)
    store.move_callback(new(a_callback()))

    def claims(name: str) -> bool:
        try:
            store.move_callback(claim(a_callback(), at=at(1), hostname=name))
        except StaleCallback:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(claims, [f"worker {n}" for n in range(8)])) == 1


# --- deadlines of many runs -------------------------------------------------------------------------------------------


def a_deadline(run: DagRun, due_at: datetime, callback_id: str = "deadline/0", **fields: Any) -> Callback:
    kind = {"kind": CallbackKind.DEADLINE, "state": CallbackState.SCHEDULED}
    return a_callback(callback_id, run, **{**kind, "due_at": due_at, **fields})


def test_deadlines_are_walked_across_runs_in_order_of_time(store: Store) -> None:
    one, other = a_run("1"), a_run("2", "dwh")
    late, early = a_deadline(one, at(90_000)), a_deadline(other, at(-90_000))
    soon, same = a_deadline(one, at(7), "deadline/1"), a_deadline(other, at(7), "deadline/1")
    store.create_run(one, callbacks=[new(late), new(soon), new(a_callback(run=one))])
    store.create_run(other, callbacks=[new(same), new(early)])
    assert list(store.walk_deadlines()) == [early, same, soon, late]
    assert list(store.walk_deadlines(window=NEWEST_FIRST)) == [late, soon, same, early]
    assert list(store.walk_deadlines("etl")) == [soon, late]
    assert list(store.walk_deadlines(window=Window(at(7), at(8), ascending=True))) == [same, soon]


def test_a_deadline_that_moves_is_found_at_its_new_time_and_one_that_is_met_no_more(store: Store) -> None:
    run = a_run("1")
    moves, met = a_deadline(run, at(5)), a_deadline(run, at(6), "deadline/1")
    store.create_run(run, callbacks=[new(moves), new(met)])
    moved = replace(moves, due_at=at(200_000))
    store.move_callback(CallbackMove(moves, moved))
    store.move_callback(CallbackMove(met, None))
    assert list(store.walk_deadlines()) == [moved]
    missed = replace(moved, state=CallbackState.PENDING)
    store.move_callback(CallbackMove(moved, missed))
    assert list(store.walk_deadlines()) == [missed]
