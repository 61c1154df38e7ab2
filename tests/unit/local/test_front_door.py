"""Every caller that reaches the local stack is administrator. A browser reaches it too, on behalf of any page it shows."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from gust.local.asgi import Receive, Scope, Send
from gust.local.checkpoint import Checkpoints
from gust.local.emulator import Emulator

PUBLIC, INNER = 8080, 40001


async def _ministack(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


async def _nothing() -> MutableMapping[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


def _status(tmp_path: Path, headers: dict[str, str], *, port: int = PUBLIC, path: str = "/api/v2/dags") -> int:
    emulator = Emulator(_ministack, Checkpoints(tmp_path), restored=None, public_port=PUBLIC)
    statuses: list[int] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        statuses.append(message.get("status", 0))

    def scope(port: int, path: str, headers: dict[str, str]) -> Scope:
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        return {"type": "http", "server": ("127.0.0.1", port), "path": path, "headers": raw}

    async def ask() -> None:
        await emulator.handle(scope(INNER, "/_gust/open/abc", {"host": f"127.0.0.1:{INNER}"}), _nothing, send)
        statuses.clear()
        await emulator.handle(scope(port, path, headers), _nothing, send)

    asyncio.run(ask())
    return statuses[0]


@pytest.mark.parametrize("port", [PUBLIC, INNER])
@pytest.mark.parametrize(
    "headers",
    [
        {"host": "127.0.0.1:8080"},
        {"host": "localhost:8080"},
        {"host": "[::1]:8080"},
        {"host": "abc.execute-api.localhost:4566"},
        {},
        {"host": "localhost:8080", "origin": "http://localhost:8080"},
        {"host": "127.0.0.1:40001", "origin": "http://127.0.0.1:40001"},
    ],
)
def test_programs_of_this_machine_and_our_own_pages_are_let_in(
    tmp_path: Path, port: int, headers: dict[str, str]
) -> None:
    assert _status(tmp_path, headers, port=port) == 200


@pytest.mark.parametrize(("port", "path"), [(PUBLIC, "/api/v2/dags"), (INNER, "/bucket"), (INNER, "/_gust/open/x")])
@pytest.mark.parametrize(
    "headers",
    [
        {"host": "127.0.0.1:8080", "origin": "https://evil.example"},
        {"host": "127.0.0.1:8080", "origin": "http://localhost.evil.example"},
        {"host": "127.0.0.1:8080", "origin": "null"},
        {"host": "127.0.0.1:8080", "origin": "http://localhost:5173"},
        {"host": "127.0.0.1:8080", "origin": "http://127.0.0.1:5173"},
        {"host": "127.0.0.1:8080", "origin": "http://evil.localhost:8080"},
        {"host": "localhost:8080", "origin": "http://127.0.0.1:8080"},
        {"host": "evil.example:8080", "origin": "http://evil.example:8080"},
        {"host": "evil.example:8080"},
        {"host": "127.0.0.1.evil.example:8080"},
        {"host": "[nonsense"},
    ],
)
def test_a_page_from_elsewhere_is_not(tmp_path: Path, port: int, path: str, headers: dict[str, str]) -> None:
    """By a request across origins, another port of this machine among them, or by a name of its own that it lets point to
    this machine."""
    assert _status(tmp_path, headers, port=port, path=path) == 403


IMAGE = {"host": "127.0.0.1:8080", "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
LINK = {"host": "127.0.0.1:8080", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}


def test_nor_is_an_image_or_a_link_that_is_a_call_to_aws(tmp_path: Path) -> None:
    """They bear no origin. AWS's older protocols take a call that changes something as a GET."""
    assert _status(tmp_path, IMAGE, port=INNER, path="/") == 403
    assert _status(tmp_path, LINK, port=INNER, path="/") == 403
    assert _status(tmp_path, IMAGE) == 403
    assert _status(tmp_path, {**IMAGE, "sec-fetch-site": "same-site"}) == 403
    assert _status(tmp_path, {**IMAGE, "sec-fetch-site": "same-site"}, port=INNER, path="/") == 403


def test_nor_is_a_frame_on_another_page(tmp_path: Path) -> None:
    """It bears no origin either, and what is clicked in it comes from our own page."""
    for kind in ("iframe", "frame", "object", "embed"):
        assert _status(tmp_path, {**LINK, "sec-fetch-dest": kind}) == 403
    assert _status(tmp_path, {**LINK, "sec-fetch-dest": "document"}) == 200


def test_a_link_from_elsewhere_leads_here(tmp_path: Path) -> None:
    """To the front door, where a GET changes nothing."""
    assert _status(tmp_path, LINK) == 200
    assert _status(tmp_path, {**IMAGE, "sec-fetch-site": "same-origin"}) == 200
    assert _status(tmp_path, {**IMAGE, "sec-fetch-site": "none"}, port=INNER) == 200
    assert _status(tmp_path, {**LINK, "sec-fetch-site": "same-site"}) == 200
