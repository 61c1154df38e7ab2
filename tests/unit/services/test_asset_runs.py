"""The runs that asset events make, and the events that each consumes. Rules: Airflow's scheduler and asset manager."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from gust.model.asset import Asset, AssetEvent, AssetKey
from gust.model.dag_run import DagRun
from gust.model.dag_spec import AssetRef, DagSpec, TaskSpec, TimetableSpec
from gust.model.keys import DagRunKey
from gust.model.state import DagRunState, DagRunTriggeredByType, DagRunType
from gust.model.workload import WakeDag
from gust.scheduling.added_run import AssetRun
from gust.scheduling.timetable import NextRun
from gust.services.assets.asset_references import change_references
from gust.services.assets.register_asset_event import register_asset_events
from gust.services.backfills.start_waiting_runs import start_waiting_runs
from gust.services.people.pause_dag import set_paused
from gust.services.runs.create_asset_runs import Most, create_asset_runs, run_of, size_of
from gust.services.runs.create_dag_run import create_due_runs
from gust.services.scheduler.tick import tick
from gust.store.dynamodb.asset_queues import event_document
from gust.store.items import to_json
from tests.world import START, World, chain

ORDERS, USERS, STOCK = (
    AssetKey("orders", "s3://lake/orders"),
    AssetKey("users", "s3://lake/users"),
    AssetKey("stock", "x"),
)


def asset(key: AssetKey) -> dict[str, Any]:
    return {"asset": {"name": key.name, "uri": key.uri, "group": "asset"}}


def alias(name: str) -> dict[str, Any]:
    return {"alias": {"name": name, "group": "asset"}}


def everything(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"all": list(parts)}


def either(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"any": list(parts)}


def on_assets(expression: dict[str, Any], dag_id: str = "etl", **fields: Any) -> DagSpec:
    timetable = TimetableSpec(
        type="airflow.timetables.simple.AssetTriggeredTimetable", asset_expression=expression, periodic=False
    )
    return chain("load", dag_id=dag_id, **{"timetable": timetable, **fields})


def given(world: World, spec: DagSpec, **fields: Any) -> None:
    is_asset_triggered = spec.timetable.asset_expression is not None
    world.given_dag(
        spec,
        **{
            "is_asset_triggered": is_asset_triggered,
            "timetable_partitioned": spec.timetable.partitioned,
            **fields,
        },
    )
    change_references(world.services, None, spec, at=world.clock.now())


def event(world: World, key: AssetKey, event_id: str | None = None, **fields: Any) -> AssetEvent:
    """Something happens to the asset, a second later than all before."""
    world.pass_time(seconds=1)
    world.store.put_asset(Asset(name=key.name, uri=key.uri, created_at=world.clock.now()))
    happened = AssetEvent(
        event_id=event_id or f"{key.name}@{world.clock.now().isoformat()}",
        name=key.name,
        uri=key.uri,
        timestamp=world.clock.now(),
        **fields,
    )
    (stored,) = register_asset_events(world.services, happened.event_id, [happened])
    return stored


def look(world: World, dag_id: str = "etl") -> list[DagRun]:
    return create_due_runs(world.services, dag_id)


def consumed(world: World, run: DagRun) -> list[str]:
    return [f"{e.name}@{(e.timestamp - START).total_seconds():g}" for e in world.store.consumed_events(run.key)]


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def finish(world: World, run: DagRun) -> None:
    running = replace(run, state=DagRunState.RUNNING)
    world.store.start_run(run, running, max_active_runs=100)
    world.store.finish_run(running, replace(running, state=DagRunState.SUCCESS))


# --- one run ----------------------------------------------------------------------------------------------------------


def test_an_event_makes_a_run_of_the_dag_that_waits_for_it(world: World) -> None:
    given(world, on_assets(asset(ORDERS)))
    happened = event(world, ORDERS)
    (run,) = look(world)
    assert run == replace(
        run,
        run_type=DagRunType.ASSET_TRIGGERED,
        triggered_by=DagRunTriggeredByType.ASSET,
        state=DagRunState.QUEUED,
        run_after=at(1),
        logical_date=None,
        data_interval_start=None,
        data_interval_end=None,
        conf={},
        partition_key=None,
        version_number=1,
        bundle_version="b1",
    )
    assert re.fullmatch(r"asset_triggered__2026-03-02T09:00:01\+00:00_[A-Za-z0-9]{8}", run.run_id)
    assert world.store.consumed_events(run.key) == [happened]
    assert world.store.consumers_of([happened.event_id]) == {happened.event_id: [run.key]}
    assert look(world) == []


def test_all_must_have_come_and_the_last_of_them_gives_the_run_its_moment(world: World) -> None:
    given(world, on_assets(everything(asset(ORDERS), asset(USERS))))
    event(world, ORDERS)
    assert look(world) == []
    event(world, ORDERS)
    assert look(world) == []
    event(world, USERS)
    (run,) = look(world)
    assert run.run_after == at(3)
    assert consumed(world, run) == ["orders@1", "orders@2", "users@3"]


def test_any_will_do_and_the_whole_queue_is_taken(world: World) -> None:
    expression = either(everything(asset(ORDERS), asset(USERS)), asset(STOCK))
    given(world, on_assets(expression))
    event(world, ORDERS)
    assert look(world) == []
    event(world, STOCK)
    (run,) = look(world)
    assert consumed(world, run) == ["orders@1", "stock@2"]
    event(world, USERS)
    assert look(world) == [], "what came of orders has been taken"


def test_all_that_comes_while_a_dag_is_held_back_goes_with_the_next_run(world: World) -> None:
    """Airflow makes that run of the first event alone and forgets the others until one more comes."""
    given(world, on_assets(asset(ORDERS), max_active_runs=1))
    event(world, ORDERS)
    (first,) = look(world)
    event(world, ORDERS)
    event(world, ORDERS)
    assert look(world) == [], "max_active_runs counts runs that wait"
    finish(world, first)
    start_waiting_runs(world.services, first)
    (second,) = [run for run in world.store.list_runs("etl") if run.key != first.key]
    assert (second.run_after, consumed(world, second)) == (at(3), ["orders@2", "orders@3"])
    finish(world, second)
    assert look(world) == []
    event(world, ORDERS)
    (third,) = look(world)
    assert consumed(world, third) == ["orders@4"]


def test_every_event_is_consumed_once_however_late_it_is_stored(world: World) -> None:
    given(world, on_assets(either(asset(ORDERS), asset(USERS))))
    event(world, ORDERS)
    (first,) = look(world)
    # A worker whose clock is behind: it would fall into the time that the run has closed.
    world.clock.advance(-30)
    late = event(world, USERS)
    assert late.timestamp > first.run_after
    (second,) = look(world)
    assert world.store.consumed_events(second.key) == [late]


def test_the_same_event_twice_makes_one_run(world: World) -> None:
    given(world, on_assets(asset(ORDERS)))
    event(world, ORDERS, "e")
    assert len(look(world)) == 1
    event(world, ORDERS, "e")
    assert look(world) == []


def test_events_of_one_report_make_one_run(world: World) -> None:
    """A task's outlets are updated together, and so they are in Airflow."""
    given(world, on_assets(either(asset(ORDERS), asset(USERS))))
    world.pass_time(seconds=1)
    events = [AssetEvent(event_id=key.name, name=key.name, uri=key.uri, timestamp=START) for key in (ORDERS, USERS)]
    stored = register_asset_events(world.services, "report", events)
    (run,) = look(world)
    assert world.store.consumed_events(run.key) == stored
    assert run.run_after == stored[-1].timestamp > stored[0].timestamp


