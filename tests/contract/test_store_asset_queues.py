"""Queued asset events: none comes too late, none is consumed twice, and a run consumes only a queue that it has read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from gust.errors import AlreadyExists, StaleAssetQueue
from gust.model.asset import (
    AssetEvent,
    AssetKey,
    AssetQueue,
    AssetReference,
    AssetUpdate,
    Delivery,
    PartitionEvent,
    PendingPartition,
    ToPartition,
    ToQueue,
)
from gust.model.dag_run import DagRun
from gust.model.history_query import AssetEventSource
from gust.model.state import DagRunState, DagRunType
from gust.ports.store import Store
from gust.scheduling.added_run import AssetRun
from gust.store import keyspace
from gust.store.table import Table
from tests.contract.given import a_run, at
from tests.contract.stores import OnDynamoDB

ORDERS, USERS = AssetKey("orders", "s3://lake/orders#1"), AssetKey("users", "s3://lake/users")
ASSET_QUEUE = keyspace.asset_queue("etl")


def an_event(event_id: str, seconds: float, asset: AssetKey = ORDERS, **fields: Any) -> AssetEvent:
    return AssetEvent(event_id=event_id, name=asset.name, uri=asset.uri, timestamp=at(seconds), **fields)


def given_event(store: Store, event_id: str, seconds: float, *deliveries: Delivery, **fields: Any) -> AssetEvent:
    event = an_event(event_id, seconds, **fields)
    store.put_asset_events(event_id, [AssetUpdate(event, deliveries)])
    return event


def queue(store: Store, dag_id: str = "etl") -> AssetQueue:
    found = store.asset_queue(dag_id)
    assert found is not None
    return found


def an_asset_run(seconds: float, run_id: str = "r", **fields: Any) -> DagRun:
    return a_run(run_id, run_type=DagRunType.ASSET_TRIGGERED, state=DagRunState.QUEUED, run_after=at(seconds), **fields)


# --- queues -----------------------------------------------------------------------------------------------------------


def test_the_first_event_of_each_asset_is_queued(store: Store) -> None:
    given_event(store, "e1", 1, ToQueue(dag_id="etl"))
    given_event(store, "e2", 2, ToQueue(dag_id="etl"))
    given_event(store, "e3", 3, ToQueue(dag_id="etl"), asset=USERS)
    assert queue(store) == AssetQueue(dag_id="etl", queued={ORDERS: at(1), USERS: at(3)}, arrivals=3, due_at=at(61))
    assert store.asset_queue("other") is None


def test_an_event_that_triggers_nothing_arrives_all_the_same(store: Store) -> None:
    given_event(store, "e1", 1, ToQueue(dag_id="etl", queues=False))
    assert queue(store) == AssetQueue(dag_id="etl", arrivals=1)


def test_events_of_one_report_arrive_together(store: Store) -> None:
    one, two = an_event("e1", 1), an_event("e2", 2, USERS, source_aliases=("a",))
    to = (ToQueue(dag_id="etl"),)
    store.put_asset_events("report", [AssetUpdate(one, to), AssetUpdate(two, to)])
    assert queue(store) == AssetQueue(dag_id="etl", queued={ORDERS: at(1), USERS: at(2)}, arrivals=1, due_at=at(61))
    assert store.list_asset_events(AssetEventSource(name="orders")) == [one]
    assert store.list_asset_events(AssetEventSource(alias="a")) == [two]


def test_the_same_report_arrives_once(store: Store) -> None:
    given_event(store, "e1", 1, ToQueue(dag_id="etl"))
    store.create_asset_run(AssetRun(an_asset_run(1), consuming=queue(store), events=[]))
    given_event(store, "e1", 5, ToQueue(dag_id="etl"), ToQueue(dag_id="other"))
    assert queue(store).queued == {}
    assert store.asset_queue("other") is None


def test_no_event_is_stored_in_a_time_that_a_run_has_closed(store: Store) -> None:
    given_event(store, "e1", 5, ToQueue(dag_id="etl"))
    store.create_asset_run(AssetRun(an_asset_run(5), consuming=queue(store), events=[]))
    for seconds in (4, 5):
        with pytest.raises(StaleAssetQueue) as caught:
            given_event(store, "e2", seconds, ToQueue(dag_id="other"), ToQueue(dag_id="etl", queues=False))
        assert caught.value.closed_until == at(5)
    assert store.asset_queue("other") is None
    assert [event.event_id for event in store.list_asset_events(AssetEventSource(name="orders"))] == ["e1"]
    given_event(store, "e2", 6, ToQueue(dag_id="etl"))
    assert queue(store).queued == {ORDERS: at(6)}


def test_a_run_takes_what_waits_and_keeps_its_events(store: Store) -> None:
    event = given_event(store, "e1", 1, ToQueue(dag_id="etl"), extra={"n": 1}, source_aliases=("a",))
    run = an_asset_run(1)
    store.create_asset_run(AssetRun(run, consuming=queue(store), events=[event]))
    assert store.get_run(run.key) == run
    assert store.consumed_events(run.key) == [event]
    assert queue(store) == AssetQueue(dag_id="etl", consumed_until=at(1), last_run_id="r", arrivals=2)
    assert store.queued_runs("etl", limit=5) == [run.key]
    assert store.consumed_events(replace(run, run_id="other").key) == []


def test_a_run_is_made_only_of_all_there_is(store: Store) -> None:
    given_event(store, "e1", 1, ToQueue(dag_id="etl"))
    seen = queue(store)
    given_event(store, "e2", 2, ToQueue(dag_id="etl", queues=False))
    with pytest.raises(StaleAssetQueue):
        store.create_asset_run(AssetRun(an_asset_run(1), consuming=seen, events=[]))
    seen = queue(store)
    store.create_asset_run(AssetRun(an_asset_run(1), consuming=seen, events=[]))
    with pytest.raises(StaleAssetQueue):
        store.create_asset_run(AssetRun(an_asset_run(2, "r2"), consuming=seen, events=[]))
    with pytest.raises(AlreadyExists):
        store.create_asset_run(AssetRun(an_asset_run(1), consuming=queue(store), events=[]))


def test_a_part_is_closed_however_many_events_come_meanwhile(store: Store) -> None:
    one = given_event(store, "e1", 1, ToQueue(dag_id="etl"))
    seen = queue(store)
    given_event(store, "e2", 2, ToQueue(dag_id="etl"))
    part = store.close_part(seen, after=at(0), until=at(1))
    assert queue(store) == replace(part, arrivals=2)
    assert (part.part_from, part.consumed_until, part.queued) == (at(0), at(1), {ORDERS: at(1)})
    with pytest.raises(StaleAssetQueue) as caught:
        given_event(store, "e3", 1, ToQueue(dag_id="etl"))
    assert caught.value.closed_until == at(1)
    given_event(store, "e3", 3, ToQueue(dag_id="etl"))
    run = replace(an_asset_run(1), due_at=at(70))
    store.create_asset_run(AssetRun(run, consuming=part, events=[one]))
    assert store.consumed_events(run.key) == [one]
    assert queue(store) == AssetQueue(
        dag_id="etl", queued={ORDERS: at(1)}, consumed_until=at(1), last_run_id="r", arrivals=4, due_at=at(70)
    ), "what is queued stays for the rest"
    store.create_asset_run(AssetRun(an_asset_run(3, "r2"), consuming=queue(store), events=[]))
    assert queue(store) == AssetQueue(dag_id="etl", consumed_until=at(3), last_run_id="r2", arrivals=5)


def test_a_part_has_one_run(store: Store) -> None:
    given_event(store, "e1", 1, ToQueue(dag_id="etl"))
    before = queue(store)
    part = store.close_part(before, after=at(0), until=at(1))
    with pytest.raises(StaleAssetQueue):
        store.close_part(before, after=at(0), until=at(2))
    store.create_asset_run(AssetRun(an_asset_run(1), consuming=part, events=[]))
    with pytest.raises(StaleAssetQueue):
        store.create_asset_run(AssetRun(an_asset_run(1, "r2"), consuming=part, events=[]))
    with pytest.raises(StaleAssetQueue):
        store.create_asset_run(AssetRun(an_asset_run(1, "r2"), consuming=before, events=[]))
    assert [run.run_id for run in store.list_runs("etl")] == ["r"]


def test_a_run_of_all_is_refused_where_a_part_was_closed_meanwhile(store: Store) -> None:
    given_event(store, "e1", 1, ToQueue(dag_id="etl"))
    before = queue(store)
    store.close_part(before, after=at(0), until=at(1))
    with pytest.raises(StaleAssetQueue):
        store.create_asset_run(AssetRun(an_asset_run(1), consuming=before, events=[]))
    assert store.list_runs("etl") == []


def test_a_part_that_gets_no_run_ends(store: Store) -> None:
    given_event(store, "e1", 1, ToQueue(dag_id="etl"))
    part = store.close_part(queue(store), after=at(0), until=at(1))
    store.end_part(part)
    assert queue(store) == replace(part, part_from=None)
    with pytest.raises(StaleAssetQueue):
        store.end_part(part)


def test_a_dag_that_was_deleted_meanwhile_gets_no_part(store: Store) -> None:
    given_event(store, "e1", 1, ToQueue(dag_id="etl"))
    seen = queue(store)
    store.delete_asset_queues("etl")
    with pytest.raises(StaleAssetQueue):
        store.close_part(seen, after=at(0), until=at(1))
    assert store.asset_queue("etl") is None


def test_what_waits_stays_where_an_event_has_come_meanwhile(store: Store) -> None:
    given_event(store, "e1", 1, ToQueue(dag_id="etl"))
    seen = queue(store)
    given_event(store, "e2", 2, ToQueue(dag_id="etl"))
    with pytest.raises(StaleAssetQueue):
        store.unqueue("etl", before=at(2), seen=seen)
    assert queue(store).queued == {ORDERS: at(1)}
    assert store.unqueue("etl", before=at(2), seen=queue(store)) == [ORDERS]


def test_the_run_of_a_part_has_the_stream_tell_the_scheduler_of_the_rest(dynamodb: OnDynamoDB) -> None:
    """The stream's filter passes queues with this edge. A look that made no run had taken it away."""
    store, key = dynamodb.store, {name: {"S": value} for name, value in zip(("pk", "sk"), ASSET_QUEUE, strict=True)}

    def edge() -> str | None:
        item = dynamodb.client.get_item(TableName=dynamodb.table, Key=key, ConsistentRead=True)["Item"]
        return item["edge"]["S"] if "edge" in item else None

    given_event(store, "e1", 1, ToQueue(dag_id="etl"))
    store.postpone(queue(store), due_at=at(1000))
    assert edge() is None
    part = store.close_part(queue(store), after=at(0), until=at(1))
    store.create_asset_run(AssetRun(an_asset_run(1), consuming=part, events=[]))
    assert edge() == "asset_event"
    store.create_asset_run(AssetRun(an_asset_run(2, "r2"), consuming=queue(store), events=[]))
    assert edge() is None


