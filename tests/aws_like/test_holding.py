"""A held request goes on when its test says so, and one whose sender has died in the middle of it does nothing."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.aws_like.holding import At, Held, Holding, Order

SCOPE = {"type": "http", "method": "PUT", "path": "/files/environments/a.zip"}


class Service:
    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
        self.bodies.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": []})


class Caller:
    def __init__(self, *parts: bytes) -> None:
        self.answers: list[Any] = []
        self.dies = asyncio.Event()
        self._messages = self._sent(parts)

    async def receive(self) -> Any:
        return await anext(self._messages)

    async def send(self, message: Any) -> None:
        self.answers.append(message["status"])

    async def _sent(self, parts: tuple[bytes, ...]) -> AsyncIterator[Any]:
        for number, part in enumerate(parts, start=1):
            yield {"type": "http.request", "body": part, "more_body": number < len(parts)}
        await self.dies.wait()
        yield {"type": "http.disconnect"}


@pytest.mark.parametrize(
    ("at", "dies", "stored"),
    [
        (At.UPLOAD, False, [b"abc"]),
        (At.UPLOAD, True, []),
        (At.REQUEST, True, [b"abc"]),
        (At.ANSWER, True, [b"abc"]),
    ],
)
def test_it_stands_still_until_the_test_lets_it_go(tmp_path: Path, at: At, dies: bool, stored: list[bytes]) -> None:
    async def play() -> None:
        service, caller = Service(), Caller(b"ab", b"c")
        with Held(tmp_path, Order("PUT", "*/environments/*.zip", at, "")) as held:
            request = asyncio.create_task(Holding(service, tmp_path)(SCOPE, caller.receive, caller.send))
            while not held.is_there:
                await asyncio.sleep(0.01)
            assert service.bodies == ([b"abc"] if at is At.ANSWER else [])
            assert caller.answers == []
            if dies:
                caller.dies.set()
        await request
        assert service.bodies == stored
        assert caller.answers == [200] * len(stored)

    asyncio.run(play())


@pytest.mark.parametrize("text", ["z", "b"])
def test_another_request_is_not_held(tmp_path: Path, text: str) -> None:
    async def play() -> None:
        service = Service()
        with Held(tmp_path, Order("PUT" if text == "z" else "GET", "*", At.REQUEST, text)) as held:
            caller = Caller(b"ab")
            await Holding(service, tmp_path)(SCOPE, caller.receive, caller.send)
            assert not held.is_there
        assert service.bodies == [b"ab"]

    asyncio.run(play())
