"""What an event costs is what docs/benches.md says, and it does not grow with the number of assets."""

from __future__ import annotations

from pathlib import Path

import pytest

from benches.cost import load_prices
from benches.events import CountingClient, price_of_an_object, price_of_telling
from gust.aws.memory import MemoryObjects, MemoryQueues
from gust.aws.tokens import JwtTokens
from gust.model.asset import Asset, AssetReference
from gust.model.object_created import ObjectCreated
from gust.ports.clock import ManualClock
from gust.services.context import Services
from gust.services.events.register_objects import register_objects
from gust.store.dynamodb import DynamoDBStore
from tests.contract.given import NOW, given_dag
from tests.contract.stores import OnDynamoDB

ROOT = Path(__file__).parents[2]


def units(dynamodb: OnDynamoDB, batch: int, *, other_assets: int = 0, sequencer: str = "1") -> tuple[float, float]:
    """(reads, writes) of so many objects that come together, of an asset on which one DAG is scheduled."""
    store = dynamodb.store
    if store.get_dag("etl") is None:
        given_dag(store)
    for number in range(other_assets):
        store.put_asset(Asset(name=f"other-{number}", uri=f"s3://raw/orders/{number}"))
    store.put_asset(Asset(name="orders", uri="s3://raw/orders"))
    store.put_asset_reference(
        AssetReference(use="schedule", what="asset", dag_id="etl", name="orders", uri="s3://raw/orders")
    )
    client = CountingClient(dynamodb.client)
    services = Services(
        store=DynamoDBStore(dynamodb.table, client, dynamodb.objects, clock=ManualClock(NOW)),
        objects=MemoryObjects(),
        queues=MemoryQueues(),
        tokens=JwtTokens(lambda: "a key that is long enough for HMAC-SHA256"),
        clock=ManualClock(NOW),
        logs=None,  # type: ignore[arg-type]
    )
    created = [
        ObjectCreated(
            bucket="raw", key=f"orders/2026/{number:05}.csv", time=NOW.isoformat(), size=1, sequencer=sequencer
        )
        for number in range(batch)
    ]
    assert register_objects(services, created) == batch
    return client.reads, client.writes


@pytest.mark.parametrize("batch", [1, 20])
def test_the_documentation_says_what_an_object_costs(dynamodb: OnDynamoDB, batch: int) -> None:
    prices = load_prices()
    reads, writes = units(dynamodb, batch)
    dollars = 1e6 * price_of_an_object(
        prices, batch=batch, reads=reads, writes=writes, event=prices["events"]["custom"]
    )
    together = "comes alone" if batch == 1 else f"comes with {batch - 1} others"
    row = f"| an object that {together} | {reads / batch:.1f} | {writes / batch:.1f} | ${dollars:.2f} |"
    assert row in (ROOT / "docs/benches.md").read_text(), row


def test_the_documentation_says_what_telling_costs() -> None:
    alone, many = (1e6 * price_of_telling(load_prices(), batch=batch) for batch in (1, 100))
    row = f"| an event that Gust sends, alone or with 99 others | 0 | 0 | ${alone:.2f} or ${many:.2f} |"
    assert row in (ROOT / "docs/benches.md").read_text(), row


def test_an_object_costs_the_same_among_many_assets(dynamodb: OnDynamoDB) -> None:
    alone, _ = units(dynamodb, 1)
    among_many, _ = units(dynamodb, 1, other_assets=300, sequencer="2")
    assert among_many == alone