# --- more events than a run holds -------------------------------------------------------------------------------------


def looks(world: World, most: Most, dag_id: str = "etl") -> list[list[str]]:
    """What each run consumed that a scheduler made with a look each, until none is left to make."""
    made = []
    while runs := create_asset_runs(world.services, world.dag(dag_id), most):
        (run,) = runs
        made.append(consumed(world, run))
        assert run.run_after == world.store.consumed_events(run.key)[-1].timestamp
    return made


def test_fifty_megabytes_of_events_make_two_runs(world: World) -> None:
    given(world, on_assets(asset(ORDERS)))
    for number in range(150):
        event(world, ORDERS, f"e{number}", extra={"payload": "x" * 350_000})
    made = [run for _ in range(3) for run in look(world)]
    numbers = [[event.event_id for event in world.store.consumed_events(run.key)] for run in made]
    assert numbers == [[f"e{number}" for number in range(114)], [f"e{number}" for number in range(114, 150)]]


@pytest.mark.parametrize("text", ["", "x", '"', "\\", "\n", "é", "\U0001f600", "\ud800", "\x00"])
def test_an_event_counts_at_least_as_much_as_its_run_keeps_of_it(text: str) -> None:
    """What a run keeps must stay below the 50 MB of a document."""
    texts: dict[str, Any] = {"group": text * 9, "partition_key": text * 9, "source_aliases": (text * 9,)}
    source = dict.fromkeys(("source_dag_id", "source_run_id", "source_task_id"), text * 100)
    extra = {text: [{"a": text}] * 1000}
    about = AssetEvent(
        event_id="0" * 36, name=text * 99, uri=text * 99, timestamp=START, extra=extra, **texts, **source
    )
    assert size_of(about) >= len(to_json([event_document(about)]).encode())


