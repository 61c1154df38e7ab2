"""Created objects become events of the assets that they lie under: each once, and in order of arrival."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from gust.model.asset import Asset, AssetKey, AssetReference
from gust.model.dag_spec import TimetableSpec
from gust.model.history_query import AssetEventSource
from gust.model.object_created import ObjectCreated, counts_for
from gust.model.state import DagRunState
from gust.services.assets.asset_references import change_references
from gust.services.events.register_objects import register_objects
from gust.services.runs.create_dag_run import create_due_runs
from tests.world import World, chain

ORDERS = AssetKey("orders", "s3://raw/orders")


def given_asset(
    world: World, uri: str, *, name: str | None = None, named_by: str | None = "etl", **fields: Any
) -> AssetKey:
    asset = Asset(name=name or uri, uri=uri, **fields)
    world.store.put_asset(asset)
    if named_by:
        world.store.put_asset_reference(
            AssetReference(use="inlet", what="asset", dag_id=named_by, task_id="t", name=asset.name, uri=uri)
        )
    return asset.key


def an_object(key: str, sequencer: str = "01", **fields: Any) -> ObjectCreated:
    about = {"size": 4, "etag": "e", "time": "2026-03-02T09:00:00Z"} | fields
    return ObjectCreated(bucket="raw", key=key, sequencer=sequencer, **about)


def keys_of(world: World, asset: AssetKey) -> list[str]:
    events = world.store.list_asset_events(AssetEventSource(name=asset.name, uri=asset.uri))
    return [event.extra["key"] for event in events]


@pytest.mark.parametrize(
    ("uri", "key", "counts"),
    [
        ("s3://raw", "a.csv", True),
        ("s3://raw/", "x/a.csv", True),
        ("s3://raw/orders", "orders/a.csv", True),
        ("s3://raw/orders", "orders/2026/03/a.csv", True),
        ("s3://raw/orders", "orders-2/a.csv", False),
        ("s3://raw/orders/a.csv", "orders/a.csv", True),
        ("s3://raw/orders/a.csv", "orders/a.csv.gz", False),
        ("s3://other/orders", "orders/a.csv", False),
        ("s3://raw/orders/a%20b", "orders/a b/c#1.csv", True),
        ("s3://raw/orders/a b", "orders/a b/c.csv", True),
    ],
)
def test_an_asset_holds_the_objects_at_and_below_its_uri(uri: str, key: str, counts: bool) -> None:
    world = World()
    asset = given_asset(world, uri)
    register_objects(world.services, [an_object(key)])
    assert keys_of(world, asset) == ([key] if counts else [])


@pytest.mark.parametrize(
    ("glob", "name", "counts"),
    [
        ("*.csv", "a.csv", True),
        ("*.csv", "2026/a.csv", True),
        ("*.csv", "a.csv.gz", False),
        ("2026-??/*", "2026-03/a", True),
        ("*.CSV", "a.csv", False),
        (None, "a.csv", True),
        (7, "a.csv", True),
    ],
)
def test_a_glob_selects_names_below_the_uri(glob: object, name: str, counts: bool) -> None:
    assert counts_for(Asset(name="a", uri="s3://raw", extra={"glob": glob} if glob else {}), name) is counts


def test_an_object_is_an_event_of_every_asset_above_it() -> None:
    world = World()
    above = [given_asset(world, uri) for uri in ("s3://raw/", "s3://raw/orders", "s3://raw/orders/a.csv")]
    assert register_objects(world.services, [an_object("orders/a.csv")]) == 3
    assert [keys_of(world, asset) for asset in above] == [["orders/a.csv"]] * 3


def test_the_event_tells_of_the_object() -> None:
    world = World()
    given_asset(world, ORDERS.uri, name=ORDERS.name, group="lake")
    register_objects(world.services, [an_object("orders/a.csv", version_id="v7")])
    (event,) = world.store.list_asset_events(AssetEventSource(name="orders"))
    assert event.group == "lake"
    assert event.extra == {
        "bucket": "raw",
        "key": "orders/a.csv",
        "size": 4,
        "etag": "e",
        "version_id": "v7",
        "event_time": "2026-03-02T09:00:00Z",
    }


def test_folders_of_the_console_and_assets_that_no_dag_names_have_no_events() -> None:
    world = World()
    forgotten = given_asset(world, "s3://raw/old", named_by=None)
    given_asset(world, ORDERS.uri)
    assert register_objects(world.services, [an_object("old/a.csv"), an_object("orders/", size=0)]) == 0
    assert keys_of(world, forgotten) == []


def test_doubled_lost_and_reordered_deliveries_make_each_write_of_an_object_one_event() -> None:
    world, chance = World(), random.Random(41)  # noqa: S311 - a test's choices
    asset = given_asset(world, ORDERS.uri)
    written = [an_object(f"orders/{number % 20}.csv", f"{number:02X}") for number in range(60)]
    waiting = [*written, *chance.sample(written, 30)]
    chance.shuffle(waiting)
    while waiting:
        size = chance.randint(1, 12)
        batch, waiting = waiting[:size], waiting[size:]
        register_objects(world.services, batch)
        if chance.random() < 0.3:  # the function died before SQS knew: the batch comes again, with others
            waiting += batch
            chance.shuffle(waiting)
    assert sorted(keys_of(world, asset)) == sorted(one.key for one in written)


def test_without_a_sequencer_the_version_or_the_events_id_tells_writes_apart() -> None:
    one = an_object("a", "", version_id="v1", event_id="e1")
    again, newer = replace(one, event_id="e2"), replace(one, version_id="v2")
    ids = [each.event_id_for(ORDERS) for each in (one, again, newer)]
    assert ids[0] == ids[1] != ids[2]
    without = replace(one, version_id=None)
    assert without.event_id_for(ORDERS) != replace(without, event_id="e2").event_id_for(ORDERS)


def test_an_event_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="no event of a created object"):
        ObjectCreated.from_event({"source": "aws.s3", "detail-type": "Object Deleted", "detail": {}})


def test_ten_thousand_objects_are_ten_thousand_events_and_a_run_for_each_batch_that_waits() -> None:
    world = World()
    expression = {"asset": {"name": ORDERS.name, "uri": ORDERS.uri, "group": "asset"}}
    timetable = TimetableSpec(
        type="airflow.timetables.simple.AssetTriggeredTimetable", asset_expression=expression, periodic=False
    )
    spec = chain("load", timetable=timetable, max_active_runs=1)
    world.given_dag(spec, is_asset_triggered=True)
    change_references(world.services, None, spec, at=world.clock.now())
    world.store.put_asset(Asset(name=ORDERS.name, uri=ORDERS.uri))
    written = [an_object(f"orders/{number:05}.csv") for number in range(10_000)]
    for number in range(0, len(written), 100):
        world.pass_time(seconds=1)
        register_objects(world.services, written[number : number + 100])
        create_due_runs(world.services, "etl")
        if number % 1000 == 900:
            (going_on,) = [run for run in world.store.list_runs("etl") if run.state is not DagRunState.SUCCESS]
            world.advance(going_on.key)
            world.succeed(going_on.key, "load")
            world.advance(going_on.key)  # which lets the next run be made
    made = world.store.list_runs("etl")
    consumed = [event.extra["key"] for run in made for event in world.store.consumed_events(run.key)]
    assert sorted(consumed) == sorted(one.key for one in written)
    assert len(made) == 11
