"""A parked watcher on Kinesis reads on from its last look, and not from the moment at which it is woken."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from gust.airflow_bridge import compat
from gust.airflow_bridge.compat import read_kinesis_on
from gust.airflow_bridge.pace import Pace, _PacedLoop, run_until_parked

kinesis = pytest.importorskip("airflow.providers.amazon.aws.triggers.kinesis")
WOKEN = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Client:
    exceptions = SimpleNamespace(InvalidArgumentException=ValueError)

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    async def get_shard_iterator(self, **asked: Any) -> dict[str, str]:
        self.asked.append(asked)
        return {"ShardIterator": "i"}


def asked_of(trigger: Any, after: str | None, fallback: str) -> dict[str, Any]:
    client = Client()
    read_kinesis_on(trigger, WOKEN)
    assert asyncio.run(trigger._get_shard_iterator(client, "s", after, fallback)) == "i"
    (asked,) = client.asked
    return asked


def test_a_shard_without_a_checkpoint_is_read_from_the_last_look_on() -> None:
    trigger = kinesis.KinesisTrigger("clicks", waiter_delay=10)
    assert asked_of(trigger, None, "LATEST") == {
        "StreamName": "clicks",
        "ShardId": "s",
        "ShardIteratorType": "AT_TIMESTAMP",
        "Timestamp": datetime(2026, 3, 1, 11, 59, 48, tzinfo=UTC),
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
        read_kinesis_on(trigger, WOKEN)
        return await anext(trigger.run())

    event = asyncio.run(first())
    assert event.payload["message_batch"][0]["SequenceNumber"] == "1"
    assert stream.asked[0]["ShardIteratorType"] == "AT_TIMESTAMP"


def one_look(stream: Stream) -> tuple[Pace, list[Any]]:
    """A watcher's life up to its first sleep: its pace and events."""
    pace = Pace(skip=0, is_poller=False, end=time.monotonic() + 30)
    events: list[Any] = []

    async def life() -> None:
        trigger = on(stream)
        read_kinesis_on(trigger, WOKEN)
        async for event in trigger.run():
            events.append(event.payload)

    async def until_parked() -> None:
        task, _ = await run_until_parked(life(), pace)
        task.cancel()

    with asyncio.Runner(loop_factory=lambda: _PacedLoop(pace)) as runner:
        runner.run(until_parked())
    return pace, events


def test_a_look_comes_to_a_record_that_empty_answers_precede() -> None:
    stream = Stream(BETWEEN_RECORDS, BETWEEN_RECORDS, {"Records": [RECORD], "MillisBehindLatest": 5}, AT_THE_END)

    pace, events = one_look(stream)

    assert [event["message_batch"][0]["SequenceNumber"] for event in events] == ["1"]
    assert stream.read_at == ["i", "n1", "n2"], "the rest is for the next look"
    assert pace.sleeps == 1, "the pauses between the reads are not the trigger's own"


@pytest.mark.parametrize(
    ("answers", "reads"),
    [
        ([AT_THE_END], 1),
        ([BETWEEN_RECORDS, AT_THE_END], 2),
        ([BETWEEN_RECORDS, PermissionError()], 2),
        ([BETWEEN_RECORDS | {"NextShardIterator": None}], 1),
        ([BETWEEN_RECORDS], 1 + compat.EMPTY_ANSWERS),
    ],
    ids=["nothing new", "behind", "too many reads", "closed", "far behind"],
)
def test_a_look_ends(answers: list[Any], reads: int) -> None:
    stream = Stream(*answers)

    assert one_look(stream)[1] == []

    assert len(stream.read_at) == reads
