"""Many writers at once: one wins, nothing is counted twice, nothing is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from threading import Barrier
from typing import Any

import pytest

from gust.errors import GustError
from gust.model.asset import AssetEvent, AssetUpdate, ToPartition, ToQueue
from gust.model.bundle import Bundle
from gust.model.dag_run import DagRun
from gust.model.history_query import AssetEventSource
from gust.model.state import DagRunState, DagRunType
from gust.model.state import TaskInstanceState as S
from gust.model.window import Window
from gust.model.xcom import XCom
from gust.ports.store import Store
from gust.scheduling.added_run import AssetRun
from tests.contract.given import (
    NOW,
    a_run,
    an_instance,
    at,
    given_dag,
    given_instance,
    given_run,
    given_running_instance,
    given_running_run,
    transition,
)

WRITERS = 12


def at_once(writes: Iterable[Callable[[], Any]]) -> Counter[str]:
    """Do all at the same moment, each in its own thread; how often they ended how: `done` or the error's name."""
    started = list(writes)
    barrier = Barrier(len(started))

    def outcome(write: Callable[[], Any]) -> str:
        barrier.wait()
        try:
            write()
        except GustError as error:
            return type(error).__name__
        return "done"

    with ThreadPoolExecutor(len(started)) as threads:
        return Counter(threads.map(outcome, started))


def test_one_of_many_workers_with_the_same_message_starts(store: Store) -> None:
    queued = given_instance(store, an_instance(state=S.QUEUED, try_number=1, dispatch_count=1))
    starts = [transition(queued, state=S.RUNNING, hostname=f"worker-{n}", pid=1) for n in range(WRITERS)]
    outcomes = at_once(partial(store.move, start) for start in starts)
    assert outcomes == {"done": 1, "StaleTaskInstance": WRITERS - 1}
    assert store.get_instance(queued.key) in [start.after for start in starts]


def test_the_same_move_many_times_is_one_move(store: Store) -> None:
    seen = given_instance(store, an_instance(state=S.UP_FOR_RETRY, try_number=1))
    again = transition(seen, keeps_try=True, state=S.SCHEDULED, try_number=2)
    assert at_once([partial(store.move, again)] * WRITERS) == {"done": WRITERS}
    assert store.get_instance(seen.key) == again.after
    assert store.list_tries(seen.key) == [again.finished_try]


