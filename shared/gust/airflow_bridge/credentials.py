"""AWS credentials for a child: an endpoint on 127.0.0.1 that AWS's SDKs ask by themselves, as they do in containers.

The supervisor answers it, between the child's other requests, with what the execution API vends. A child that calls no AWS
service costs nothing; one that does costs a request per hour. The worker's own credentials stay with the supervisor.
"""

from __future__ import annotations

import hmac
import json
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Any, Final, Self

import httpx

from gust.model.execution_paths import CREDENTIALS

PATH: Final = "/credentials"

RENEWED_BEFORE: Final = timedelta(minutes=20)
"""Credentials that expire sooner are replaced. SDKs ask again a quarter of an hour before the end."""

REFUSED_FOR: Final = 20.0
"""Seconds for which a refusal is repeated without asking again: SDKs ask several times in a row. Failures are not."""

LARGEST_REQUEST: Final = 16_384
PATIENCE: Final = 1.0
"""Seconds for a client to send its request: the supervisor waits for it."""

_TOLD_EVERY: Final = 1.0
"""Seconds. An SDK that reads nothing for two gives up, after three attempts; a cold execution API on a busy machine takes
longer."""

_GO_ON_WAITING: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
"""Clients of HTTP skip it and wait for the answer."""

Ask = Callable[[], httpx.Response]
"""Asks the execution API. Raises httpx.HTTPStatusError, httpx.TransportError."""


class CredentialsEndpoint:
    """A selector can wait for it. `serve` handles one request."""

    def __init__(
        self,
        ask: Ask,
        *,
        log: Any,
        now: Callable[[], datetime] = lambda: datetime.now(tz=UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._log = log
        self._now = now
        self._monotonic = monotonic
        self._token = secrets.token_urlsafe(32)
        self._known: dict[str, Any] | None = None
        self._refusal: tuple[float, int, str] | None = None
        self._told = ""
        """The reason that the log says already."""
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=16)
        self._socket.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables by which an SDK finds the endpoint."""
        port = self._socket.getsockname()[1]
        return {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{port}{PATH}",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": self._token,
        }

    def serve(self) -> bool:
        """Answer one request, if there is one. Returns True: more may come."""
        try:
            client, _ = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return True
        with client, suppress(OSError):
            status, body = self._answer(_request(client), partial(client.sendall, _GO_ON_WAITING))
            content = json.dumps(body).encode()
            head = (
                f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
            )
            client.sendall(head.encode() + content)
        return True

    def _answer(self, request: bytes, keep_waiting: Callable[[], None]) -> tuple[int, Mapping[str, Any]]:
        line, _, rest = request.partition(b"\r\n")
        given = ""
        for header in rest.decode("latin-1").split("\r\n"):
            name, _, value = header.partition(":")
            if name.strip().lower() == "authorization":
                given = value.strip()
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            return 401, {"message": "Not the token of this task"}
        if line.split(b" ")[:2] != [b"GET", PATH.encode()]:
            return 404, {"message": f"Only GET {PATH} is answered"}
        return self._credentials(keep_waiting)

    def _credentials(self, keep_waiting: Callable[[], None]) -> tuple[int, Mapping[str, Any]]:
        if self._known is not None and _ends(self._known) - self._now() > RENEWED_BEFORE:
            return 200, self._known
        if self._refusal is not None and self._monotonic() < self._refusal[0] + REFUSED_FOR:
            return self._refusal[1], {"message": self._refusal[2]}
        try:
            self._known = self._asked(keep_waiting).json()
        except httpx.HTTPStatusError as error:
            return self._refused(error.response.status_code, str(getattr(error, "detail", None) or error))
        except httpx.TransportError as error:
            return self._refused(503, f"The control plane does not answer: {error}")
        return 200, self._known

    def _asked(self, keep_waiting: Callable[[], None]) -> httpx.Response:
        """What the execution API answers. `keep_waiting` is called every second until then."""
        with ThreadPoolExecutor(1) as thread:
            answer = thread.submit(self._ask)
            while not wait([answer], timeout=_TOLD_EVERY).done:
                with suppress(OSError):
                    keep_waiting()
            return answer.result()

    def _refused(self, status: int, reason: str) -> tuple[int, Mapping[str, Any]]:
        if self._told != reason:
            self._told = reason
            self._log.error("The task gets no AWS credentials", reason=reason)
        self._refusal = (self._monotonic(), status, reason) if status < HTTPStatus.INTERNAL_SERVER_ERROR else None
        if self._known is not None and _ends(self._known) > self._now():
            return 200, self._known  # good for some more minutes
        return status, {"message": reason}


def ask_through(client: httpx.Client) -> Ask:
    """Asks once: SDKs ask again by themselves, and the supervisor has more to do than to wait for STS."""
    return lambda: httpx.Client.request(client, "GET", CREDENTIALS)


def _ends(credentials: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(credentials["Expiration"])


def _request(client: socket.socket) -> bytes:
    """A request's first line and headers. Raises OSError (a timeout is one) for a client that sends none."""
    client.settimeout(PATIENCE)
    until = time.monotonic() + PATIENCE
    received = bytearray()
    while b"\r\n\r\n" not in received:
        part = client.recv(4096)
        received += part
        if not part or len(received) > LARGEST_REQUEST or time.monotonic() > until:
            raise ConnectionError("no request")
    return bytes(received)
