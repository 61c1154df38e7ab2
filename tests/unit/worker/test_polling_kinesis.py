"""A parked watcher on Kinesis reads on from its last look, and not from the moment at which it is woken."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from gust.airflow_bridge.compat import read_kinesis_on

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


def test_the_seam_is_where_airflows_trigger_calls_it() -> None:
    class Shards:
        @staticmethod
        def paginate(**_: Any) -> Any:
            async def pages() -> Any:
                yield {"Shards": [{"ShardId": "s"}]}

            return pages()

    class Stream(Client):
        def get_paginator(self, _: str) -> type[Shards]:
            return Shards

        async def get_records(self, **_: Any) -> dict[str, Any]:
            return {"Records": [{"SequenceNumber": "1", "PartitionKey": "k", "Data": b"x"}], "NextShardIterator": "n"}

        async def __aenter__(self) -> Stream:
            return self

        async def __aexit__(self, *_: object) -> None:
            return None

    stream = Stream()

    class Trigger(kinesis.KinesisTrigger):  # type: ignore[misc]  # Airflow's class has no types here
        @property
        def hook(self) -> Any:
            async def get_async_conn() -> Stream:
                return stream

            return SimpleNamespace(get_async_conn=get_async_conn)

    async def first() -> Any:
        trigger = Trigger("clicks")
        read_kinesis_on(trigger, WOKEN)
        return await anext(trigger.run())

    event = asyncio.run(first())
    assert event.payload["message_batch"][0]["SequenceNumber"] == "1"
    assert stream.asked[0]["ShardIteratorType"] == "AT_TIMESTAMP"