def test_a_part_may_begin_with_the_first_event_there_ever_was(store: Store) -> None:
    given_event(store, "e1", 1, ToQueue(dag_id="etl"))
    store.close_part(queue(store), after=datetime.min.replace(tzinfo=UTC), until=at(1))
    assert queue(store).part_from == datetime.min.replace(tzinfo=UTC)


def test_what_cannot_run_now_is_looked_at_when_it_is_due(store: Store) -> None:
    given_event(store, "e1", 1, ToQueue(dag_id="etl"))
    assert store.due_dags(at(60)) == []
    assert store.due_dags(at(61)) == [("etl", at(61))]
    store.postpone(queue(store), due_at=at(1000))
    assert store.due_dags(at(999)) == []
    assert store.due_dags(at(1000)) == [("etl", at(1000))]
    seen = queue(store)
    store.postpone(seen, due_at=None)
    assert store.due_dags(at(9999)) == []
    given_event(store, "e2", 2000, ToQueue(dag_id="etl"), asset=USERS)
    store.postpone(seen, due_at=None)
    assert store.due_dags(at(9999)) == [("etl", at(2060))], "who has not seen the event does not put it off"


def test_what_waits_can_be_forgotten(store: Store) -> None:
    given_event(store, "e1", 1, ToQueue(dag_id="etl"))
    given_event(store, "e2", 2, ToQueue(dag_id="etl"), asset=USERS)
    seen = queue(store)
    assert store.unqueue("etl", before=at(1)) == []
    assert store.unqueue("etl", assets=[USERS, AssetKey("other", "x")]) == [USERS]
    assert (queue(store).queued, queue(store).due_at) == ({ORDERS: at(1)}, at(61))
    assert store.unqueue("etl", before=at(2)) == [ORDERS]
    assert (queue(store).queued, queue(store).due_at) == ({}, None)
    assert store.unqueue("etl") == store.unqueue("other") == []
    with pytest.raises(StaleAssetQueue):
        store.create_asset_run(AssetRun(an_asset_run(2), consuming=seen, events=[]))