def test_of_more_events_than_a_run_holds_each_is_in_one_run(world: World) -> None:
    given(world, on_assets(asset(ORDERS)))
    for _ in range(7):
        event(world, ORDERS)
    assert looks(world, Most(events=3)) == [
        ["orders@1", "orders@2", "orders@3"],
        ["orders@4", "orders@5", "orders@6"],
        ["orders@7"],
    ]
    event(world, ORDERS)
    assert looks(world, Most(events=3)) == [["orders@8"]]


def test_the_rest_makes_its_run_although_its_part_took_what_it_waited_for(world: World) -> None:
    given(world, on_assets(everything(asset(ORDERS), asset(USERS))))
    event(world, USERS)
    for _ in range(4):
        event(world, ORDERS)
    assert looks(world, Most(events=3)) == [["users@1", "orders@2", "orders@3"], ["orders@4", "orders@5"]]
    event(world, ORDERS)
    assert looks(world, Most(events=3)) == [], "users is awaited again"


def test_events_of_one_moment_are_in_one_run(world: World) -> None:
    given(world, on_assets(either(asset(ORDERS), asset(USERS))))
    event(world, ORDERS)
    world.pass_time(seconds=1)
    for key in (ORDERS, USERS):
        happened = AssetEvent(event_id=key.name, name=key.name, uri=key.uri, timestamp=world.clock.now())
        register_asset_events(world.services, key.name, [happened])
    assert looks(world, Most(events=2)) == [["orders@1"], ["orders@2", "users@2"]]
    event(world, ORDERS)
    assert looks(world, Most(events=1)) == [["orders@3"]]
    world.pass_time(seconds=1)
    for key in (ORDERS, USERS):
        happened = AssetEvent(event_id=f"{key.name}4", name=key.name, uri=key.uri, timestamp=world.clock.now())
        register_asset_events(world.services, happened.event_id, [happened])
    event(world, ORDERS)
    assert looks(world, Most(events=1)) == [["orders@4", "users@4"], ["orders@5"]], "more than a run should hold"


def test_events_with_a_partition_key_alone_close_no_part(world: World) -> None:
    given(world, on_assets(asset(ORDERS)))
    event(world, ORDERS)
    for _ in range(4):
        event(world, ORDERS, partition_key="p")
    assert looks(world, Most(events=2)) == [["orders@1"]], "as without them: they wait for an event without a key"
    event(world, ORDERS)
    assert looks(world, Most(events=2)) == [["orders@2", "orders@3"], ["orders@4", "orders@5"], ["orders@6"]]


def test_parts_wait_for_room_as_other_runs_do(world: World) -> None:
    given(world, on_assets(asset(ORDERS), max_active_runs=1))
    for _ in range(3):
        event(world, ORDERS)
    (first,) = create_asset_runs(world.services, world.dag("etl"), Most(events=2))
    assert create_asset_runs(world.services, world.dag("etl"), Most(events=2)) == []
    finish(world, first)
    start_waiting_runs(world.services, first)
    (second,) = [run for run in world.store.list_runs("etl") if run.key != first.key]
    assert (consumed(world, first), consumed(world, second)) == (["orders@1", "orders@2"], ["orders@3"])


