"""What AWS throttles: quotas of requests a second, counted, and a busy AWS, played from a seed.

`Quotas` counts against those documented numbers that a test could reach; each account has them in each region. Numbers are
AWS's defaults (Service Quotas), where regions differ the lowest; bursts where AWS names them. Quotas that no stack of the
tests comes near (Secrets Manager's 10,000 reads a second, PutLogEvents' 5,000) are left to `Busy`.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.aws_like.limits import KB, Refusal
from tests.aws_like.requests import Request


@dataclass
class Bucket:
    """A token bucket. It may be overdrawn by the size of an answer, which is known only afterwards."""

    rate: float
    """Tokens a second."""
    size: float
    tokens: float = math.nan
    at: float = 0.0

    def has(self, now: float) -> bool:
        self._fill(now)
        return self.tokens > 0

    def take(self, number: float, now: float) -> None:
        self._fill(now)
        self.tokens -= number

    def _fill(self, now: float) -> None:
        if math.isnan(self.tokens):
            self.tokens, self.at = self.size, now
        self.tokens = min(self.size, self.tokens + (now - self.at) * self.rate)
        self.at = now


PER_SECOND: Final[Mapping[tuple[str, str], tuple[float, float]]] = {
    ("ssm", "GetParameter"): (40, 40),
    ("logs", "GetLogEvents"): (25, 25),
    ("states", "StartExecution"): (150, 800),
    ("ecs", "RunTask"): (20, 20),
    ("events", "PutEvents"): (400, 400),
    ("events", ""): (50, 50),
}
"""(service, operation) → requests a second, and at once. An empty operation stands for all others together."""

WRITES, READS = 1000.0, 3000.0
"""Units a second of one partition of a table or an index, however it is billed."""

THROTTLED: Final[Mapping[str, tuple[str, ...]]] = {
    "dynamodb": ("ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"),
    "sqs": ("RequestThrottled",),
    "sts": ("Throttling",),
    "lambda": ("TooManyRequestsException",),
    "s3": ("SlowDown",),
}
"""Service → codes with which it throttles; the others say `ThrottlingException`."""

STATUS: Final = {"lambda": 429, "s3": 503}


def throttled(service: str, code: str = "") -> Refusal:
    code = code or THROTTLED.get(service, ("ThrottlingException",))[0]
    return Refusal(code, "Rate exceeded", STATUS.get(service, 400))


class Quotas:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[tuple[str, ...], Bucket] = {}

    def refusal(self, request: Request) -> Refusal | None:
        now = self._clock()
        if request.service == "dynamodb":
            if all(self._bucket(*part).has(now) for part, _ in self._parts(request)):
                for part, units in self._parts(request):
                    self._bucket(*part).take(units, now)
                return None
            return throttled("dynamodb")
        name = (request.service, request.operation)
        name = name if name in PER_SECOND else (request.service, "")
        if name not in PER_SECOND:
            return None
        bucket = self._bucket(*name)
        if not bucket.has(now):
            return throttled(request.service)
        bucket.take(1, now)
        return None

    def answered(self, request: Request, size: int) -> None:
        """Reads cost by the size of what is found."""
        if request.service == "dynamodb" and request.operation in ("Query", "GetItem", "BatchGetItem"):
            parts = [part for part, _ in self._parts(request)]
            units = size / (4 * KB) * (1.0 if request.json.get("ConsistentRead") else 0.5)
            for part in parts:
                self._bucket(*part).take(units / len(parts), self._clock())

    def _bucket(self, *name: str) -> Bucket:
        if name not in self._buckets:
            rate, size = PER_SECOND.get(
                (name[0], name[1]), ((WRITES, WRITES) if name[0] == "write" else (READS, READS))
            )
            self._buckets[name] = Bucket(rate, size)
        return self._buckets[name]

    def _parts(self, request: Request) -> Iterator[tuple[tuple[str, ...], float]]:
        """Partitions that the call uses, with the units that it writes; an index that the item is in counts as well."""
        match request.operation:
            case "Query":
                values = request.json.get("ExpressionAttributeValues", {})
                yield ("read", request.json.get("IndexName", ""), _text(values.get(":pk"))), 0.5
            case "GetItem":
                yield ("read", "", _text(request.json["Key"].get("pk"))), 0.5
            case "BatchGetItem":
                for wanted in request.json["RequestItems"].values():
                    for key in wanted["Keys"]:
                        yield ("read", "", _text(key.get("pk"))), 0.5
            case "TransactWriteItems":
                for action in request.json["TransactItems"]:
                    for write in action.values():
                        yield ("write", "", _text((write.get("Key") or write.get("Item")).get("pk"))), 2 * _units(write)
            case "BatchWriteItem":
                for writes in request.json["RequestItems"].values():
                    for write in (each for action in writes for each in action.values()):
                        yield ("write", "", _text((write.get("Key") or write.get("Item")).get("pk"))), _units(write)
            case "PutItem" | "UpdateItem" | "DeleteItem":
                key = request.json.get("Key") or request.json.get("Item") or {}
                yield ("write", "", _text(key.get("pk"))), _units(request.json)


def _units(write: Any) -> float:
    return math.ceil(len(json.dumps(write)) / KB)


def _text(value: Mapping[str, Any] | None) -> str:
    return str((value or {}).get("S", ""))


class Busy:
    """An AWS that throttles that share of all calls, and does so many batches in part only. The same seed gives the same
    answers to the same calls in the same order."""

    def __init__(self, seed: int, share: float) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - it is to be repeatable
        self._share = share

    def refusal(self, request: Request) -> Refusal | None:
        if self._chance.random() >= self._share:
            return None
        if request.operation == "TransactWriteItems" and self._chance.random() < 0.5:
            return self._cancelled(len(request.json["TransactItems"]))
        codes = THROTTLED.get(request.service, ("ThrottlingException",))
        return throttled(request.service, self._chance.choice(codes))

    def _cancelled(self, number: int) -> Refusal:
        """A transaction, one item of which is throttled: SDKs do not try it again."""
        reasons: list[dict[str, str]] = [{"Code": "None"} for _ in range(number)]
        reasons[self._chance.randrange(number)] = {"Code": "ThrottlingError", "Message": "Rate exceeded"}
        message = f"Transaction cancelled, please refer cancellation reasons for specific reasons [{reasons}]"
        return Refusal("TransactionCanceledException", message, more={"CancellationReasons": reasons})

    def kept_back(self, request: Request) -> tuple[bytes, dict[str, Any]] | None:
        """For some batches: the request without some of its entries, and what the answer says of these."""
        if self._chance.random() >= self._share:
            return None
        match request.service, request.operation:
            case "dynamodb", "BatchGetItem":
                ((table, wanted),) = request.json["RequestItems"].items()
                done, left = _halves(wanted["Keys"])
                less = {"RequestItems": {table: {**wanted, "Keys": done}}}
                more = {"UnprocessedKeys": {table: {**wanted, "Keys": left}}}
            case "dynamodb", "BatchWriteItem":
                ((table, writes),) = request.json["RequestItems"].items()
                done, left = _halves(writes)
                less, more = {"RequestItems": {table: done}}, {"UnprocessedItems": {table: left}}
            case "sqs", "SendMessageBatch":
                done, left = _halves(request.json["Entries"])
                failed = [
                    {"Id": each["Id"], "SenderFault": False, "Code": "ThrottlingException", "Message": "Rate exceeded"}
                    for each in left
                ]
                less, more = {"Entries": done}, {"Failed": failed}
            case _:
                return None
        return (json.dumps(request.json | less).encode(), more) if done and left else None


def _halves(entries: list[Any]) -> tuple[list[Any], list[Any]]:
    return entries[: len(entries) // 2], entries[len(entries) // 2 :]