def test_what_a_deleted_dag_or_run_had_to_do_with_assets_goes(store: Store) -> None:
    event = given_event(store, "e1", 1, ToQueue(dag_id="etl"), to_partition("p"))
    run = an_asset_run(1)
    store.create_asset_run(AssetRun(run, consuming=queue(store), events=[event]))
    store.delete_run(run)
    assert store.consumed_events(run.key) == []
    store.delete_asset_queues("etl")
    assert (store.asset_queue("etl"), store.pending_partitions("etl")) == (None, [])
    assert store.list_asset_events(AssetEventSource(name="orders")) == [event]


# --- partitions -------------------------------------------------------------------------------------------------------


def to_partition(key: str, source: str = "s", *, dag_id: str = "etl", **fields: Any) -> ToPartition:
    return ToPartition(dag_id=dag_id, partition_key=key, source_key=source, fingerprint="f", **fields)


def received(event: AssetEvent, source: str = "s") -> PartitionEvent:
    return PartitionEvent(event.name, event.uri, source, event.timestamp, event.event_id)


def test_events_gather_under_their_partition(store: Store) -> None:
    one = given_event(store, "e1", 1, to_partition("p#1", "s#1"), to_partition("other", dag_id="x"))
    two = given_event(store, "e2", 2, to_partition("p#1"), to_partition("p2"), asset=USERS)
    first, second = store.pending_partitions("etl")
    assert first == PendingPartition(
        dag_id="etl",
        partition_key="p#1",
        fingerprint="f",
        created_at=at(1),
        received=(received(one, "s#1"), received(two)),
        arrivals=2,
        due_at=at(61),
    )
    assert (second.partition_key, second.received) == ("p2", (received(two),))
    assert store.due_dags(at(62)) == [("etl", at(61)), ("x", at(61)), ("etl", at(62))]


