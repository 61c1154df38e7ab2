"""Assets, aliases, events, materializing and queued events."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from gust.model.asset import (
    Asset,
    AssetAlias,
    AssetEvent,
    AssetKey,
    AssetReference,
    AssetUpdate,
    ToQueue,
    number_of,
    number_of_event,
)
from gust.model.dag_run import DagRun
from gust.model.dag_spec import TimetableSpec
from gust.model.state import DagRunState, DagRunType
from gust.model.watcher import Want, Watcher
from gust.scheduling.added_run import AssetRun
from tests.unit.rest_api.world import NOW, Api, World, etl_spec

ORDERS, USERS = AssetKey("orders", "s3://lake/orders"), AssetKey("users", "s3://lake/users")
ID = number_of(*ORDERS)
BEFORE = "2026-03-04T12:00:00Z"


def iso(moment: Any) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def given_asset(world: World, key: AssetKey = ORDERS, **fields: Any) -> Asset:
    asset = Asset(name=key.name, uri=key.uri, **{"created_at": NOW, "updated_at": NOW, **fields})
    world.store.put_asset(asset)
    return asset


def given_use(world: World, use: Any, key: AssetKey = ORDERS, dag_id: str = "etl", task_id: str = "") -> None:
    reference = AssetReference(
        use=use, what="asset", dag_id=dag_id, task_id=task_id, name=key.name, uri=key.uri, created_at=NOW
    )
    world.store.put_asset_reference(reference)


def given_event(world: World, number: int, key: AssetKey = ORDERS, *to: str, **fields: Any) -> AssetEvent:
    event = AssetEvent(
        event_id=f"0000000{number}-0000-0000-0000-000000000000",
        name=key.name,
        uri=key.uri,
        timestamp=NOW + timedelta(seconds=number),
        **fields,
    )
    update = AssetUpdate(event, tuple(ToQueue(dag_id=dag_id) for dag_id in to))
    world.store.put_asset_events(event.event_id, [update])
    return event


def given_asset_run(world: World, events: list[AssetEvent], **fields: Any) -> DagRun:
    queue = world.store.asset_queue("etl")
    assert queue is not None
    run = DagRun(
        dag_id="etl",
        run_id="asset_triggered__1",
        run_type=DagRunType.ASSET_TRIGGERED,
        state=DagRunState.QUEUED,
        run_after=events[-1].timestamp,
        queued_at=NOW,
        version_number=1,
        spec_key="specs/1.json",
        **fields,
    )
    world.store.note_consumers(run.key, events)
    world.store.create_asset_run(AssetRun(run, consuming=queue, events=events))
    return run


# --- assets -----------------------------------------------------------------------------------------------------------


def test_watchers_of_an_asset(world: World, api: Api) -> None:
    given_asset(world)
    given_asset(world, USERS)
    given_use(world, "schedule")
    given_use(world, "schedule", USERS)
    wants = tuple(Want(dag_id, *ORDERS, name).written() for dag_id in ("etl", "other") for name in ("late", "new"))
    world.store.put_watcher(None, Watcher(watcher_id="w", classpath="a.T", wanted_by=wants, created_at=NOW))
    shown = {a["name"]: a["watchers"] for a in api.ok("get_assets", "GET", "/api/v2/assets")["assets"]}
    watched = {"trigger_id": number_of("w"), "created_date": iso(NOW)}
    assert shown == {"orders": [{"name": "late", **watched}, {"name": "new", **watched}], "users": []}


def test_an_asset_with_all_that_names_it(world: World, api: Api) -> None:
    given_asset(world, group="tables", extra={"a": 1})
    given_use(world, "schedule")
    given_use(world, "outlet", task_id="load", dag_id="other")
    given_use(world, "inlet", task_id="read")
    world.store.put_asset_alias(AssetAlias(name="sales"))
    world.store.associate_alias("sales", ORDERS)
    given_event(world, 1)
    last = given_event(world, 2)
    reference = {"created_at": iso(NOW), "updated_at": iso(NOW)}
    expected = {
        "id": ID,
        "name": "orders",
        "uri": "s3://lake/orders",
        "group": "tables",
        "extra": {"a": 1},
        "created_at": iso(NOW),
        "updated_at": iso(NOW),
        "scheduled_dags": [{"dag_id": "etl", **reference}],
        "producing_tasks": [{"dag_id": "other", "task_id": "load", **reference}],
        "consuming_tasks": [{"dag_id": "etl", "task_id": "read", **reference}],
        "aliases": [{"id": number_of("sales"), "name": "sales", "group": "asset"}],
        "watchers": [],
        "last_asset_event": {"id": number_of_event(last.event_id), "timestamp": iso(last.timestamp)},
    }
    assert api.ok("get_asset", "GET", f"/api/v2/assets/{ID}") == expected
    assert api.ok("get_assets", "GET", "/api/v2/assets") == {"assets": [expected], "total_entries": 1}


def test_an_unknown_asset(api: Api) -> None:
    assert api.refused("get_asset", 404, "GET", "/api/v2/assets/7") == "The Asset with ID: `7` was not found"
    api.refused("get_asset", 422, "GET", "/api/v2/assets/seven")


def names(answer: Any) -> list[str]:
    return [asset["name"] for asset in answer["assets"]]


def test_assets_are_filtered_and_ordered(world: World, api: Api) -> None:
    for number, key in enumerate((USERS, ORDERS, AssetKey("unused", "x"))):
        given_asset(world, key, created_at=NOW + timedelta(seconds=number))
    given_use(world, "schedule", USERS, "a")
    given_use(world, "outlet", ORDERS, "b", "t")

    def listed(**query: Any) -> list[str]:
        return names(api.ok("get_assets", "GET", "/api/v2/assets", **query))

    assert listed() == ["users", "orders"], "by age; what nothing names is not active"
    assert listed(only_active=False) == ["users", "orders", "unused"]
    assert listed(order_by="name") == ["orders", "users"]
    assert listed(order_by="-uri") == ["users", "orders"]
    assert listed(name_pattern="ser") == ["users"]
    assert listed(uri_prefix_pattern="s3://lake/o") == ["orders"]
    assert listed(dag_ids="b") == ["orders"]
    assert listed(dag_ids="a,b") == ["users", "orders"]
    assert listed(limit=1, offset=1) == ["orders"]
    assert api("GET", "/api/v2/assets", order_by="group").status == 400


def test_of_two_assets_with_one_uri_the_older_is_active(world: World, api: Api) -> None:
    for number, name in enumerate(("first", "second")):
        key = AssetKey(name, "s3://one")
        given_asset(world, key, created_at=NOW + timedelta(seconds=number))
        given_use(world, "schedule", key)
    expression = {"asset": {"name": "first", "uri": "s3://one", "group": "asset"}}
    world.dag(spec=etl_spec(timetable=TimetableSpec(type="x", asset_expression=expression)))
    assert names(api.ok("get_assets", "GET", "/api/v2/assets")) == ["first"]


def test_aliases(world: World, api: Api) -> None:
    for name in ("b", "a"):
        world.store.put_asset_alias(AssetAlias(name=name, group="g"))
    answer = api.ok("get_asset_aliases", "GET", "/api/v2/assets/aliases", order_by="name")
    assert answer["asset_aliases"] == [{"id": number_of(name), "name": name, "group": "g"} for name in "ab"]
    answer = api.ok("get_asset_aliases", "GET", "/api/v2/assets/aliases", name_pattern="b")
    assert answer["total_entries"] == 1
    found = api.ok("get_asset_alias", "GET", f"/api/v2/assets/aliases/{number_of('a')}")
    assert found["name"] == "a"
    detail = api.refused("get_asset_alias", 404, "GET", "/api/v2/assets/aliases/7")
    assert detail == "The Asset Alias with ID: `7` was not found"


# --- events -----------------------------------------------------------------------------------------------------------


def test_events_and_the_runs_they_made(world: World, api: Api) -> None:
    world.dag()
    given_asset(world)
    first = given_event(
        world, 1, ORDERS, "etl", source_dag_id="up", source_task_id="t", source_run_id="r", extra={"n": 1}
    )
    second = given_event(world, 2, ORDERS, "etl", partition_key="p")
    run = given_asset_run(world, [first, second])
    answer = api.ok("get_asset_events", "GET", "/api/v2/assets/events")
    assert answer["total_entries"] == 2
    one, two = answer["asset_events"]
    assert one == {
        "id": number_of_event(first.event_id),
        "asset_id": ID,
        "uri": "s3://lake/orders",
        "name": "orders",
        "group": "asset",
        "extra": {"n": 1},
        "source_task_id": "t",
        "source_dag_id": "up",
        "source_run_id": "r",
        "source_map_index": -1,
        "created_dagruns": one["created_dagruns"],
        "timestamp": iso(first.timestamp),
        "partition_key": None,
    }
    assert [(made["run_id"], made["triggering"]) for made in one["created_dagruns"]] == [(run.run_id, False)]
    assert [(made["run_id"], made["triggering"]) for made in two["created_dagruns"]] == [(run.run_id, True)]
    path = f"/api/v2/dags/etl/dagRuns/{run.run_id}/upstreamAssetEvents"
    assert api.ok("get_upstream_asset_events", "GET", path) == answer
    detail = api.refused("get_upstream_asset_events", 404, "GET", path.replace("__1", "__2"))
    assert detail == "The DagRun with dag_id: `etl` and run_id: `asset_triggered__2` was not found"

    world.store.note_consumers(replace(run, run_id="never_made").key, [first])
    assert api.ok("get_asset_events", "GET", "/api/v2/assets/events") == answer
    of_asset = api.ok("get_dag_runs", "GET", "/api/v2/dags/etl/dagRuns", consuming_asset_pattern="LAKE/ord")
    assert [found["dag_run_id"] for found in of_asset["dag_runs"]] == [run.run_id]
    other = api.ok("get_dag_runs", "GET", "/api/v2/dags/etl/dagRuns", consuming_asset_pattern="users")
    assert other["dag_runs"] == []


def test_events_are_filtered(world: World, api: Api) -> None:
    given_asset(world)
    given_asset(world, USERS)
    for number, key in enumerate((ORDERS, USERS, ORDERS)):
        given_event(world, number, key, source_dag_id=f"d{number}", source_map_index=number)

    def listed(**query: Any) -> list[str]:
        answer = api.ok("get_asset_events", "GET", "/api/v2/assets/events", **query)
        return [event["source_dag_id"] for event in answer["asset_events"]]

    assert listed() == ["d0", "d1", "d2"]
    assert listed(asset_id=ID) == ["d0", "d2"]
    assert listed(asset_id=7) == []
    assert listed(source_dag_id="d1") == ["d1"]
    assert listed(source_map_index=2) == ["d2"]
    assert listed(name_pattern="use") == ["d1"]
    assert listed(timestamp_gte=iso(NOW + timedelta(seconds=1)), order_by="-timestamp") == ["d2", "d1"]


def test_a_person_makes_an_event(world: World, api: Api) -> None:
    world.dag(is_asset_triggered=True)
    given_asset(world)
    given_use(world, "schedule")
    body = {"asset_id": ID, "extra": {"n": 1}}
    event = api.ok("create_asset_event", "POST", "/api/v2/assets/events", body)
    assert (event["extra"], event["name"], event["partition_key"]) == ({"n": 1, "from_rest_api": True}, "orders", None)
    queue = world.store.asset_queue("etl")
    assert queue is not None
    assert list(queue.queued) == [ORDERS]
    again = api.ok("create_asset_event", "POST", "/api/v2/assets/events", body | {"partition_key": "p"})
    assert (again["partition_key"], again["id"] != event["id"]) == ("p", True)


def test_events_that_cannot_be_made(world: World, api: Api) -> None:
    given_asset(world)
    url = "/api/v2/assets/events"
    detail = api.refused("create_asset_event", 404, "POST", url, {"asset_id": 7})
    assert detail == "Asset with ID: `7` was not found"
    for body in ({}, {"asset_id": ID, "partition_key": "  "}, {"asset_id": ID, "unknown": 1}, {"asset_id": "x"}):
        api.refused("create_asset_event", 422, "POST", url, body)


# --- materializing ----------------------------------------------------------------------------------------------------


def test_an_asset_is_materialized_by_the_dag_that_makes_it(world: World, api: Api) -> None:
    world.dag()
    given_asset(world)
    given_use(world, "outlet", task_id="load")
    given_use(world, "outlet", task_id="load_more")
    run = api.ok("materialize_asset", "POST", f"/api/v2/assets/{ID}/materialize")
    assert (run["dag_id"], run["run_type"], run["triggered_by"]) == ("etl", "asset_materialization", "rest_api")
    assert run["dag_run_id"].startswith("asset_materialization__")
    body = {"dag_run_id": "mine", "conf": {"a": 1}, "note": "n", "logical_date": BEFORE}
    run = api.ok("materialize_asset", "POST", f"/api/v2/assets/{ID}/materialize", body)
    assert (run["dag_run_id"], run["conf"], run["note"], run["logical_date"]) == ("mine", {"a": 1}, "n", BEFORE)


def test_assets_that_cannot_be_materialized(world: World, api: Api) -> None:
    given_asset(world)
    url = f"/api/v2/assets/{ID}/materialize"
    detail = api.refused("materialize_asset", 404, "POST", url)
    assert detail == f"No Dag materializes asset with ID: {ID}"
    given_use(world, "outlet", task_id="t")
    world.dag(allowed_run_types=("manual",))
    detail = api.refused("materialize_asset", 400, "POST", url)
    assert detail == "Dag with dag_id: 'etl' does not allow asset materialization runs"
    given_use(world, "outlet", dag_id="other", task_id="t")
    detail = api.refused("materialize_asset", 409, "POST", url)
    assert detail == f"More than one Dag materializes asset with ID: {ID}"


# --- queued events ----------------------------------------------------------------------------------------------------


def given_queued(world: World) -> None:
    world.dag(is_asset_triggered=True, dag_display_name="The ETL")
    given_event(world, 1, ORDERS, "etl")
    given_event(world, 2, USERS, "etl")


def test_queued_events(world: World, api: Api) -> None:
    given_queued(world)
    orders = {
        "dag_id": "etl",
        "asset_id": ID,
        "created_at": iso(NOW + timedelta(seconds=1)),
        "dag_display_name": "The ETL",
    }
    of_dag = api.ok("get_dag_asset_queued_events", "GET", "/api/v2/dags/etl/assets/queuedEvents")
    assert (of_dag["total_entries"], of_dag["queued_events"][0]) == (2, orders)
    of_asset = api.ok("get_asset_queued_events", "GET", f"/api/v2/assets/{ID}/queuedEvents")
    assert of_asset == {"queued_events": [orders], "total_entries": 1}
    assert api.ok("get_dag_asset_queued_event", "GET", f"/api/v2/dags/etl/assets/{ID}/queuedEvents") == orders
    earlier = api.ok(
        "get_dag_asset_queued_events",
        "GET",
        "/api/v2/dags/etl/assets/queuedEvents",
        before=iso(NOW + timedelta(seconds=2)),
    )
    assert earlier["queued_events"] == [orders]
    detail = api.refused("get_dag_asset_queued_event", 404, "GET", "/api/v2/dags/etl/assets/7/queuedEvents")
    assert detail == "Queued event with dag_id: `etl` and asset_id: `7` was not found"


def test_queued_events_are_deleted(world: World, api: Api) -> None:
    given_queued(world)

    def queued() -> list[AssetKey]:
        queue = world.store.asset_queue("etl")
        return list(queue.queued) if queue else []

    assert api("DELETE", "/api/v2/dags/etl/assets/queuedEvents", before=BEFORE).status == 404
    assert api("DELETE", f"/api/v2/assets/{ID}/queuedEvents").status == 204
    assert queued() == [USERS]
    assert api("DELETE", f"/api/v2/assets/{ID}/queuedEvents").detail == (
        f"Queue event with asset_id: `{ID}` was not found"
    )
    given_event(world, 3, ORDERS, "etl")
    assert api("DELETE", f"/api/v2/dags/etl/assets/{ID}/queuedEvents").status == 204
    assert queued() == [USERS]
    assert api("DELETE", "/api/v2/dags/etl/assets/queuedEvents").status == 204
    assert queued() == []
    assert api("DELETE", "/api/v2/dags/etl/assets/queuedEvents").detail == (
        "Queue event with dag_id: `etl` was not found"
    )
