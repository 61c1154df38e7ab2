"""Which partitions of a DAG events make runs of. Rules: Airflow's scheduler and asset manager."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gust.errors import Invalid
from gust.model.asset import Asset, AssetEvent
from gust.model.dag_run import DagRun
from gust.model.dag_spec import AssetRef, DagSpec, TimetableSpec
from gust.scheduling.added_run import AssetRun
from gust.services.assets.asset_references import change_references
from gust.services.assets.register_asset_event import register_asset_events
from gust.services.worker.emit_asset_events import OutletEvent, emit_asset_events
from tests.unit.services.test_asset_runs import ORDERS, USERS, asset, everything, given, look
from tests.world import START, World, chain

HOME = "airflow.partition_mappers."
IDENTITY = {"__type": f"{HOME}identity.IdentityMapper", "__var": {}}


def period(of: str, **fields: Any) -> dict[str, Any]:
    formats = {"Day": "%Y-%m-%d", "Hour": "%Y-%m-%dT%H", "Week": "%Y-%m-%d (W%V)"}
    given_to = {"timezone": "UTC", "input_format": "%Y-%m-%dT%H:%M:%S", "output_format": formats[of], **fields}
    return {"__type": f"{HOME}temporal.StartOf{of}Mapper", "__var": given_to}


def rollup(upstream: dict[str, Any], segments: Sequence[str]) -> dict[str, Any]:
    window = {"__type": f"{HOME}window.SegmentWindow", "__var": {"segments": list(segments)}}
    policy = {"__type": f"{HOME}wait_policy.WaitForAll", "__var": {}}
    parts = {"upstream_mapper": upstream, "window": window, "wait_policy": policy}
    return {"__type": f"{HOME}base.RollupMapper", "__var": parts}


def fan_out(**fields: Any) -> dict[str, Any]:
    window = {"__type": f"{HOME}window.WeekWindow", "__var": {"direction": "forward"}}
    parts = {"upstream_mapper": period("Week"), "window": window, "downstream_mapper": period("Day"), **fields}
    return {"__type": f"{HOME}temporal.FanOutMapper", "__var": parts}


WORLD = rollup({"__type": f"{HOME}fixed_key.FixedKeyMapper", "__var": {"downstream_key": "world"}}, ["eu", "us"])


def on_partitions(expression: dict[str, Any], mapper: dict[str, Any], **fields: Any) -> DagSpec:
    timetable = TimetableSpec(
        type="airflow.timetables.simple.PartitionedAssetTimetable",
        data={"default_partition_mapper": mapper, "partition_mapper_config": []},
        asset_expression=expression,
        partitioned=True,
    )
    return chain("load", timetable=timetable, **fields)


def event(world: World, key: str | None, of: Any = ORDERS, **fields: Any) -> AssetEvent:
    world.pass_time(seconds=1)
    happened = AssetEvent(
        event_id=f"{of.name}@{world.clock.now().isoformat()}",
        name=of.name,
        uri=of.uri,
        timestamp=world.clock.now(),
        partition_key=key,
    )
    dates = {happened.event_id: fields.get("date")}
    (stored,) = register_asset_events(world.services, happened.event_id, [happened], partition_dates=dates)
    return stored


def told(runs: Sequence[DagRun]) -> list[tuple[str | None, str | None]]:
    return [(run.partition_key, run.partition_date.date().isoformat() if run.partition_date else None) for run in runs]


def test_a_partition_runs_for_its_event(world: World) -> None:
    given(world, on_partitions(asset(ORDERS), IDENTITY))
    happened = event(world, "eu", date=START)
    world.pass_time(seconds=1)
    (run,) = look(world)
    assert run.run_after == START + timedelta(seconds=2), "the moment it is made, not the event's"
    assert (run.partition_key, run.partition_date, run.logical_date) == ("eu", START, None)
    assert world.store.consumed_events(run.key) == [happened]
    assert look(world) == []
    event(world, "eu")
    assert told(look(world)) == [("eu", None)], "the same partition again, of an event that carries no date"


def test_a_partition_that_the_store_takes_in_no_run_holds_up_no_other_and_is_told_of(world: World) -> None:
    """More than 50 MB of events."""
    given(world, on_partitions(asset(ORDERS), IDENTITY))
    event(world, "eu")
    event(world, "us")
    store = world.store

    class Refuses:
        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def create_asset_run(self, made: AssetRun) -> None:
            if made.run.partition_key == "eu":
                raise Invalid("asset_events is larger than 50 MB of JSON")
            store.create_asset_run(made)

    whole = world.services
    world.services = replace(whole, store=Refuses())  # type: ignore[arg-type] # the rest of it is the store
    assert told(look(world)) == [("us", None)]
    (entry,) = store.logged_events()
    assert (entry.event, entry.dag_id) == ("partition_has_no_run", "etl")
    assert json.loads(entry.extra or "") == {
        "partition_key": "eu",
        "events": 1,
        "reason": "asset_events is larger than 50 MB of JSON",
    }
    (waiting,) = store.pending_partitions("etl")
    assert waiting.due_at == world.clock.now() + timedelta(hours=1)
    event(world, "eu")
    assert told(look(world)) == []
    assert store.logged_events() == [entry], "events of the next hour cause no other trial"
    world.services = whole
    world.pass_time(seconds=3600)
    assert told(look(world)) == [("eu", None)]


def test_an_event_without_a_key_is_for_no_partition(world: World) -> None:
    given(world, on_partitions(asset(ORDERS), IDENTITY))
    event(world, None)
    assert look(world) == []


def test_all_assets_must_come_under_one_key(world: World) -> None:
    given(world, on_partitions(everything(asset(ORDERS), asset(USERS)), period("Day")))
    event(world, "2026-03-01T10:00:00")
    event(world, "2026-03-02T10:00:00", USERS)
    assert look(world) == []
    event(world, "2026-03-01T23:00:00", USERS)
    assert told(look(world)) == [("2026-03-01", "2026-03-01")]


def test_a_rollup_waits_for_its_window_and_takes_all_that_came(world: World) -> None:
    given(world, on_partitions(asset(ORDERS), WORLD))
    events = [event(world, key) for key in ("eu", "asia", "eu")]
    assert look(world) == []
    events.append(event(world, "us"))
    (run,) = look(world)
    assert run.partition_key == "world"
    assert world.store.consumed_events(run.key) == events


def test_one_event_may_make_many_runs(world: World) -> None:
    given(world, on_partitions(asset(ORDERS), fan_out()))
    event(world, "2026-03-04T00:00:00")
    runs = look(world)
    assert [run.partition_key for run in runs] == [f"2026-03-0{day}" for day in range(2, 9)]
    assert len({run.run_id for run in runs}) == 7, "made at one moment, named apart"


@pytest.mark.parametrize("mapper", [fan_out(max_downstream_keys=6), period("Day"), {"__type": "mine.M", "__var": {}}])
def test_a_mapper_that_fails_or_makes_too_much_makes_nothing(world: World, mapper: dict[str, Any]) -> None:
    given(world, on_partitions(asset(ORDERS), mapper))
    event(world, "2026-03-04T00:00:00" if "FanOut" in mapper["__type"] else "no moment")
    assert look(world) == []
    assert world.store.pending_partitions("etl") == []


def test_neither_max_active_runs_nor_a_pause_keeps_a_partition(world: World) -> None:
    """As in Airflow. A paused DAG gets no new events, but what came before runs."""
    given(world, on_partitions(asset(ORDERS), IDENTITY, max_active_runs=1))
    event(world, "a")
    event(world, "b")
    dag = world.dag()
    world.store.put_dag(dag, replace(dag, is_paused=True))
    event(world, "c")
    assert told(look(world)) == [("a", None), ("b", None)]


def test_what_other_mappers_gathered_is_dropped(world: World) -> None:
    before = on_partitions(asset(ORDERS), WORLD)
    given(world, before)
    event(world, "eu")
    after = on_partitions(asset(ORDERS), rollup(WORLD["__var"]["upstream_mapper"], ["eu", "us", "asia"]))
    key = "specs/after.json"
    world.objects.put(key, after.model_dump_json().encode())
    change_references(world.services, before, after, at=world.clock.now())
    dag = world.dag()
    world.store.put_dag(dag, replace(dag, spec_key=key, version_number=2))
    event(world, "us")
    event(world, "asia")
    assert look(world) == []
    assert world.store.pending_partitions("etl") == [], "with all that had come: Airflow begins anew, too"
    for region in ("eu", "us", "asia"):
        event(world, region)
    assert told(look(world)) == [("world", None)]


def test_a_partition_that_waits_does_not_keep_the_ticks_busy(world: World) -> None:
    given(world, on_partitions(asset(ORDERS), WORLD))
    event(world, "eu")
    world.pass_time(minutes=5)
    assert [dag_id for dag_id, _ in world.store.due_dags(world.clock.now())] == ["etl"]
    look(world)
    assert world.store.due_dags(world.clock.now()) == []


def test_a_task_hands_on_the_key_of_its_run_or_those_it_found(world: World) -> None:
    given(world, on_partitions(asset(ORDERS), IDENTITY))
    world.store.put_asset(Asset(name=ORDERS.name, uri=ORDERS.uri, created_at=START))
    at_runtime = TimetableSpec(type="airflow.timetables.simple.PartitionedAtRuntime", can_be_scheduled=False)
    world.given_dag(chain("extract", dag_id="producer", timetable=at_runtime))
    key = world.trigger(dag_id="producer", partition_key="given")
    world.advance(key)
    instance = world.store.get_instance(key.task_instance("extract"))
    assert instance is not None
    of_outlet = [OutletEvent(name=ORDERS.name, uri=ORDERS.uri, partition_key=found) for found in ("x", None)]
    outlets = [AssetRef(name=ORDERS.name, uri=ORDERS.uri)]
    emit_asset_events(world.services, instance, outlets=outlets, events=of_outlet, at=world.clock.now())
    assert told(look(world)) == [("x", None), ("given", None)]


def test_partitions_of_a_dag_that_is_gone_wait_for_it_and_of_one_that_listens_no_more_go(world: World) -> None:
    spec = on_partitions(asset(ORDERS), WORLD)
    given(world, spec)
    event(world, "eu")
    change_references(world.services, spec, None, at=world.clock.now())
    assert world.store.due_dags(world.clock.now() + timedelta(hours=1)) == []
    (waiting,) = world.store.pending_partitions("etl")
    assert waiting.partition_key == "world"
    change_references(world.services, None, spec, at=world.clock.now())
    change_references(world.services, spec, chain("load"), at=world.clock.now())
    assert world.store.pending_partitions("etl") == []