def test_one_report_may_bring_a_partition_several_events(store: Store) -> None:
    one, two = an_event("e1", 1), an_event("e2", 2)
    updates = [AssetUpdate(one, (to_partition("p", "a"),)), AssetUpdate(two, (to_partition("p", "b"),))]
    store.put_asset_events("report", updates)
    (found,) = store.pending_partitions("etl")
    assert (found.received, found.arrivals) == ((received(one, "a"), received(two, "b")), 1)


def test_the_events_of_a_partition_agree_on_its_date_or_it_has_none(store: Store) -> None:
    dates = []
    for number, date in enumerate((None, at(100), None, at(100), at(200), at(300))):
        given_event(store, f"e{number}", number, to_partition("p", partition_date=date))
        dates.append(store.pending_partitions("etl")[0].partition_date)
    assert dates == [None, at(100), at(100), at(100), None, at(300)]


def test_a_run_takes_its_partition_and_no_other(store: Store) -> None:
    event = given_event(store, "e1", 1, to_partition("p"), to_partition("q"))
    first, second = store.pending_partitions("etl")
    run = an_asset_run(5, partition_key="p", partition_date=at(0))
    store.create_asset_run(AssetRun(run, consuming=first, events=[event]))
    assert store.get_run(run.key) == run
    assert store.consumed_events(run.key) == [event]
    assert store.pending_partitions("etl") == [second]
    with pytest.raises(StaleAssetQueue):
        store.create_asset_run(AssetRun(replace(run, run_id="r2"), consuming=first, events=[event]))
    given_event(store, "e2", 2, to_partition("p"))
    assert [partition.partition_key for partition in store.pending_partitions("etl")] == ["q", "p"]
    with pytest.raises(StaleAssetQueue):  # the partition of then, though as many events have come to this one
        store.create_asset_run(AssetRun(replace(run, run_id="r2"), consuming=first, events=[event]))
    store.postpone(first, due_at=None)
    assert len(store.due_dags(at(99))) == 2


