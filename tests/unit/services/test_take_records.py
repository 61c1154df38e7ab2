"""Records of a watched stream become events of the assets whose watchers read it: none is lost, and what is known to be
stored is not stored again."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gust.errors import Invalid
from gust.model.asset import Asset, AssetKey, AssetUpdate
from gust.model.dag_spec import DagSpec, TimetableSpec, WatcherSpec
from gust.model.history_query import AssetEventSource
from gust.model.state_entry import StateEntry
from gust.model.watched_stream import KINESIS_TRIGGER, StreamReader, StreamRecord, names_of_stream, reader_of
from gust.model.workload import WakeWatcher
from gust.services.assets.asset_references import change_references
from gust.services.assets.watchers import change_watchers, look_after_watcher, wake_watchers
from gust.services.events.take_records import take_records, unwatch_stream, watch_stream
from gust.services.people.pause_dag import set_paused
from gust.services.runs.create_dag_run import create_due_runs
from gust.store.items import LARGEST_DOCUMENT, to_json
from gust.store.memory import MemoryStore
from tests.world import World, chain

ARN = "arn:aws:kinesis:eu-west-1:111122223333:stream/clicks"
CLICKS = AssetKey("clicks", "clicks")


def reader(dag_id: str = "etl", *, asset: str = "clicks", **arguments: Any) -> DagSpec:
    """A DAG that waits for an asset whose watcher reads the stream."""
    expression = {"asset": {"name": asset, "uri": asset, "group": "asset"}}
    timetable = TimetableSpec(
        type="airflow.timetables.simple.AssetTriggeredTimetable", asset_expression=expression, periodic=False
    )
    kwargs = {"stream_name": "clicks", "aws_conn_id": "aws_default", "region_name": None, **arguments}
    watcher = WatcherSpec(name="w", asset_name=asset, asset_uri=asset, classpath=KINESIS_TRIGGER, kwargs=kwargs)
    return chain("load", dag_id=dag_id, timetable=timetable, watchers=(watcher,))


def given(*specs: DagSpec, store: MemoryStore | None = None) -> World:
    """What the activation of a bundle does of it."""
    world = World(store=store or MemoryStore())
    for spec in specs:
        world.given_dag(spec, is_asset_triggered=True, has_watchers=True)
        (watcher,) = spec.watchers
        world.store.put_asset(Asset(name=watcher.asset_name, uri=watcher.asset_uri))
        change_references(world.services, None, spec, at=world.clock.now())
        change_watchers(world.services, spec.dag_id, None, spec, bundle_version="b1")
        wake_watchers(world.services, world.dag(spec.dag_id))
    wake(world)
    return world


def wake(world: World) -> None:
    wakes, world.queues.wakes = world.queues.wakes, []
    for each, _ in wakes:
        if isinstance(each, WakeWatcher):
            look_after_watcher(world.services, each.watcher_id)


def record(world: World, number: int, *, shard: int = 0, data: str = "eA==", ago: float = 0) -> StreamRecord:
    arrived_at = world.clock.now() - timedelta(seconds=ago)
    # As long as Kinesis' own; the emulator's begin with zeros.
    return StreamRecord(
        f"shardId-{shard:012}",
        f"{49590338271490256608559692538361571095921575989136588898 + number:060}",
        "k",
        data,
        arrived_at,
    )


def numbers(world: World, asset: str = "clicks") -> list[int]:
    """Of the records that events have, in the order of the events."""
    events = sorted(world.store.list_asset_events(AssetEventSource(name=asset)), key=lambda event: event.timestamp)
    base = int(record(world, 0).sequence_number)
    return [int(one["SequenceNumber"]) - base for event in events for one in event.extra["payload"]["message_batch"]]


def checkpoint(world: World) -> StateEntry | None:
    (watcher,) = world.store.list_watchers()
    assert watcher.stream is not None
    return world.store.get_asset_state(CLICKS, watcher.stream.checkpoint)


@pytest.mark.parametrize(
    ("arguments", "is_read"),
    [
        ({}, True),
        ({"region_name": "eu-west-1"}, True),
        ({"aws_conn_id": None}, True),
        ({"shard_iterator_type": "TRIM_HORIZON", "batch_size": 5}, True),
        ({"region_name": "eu-central-1"}, False),
        ({"aws_conn_id": "another_account"}, False),
        ({"stream_name": "clicks-2"}, False),
        ({"stream_name": None}, False),
    ],
)
def test_lambda_reads_for_triggers_of_the_stream_with_the_default_connection(
    arguments: dict[str, Any], is_read: bool
) -> None:
    found = reader_of(KINESIS_TRIGGER, {"stream_name": "clicks", **arguments})
    assert (found is not None and found.stream in names_of_stream(ARN)) is is_read
    assert reader_of("my.Trigger", {"stream_name": "clicks"}) is None
    assert names_of_stream("arn:aws:sqs:eu-west-1:111122223333:clicks") == frozenset()


@pytest.mark.parametrize("arguments", [{}, {"aws_conn_id": None}, {"region_name": "eu-west-1", "batch_size": 7}])
def test_the_place_is_kept_where_airflows_trigger_looks_for_it(arguments: dict[str, Any]) -> None:
    kinesis = pytest.importorskip("airflow.providers.amazon.aws.triggers.kinesis")
    trigger = kinesis.KinesisTrigger("clicks", **arguments)
    found = reader_of(*trigger.serialize())
    assert found == StreamReader(found.stream if found else "", trigger._asset_store_checkpoint_key)


def test_the_event_says_what_airflows_trigger_says() -> None:
    world = given(reader())
    take_records(world.services, ARN, [record(world, 1), record(world, 2)])
    (event,) = world.store.list_asset_events(AssetEventSource(name="clicks"))
    batch = [
        {
            "ShardId": "shardId-000000000000",
            "SequenceNumber": record(world, number).sequence_number,
            "PartitionKey": "k",
            "ApproximateArrivalTimestamp": world.clock.now().isoformat(),
            "Data": "eA==",
        }
        for number in (1, 2)
    ]
    assert event.extra == {"from_trigger": True, "payload": {"status": "success", "message_batch": batch}}
    (run,) = create_due_runs(world.services, "etl")
    assert run.run_type == "asset_triggered"


def test_batches_that_come_again_after_a_crash_store_nothing_and_lose_nothing() -> None:
    world, chance = given(reader()), random.Random(62)  # noqa: S311 - a test's choices
    for shard in (0, 1):
        at = 0
        while at < 60:
            batch = [
                record(world, 100 * shard + number, shard=shard)
                for number in range(at, min(60, at + chance.randint(1, 9)))
            ]
            world.clock.advance(1)
            take_records(world.services, ARN, batch)
            if chance.random() < 0.3:  # the function died before Lambda knew: the batch comes again
                if chance.random() < 0.5:  # and before it had kept its place
                    (watcher,) = world.store.list_watchers()
                    assert watcher.stream is not None
                    world.store.delete_asset_state(CLICKS, watcher.stream.checkpoint_of(f"shardId-{shard:012}"))
                continue
            at += len(batch)
    # A batch that comes again longer than before may repeat records; none is missing, and each shard keeps its order.
    for shard in (0, 1):
        seen = [number for number in numbers(world) if number // 100 == shard]
        assert list(dict.fromkeys(seen)) == list(range(100 * shard, 100 * shard + 60))


def test_what_a_watcher_has_seen_is_no_event_again_and_polling_goes_on_where_lambda_has_come_to() -> None:
    world = given(reader())
    (watcher,) = world.store.list_watchers()
    assert watcher.stream is not None
    seen = {"shardId-000000000000": record(world, 3).sequence_number, "shardId-000000000009": "7"}
    world.store.put_asset_state(
        CLICKS, StateEntry(key=watcher.stream.checkpoint, value=seen, updated_at=world.clock.now())
    )
    watch_stream(world.services, ARN)
    take_records(world.services, ARN, [record(world, number) for number in range(6)])
    world.clock.advance(1)
    take_records(world.services, ARN, [record(world, 50, shard=1)])
    assert numbers(world) == [4, 5, 50]
    unwatch_stream(world.services, ARN)
    unwatch_stream(world.services, ARN)
    kept = checkpoint(world)
    assert kept is not None
    assert kept.value == seen | {
        "shardId-000000000000": record(world, 5).sequence_number,
        "shardId-000000000001": record(world, 50).sequence_number,
    }
    assert [entry.key for entry in world.store.list_asset_state(CLICKS)] == [watcher.stream.checkpoint]


@pytest.mark.parametrize(("kind", "expected"), [("LATEST", [2]), ("TRIM_HORIZON", [1, 2])])
def test_records_from_before_the_watcher_count_only_from_the_horizon(kind: str, expected: list[int]) -> None:
    world = given(reader(shard_iterator_type=kind))
    take_records(world.services, ARN, [record(world, 1, ago=5), record(world, 2)])
    assert numbers(world) == expected


def test_records_make_events_of_each_asset_and_wait_for_a_paused_dag() -> None:
    world = given(reader(), reader("other", asset="visits", batch_size=1))
    set_paused(world.services, "other", is_paused=True)
    take_records(world.services, ARN, [record(world, 1)])
    assert (numbers(world), numbers(world, "visits")) == ([1], [1])
    assert create_due_runs(world.services, "other") == []
    set_paused(world.services, "other", is_paused=False)
    assert len(create_due_runs(world.services, "other")) == 1
    assert len(create_due_runs(world.services, "etl")) == 1


def test_two_watchers_of_one_asset_share_its_events() -> None:
    world = given(reader(), reader("other", batch_size=1))
    set_paused(world.services, "other", is_paused=True)
    take_records(world.services, ARN, [record(world, 1)])
    assert numbers(world) == [1]
    set_paused(world.services, "other", is_paused=False)
    assert create_due_runs(world.services, "other") == []


def test_a_stream_that_no_watcher_reads_makes_nothing() -> None:
    world = given(reader(aws_conn_id="another_account"))
    take_records(world.services, ARN, [record(world, 1)])
    assert numbers(world) == []


def test_large_records_share_no_event_and_one_that_no_event_holds_is_refused() -> None:
    world = given(reader())
    sizes = [100_000, 100_000, 100_000, 300_000, 4]
    take_records(world.services, ARN, [record(world, number, data="e" * size) for number, size in enumerate(sizes)])
    assert numbers(world) == [0, 1, 2, 4]
    (entry,) = world.store.logged_events()
    assert entry.event == "event_refused"
    assert "300000 bytes in base64" in str(entry.extra)


def test_events_are_as_large_as_the_store_takes_whatever_characters_the_keys_have() -> None:
    world = given(reader())
    records = [replace(record(world, n, data="e" * 2300), partition_key="\u0436" * 256) for n in range(200)]
    take_records(world.services, ARN, records)
    assert numbers(world) == list(range(200))
    sizes = [
        len(to_json(event.extra).encode()) for event in world.store.list_asset_events(AssetEventSource(name="clicks"))
    ]
    assert max(sizes) < LARGEST_DOCUMENT
    assert len(sizes) < 5


class Picky(MemoryStore):
    """Takes no event of which a record says `bad`."""

    def put_single_events(self, updates: Sequence[AssetUpdate]) -> None:
        if "'bad'" in str(updates):
            raise Invalid("extra is not to be stored", field=("extra",))
        super().put_single_events(updates)


def test_a_record_that_the_store_refuses_holds_up_no_others() -> None:
    world = given(reader(), store=Picky())
    records = [record(world, number, data="bad" if number in (3, 150) else "eA==") for number in range(250)]
    take_records(world.services, ARN, records)
    assert sorted(numbers(world)) == [number for number in range(250) if number not in (3, 150)]
    assert [entry.event for entry in world.store.logged_events()] == ["event_refused"] * 2
    assert "extra is not to be stored" in str(world.store.logged_events()[0].extra)
    take_records(world.services, ARN, records)
    assert len(numbers(world)) == 248, "the shard has gone on"


def test_no_watcher_of_a_watched_stream_polls_until_it_is_watched_no_more() -> None:
    world = given(reader())
    polling = len(world.queues.triggers)
    watch_stream(world.services, ARN)
    (watcher,) = world.store.list_watchers()
    world.store.put_watcher(watcher, replace(watcher, due_at=world.clock.now()))
    look_after_watcher(world.services, watcher.watcher_id)
    (watcher,) = world.store.list_watchers()
    assert (polling, len(world.queues.triggers), watcher.due_at) == (1, 1, None)
    unwatch_stream(world.services, ARN)
    wake(world)
    assert len(world.queues.triggers) == 2
