"""Holds one request of a function or container on its way, so that a test can do something in that very moment.

    with gust.holding("PUT", "*/environments/*.zip", at=At.UPLOAD) as held:
        held.wait()
        builder.kill()

The test and the emulator's process share a folder: the test writes the order, the emulator a mark beside it when the
request has come, and the request goes on when the order is gone.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import unquote

from gust.local.asgi import Application, Receive, Scope, Send

FOLDER: Final = "held-requests"
"""In the folder of the stack."""

PATIENCE: Final = 60.0
"""Seconds until a test gives up to wait for the request, and until a held request goes on by itself."""


class At(StrEnum):
    """Where the request stands still."""

    UPLOAD = "upload"
    """A part of its body has come. The rest is lost if its sender dies now, and S3 stores no part of an object."""
    REQUEST = "request"
    """It is complete, and nothing has been done."""
    ANSWER = "answer"
    """All is done, and the caller has no answer yet."""


@dataclass(frozen=True, slots=True)
class Order:
    method: str
    path: str
    """Pattern."""
    at: At
    text: str
    """A part of the body; empty for any body. Not known yet `At.UPLOAD`."""

    def fits(self, scope: Scope, body: bytes | None) -> bool:
        is_there = body is None or self.text.encode() in body
        return scope["method"] == self.method and fnmatchcase(unquote(scope["path"]), self.path) and is_there


class Held:
    """The test's side; `Holding` is the emulator's."""

    def __init__(self, data: Path, order: Order) -> None:
        folder = data / FOLDER
        folder.mkdir(exist_ok=True)
        self._order = folder / f"{time.monotonic_ns():020}.json"
        self._mark = self._order.with_suffix(".held")
        self._text = json.dumps(asdict(order))

    def __enter__(self) -> Self:
        beside = self._order.with_suffix(".new")
        beside.write_text(self._text)
        beside.rename(self._order)
        return self

    def __exit__(self, *_: object) -> None:
        self._order.unlink(missing_ok=True)

    @property
    def is_there(self) -> bool:
        """Whether the request stands still, or has stood."""
        return self._mark.exists()

    def wait(self, within: float = PATIENCE) -> None:
        """Until the request stands still."""
        deadline = time.monotonic() + within
        while not self.is_there:
            assert time.monotonic() < deadline, f"after {within:.0f} s: no such request: {self._text}"
            time.sleep(0.02)


class Holding:
    """In front of the border. Each order holds the first request that fits it and that no older order holds."""

    def __init__(self, application: Application, data: Path) -> None:
        self._application = application
        self._folder = data / FOLDER

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        orders = self._orders() if scope["type"] == "http" else {}
        if not any(order.fits(scope, None) for order in orders.values()):
            await self._application(scope, receive, send)
            return
        read = [await receive()]
        if await self._hold(orders, At.UPLOAD, scope, None) and await _is_gone(read, receive):
            return
        while read[-1].get("more_body"):
            read.append(await receive())
        body = b"".join(message.get("body", b"") for message in read)
        await self._hold(orders, At.REQUEST, scope, body)

        async def replayed() -> Any:
            return read.pop(0) if read else await receive()

        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                await self._hold(orders, At.ANSWER, scope, body)
            await send(message)

        await self._application(scope, replayed, sent)

    def _orders(self) -> dict[Path, Order]:
        if not self._folder.exists():
            return {}
        files = [file for file in sorted(self._folder.glob("*.json")) if not file.with_suffix(".held").exists()]
        return {file: Order(**json.loads(file.read_text())) for file in files}

    async def _hold(self, orders: dict[Path, Order], at: At, scope: Scope, body: bytes | None) -> bool:
        """Whether it was held."""
        for file, order in orders.items():
            if order.at == at and order.fits(scope, body) and not file.with_suffix(".held").exists():
                file.with_suffix(".held").touch()
                deadline = time.monotonic() + PATIENCE
                while file.exists() and time.monotonic() < deadline:
                    await asyncio.sleep(0.02)
                return True
        return False


async def _is_gone(read: list[Any], receive: Receive) -> bool:
    """Whether the sender of the request has died. Adds what else it has sent to `read`."""
    with suppress(TimeoutError):
        while read[-1]["type"] != "http.disconnect":
            read.append(await asyncio.wait_for(receive(), 0.2))
        return True
    return False