def test_a_partition_is_dropped_only_as_it_was_seen(store: Store) -> None:
    given_event(store, "e1", 1, to_partition("p"))
    (seen,) = store.pending_partitions("etl")
    given_event(store, "e2", 2, to_partition("p"))
    with pytest.raises(StaleAssetQueue):
        store.drop_partition(seen)
    (seen,) = store.pending_partitions("etl")
    store.postpone(seen, due_at=None)
    assert store.due_dags(at(999)) == []
    store.drop_partition(seen)
    assert store.pending_partitions("etl") == []


# --- many at once -----------------------------------------------------------------------------------------------------


def to_many(count: int) -> tuple[Delivery, ...]:
    return tuple(ToQueue(dag_id=f"d{n:03}") for n in range(count))


def waiting(store: Store, count: int) -> list[str]:
    return [d.dag_id for d in to_many(count) if isinstance(d, ToQueue) and store.asset_queue(d.dag_id)]


def test_an_event_reaches_more_dags_than_a_transaction_has_room_for(store: Store) -> None:
    given_event(store, "e1", 1, *to_many(250), *(to_partition(f"p{n}") for n in range(30)))
    assert len(waiting(store, 250)) == 250
    assert len(store.pending_partitions("etl")) == 30
    given_event(store, "e1", 1, *to_many(250))
    assert {queue(store, dag_id).arrivals for dag_id in waiting(store, 250)} == {1}