def test_the_tick_finds_the_rest_if_its_record_is_lost(world: World) -> None:
    given(world, on_assets(asset(ORDERS)))
    for _ in range(3):
        event(world, ORDERS)
    create_asset_runs(world.services, world.dag("etl"), Most(events=2))
    world.pass_time(seconds=61)
    world.queues.wakes.clear()
    tick(world.services)
    assert [wake.dag_id for wake, _ in world.queues.wakes if isinstance(wake, WakeDag)] == ["etl"]


def test_what_was_queued_is_forgotten_if_parts_have_taken_all_of_it(world: World) -> None:
    """The rest may be of assets that a new version of the DAG no longer names."""
    given(world, on_assets(asset(ORDERS)))
    event(world, ORDERS)
    seen = world.store.asset_queue("etl")
    assert seen is not None
    world.store.close_part(seen, after=START, until=at(1))
    assert looks(world, Most()) == [["orders@1"]]
    after = world.store.asset_queue("etl")
    assert after is not None
    assert (after.queued, after.due_at) == ({}, None)
    event(world, ORDERS)
    assert looks(world, Most()) == [["orders@2"]]


def test_a_part_of_assets_that_the_schedule_no_longer_names_makes_no_run(world: World) -> None:
    given(world, on_assets(asset(USERS)))
    event(world, USERS)
    seen = world.store.asset_queue("etl")
    assert seen is not None
    world.store.close_part(seen, after=at(1), until=at(1.5))  # of other assets
    event(world, USERS)
    assert looks(world, Most()) == [["users@2"]]


def test_a_dag_whose_waiting_events_a_person_has_deleted_keeps_no_tick_busy(world: World) -> None:
    given(world, on_assets(asset(ORDERS)))
    for _ in range(2):
        event(world, ORDERS)
    seen = world.store.asset_queue("etl")
    assert seen is not None
    part = world.store.close_part(seen, after=START, until=at(1))
    world.store.unqueue("etl")
    run = run_of(world.dag("etl"), on_assets(asset(ORDERS)), NextRun(at(1)), now=world.clock.now())
    world.store.create_asset_run(AssetRun(run, consuming=part, events=[]))
    assert looks(world, Most()) == []
    after = world.store.asset_queue("etl")
    assert after is not None
    assert after.due_at is None


@pytest.mark.parametrize("seed", range(8))
def test_no_event_is_lost_or_taken_twice_while_others_come_and_schedulers_die(seed: int) -> None:
    world, chance = World(), random.Random(seed)  # noqa: S311 - no secret
    given(world, on_assets(either(asset(ORDERS), alias("sales")), max_active_runs=1000))
    sent: list[str] = []

    def another() -> None:
        aliases = ("sales",) if chance.random() < 0.3 else ()
        sent.append(event(world, ORDERS, f"e{len(sent)}", source_aliases=aliases).event_id)

    for _ in range(40):
        for _ in range(chance.randint(0, 6)):
            another()
        dag = world.dag("etl")
        if chance.random() < 0.3 and (queue := world.store.asset_queue("etl")) and queue.queued and not queue.part_from:
            # A scheduler that dies after it has closed a part, while events come.
            after = queue.consumed_until or START
            world.store.close_part(queue, after=after, until=world.clock.now())
            another()
        create_asset_runs(world.services, dag, Most(events=chance.randint(2, 5)))
    another()
    looks(world, Most(events=4))
    runs = sorted(world.store.list_runs("etl"), key=lambda run: run.run_after)
    assert [event.event_id for run in runs for event in world.store.consumed_events(run.key)] == sent


# --- which events a run takes along -----------------------------------------------------------------------------------


def test_a_first_run_begins_where_the_dag_began_to_listen(world: World) -> None:
    event(world, ORDERS)
    given(world, on_assets(asset(ORDERS)))
    event(world, ORDERS)
    (run,) = look(world)
    assert consumed(world, run) == ["orders@2"]


def test_with_catchup_a_first_run_takes_all_there_ever_was(world: World) -> None:
    event(world, ORDERS)
    given(world, on_assets(asset(ORDERS), catchup=True))
    event(world, ORDERS)
    (run,) = look(world)
    assert consumed(world, run) == ["orders@1", "orders@2"]


