"""Messages of a watched queue become events of the assets whose watchers read it: each once, and none is lost."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from gust.model.asset import Asset, AssetUpdate
from gust.model.dag_spec import DagSpec, TimetableSpec, WatcherSpec
from gust.model.history_query import AssetEventSource
from gust.model.watched_queue import SQS_TRIGGER, QueueMessage, names_of, queue_of
from gust.model.watcher import Watcher
from gust.model.workload import WakeWatcher
from gust.scheduling import watching
from gust.services.assets.asset_references import change_references
from gust.services.assets.watchers import change_watchers, claim_watcher, look_after_watcher, wake_watchers
from gust.services.events.take_messages import take_messages, unwatch_queue, watch_queue
from gust.services.people.pause_dag import set_paused
from gust.services.runs.create_dag_run import create_due_runs
from tests.world import World, chain

ARN = "arn:aws:sqs:eu-west-1:111122223333:orders"
URL = "https://sqs.eu-west-1.amazonaws.com/111122223333/orders"


def reader(dag_id: str = "etl", *, asset: str = "orders", **arguments: Any) -> DagSpec:
    """A DAG that waits for an asset whose watcher reads the queue."""
    expression = {"asset": {"name": asset, "uri": asset, "group": "asset"}}
    timetable = TimetableSpec(
        type="airflow.timetables.simple.AssetTriggeredTimetable", asset_expression=expression, periodic=False
    )
    watcher = WatcherSpec(
        name="w", asset_name=asset, asset_uri=asset, classpath=SQS_TRIGGER, kwargs={"sqs_queue": URL, **arguments}
    )
    return chain("load", dag_id=dag_id, timetable=timetable, watchers=(watcher,))


def given(world: World, *specs: DagSpec) -> None:
    """What the activation of a bundle does of it."""
    for spec in specs:
        world.given_dag(spec, is_asset_triggered=True, has_watchers=True)
        (watcher,) = spec.watchers
        world.store.put_asset(Asset(name=watcher.asset_name, uri=watcher.asset_uri))
        change_references(world.services, None, spec, at=world.clock.now())
        change_watchers(world.services, spec.dag_id, None, spec, bundle_version="b1")
        wake_watchers(world.services, world.dag(spec.dag_id))
    wake(world)


def wake(world: World) -> None:
    wakes, world.queues.wakes = world.queues.wakes, []
    for each, _ in wakes:
        if isinstance(each, WakeWatcher):
            look_after_watcher(world.services, each.watcher_id)


def message(number: int, delivery: int = 1) -> QueueMessage:
    return QueueMessage(f"m{number}", f"receipt-{number}-{delivery}", f"body {number}", "d41d8cd9")


def bodies(world: World, asset: str = "orders") -> list[str]:
    found = world.store.list_asset_events(AssetEventSource(name=asset))
    return [one["Body"] for event in found for one in event.extra["payload"]["message_batch"]]


def watcher_of(world: World) -> Watcher:
    (watcher,) = world.store.list_watchers()
    return watcher


@pytest.mark.parametrize(
    ("arguments", "is_read"),
    [
        ({}, True),
        ({"sqs_queue": "https://sqs.eu-west-1.amazonaws.com/111122223333/orders/"}, True),
        ({"sqs_queue": "https://eu-west-1.queue.amazonaws.com/111122223333/orders"}, True),
        ({"sqs_queue": "https://vpce-0a-b.sqs.eu-west-1.vpce.amazonaws.com/111122223333/orders"}, True),
        ({"sqs_queue": "http://127.0.0.1:4566/111122223333/orders"}, True),
        ({"sqs_queue": "https://sqs.us-gov-west-1.amazonaws.com/111122223333/orders"}, False),
        ({"sqs_queue": "https://sqs.eu-west-1.amazonaws.com/444455556666/orders"}, False),
        ({"sqs_queue": "https://sqs.eu-west-1.amazonaws.com/111122223333/orders-2"}, False),
        ({"sqs_queue": "orders"}, False),
        ({"sqs_queue": None}, False),
        ({"sqs_queue": "http://[broken/1/orders"}, False),
        ({"message_filtering": "literal", "message_filtering_match_values": ["x"]}, False),
        ({"delete_message_on_reception": False}, False),
    ],
)
def test_lambda_reads_for_triggers_that_take_every_message_of_the_queue(
    arguments: dict[str, Any], is_read: bool
) -> None:
    assert (queue_of(SQS_TRIGGER, {"sqs_queue": URL, **arguments}) in names_of(ARN)) is is_read
    assert queue_of("my.Trigger", {"sqs_queue": URL}) is None


def test_the_event_says_what_airflows_trigger_says() -> None:
    world = World()
    given(world, reader())
    assert take_messages(world.services, ARN, [message(1)]) == []
    (event,) = world.store.list_asset_events(AssetEventSource(name="orders"))
    batch = [{"MessageId": "m1", "ReceiptHandle": "receipt-1-1", "MD5OfBody": "d41d8cd9", "Body": "body 1"}]
    assert event.extra == {"from_trigger": True, "payload": {"status": "success", "message_batch": batch}}
    (run,) = create_due_runs(world.services, "etl")
    assert run.run_type == "asset_triggered"


def test_doubled_lost_and_reordered_deliveries_make_each_message_one_event() -> None:
    world, chance = World(), random.Random(41)  # noqa: S311 - a test's choices
    given(world, reader())
    waiting = [message(number) for number in range(60)] + [message(number, 2) for number in range(0, 60, 3)]
    chance.shuffle(waiting)
    while waiting:
        size = chance.randint(1, 10)
        batch, waiting = waiting[:size], waiting[size:]
        assert take_messages(world.services, ARN, list({one.message_id: one for one in batch}.values())) == []
        if chance.random() < 0.3:  # the function died before Lambda knew: the batch comes again
            waiting += batch
            chance.shuffle(waiting)
    assert sorted(bodies(world)) == sorted(f"body {number}" for number in range(60))


def test_a_message_is_an_event_of_each_asset_whose_watcher_reads_the_queue() -> None:
    world = World()
    given(world, reader(), reader("other", asset="bills", max_messages=1))
    assert take_messages(world.services, ARN, [message(1)]) == []
    assert (bodies(world), bodies(world, "bills")) == (["body 1"], ["body 1"])


def test_messages_that_no_watcher_reads_stay_on_the_queue() -> None:
    world = World()
    assert take_messages(world.services, ARN, [message(1), message(2)]) == ["m1", "m2"]
    given(world, reader(message_filtering="literal", message_filtering_match_values=["x"]))
    assert take_messages(world.services, ARN, [message(1)]) == ["m1"]


def test_a_watcher_that_was_edited_reads_the_queue_that_it_names_now() -> None:
    world = World()
    given(world, reader())
    other = reader(sqs_queue=f"{URL}-new")
    change_watchers(world.services, "etl", reader(), other)
    assert take_messages(world.services, ARN, [message(1)]) == ["m1"]
    assert take_messages(world.services, f"{ARN}-new", [message(1)]) == []


def test_messages_that_come_while_all_dags_are_paused_start_a_run_when_one_is_unpaused() -> None:
    world = World()
    given(world, reader())
    set_paused(world.services, "etl", is_paused=True)
    assert take_messages(world.services, ARN, [message(1), message(2)]) == []
    assert create_due_runs(world.services, "etl") == []
    set_paused(world.services, "etl", is_paused=False)
    assert len(create_due_runs(world.services, "etl")) == 1
    assert sorted(bodies(world)) == ["body 1", "body 2"]


def test_a_paused_dag_beside_an_active_one_gets_no_run_of_them_as_in_airflow() -> None:
    world = World()
    given(world, reader(), reader("other"))
    set_paused(world.services, "other", is_paused=True)
    assert take_messages(world.services, ARN, [message(1)]) == []
    set_paused(world.services, "other", is_paused=False)
    assert create_due_runs(world.services, "other") == []
    assert len(create_due_runs(world.services, "etl")) == 1


@pytest.mark.parametrize(("arn", "stay"), [(ARN, ["m2"]), (f"{ARN}.fifo", ["m2", "m3"])])
def test_one_that_cannot_be_stored_stays_and_holds_up_only_a_fifo_queue(
    arn: str, stay: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    given(world, reader(sqs_queue=URL + arn.removeprefix(ARN)))
    put = world.store.put_asset_events

    def refuse_the_second(report_id: str, updates: Sequence[AssetUpdate]) -> None:
        if any("body 2" in str(update.event.extra) for update in updates):
            raise ValueError("too large")
        put(report_id, updates)

    monkeypatch.setattr(world.store, "put_asset_events", refuse_the_second)
    assert take_messages(world.services, arn, [message(number) for number in (1, 2, 3)]) == stay


def test_no_watcher_of_a_watched_queue_polls_until_it_is_watched_no_more() -> None:
    world = World()
    watch_queue(world.services, ARN)
    watch_queue(world.services, ARN)
    given(world, reader())
    assert (world.queues.triggers, watcher_of(world).due_at) == ([], None)

    unwatch_queue(world.services, ARN)
    wake(world)
    assert len(world.queues.triggers) == 1
    assert watcher_of(world).due_at is not None


def test_one_that_filters_polls_beside_it() -> None:
    world = World()
    watch_queue(world.services, ARN)
    given(world, reader(message_filtering="literal", message_filtering_match_values=["x"]))
    assert len(world.queues.triggers) == 1


def test_a_life_that_runs_while_the_queue_becomes_watched_is_the_last() -> None:
    from gust.errors import Conflict
    from gust.services.assets.watchers import caller_of

    world = World()
    given(world, reader())
    life = caller_of(watcher_of(world))
    claim_watcher(world.services, life, hostname="a")
    watch_queue(world.services, ARN)
    claim_watcher(world.services, life, hostname="a")  # it renews its claim: it may have taken messages
    parked = watching.send(watcher_of(world), now=world.clock.now())
    world.store.put_watcher(watcher_of(world), parked)
    with pytest.raises(Conflict):
        claim_watcher(world.services, caller_of(parked), hostname="b")
    assert watcher_of(world).due_at is None


def test_a_watcher_of_an_older_gust_gets_its_queue_with_the_next_activation() -> None:
    world = World()
    given(world, reader())
    known = watcher_of(world)
    world.store.put_watcher(known, replace(known, queue=None))
    change_watchers(world.services, "etl", reader(), reader())
    assert watcher_of(world).queue == known.queue
