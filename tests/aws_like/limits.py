"""What AWS refuses for its size, by its documentation, and MiniStack takes.

MiniStack itself refuses items, keys, transactions and expressions of DynamoDB, and batches and messages of SQS, that are
too large, and cuts a query's pages at 1 MB. Where a limit has grown, the number is today's: asynchronous invocations and
EventBridge take 1 MiB since January 2026.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tests.aws_like.requests import Request

KB: Final = 1024
MB: Final = 1024 * 1024

SYNCHRONOUS: Final = 6_291_556
"""Bytes of an invocation's payload and of its answer; AWS names this number in its error."""
ASYNCHRONOUS: Final = MB
STATE: Final = 256 * KB
"""Bytes of what a state machine's states hand on."""
LOG_BATCH: Final = 1_048_576
LOG_EVENT_OVERHEAD: Final = 26
LOG_EVENTS: Final = 10_000
LOG_SPAN: Final = 24 * 3600 * 1000
"""Milliseconds."""
REQUEST_LINE_AND_HEADERS: Final = 10_240
"""Bytes that an HTTP API takes of both together."""
API_BODY: Final = 10 * MB
SECRET: Final = 65_536
PARAMETER: Final = 4 * KB
EVENTS: Final = 10
ENVIRONMENT: Final = 4 * KB


@dataclass(frozen=True)
class Refusal:
    code: str
    message: str
    status: int = 400
    more: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the answer's body."""


def refusal(request: Request) -> Refusal | None:
    """AWS's answer to a request that is too large; `None` for one that is not."""
    match request.service, request.operation:
        case "logs", "PutLogEvents":
            return _of_log_events(request.json.get("logEvents", []))
        case "states", "StartExecution" | "SendTaskSuccess":
            sent = request.json.get("input") or request.json.get("output") or ""
            return _over("ValidationException", "input", sent, STATE)
        case "events", "PutEvents":
            if len(request.json.get("Entries", [])) > EVENTS:
                return Refusal("ValidationException", f"PutEvents takes {EVENTS} entries")
            return _over("ValidationException", "entries", request.body, ASYNCHRONOUS)
        case "secretsmanager", "PutSecretValue" | "CreateSecret" | "UpdateSecret":
            return _over("ValidationException", "SecretString", request.json.get("SecretString", ""), SECRET)
        case "ssm", "PutParameter":
            return _over("ValidationException", "Value", request.json.get("Value", ""), PARAMETER)
        case "lambda", _ if request.path.endswith("/invocations"):
            is_event = request.headers.get("x-amz-invocation-type") == "Event"
            most = ASYNCHRONOUS if is_event else SYNCHRONOUS
            return _over("RequestTooLargeException", "payload", request.body, most, status=413)
    return None


def _of_log_events(events: list[dict[str, Any]]) -> Refusal | None:
    code = "InvalidParameterException"
    if not 1 <= len(events) <= LOG_EVENTS:
        return Refusal(code, f"1 to {LOG_EVENTS} log events, not {len(events)}")
    if any(not event["message"] for event in events):
        return Refusal(code, "A log event's message is empty")
    times = [event["timestamp"] for event in events]
    if times != sorted(times):
        return Refusal(code, "Log events in a single PutLogEvents request must be in chronological order.")
    if times[-1] - times[0] > LOG_SPAN:
        return Refusal(code, "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.")
    together = sum(len(event["message"].encode()) + LOG_EVENT_OVERHEAD for event in events)
    if together > LOG_BATCH:
        return Refusal(code, f"Upload too large: {together} bytes exceeds limit of {LOG_BATCH}")
    return None


def _over(code: str, what: str, sent: str | bytes, most: int, *, status: int = 400) -> Refusal | None:
    size = len(sent.encode() if isinstance(sent, str) else sent)
    return Refusal(code, f"{what} too large: {size} bytes exceeds limit of {most}", status) if size > most else None


def too_large(value: Any, most: int) -> bool:
    """Whether the value as JSON has more bytes."""
    return len(json.dumps(value, separators=(",", ":")).encode()) > most


def refused_by_http_api(scope: Mapping[str, Any], body: int) -> int | None:
    """The status with which an HTTP API refuses a request by itself: 431 for its line and headers, 413 for a body of so many
    bytes. Its own addition, as the address of the caller, is not counted."""
    line = len(scope["method"]) + len(scope.get("raw_path") or scope["path"].encode()) + len(scope["query_string"])
    if line + sum(len(value) for _, value in scope["headers"]) > REQUEST_LINE_AND_HEADERS:
        return 431
    return 413 if body > API_BODY else None
