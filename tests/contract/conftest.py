"""Fixtures of the contract tests: each test that asks for `store` runs on both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from uuid import uuid4

import pytest

from gust.aws.memory import MemoryObjects
from gust.model.measurement import Measurement
from gust.ports.clock import ManualClock
from gust.ports.store import Store
from gust.store.dynamodb import DynamoDBStore
from gust.store.keyspace import TABLE_DEFINITION
from gust.store.memory import MemoryStore
from tests.contract.given import NOW
from tests.contract.stores import Aws, CountedCalls, OnDynamoDB, emulated


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    with emulated(tmp_path_factory.mktemp("ministack"), "dynamodb,dynamodbstreams,events,s3,sqs") as found:
        yield found


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


class Measured:
    """Implements `Metrics`: what a store has measured, by name."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def add(self, measurements: Iterable[Measurement]) -> None:
        self.names.extend(each.name for each in measurements)


@pytest.fixture
def measured() -> Measured:
    return Measured()


@pytest.fixture
def dynamodb(aws: Aws, clock: ManualClock, measured: Measured) -> Iterator[OnDynamoDB]:
    table = f"gust-{uuid4().hex}"
    aws.dynamodb.create_table(TableName=table, **TABLE_DEFINITION)
    objects, calls = MemoryObjects(), CountedCalls()
    store = DynamoDBStore(table, aws.dynamodb, objects, clock=clock, meter=calls, metrics=measured)
    yield OnDynamoDB(store, table, aws.dynamodb, objects, calls)
    aws.dynamodb.delete_table(TableName=table)


@pytest.fixture(params=["memory", "dynamodb"])
def store(request: pytest.FixtureRequest, clock: ManualClock, measured: Measured) -> Store:
    if request.param == "memory":
        return MemoryStore(clock=clock, metrics=measured)
    on_dynamodb: OnDynamoDB = request.getfixturevalue("dynamodb")
    return on_dynamodb.store
