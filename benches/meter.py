"""Counts the AWS calls that reach the emulator, by the Lambda function that made them.

It is an ASGI application in front of the emulator, so the measured code does not notice it. It asks DynamoDB for the
capacity that each call consumed; a write whose condition fails returns none although AWS charges for it, so it
counts one write unit (our items stay under 1 KB), two per item in a transaction. Lambda's own pollers make no HTTP call
here: `cost` adds them.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

REPORT: Final = "/_bench/calls"
"""`GET` answers what was counted so far."""

OUTSIDE: Final = "outside"
"""Caller of requests that no Lambda function made."""

OWN_LINES: Final = "own lines"
"""The service under which the bytes of a function's own log are counted."""

EVENT_OVERHEAD: Final = 26
"""Bytes that CloudWatch Logs counts for a line beside its text."""

_CREDENTIAL: Final = re.compile(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/")
_APPLICATION: Final = re.compile(r"\bapp/([\w-]+)")
_INVOKE: Final = re.compile(r"/2015-03-31/functions/([^/]+)/invocations")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class FunctionUse:
    """What one Lambda function did."""

    invocations: int
    seconds: float
    memory_mb: int
    architecture: str


class Meter:
    """An ASGI application around another one."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._counts: Counter[tuple[str, str, str, str]] = Counter()
        """(caller, service, operation, unit) → how many; units: `calls`, `bytes`, `reads`, `writes`, `messages`."""
        self._functions: dict[str, FunctionUse] = {}

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
        elif scope["path"] == REPORT:
            calls = [[*key, number] for key, number in self._counts.items()]
            functions = {name: asdict(use) for name, use in self._functions.items()}
            await _answer(send, {"calls": calls, "functions": functions})
        else:
            await self._measured(scope, receive, send)

    def invoked(
        self, function: str, seconds: float, *, memory_mb: int, architecture: str, lines: Sequence[str] = ()
    ) -> None:
        """Count one ended invocation, by a queue, a stream, a rule or a caller, and the lines that it printed."""
        self._count(function, OWN_LINES, "", "bytes", log_bytes(lines))
        before = self._functions.get(function, FunctionUse(0, 0.0, memory_mb, architecture))
        self._functions[function] = replace(
            before, invocations=before.invocations + 1, seconds=before.seconds + seconds
        )

    async def _measured(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        service = _service_of(headers)
        if service is None:
            await self._application(scope, receive, send)
            return
        operation = _operation_of(service, scope, headers)
        caller = _caller_of(headers)
        body = await _body_of(receive)
        if service == "dynamodb":
            body = json.dumps({**json.loads(body), "ReturnConsumedCapacity": "TOTAL"}).encode()
            scope = {**scope, "headers": _with_length(scope["headers"], len(body))}
        self._count(caller, service, operation, "calls")
        self._count(caller, service, operation, "bytes", len(body))
        if service == "sqs" and operation.startswith("SendMessage"):
            self._count(caller, service, operation, "messages", len(json.loads(body).get("Entries", [0])))
        status, answered = 200, bytearray()

        async def listening(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                answered.extend(message.get("body", b""))
            await send(message)

        await self._application(scope, _replaying(body, receive), listening if service == "dynamodb" else send)
        if service == "dynamodb":
            reads, writes = consumed(operation, json.loads(body), status, json.loads(answered or b"{}"))
            self._count(caller, service, operation, "reads", reads)
            self._count(caller, service, operation, "writes", writes)

    def _count(self, caller: str, service: str, operation: str, unit: str, number: float = 1) -> None:
        if number:
            self._counts[caller, service, operation, unit] += number  # type: ignore[assignment]  # half read units


def log_bytes(lines: Iterable[str]) -> int:
    """What CloudWatch Logs bills the lines for."""
    return sum(len(line.encode()) + EVENT_OVERHEAD for line in lines)


def consumed(operation: str, request: dict[str, Any], status: int, answer: dict[str, Any]) -> tuple[float, float]:
    """Read and write request units of one DynamoDB call, by AWS's rules.

    Reads are computed from the returned items: the emulator counts every Query as one item. That is right as long as no
    query filters or projects, which would read more than it returns.
    """
    if status != 200:
        return 0.0, _refused(request, str(answer.get("__type", "")))
    match operation:
        case "GetItem":
            return _read_units([answer.get("Item")], request), 0.0
        case "Query" | "Scan":
            if "FilterExpression" in request or "ProjectionExpression" in request:
                raise ValueError(f"{operation} filters or projects: what it consumed cannot be told from its answer")
            together = sum(item_size(item) for item in answer["Items"])
            return _read_units_of(together, request), 0.0
        case "BatchGetItem":
            return sum(
                _read_units(_asked_for(table, wanted, answer), wanted)
                for table, wanted in request["RequestItems"].items()
            ), 0.0
        case "TransactGetItems":
            items = [one.get("Item") for one in answer["Responses"]]
            return 2 * _read_units(items, {"ConsistentRead": True}), 0.0
        case "BatchWriteItem":
            writes = [write for table in request["RequestItems"].values() for write in table]
            return 0.0, sum(max(1.0, _kilobytes(write.get("PutRequest", {}).get("Item", {}))) for write in writes)
    capacity = answer.get("ConsumedCapacity") or []
    return 0.0, sum(one["CapacityUnits"] for one in (capacity if isinstance(capacity, list) else [capacity]))


def _asked_for(table: str, wanted: dict[str, Any], answer: dict[str, Any]) -> list[dict[str, Any] | None]:
    """The items of one batch that were read, with None for each that does not exist."""
    found: list[dict[str, Any] | None] = list(answer["Responses"].get(table, []))
    unread = answer.get("UnprocessedKeys", {}).get(table, {}).get("Keys", [])
    return found + [None] * (len(wanted["Keys"]) - len(unread) - len(found))


def item_size(value: dict[str, Any]) -> int:
    """Bytes that AWS bills an item in DynamoDB's JSON for: names and values."""
    return sum(len(name.encode()) + _value_size(content) for name, content in value.items())


def _value_size(content: dict[str, Any]) -> int:
    [(kind, value)] = content.items()
    match kind:
        case "S":
            return len(value.encode())
        case "N":
            return len(value.strip("-").replace(".", "")) // 2 + 2
        case "B":
            return len(value) * 3 // 4
        case "M":
            return 3 + len(value) + item_size(value)
        case "L":
            return 3 + len(value) + sum(_value_size(one) for one in value)
        case "SS":
            return sum(len(one.encode()) for one in value)
    return 1


def _read_units(items: Iterable[dict[str, Any] | None], request: dict[str, Any]) -> float:
    """Each item rounded up on its own; one that does not exist costs as much as the smallest."""
    return sum(_read_units_of(item_size(item or {}), request) for item in items)


def _read_units_of(size: int, request: dict[str, Any]) -> float:
    return max(1, math.ceil(size / 4096)) * (1.0 if request.get("ConsistentRead") else 0.5)


def _kilobytes(item: dict[str, Any]) -> float:
    return float(math.ceil(item_size(item) / 1024))


def _refused(request: dict[str, Any], error: str) -> float:
    """Write units of a call whose condition failed."""
    if error.endswith("ConditionalCheckFailedException"):
        return 1.0
    return 2.0 * len(request["TransactItems"]) if error.endswith("TransactionCanceledException") else 0.0


def _service_of(headers: dict[str, str]) -> str | None:
    """The service in the request's signature; an unsigned request is no AWS call."""
    found = _CREDENTIAL.search(headers.get("authorization", ""))
    return found[1] if found else None


def _caller_of(headers: dict[str, str]) -> str:
    """The function, which names itself as SDKs name an application (`gust.aws.clients`)."""
    found = _APPLICATION.search(headers.get("user-agent", ""))
    return found[1] if found else OUTSIDE


def _operation_of(service: str, scope: MutableMapping[str, Any], headers: dict[str, str]) -> str:
    if target := headers.get("x-amz-target"):
        return target.rpartition(".")[2]
    if service == "lambda" and (invoked := _INVOKE.search(scope["path"])):
        return f"Invoke {invoked[1].rpartition(':')[2]}"
    return str(scope["method"])


async def _body_of(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(body)


def _replaying(body: bytes, receive: Receive) -> Receive:
    """The body once, then whatever the server says next: that the caller went away."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return left.pop() if left else await receive()

    return replay


def _with_length(headers: list[tuple[bytes, bytes]], length: int) -> list[tuple[bytes, bytes]]:
    kept = [(name, value) for name, value in headers if name.lower() != b"content-length"]
    return [*kept, (b"content-length", str(length).encode())]


async def _answer(send: Send, content: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(content).encode()})