def test_an_event_with_a_partition_key_runs_no_dag_that_listens_to_whole_assets(world: World) -> None:
    given(world, on_assets(either(asset(ORDERS), asset(USERS))))
    event(world, ORDERS, partition_key="2026-03-02")
    assert look(world) == []
    event(world, USERS)
    (run,) = look(world)
    assert consumed(world, run) == ["orders@1", "users@2"]


# --- aliases and references -------------------------------------------------------------------------------------------


def test_an_alias_stands_for_whatever_came_through_it(world: World) -> None:
    given(world, on_assets(everything(alias("sales"), asset(USERS))))
    event(world, ORDERS)
    event(world, USERS)
    assert look(world) == [], "orders has not come through the alias"
    event(world, ORDERS, source_aliases=("sales",))
    (run,) = look(world)
    assert consumed(world, run) == ["users@2", "orders@3"]


def test_references_by_name_or_uri_trigger_and_pass_on_no_events(world: World) -> None:
    given(world, on_assets({"asset_ref": {"name": "orders"}}, "by_name"))
    given(world, on_assets({"asset_ref": {"uri": ORDERS.uri}}, "by_uri"))
    event(world, ORDERS)
    for dag_id in ("by_name", "by_uri"):
        (run,) = look(world, dag_id)
        assert world.store.consumed_events(run.key) == []
    event(world, USERS)
    assert look(world, "by_name") == look(world, "by_uri") == []


# --- DAGs that cannot run now -----------------------------------------------------------------------------------------


def test_a_paused_dag_queues_nothing_but_takes_along_what_came(world: World) -> None:
    given(world, on_assets(asset(ORDERS)), is_paused=True)
    event(world, ORDERS)
    set_paused(world.services, "etl", False)
    assert look(world) == []
    event(world, ORDERS)
    (run,) = look(world)
    assert consumed(world, run) == ["orders@1", "orders@2"]


def test_what_was_queued_before_a_pause_runs_when_it_ends(world: World) -> None:
    given(world, on_assets(asset(ORDERS)))
    event(world, ORDERS)
    set_paused(world.services, "etl", True)
    assert look(world) == []
    world.queues.wakes.clear()
    set_paused(world.services, "etl", False)
    assert [wake for wake, _ in world.queues.wakes] == [WakeDag(dag_id="etl", at=world.clock.now())]
    (run,) = look(world)
    assert run.run_after == at(1)


def test_a_dag_with_import_errors_waits_until_it_has_none(world: World) -> None:
    given(world, on_assets(asset(ORDERS)), has_import_errors=True)
    event(world, ORDERS)
    assert look(world) == []
    dag = world.dag()
    world.store.put_dag(dag, replace(dag, has_import_errors=False))
    assert len(look(world)) == 1


# --- schedules that change --------------------------------------------------------------------------------------------


def test_a_schedule_that_drops_an_asset_forgets_what_waited_for_it(world: World) -> None:
    before = on_assets(everything(asset(ORDERS), asset(USERS)))
    given(world, before)
    event(world, ORDERS)
    change_references(world.services, before, on_assets(asset(USERS)), at=world.clock.now())
    assert world.store.asset_queue("etl").queued == {}  # type: ignore[union-attr]
    change_references(world.services, on_assets(asset(USERS)), before, at=world.clock.now())
    event(world, USERS)
    assert look(world) == []


def test_a_dag_that_listens_no_more_forgets_everything(world: World) -> None:
    before = on_assets(either(alias("sales"), everything(asset(USERS), asset(STOCK))))
    given(world, before, is_paused=False)
    event(world, USERS)
    change_references(world.services, before, None, at=world.clock.now())
    assert world.store.asset_queue("etl").queued == {}  # type: ignore[union-attr]
    assert world.store.schedules_on_asset(USERS) == world.store.schedules_on_alias("sales") == []