def test_success_and_failure_at_once_leave_one_of_them(store: Store) -> None:
    seen = given_running_instance(store)
    ends = [transition(seen, state=state, reason=state.value) for state in (S.SUCCESS, S.FAILED)]
    outcomes = at_once(partial(store.move, end) for end in ends * (WRITERS // 2))
    assert outcomes == {"done": WRITERS // 2, "StaleTaskInstance": WRITERS // 2}
    current = store.get_instance(seen.key)
    assert current is not None
    assert current.state is not None
    assert current.reason == current.state.value


def test_heartbeats_pushes_and_notes_do_not_overwrite_each_other(store: Store) -> None:
    seen = given_running_instance(store)
    writes: list[Callable[[], Any]] = [
        partial(store.put_xcom, XCom(key=seen.key, name=f"k{n}", value=[0] * n, timestamp=NOW, mapped_length=n))
        for n in range(WRITERS)
    ]
    writes.append(lambda: store.heartbeat(seen.key, try_number=1, dispatch_count=1, at=at(7)))
    writes.append(lambda: store.move(transition(seen, note="noted")))
    assert at_once(writes) == {"done": len(writes)}
    assert store.get_instance(seen.key) == replace(
        seen,
        heartbeat_at=at(7),
        note="noted",
        xcom_lengths={f"k{n}": n for n in range(WRITERS)},
        pushed_keys=tuple(sorted(f"k{n}" for n in range(WRITERS))),
    )


def test_a_run_is_made_once(store: Store) -> None:
    outcomes = at_once(partial(store.create_run, a_run(note=str(n))) for n in range(WRITERS))
    assert outcomes == {"done": 1, "AlreadyExists": WRITERS - 1}
    assert len(store.list_runs("etl")) == 1


def test_a_logical_date_is_taken_once(store: Store) -> None:
    outcomes = at_once(partial(store.create_run, a_run(f"r{n}", logical_date=NOW)) for n in range(WRITERS))
    assert outcomes == {"done": 1, "AlreadyExists": WRITERS - 1}
    assert len(store.list_runs("etl")) == 1


def test_ticks_at_once_make_one_run_and_move_the_dag_once(store: Store) -> None:
    dag = given_dag(store, next_logical_date=NOW, next_run_after=NOW)
    after = replace(dag, next_logical_date=at(60), next_run_after=at(60))
    run = a_run("scheduled__1", logical_date=NOW)
    outcomes = at_once([lambda: store.create_run(run, moving=(dag, after))] * WRITERS)
    assert outcomes == {"done": 1, "StaleDag": WRITERS - 1}
    assert store.get_dag("etl") == after
    assert store.list_runs("etl") == [run]


@pytest.mark.parametrize("limit", [1, 5])
def test_running_runs_never_exceed_the_limit(store: Store, limit: int) -> None:
    """Runs start and finish at once, over and over; the counter ends where the states end."""
    given_dag(store)
    waiting = [given_run(store, a_run(f"r{n}")) for n in range(WRITERS)]

    def start(run: DagRun) -> Callable[[], None]:
        return lambda: store.start_run(run, replace(run, state=DagRunState.RUNNING), max_active_runs=limit)

    while waiting:
        outcomes = at_once(start(run) for run in waiting)
        runs = store.list_runs("etl")
        running = [run for run in runs if run.state is DagRunState.RUNNING]
        dag = store.get_dag("etl")
        assert dag is not None
        assert len(running) == dag.running_runs == outcomes["done"] <= limit
        assert outcomes["done"] + outcomes["LimitReached"] + outcomes["ServiceUnavailable"] == len(waiting)
        if running:
            finish = [(run, replace(run, state=DagRunState.SUCCESS)) for run in running] * 2
            finished = at_once(partial(store.finish_run, *pair) for pair in finish)
            assert finished["done"] == len(running)
        waiting = [run for run in runs if run.state is DagRunState.QUEUED]
    dag = store.get_dag("etl")
    assert dag is not None
    assert dag.running_runs == 0


def test_a_run_starts_once(store: Store) -> None:
    given_dag(store)
    queued = given_run(store)
    running = replace(queued, state=DagRunState.RUNNING)
    outcomes = at_once([lambda: store.start_run(queued, running, max_active_runs=100)] * WRITERS)
    assert outcomes == {"done": 1, "StaleDagRun": WRITERS - 1}
    dag = store.get_dag("etl")
    assert dag is not None
    assert dag.running_runs == 1


def test_a_clear_and_a_finish_do_not_bury_each_other(store: Store) -> None:
    given_dag(store)
    for n in range(5):
        running = given_running_run(store, a_run(f"r{n}"))
        outcomes = at_once(
            [
                partial(store.update_run, running, replace(running, clear_number=1)),
                partial(store.finish_run, running, replace(running, state=DagRunState.SUCCESS)),
            ]
        )
        assert outcomes == {"done": 1, "StaleDagRun": 1}


def test_an_event_reported_many_times_is_stored_once(store: Store) -> None:
    def report(n: int) -> Callable[[], None]:
        event = AssetEvent(event_id="e", name="a", uri="u", timestamp=at(n), source_aliases=("x",))
        return lambda: store.put_asset_events(event.event_id, [AssetUpdate(event)])

    assert at_once(report(n) for n in range(WRITERS)) == {"done": WRITERS}
    assert len(store.list_asset_events(AssetEventSource(name="a"))) == 1
    assert store.list_asset_events(AssetEventSource(name="a")) == store.list_asset_events(AssetEventSource(alias="x"))


def test_many_events_of_one_asset_all_arrive(store: Store) -> None:
    def report(n: int) -> Callable[[], None]:
        event = AssetEvent(event_id=f"e{n}", name="a", uri="u", timestamp=at(n))
        to = (ToQueue(dag_id="etl"), ToPartition(dag_id="etl", partition_key="p", source_key="s", fingerprint="f"))
        return lambda: store.put_asset_events(event.event_id, [AssetUpdate(event, to)])

    assert at_once(report(n) for n in range(WRITERS)) == {"done": WRITERS}
    queue, (partition,) = store.asset_queue("etl"), store.pending_partitions("etl")
    assert queue is not None
    assert (queue.arrivals, partition.arrivals, len(partition.received)) == (WRITERS, WRITERS, WRITERS)


def test_one_of_many_schedulers_makes_the_run(store: Store) -> None:
    event = AssetEvent(event_id="e", name="a", uri="u", timestamp=at(1))
    store.put_asset_events("e", [AssetUpdate(event, (ToQueue(dag_id="etl"),))])
    queue = store.asset_queue("etl")
    assert queue is not None
    run = a_run("asset_triggered__1", run_type=DagRunType.ASSET_TRIGGERED, run_after=at(1))
    outcomes = at_once([partial(store.create_asset_run, AssetRun(run, consuming=queue, events=[event]))] * WRITERS)
    assert outcomes == {"done": 1, "StaleAssetQueue": WRITERS - 1}
    assert store.consumed_events(run.key) == [event]


def test_events_and_runs_at_once_lose_none_and_take_none_twice(store: Store) -> None:
    """Each event is in the log before the run that closes its time, or comes after it."""

    def report(n: int) -> Callable[[], None]:
        event = AssetEvent(event_id=f"e{n}", name="a", uri="u", timestamp=at(n))
        return lambda: store.put_asset_events(event.event_id, [AssetUpdate(event, (ToQueue(dag_id="etl"),))])

    def run() -> None:
        queue = store.asset_queue("etl")
        if queue is None or not queue.queued:
            return
        until = max(queue.queued.values())
        events = [
            event
            for event in store.list_asset_events(AssetEventSource(name="a"), Window(last=until, ascending=True))
            if queue.consumed_until is None or event.timestamp > queue.consumed_until
        ]
        made = a_run(f"r{until.isoformat()}", run_type=DagRunType.ASSET_TRIGGERED, run_after=until)
        store.create_asset_run(AssetRun(made, consuming=queue, events=events))

    at_once([*(report(n) for n in range(WRITERS)), *[run] * WRITERS])
    while (queue := store.asset_queue("etl")) and queue.queued:
        run()
    taken = [event.event_id for made in store.list_runs("etl") for event in store.consumed_events(made.key)]
    in_time = {event.event_id for event in store.list_asset_events(AssetEventSource(name="a"))}
    assert queue is not None
    assert queue.consumed_until is not None
    passed = {
        e.event_id for e in store.list_asset_events(AssetEventSource(name="a")) if e.timestamp > queue.consumed_until
    }
    assert Counter(taken) == Counter(in_time - passed)


def test_one_of_many_bundles_becomes_active(store: Store) -> None:
    bundles = [Bundle(name="dags-folder", version=f"v{n}", created_at=NOW) for n in range(WRITERS)]
    outcomes = at_once(partial(store.activate_bundle, bundle, replacing=None) for bundle in bundles)
    assert outcomes == {"done": 1, "Stale": WRITERS - 1}
    assert store.active_bundle() in bundles
