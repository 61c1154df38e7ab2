"""A parked watcher on Kinesis reads on from its last look, and not from the moment at which it is woken."""

from __future__ import annotations

import asyncio
import pickle
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from gust.airflow_bridge import compat, pace
from gust.airflow_bridge.compat import read_kinesis_on
from gust.airflow_bridge.pace import Pace, _PacedLoop, run_until_parked
from gust.airflow_bridge.watcher import park_after_event

kinesis = pytest.importorskip("airflow.providers.amazon.aws.triggers.kinesis")
WOKEN = datetime(2026, 3, 1, 12, tzinfo=UTC)


INVALID = "a sequence number of another stream"


class Client:
    exceptions = SimpleNamespace(InvalidArgumentException=ValueError)

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    async def get_shard_iterator(self, **asked: Any) -> dict[str, str]:
        self.asked.append(asked)
        if asked.get("StartingSequenceNumber") == INVALID:
            raise ValueError(INVALID)
        return {"ShardIterator": "i"}


def asked_of(trigger: Any, after: str | None, fallback: str, *, looked_at: datetime | None = None) -> dict[str, Any]:
    """The last of the requests for an iterator."""
    client = Client()
    read_kinesis_on(trigger, looked_at=looked_at, woken_at=WOKEN)
    assert asyncio.run(trigger._get_shard_iterator(client, "s", after, fallback)) == "i"
    return client.asked[-1]


@pytest.mark.parametrize("after", [None, INVALID], ids=["no checkpoint", "one of a stream that was made anew"])
@pytest.mark.parametrize(
    ("looked_at", "since"),
    [
        (datetime(2026, 3, 1, 11, 30, tzinfo=UTC), datetime(2026, 3, 1, 11, 29, 58, tzinfo=UTC)),
        (None, datetime(2026, 3, 1, 11, 59, 48, tzinfo=UTC)),
    ],
    ids=["known", "parked by a version that does not tell"],
)
def test_a_shard_without_a_place_is_read_from_the_last_look_on(
    after: str | None, looked_at: datetime | None, since: datetime
) -> None:
    trigger = kinesis.KinesisTrigger("clicks", waiter_delay=10)
    assert asked_of(trigger, after, "LATEST", looked_at=looked_at) == {
        "StreamName": "clicks",
        "ShardId": "s",
        "ShardIteratorType": "AT_TIMESTAMP",
        "Timestamp": since,
    }


@pytest.mark.parametrize(
    ("after", "fallback", "kind"), [("7", "LATEST", "AFTER_SEQUENCE_NUMBER"), (None, "TRIM_HORIZON", "TRIM_HORIZON")]
)
def test_other_places_stay_airflows(after: str | None, fallback: str, kind: str) -> None:
    trigger = kinesis.KinesisTrigger("clicks", shard_iterator_type=fallback)
    assert asked_of(trigger, after, fallback)["ShardIteratorType"] == kind


class Stream(Client):
    """A stream of one shard, which answers in this order; the last answer goes on."""

    exceptions = SimpleNamespace(
        InvalidArgumentException=ValueError,
        ExpiredIteratorException=KeyError,
        ProvisionedThroughputExceededException=PermissionError,
    )

    def __init__(self, *answers: dict[str, Any] | Exception) -> None:
        super().__init__()
        self.answers = list(answers)
        self.read_at: list[str] = []

    def get_paginator(self, _: str) -> Stream:
        return self

    async def paginate(self, **_: Any) -> Any:
        yield {"Shards": [{"ShardId": "s"}]}

    async def get_records(self, **asked: Any) -> dict[str, Any]:
        self.read_at.append(asked["ShardIterator"])
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return {"NextShardIterator": f"n{len(self.read_at)}"} | answer

    async def __aenter__(self) -> Stream:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None


RECORD = {"SequenceNumber": "1", "PartitionKey": "k", "Data": b"x"}
BETWEEN_RECORDS: dict[str, Any] = {"Records": [], "MillisBehindLatest": 60_000}
AT_THE_END: dict[str, Any] = {"Records": [], "MillisBehindLatest": 0}


def on(stream: Stream) -> Any:
    class Trigger(kinesis.KinesisTrigger):  # type: ignore[misc]  # Airflow's class has no types here
        @property
        def hook(self) -> Any:
            async def get_async_conn() -> Stream:
                return stream

            return SimpleNamespace(get_async_conn=get_async_conn)

    return Trigger("clicks")


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat, "BETWEEN_READS", 0.001)


def test_the_seam_is_where_airflows_trigger_calls_it() -> None:
    stream = Stream({"Records": [RECORD]})

    async def first() -> Any:
        trigger = on(stream)
        read_kinesis_on(trigger, looked_at=None, woken_at=WOKEN)
        return await anext(trigger.run())

    event = asyncio.run(first())
    assert event.payload["message_batch"][0]["SequenceNumber"] == "1"
    assert stream.asked[0]["ShardIteratorType"] == "AT_TIMESTAMP"