def test_references_of_tasks_are_kept_beside_those_of_schedules(world: World) -> None:
    ref = AssetRef(name=ORDERS.name, uri=ORDERS.uri)
    spec = chain("load")
    tasks = {"load": TaskSpec(task_id="load", inlets=(ref,), outlets=(ref, AssetRef(kind="alias", name="sales")))}
    change_references(world.services, None, spec.model_copy(update={"tasks": tasks}), at=START)
    found = world.store.references_to_asset(ORDERS)
    assert [(r.use, r.dag_id, r.task_id, r.created_at) for r in found] == [
        ("inlet", "etl", "load", START),
        ("outlet", "etl", "load", START),
    ]
    assert world.store.schedules_on_asset(ORDERS) == []
    assert [alias.name for alias in world.store.list_asset_aliases()] == ["sales"]


# --- assets or time ---------------------------------------------------------------------------------------------------


def test_a_dag_of_assets_or_time_runs_for_either(world: World) -> None:
    timetable = TimetableSpec(
        type="airflow.timetables.assets.AssetOrTimeSchedule",
        data={
            "timetable": {
                "__type": "airflow.timetables.trigger.CronTriggerTimetable",
                "__var": {"expression": "0 * * * *", "timezone": "UTC", "interval": 0.0, "run_immediately": False},
            }
        },
        asset_expression=asset(ORDERS),
    )
    given(world, chain("load", timetable=timetable, start_date=START))
    assert [run.run_id for run in look(world)] == ["scheduled__2026-03-02T09:00:00+00:00"]
    event(world, ORDERS)
    assert [run.run_id[:-9] for run in look(world)] == ["asset_triggered__2026-03-02T09:00:01+00:00"]
    world.pass_time(hours=1)
    assert [run.run_id for run in look(world)] == ["scheduled__2026-03-02T10:00:00+00:00"]


# --- nothing is forgotten ---------------------------------------------------------------------------------------------


def test_the_tick_finds_what_waits_where_the_word_of_it_was_lost(world: World) -> None:
    given(world, on_assets(asset(ORDERS)))
    event(world, ORDERS)
    assert tick(world.services) == 1
    assert [wake for wake, _ in world.queues.wakes] == [WakeDag(dag_id="etl", at=at(61))]
    look(world)
    world.pass_time(hours=1)
    assert world.store.due_dags(world.clock.now()) == []


def test_a_dag_that_waits_for_more_does_not_keep_the_ticks_busy(world: World) -> None:
    given(world, on_assets(everything(asset(ORDERS), asset(USERS))))
    event(world, ORDERS)
    look(world)
    world.pass_time(hours=1)
    assert world.store.due_dags(world.clock.now()) == []
    event(world, USERS)
    assert world.store.due_dags(world.clock.now() + timedelta(minutes=2)) != []


def test_a_dag_without_room_is_looked_at_again_within_the_hour(world: World) -> None:
    given(world, on_assets(asset(ORDERS), max_active_runs=1))
    event(world, ORDERS)
    look(world)
    event(world, ORDERS)
    look(world)
    assert world.store.due_dags(at(3599)) == []
    assert world.store.due_dags(at(2 + 3600)) == [("etl", at(2 + 3600))]


def test_an_event_between_reading_the_queue_and_making_the_run_is_not_overlooked(world: World) -> None:
    given(world, on_assets(either(asset(ORDERS), asset(USERS))))
    event(world, ORDERS)
    note_consumers, came = world.store.note_consumers, []

    def meanwhile(run: DagRunKey, events: list[AssetEvent]) -> None:
        note_consumers(run, events)
        if not came:
            came.append(event(world, USERS))

    world.store.note_consumers = meanwhile  # type: ignore[method-assign]
    (run,) = look(world)
    assert (run.run_after, consumed(world, run)) == (at(2), ["orders@1", "users@2"])
    assert look(world) == []


def test_what_waits_for_a_dag_without_a_file_keeps_no_tick_busy_and_is_there_when_it_comes_back(world: World) -> None:
    given(world, on_assets(asset(ORDERS)))
    happened = event(world, ORDERS)
    world.store.put_dag(world.dag(), replace(world.dag(), is_stale=True))
    world.pass_time(minutes=5)
    assert look(world) == []
    assert world.store.due_dags(world.clock.now()) == []
    world.store.put_dag(world.dag(), replace(world.dag(), is_stale=False))
    (run,) = look(world)
    assert world.store.consumed_events(run.key) == [happened]
