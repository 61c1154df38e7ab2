"""Assets by name and URI, and their events in order of time."""

from dataclasses import replace
from typing import Any

from gust.model.asset import Asset, AssetEvent, AssetKey, AssetUpdate
from gust.model.history_query import AssetEventQuery, AssetEventSource
from gust.model.window import NEWEST_FIRST, Window
from gust.ports.store import Store
from tests.contract.given import NOW, at
from tests.contract.stores import OnDynamoDB


def an_asset(name: str = "orders", uri: str = "s3://lake/orders", **fields: Any) -> Asset:
    return Asset(**{"name": name, "uri": uri, "asset_id": 1, "created_at": NOW, **fields})


def an_event(
    event_id: str, seconds: float = 0, name: str = "orders", uri: str = "s3://lake/orders", **fields: Any
) -> AssetEvent:
    return AssetEvent(event_id=event_id, name=name, uri=uri, timestamp=at(seconds), **fields)


def test_an_asset_keeps_its_id_and_birth(store: Store) -> None:
    store.put_asset(an_asset(extra={"a": 1}))
    store.put_asset(an_asset(group="g", extra={}, asset_id=99, created_at=at(9)))
    assert store.list_assets() == [an_asset(group="g")]


def test_an_asset_is_found_by_name_or_uri(store: Store) -> None:
    orders, others = an_asset(), an_asset("orders#2", "s3://lake/orders#2", asset_id=2)
    store.put_asset(others)
    store.put_asset(orders)
    assert store.get_asset(name="orders") == orders
    assert store.get_asset(uri="s3://lake/orders#2") == others
    assert store.get_asset(name="orders", uri="s3://lake/orders") == orders
    assert store.get_asset(name="orders", uri="s3://lake/orders#2") is None
    assert store.get_asset(name="order") is None
    assert store.get_asset(uri="s3://lake") is None
    assert store.get_asset() is None
    assert store.list_assets() == [orders, others]


def test_assets_are_listed_by_name_or_by_uri(store: Store) -> None:
    orders, renamed, moved = an_asset(), an_asset("sales"), an_asset(uri="s3://lake/new")
    for asset in (orders, renamed, moved):
        store.put_asset(asset)
    assert store.list_assets(name="orders") == [moved, orders]
    assert store.list_assets(uri="s3://lake/orders") == [orders, renamed]
    assert store.list_assets(name="sales", uri="s3://lake/orders") == [renamed]
    assert store.list_assets(uri="s3://lake") == []


def test_an_event_is_read_as_it_was_written(store: Store) -> None:
    event = an_event(
        "e1",
        extra={"rows": 3},
        group="g",
        source_dag_id="etl",
        source_run_id="r#1",
        source_task_id="t",
        source_map_index=4,
        source_aliases=("b", "a"),
        partition_key="2026",
    )
    store.put_asset_events(event.event_id, [AssetUpdate(event)])
    assert store.list_asset_events(AssetEventSource(name="orders")) == [event]


def test_an_event_is_stored_once(store: Store) -> None:
    event = an_event("e1", source_aliases=("a",))
    store.put_asset_events(event.event_id, [AssetUpdate(event)])
    store.put_asset_events("e1", [AssetUpdate(replace(event, timestamp=at(5), extra={"again": True}))])
    assert store.list_asset_events(AssetEventSource(name="orders")) == [event]
    assert store.list_asset_events(AssetEventSource(alias="a")) == [event]


def test_events_are_listed_by_what_they_belong_to(store: Store) -> None:
    store.put_asset(an_asset())
    store.put_asset(an_asset("users", "s3://lake/users"))
    mine, theirs = an_event("e1", source_aliases=("a", "b")), an_event("e2", 1, "users", "s3://lake/users")
    moved = an_event("e3", 2, "orders", "s3://old/orders", source_aliases=("b",))
    for event in (theirs, mine, moved):
        store.put_asset_events(event.event_id, [AssetUpdate(event)])
    assert store.list_asset_events() == [mine, theirs, moved]
    assert store.list_asset_events(AssetEventSource(name="orders")) == [mine, moved]
    assert store.list_asset_events(AssetEventSource(uri="s3://lake/orders")) == [mine]
    assert store.list_asset_events(AssetEventSource(name="orders", uri="s3://old/orders")) == [moved]
    assert store.list_asset_events(AssetEventSource(alias="b")) == [mine, moved]
    assert store.list_asset_events(AssetEventSource(alias="a")) == [mine]
    assert store.list_asset_events(AssetEventSource(alias="b", uri="s3://old/orders")) == [moved]
    assert store.list_asset_events(AssetEventSource(name="unknown")) == []