def one_look(stream: Stream, *, delay: float = 10, stays: bool = False) -> tuple[Pace, list[Any], compat.KinesisLook]:
    """A watcher's life up to its first sleep: its pace, its events, and how far it has read."""
    its_pace = Pace(skip=0, is_poller=False, end=time.monotonic() + 30)
    events: list[Any] = []
    trigger = on(stream)
    trigger.waiter_delay = delay
    look = read_kinesis_on(trigger, looked_at=None, woken_at=WOKEN)
    its_pace.stays = lambda: stays and look.is_on_the_way

    async def life() -> None:
        async for event in trigger.run():
            events.append(event.payload)

    async def until_parked() -> None:
        task, _ = await run_until_parked(life(), its_pace)
        task.cancel()

    with asyncio.Runner(loop_factory=lambda: _PacedLoop(its_pace)) as runner:
        runner.run(until_parked())
    return its_pace, events, look


def test_a_look_comes_to_a_record_that_empty_answers_precede() -> None:
    stream = Stream(BETWEEN_RECORDS, BETWEEN_RECORDS, {"Records": [RECORD], "MillisBehindLatest": 5}, AT_THE_END)

    its_pace, events, _ = one_look(stream)

    assert [event["message_batch"][0]["SequenceNumber"] for event in events] == ["1"]
    assert stream.read_at == ["i", "n1", "n2"], "the rest is for the next look"
    assert its_pace.sleeps == 1, "the pauses between the reads are not the trigger's own"


@pytest.mark.parametrize(
    ("answers", "reads", "is_complete"),
    [
        ([AT_THE_END], 1, True),
        ([BETWEEN_RECORDS, AT_THE_END], 2, True),
        ([BETWEEN_RECORDS, PermissionError()], 2, False),
        ([PermissionError()], 1, False),
        ([BETWEEN_RECORDS], 1 + compat.EMPTY_ANSWERS, False),
        ([BETWEEN_RECORDS | {"NextShardIterator": None}], 1, True),
    ],
    ids=["nothing new", "behind", "too many reads", "too many reads at once", "far behind", "closed"],
)
def test_a_look_ends_and_is_complete_at_the_end_of_each_shard(
    answers: list[Any], reads: int, is_complete: bool
) -> None:
    stream = Stream(*answers)

    _, events, look = one_look(stream)

    assert (events, len(stream.read_at), look.is_complete) == ([], reads, is_complete)


def test_a_watcher_is_not_parked_on_the_way_to_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its next life would begin the way anew, and come no further."""
    monkeypatch.setattr(compat, "EMPTY_ANSWERS", 3)
    monkeypatch.setattr(pace, "PARK_FROM", 0.01)
    stream = Stream(*[BETWEEN_RECORDS] * 9, {"Records": [RECORD], "MillisBehindLatest": 5}, AT_THE_END)

    _, events, look = one_look(stream, delay=0.02, stays=True)

    assert len(events) == 1
    assert stream.read_at == ["i", *(f"n{number}" for number in range(1, 10))], "it goes on from where it has come to"
    assert look.is_complete


def test_a_look_that_found_records_is_complete_once_the_place_is_stored() -> None:
    async def first() -> tuple[compat.KinesisLook, bool]:
        trigger = on(Stream({"Records": [RECORD]}))
        look = read_kinesis_on(trigger, looked_at=None, woken_at=WOKEN)
        await anext(trigger.run())
        at_event = look.is_complete
        await trigger._save_checkpoint({"s": "1"})
        return look, at_event

    look, at_event = asyncio.run(first())

    assert (at_event, look.is_complete) == (False, True)


def test_a_watcher_is_parked_after_an_event_once_its_place_is_stored() -> None:
    """Else its next life reads the same records again, and never comes further in a stream of many shards."""

    async def life() -> tuple[bool, bool]:
        its_pace = Pace(skip=0, is_poller=False, end=0.0, parked=asyncio.get_running_loop().create_future())
        assert its_pace.parked is not None
        look = compat.KinesisLook(owes_checkpoint=True)
        park_after_event(its_pace, look)
        at_once = its_pace.parked.done()
        look.owes_checkpoint = False
        await asyncio.wait_for(its_pace.parked, 10)
        return at_once, its_pace.parked.done()

    assert asyncio.run(life()) == (False, True)


def test_a_pace_reaches_a_child_of_the_nursery() -> None:
    """As a pickle."""
    pace = Pace(skip=1, is_poller=False, end=0.0)
    assert pickle.loads(pickle.dumps(pace)).stays() is False  # noqa: S301 - our own
