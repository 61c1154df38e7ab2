"""The price of an event on its way in or out, from the calls that it takes and one dated price file.

`tests/contract/test_event_price.py` counts DynamoDB's units as the store makes its calls, and compares docs/benches.md with
this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from benches.meter import consumed

MEMORY: Final = 0.5
"""GB of the functions."""

BATCH_SECONDS: Final = 0.05
"""Of an invocation, without its messages."""
SECONDS_EACH: Final = 0.01
"""Of an event in it: some ten calls of DynamoDB, many at a time."""

TELLING_SECONDS: Final = 0.002
"""Of a record that the announcer reads, and a tenth of a PutEvents."""

_OPERATIONS: Final = {
    "get_item": "GetItem",
    "batch_get_item": "BatchGetItem",
    "query": "Query",
    "batch_write_item": "BatchWriteItem",
    "put_item": "PutItem",
    "update_item": "UpdateItem",
    "delete_item": "DeleteItem",
    "transact_write_items": "TransactWriteItems",
}


@dataclass
class CountingClient:
    """A client of DynamoDB that adds up what its calls consume, by AWS's rules."""

    client: Any
    reads: float = 0.0
    writes: float = 0.0

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.client, name)
        if name not in _OPERATIONS:
            return call

        def counted(**request: Any) -> Any:
            answer = call(**{**request, "ReturnConsumedCapacity": "TOTAL"})
            reads, writes = consumed(_OPERATIONS[name], request, 200, answer)
            self.reads += reads
            self.writes += writes
            return answer

        return counted


def price_of_an_object(prices: Mapping[str, Any], *, batch: int, reads: float, writes: float, event: float) -> float:
    """Dollars for an object in a watched bucket that is an event of one asset. `batch`: so many come together, and take so
    many units of DynamoDB together; `event`: what EventBridge takes for one."""
    seconds = BATCH_SECONDS + batch * SECONDS_EACH
    together = (
        batch * event
        + (batch + 2 * -(-batch // 10)) * prices["sqs"]["request"]  # sent one by one; received and deleted by ten
        + prices["lambda"]["request"]
        + seconds * MEMORY * prices["lambda"]["gb_second_arm64"]
        + reads * prices["dynamodb"]["read_unit"]
        + writes * prices["dynamodb"]["write_unit"]
    )
    return together / batch


def price_of_telling(prices: Mapping[str, Any], *, batch: int) -> float:
    """Dollars for an event that Gust sends; Lambda reads the stream for nothing."""
    seconds = BATCH_SECONDS + batch * TELLING_SECONDS
    function = prices["lambda"]["request"] + seconds * MEMORY * prices["lambda"]["gb_second_arm64"]
    return prices["events"]["custom"] + function / batch