def test_events_are_cut_by_time_order_and_limit(store: Store) -> None:
    events = [an_event(f"e{n}", n) for n in range(5)]
    for event in reversed(events):
        store.put_asset_events(event.event_id, [AssetUpdate(event)])
    listed = store.list_asset_events
    assert listed(AssetEventSource(name="orders"), Window(at(1), at(3), ascending=True)) == events[1:4]
    assert listed(AssetEventSource(name="orders"), NEWEST_FIRST) == events[::-1]
    assert listed(AssetEventSource(name="orders"), limit=2) == events[:2]
    walked = store.walk_events_of(AssetEventSource(name="orders", uri=events[0].uri), Window(at(1), ascending=True))
    assert [next(walked), *walked] == events[1:]
    assert listed(AssetEventSource(name="orders"), Window(last=at(2), ascending=False), limit=2) == [
        events[2],
        events[1],
    ]


def test_events_of_one_moment_have_an_order(store: Store) -> None:
    for event_id in ("b", "a", "c"):
        store.put_asset_events(event_id, [AssetUpdate(an_event(event_id))])
    assert [event.event_id for event in store.list_asset_events(AssetEventSource(name="orders"))] == ["a", "b", "c"]


# --- events of all assets ---------------------------------------------------------------------------------------------


def given_events(store: Store) -> list[AssetEvent]:
    """Of two assets, three days and two DAGs, in order of time; two of one moment."""
    by_task: dict[str, Any] = {"source_dag_id": "etl#1", "source_run_id": "r", "source_task_id": "t"}
    of_another = by_task | {"source_dag_id": "etl"}
    events = [
        an_event("e0", -90_000, **by_task),
        an_event("e1", 0, "users", "s3://lake/users", **by_task),
        an_event("e2", 0, source_aliases=("a",), **of_another),
        an_event("e3", 5),
        an_event("e4", 90_000, "users", "s3://lake/users", **by_task),
    ]
    for event in reversed(events):
        store.put_asset_events(event.event_id, [AssetUpdate(event)])
    return events


def test_events_of_all_assets_are_walked_in_order_of_time(store: Store) -> None:
    events = given_events(store)
    assert list(store.walk_asset_events()) == events
    assert list(store.walk_asset_events(AssetEventQuery(window=NEWEST_FIRST))) == events[::-1]
    assert list(store.walk_asset_events(AssetEventQuery(window=Window(at(0), at(5), ascending=True)))) == events[1:4]
    assert list(store.walk_asset_events(AssetEventQuery(window=Window(at(6), ascending=False)))) == events[4:]


def test_events_of_one_asset_or_of_one_dag_are_walked_alone(store: Store) -> None:
    events = given_events(store)
    orders = an_asset().key
    assert list(store.walk_asset_events(AssetEventQuery(orders))) == [events[0], events[2], events[3]]
    assert list(store.walk_asset_events(AssetEventQuery(orders, Window(last=at(0), ascending=False)))) == [
        events[2],
        events[0],
    ]
    assert list(store.walk_asset_events(AssetEventQuery(source_dag_id="etl#1"))) == [events[0], events[1], events[4]]
    around = Window(at(-1), at(1), ascending=True)
    assert list(store.walk_asset_events(AssetEventQuery(None, around, source_dag_id="etl#1"))) == [events[1]]
    assert list(store.walk_asset_events(AssetEventQuery(orders, source_dag_id="etl#1"))) == [events[0]]
    assert not list(store.walk_asset_events(AssetEventQuery(AssetKey("orders", "s3://elsewhere"))))


def test_events_are_counted_as_far_as_is_asked(store: Store) -> None:
    given_events(store)
    assert store.count_asset_events() == 5
    assert store.count_asset_events(limit=2) == 2
    assert store.count_asset_events(AssetEventQuery(window=Window(at(0), at(5), ascending=True))) == 3
    empty = Window(at(5), at(0), ascending=True)
    assert store.count_asset_events(AssetEventQuery(window=empty)) == 0
    assert store.count_asset_events(AssetEventQuery(an_asset().key, empty)) == 0
    assert not list(store.walk_asset_events(AssetEventQuery(an_asset().key, empty)))
    assert store.count_asset_events(AssetEventQuery(an_asset().key)) == 3
    assert store.count_asset_events(AssetEventQuery(source_dag_id="etl#1")) == 3


def test_a_page_of_events_costs_what_it_shows(dynamodb: OnDynamoDB) -> None:
    given_events(dynamodb.store)
    dynamodb.calls.clear()
    next(dynamodb.store.walk_asset_events(AssetEventQuery(window=NEWEST_FIRST)))
    assert dynamodb.calls.operations == ["query"] * 5 + [
        "batch_get_item"
    ]  # the days, two and one of them, and each day


def test_assets_are_found_by_several_uris_at_once(store: Store) -> None:
    for name, uri in (("b", "s3://lake/x#1"), ("a", "s3://lake/x#1"), ("c", "s3://lake/y")):
        store.put_asset(Asset(name=name, uri=uri))
    found = store.assets_at(["s3://lake/y", "s3://lake/x#1", "s3://lake", "s3://lake/x"])
    assert {uri: [asset.name for asset in assets] for uri, assets in found.items()} == {
        "s3://lake/x#1": ["a", "b"],
        "s3://lake/y": ["c"],
    }
