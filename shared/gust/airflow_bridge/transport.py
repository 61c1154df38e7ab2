"""HTTP without a network: the Task SDK's requests become invocations of the execution API function.

Event and answer have the shape of an API Gateway HTTP API (payload 2.0), so the function cannot tell a worker from a
browser. Lambda carries 6 MB each way; larger bodies go through the bucket (`gust.model.transfer`).

A caller without an answer yet has begun nothing. If the function is throttled then, the transport does not let the
SDK's client retry for minutes: the caller gives its message back and ends. Otherwise workers that wait for the
execution API would hold the very concurrency that it lacks.

Every invocation costs money and time, and so does every write of the table. The first rendered fields of a dispatch, for
which the task does not wait, therefore travel with the report of its end, in its event's `carried`, if that comes within a
second.
"""

from __future__ import annotations

import base64
import logging
import math
import re
import time
import uuid
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import httpx

from gust.errors import ServiceUnavailable, Throttled
from gust.model import bucket_keys, transfer
from gust.model.correlation import OF_WORKERS
from gust.model.execution_paths import BASE_PATH
from gust.ports.objects import Objects

EXECUTION_API: Final = f"http://gust{BASE_PATH}/"
"""The base URL that clients are given. No network knows the host: `LambdaTransport` invokes the function."""

HOLDABLE: Final = re.compile(r"/task-instances/[^/]+/rtif")
REPORTS: Final = re.compile(r"/task-instances/[^/]+/state|/tries/[^/]+/lost")
LARGEST_HELD: Final = 64 * 1024
"""Bytes. Beside it, a full-size request must fit into the same invocation."""

LONGEST_HELD: Final = 1.0
"""Seconds that rendered fields wait for a report to travel with; then they are sent alone."""

log = logging.getLogger(__name__)

Invoke = Callable[[dict[str, Any]], Mapping[str, Any]]
"""Send an event to the execution API function and return its answer. Raises ServiceUnavailable."""


class LambdaTransport(httpx.BaseTransport):
    """An httpx transport that invokes a Lambda function."""

    def __init__(self, invoke: Invoke, objects: Objects, correlation_id: str = "") -> None:
        """`correlation_id`: of the message that is worked off. Requests carry it instead of the SDK's, which makes one for
        each request."""
        self._invoke = invoke
        self._objects = objects
        self._correlation_id = correlation_id
        self._held: dict[str, Any] | None = None
        self._send_held_at = math.inf
        self._has_sent_held = False
        """The execution API may have stored fields: later ones replace them, and are sent at once."""
        self._has_begun = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Raises httpx.TransportError where the function could not be reached: the SDK's client tries again. Raises
        Throttled, which it does not try again, where the first request finds no concurrency left."""
        are_fields = request.method == "PUT" and HOLDABLE.search(request.url.path) is not None
        if are_fields and not self._has_sent_held and len(request.read()) <= LARGEST_HELD:
            return self._hold(request)
        event = self._event(request)
        is_report = REPORTS.search(request.url.path) is not None
        if self._held is not None and is_report:
            event["carried"] = self._held
        self._has_sent_held = self._has_sent_held or are_fields or "carried" in event
        try:
            answer = self._invoke(event)
            body = self._body(answer)
        except ServiceUnavailable as error:
            if isinstance(error, Throttled) and not self._has_begun:
                raise
            raise httpx.TransportError(str(error), request=request) from error
        status = int(answer["statusCode"])
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            self._has_begun = True
            if are_fields or is_report:
                self._let_go()
        return httpx.Response(
            status,
            headers=_headers(answer),
            content=body,
            request=request,
            extensions={"http_version": b"HTTP/1.1"},
        )

    def until_held_is_due(self) -> float:
        """Seconds until `send_held` shall be called; infinite while nothing is held."""
        return max(0.0, self._send_held_at - time.monotonic())

    def send_held(self) -> None:
        """Send a held request, if there is one, on its own. A failure is logged and the request stays held."""
        if self._held is None:
            return
        self._has_sent_held = True
        try:
            self._invoke(self._held)
        except ServiceUnavailable as error:
            self._send_held_at = time.monotonic() + LONGEST_HELD
            log.warning("Rendered fields could not be sent: %s", error)
        else:
            self._let_go()

    def _hold(self, request: httpx.Request) -> httpx.Response:
        """Later fields replace earlier ones, as in the execution API."""
        if self._held is None:
            self._send_held_at = time.monotonic() + LONGEST_HELD
        self._held = self._event(request)
        return httpx.Response(201, json={"message": "To be sent with the report"}, request=request)

    def _let_go(self) -> None:
        self._held = None
        self._send_held_at = math.inf

    def _event(self, request: httpx.Request) -> dict[str, Any]:
        headers = dict(request.headers)
        if self._correlation_id:
            headers[OF_WORKERS] = self._correlation_id
        body = request.read()
        if len(body) > transfer.LIMIT:
            key = bucket_keys.transfer(str(uuid.uuid4()))
            self._objects.put(key, body)
            headers[transfer.HEADER] = key
            body = b""
        text, encoded = _text(body)
        # Both as they are sent: decoded here, a key that holds an escape of its own would be decoded twice.
        path, _, query = request.url.raw_path.decode("ascii").partition("?")
        return {
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": path,
            "rawQueryString": query,
            "headers": headers,
            "queryStringParameters": _query_parameters(request.url),
            "requestContext": {
                "accountId": "anonymous",
                "apiId": "execution",
                "domainName": request.url.host,
                "http": {
                    "method": request.method,
                    "path": path,
                    "protocol": "HTTP/1.1",
                    "sourceIp": "127.0.0.1",
                    "userAgent": headers.get("user-agent", ""),
                },
                "requestId": headers.get("correlation-id", str(uuid.uuid4())),
                "routeKey": "$default",
                "stage": "$default",
                "timeEpoch": int(time.time() * 1000),
            },
            "body": text,
            "isBase64Encoded": encoded,
        }

    def _body(self, answer: Mapping[str, Any]) -> bytes:
        headers = {name.lower(): value for name, value in (answer.get("headers") or {}).items()}
        if key := headers.get(transfer.HEADER):
            return self._objects.get(key)
        body = answer.get("body") or ""
        return base64.b64decode(body) if answer.get("isBase64Encoded") else body.encode()


def _text(body: bytes) -> tuple[str | None, bool]:
    if not body:
        return None, False
    try:
        return body.decode(), False
    except UnicodeDecodeError:
        return base64.b64encode(body).decode(), True


def _query_parameters(url: httpx.URL) -> dict[str, str] | None:
    """API Gateway joins a parameter that is given several times with commas."""
    parameters: dict[str, str] = {}
    for name, value in url.params.multi_items():
        parameters[name] = f"{parameters[name]},{value}" if name in parameters else value
    return parameters or None


def _headers(answer: Mapping[str, Any]) -> list[tuple[str, str]]:
    headers = [(str(name), str(value)) for name, value in (answer.get("headers") or {}).items()]
    for name, values in (answer.get("multiValueHeaders") or {}).items():
        headers.extend((str(name), str(value)) for value in values)
    return [(name, value) for name, value in headers if name.lower() not in {"content-length", "content-encoding"}]