def test_who_dies_between_two_transactions_is_gone_on_from(
    dynamodb: OnDynamoDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, calls = dynamodb.store, []
    transact = Table.transact

    def dies_at_the_second(table: Table, *writes: Any) -> None:
        calls.append(len(writes))
        if len(calls) == 2:
            raise KeyboardInterrupt
        transact(table, *writes)

    monkeypatch.setattr(Table, "transact", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        given_event(store, "e1", 1, *to_many(250))
    assert len(waiting(store, 250)) == 98
    store.create_asset_run(AssetRun(an_asset_run(1, dag_id="d000"), consuming=queue(store, "d000"), events=[]))
    given_event(store, "e1", 9, *to_many(250))
    assert len(waiting(store, 250)) == 250
    queued = [queue(store, dag_id).queued for dag_id in waiting(store, 250)]
    assert queued == [{}] + [{ORDERS: at(1)}] * 249, "the first has run, the others get it as it was"


def test_consumers_are_noted_for_each_event(store: Store) -> None:
    one, two = an_event("e1", 1), an_event("e2", 2)
    first, second = an_asset_run(1, "r#1"), an_asset_run(2, "r2")
    store.note_consumers(first.key, [one, two])
    store.note_consumers(first.key, [one])
    store.note_consumers(second.key, [two])
    assert store.consumers_of(["e1", "e2", "e3"]) == {"e1": [first.key], "e2": [first.key, second.key], "e3": []}
    many = [replace(one, event_id=f"m{number}") for number in range(350)]
    store.note_consumers(first.key, many)
    found = store.consumers_of([event.event_id for event in many[49::50]])
    assert list(found.values()) == [[first.key]] * 7


# --- references -------------------------------------------------------------------------------------------------------


def a_reference(**fields: Any) -> AssetReference:
    given: dict[str, Any] = {"use": "schedule", "what": "asset", "dag_id": "etl", "created_at": at(1)}
    return AssetReference(**{**given, **fields})


def test_schedules_are_found_by_what_they_name(store: Store) -> None:
    both = a_reference(name=ORDERS.name, uri=ORDERS.uri)
    moved = a_reference(name=ORDERS.name, uri="elsewhere")
    by_name, by_uri = a_reference(what="name_ref", name=ORDERS.name), a_reference(what="uri_ref", uri=ORDERS.uri)
    by_alias = a_reference(what="alias", name=ORDERS.name)
    outlet = a_reference(use="outlet", name=ORDERS.name, uri=ORDERS.uri, task_id="t#1")
    for reference in (outlet, by_alias, by_uri, by_name, moved, both):
        store.put_asset_reference(reference)
    assert same(store.schedules_on_asset(ORDERS), [both, by_name, by_uri])
    assert same(store.references_to_asset(ORDERS), [both, by_name, by_uri, outlet])
    assert same(store.references_to_assets([ORDERS, USERS])[ORDERS], [both, by_name, by_uri, outlet])
    assert store.references_to_assets([USERS]) == {USERS: []}
    assert store.schedules_on_alias(ORDERS.name) == [by_alias]
    assert store.schedules_on_asset(USERS) == store.schedules_on_alias("a") == []
    store.delete_asset_reference(both)
    assert same(store.schedules_on_asset(ORDERS), [by_name, by_uri])


def test_a_reference_keeps_its_birth(store: Store) -> None:
    born = a_reference(name=ORDERS.name, uri=ORDERS.uri)
    store.put_asset_reference(born)
    again = replace(born, created_at=at(9))
    store.put_asset_reference(again)
    assert store.stored_references([again, a_reference(name="other", uri="x")]) == [born]


def test_assets_that_came_through_an_alias(store: Store) -> None:
    for asset in (USERS, ORDERS, USERS):
        store.associate_alias("a", asset)
    assert store.assets_of_alias("a") == [ORDERS, USERS]
    assert store.assets_of_alias("b") == []


def same(found: Iterable[AssetReference], expected: Iterable[AssetReference]) -> bool:
    def text(reference: AssetReference) -> str:
        return repr(reference)

    return sorted(found, key=text) == sorted(expected, key=text)


# --- events that have nothing to do with each other -------------------------------------------------------------------


def updates_to(dag_id: str, events: Iterable[AssetEvent]) -> list[AssetUpdate]:
    return [AssetUpdate(event, (ToQueue(dag_id=dag_id),)) for event in events]


def test_single_events_are_stored_once_each_whatever_they_come_with(store: Store) -> None:
    first = [an_event(f"e{number}", number) for number in range(60)]
    store.put_single_events(updates_to("etl", first))
    # Others, of which half are known, at later moments.
    later = [an_event(f"e{number}", 100 + number) for number in range(30, 90)]
    store.put_single_events(updates_to("etl", later))
    assert store.list_asset_events(AssetEventSource(name="orders")) == [*first, *later[30:]]
    assert queue(store).queued == {ORDERS: at(0)}


def test_single_events_are_refused_where_a_run_has_closed_their_moment_and_go_in_later(store: Store) -> None:
    given_event(store, "e1", 5, ToQueue(dag_id="etl"))
    store.create_asset_run(AssetRun(an_asset_run(5), consuming=queue(store), events=[]))
    events = [an_event("e2", 4), an_event("e3", 4.5)]
    with pytest.raises(StaleAssetQueue) as refused:
        store.put_single_events(updates_to("etl", events))
    assert refused.value.closed_until == at(5)
    store.put_single_events(updates_to("etl", [replace(event, timestamp=at(6)) for event in events]))
    assert queue(store).queued == {ORDERS: at(6)}


def test_a_single_event_with_more_subscribers_than_a_transaction_takes_is_stored_whole(store: Store) -> None:
    everyone = tuple(ToQueue(dag_id=f"d{number}") for number in range(120))
    event, other = an_event("e1", 1), an_event("e2", 2)
    store.put_single_events([AssetUpdate(event, everyone), AssetUpdate(other, everyone)])
    assert [found.arrivals for found in store.asset_queues([to.dag_id for to in everyone])] == [2] * 120


def large_events(count: int) -> list[AssetEvent]:
    """Together larger than the 4 MB that a transaction takes."""
    return [an_event(f"e{number}", number, extra={"payload": "x" * 280_000}) for number in range(count)]


def test_single_events_that_exceed_a_transactions_bytes_are_stored_in_several(store: Store) -> None:
    events = large_events(20)
    store.put_single_events(updates_to("etl", events))
    assert store.list_asset_events(AssetEventSource(name="orders")) == events
    assert queue(store).queued == {ORDERS: at(0)}


def test_a_report_whose_events_exceed_a_transactions_bytes_is_stored_whole(store: Store) -> None:
    events = large_events(20)
    for _ in range(2):
        store.put_asset_events("report", updates_to("etl", events))
    assert store.list_asset_events(AssetEventSource(name="orders")) == events
    assert queue(store) == AssetQueue(dag_id="etl", queued={ORDERS: at(0)}, arrivals=1, due_at=at(60))
