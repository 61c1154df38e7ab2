"""The front door beyond this machine: which requests it answers, and which parts of them it passes on."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from gust.cli.__main__ import main
from gust.local.asgi import Receive, Scope, Send
from gust.local.checkpoint import Checkpoints
from gust.local.emulator import Emulator
from gust.local.front_door import FrontDoor
from gust.local.processes import InUseError, free_port
from gust.local.stack import LocalStack
from tests.environment import of_a_user

PUBLIC, INNER = 8080, 40001
LAN = "192.168.1.7"
OURS = f"{LAN}:{PUBLIC}"


async def _echo(scope: Scope, receive: Receive, send: Send) -> None:
    """MiniStack's place: answers with the headers that reach it."""
    seen = {name.decode(): value.decode() for name, value in scope["headers"]}
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(seen).encode()})


async def _nothing() -> MutableMapping[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


def ask(tmp_path: Path, headers: dict[str, str], *, host: str = LAN, port: int = PUBLIC) -> tuple[int, Any]:
    emulator = Emulator(_echo, Checkpoints(tmp_path), restored=None, public_port=PUBLIC, door=FrontDoor(host))
    said: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        said.append(message)

    def scope(its_port: int, path: str, its_headers: dict[str, str]) -> Scope:
        raw = [(name.encode(), value.encode()) for name, value in its_headers.items()]
        return {"type": "http", "server": (LAN, its_port), "path": path, "headers": raw}

    async def both() -> None:
        await emulator.handle(scope(INNER, "/_gust/open/abc", {"host": f"127.0.0.1:{INNER}"}), _nothing, send)
        said.clear()
        await emulator.handle(scope(port, "/api/v2/dags", headers), _nothing, send)

    asyncio.run(both())
    return said[0]["status"], json.loads(said[1]["body"])


@pytest.mark.parametrize(
    "headers",
    [
        {"host": OURS},
        {"host": "10.1.2.3:8080"},  # another address of this machine, or of what forwards to it
        {"host": "[fe80::1]:8080"},
        {"host": "localhost:8080"},
        {"host": f"{socket.gethostname()}:8080"},
        {"host": OURS, "origin": f"http://{OURS}"},
        {"host": OURS, "sec-fetch-site": "same-origin"},
        {"host": OURS, "sec-fetch-site": "none", "sec-fetch-mode": "navigate"},
        {"host": OURS, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
        {"host": OURS, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
    ],
)
def test_programs_and_our_own_pages_are_let_in_to_be_asked_who_they_are(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    assert ask(tmp_path, headers)[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": "evil.example:8080"},  # lets its own name point to us
        {"host": "evil.example:8080", "origin": "http://evil.example:8080"},
        {"host": f"{LAN}.evil.example"},
        {"host": "bucket.s3.localhost:8080"},  # the emulator would take it for S3
        {"host": "0a1b2c3d.execute-api.localhost:8080"},
        {"host": "[nonsense"},
        {"host": "0a1b2c3d4e.us-east-1.aoss.x@127.0.0.1"},  # the emulator looks at how it begins
        {"host": f"d1.cloudfront.net:80@{OURS}"},
        {"host": f"{OURS}/x.s3.localhost"},
        {"host": f"{OURS}?x.s3.localhost"},
        {"host": f"{LAN}#x.s3.localhost"},
        {"host": f"{LAN}:8080:8080"},
        {"host": OURS, "origin": "https://evil.example"},
        {"host": OURS, "origin": "null"},
        {"host": OURS, "origin": "http://[nonsense"},
        {"host": OURS, "origin": f"http://{LAN}:9000"},  # a neighbour's page
        {"host": OURS, "origin": "http://localhost:8080"},
        {"host": OURS, "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
        {"host": OURS, "sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"},
        {"host": OURS, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
    ],
)
def test_pages_and_names_from_elsewhere_are_not(tmp_path: Path, headers: dict[str, str]) -> None:
    assert ask(tmp_path, headers)[0] == 403


@pytest.mark.parametrize("name", ["host", "origin"])
def test_who_says_two_things_is_not_believed(name: str) -> None:
    said = {"host": OURS, "origin": f"http://{OURS}"}
    headers = [(each.encode(), value.encode()) for each, value in said.items()]
    assert not FrontDoor(LAN).refuses({"headers": headers})
    for twice in (
        [(name.encode(), b"evil.example"), *headers],
        [*headers, (name.upper().encode(), said[name].encode())],
    ):
        assert FrontDoor(LAN).refuses({"headers": twice})


def test_a_name_that_was_given_is_ours(tmp_path: Path) -> None:
    assert ask(tmp_path, {"host": "gust.example:8080"}, host="gust.example")[0] == 200
    assert ask(tmp_path, {"host": "gust.example:8080"})[0] == 403


def test_what_would_speak_to_the_emulator_does_not_get_through(tmp_path: Path) -> None:
    """MiniStack verifies no signature; it believes what is said in it."""
    _, seen = ask(
        tmp_path,
        {
            "host": OURS,
            "authorization": "AWS4-HMAC-SHA256 Credential=000000000000/20260301/us-east-1/s3/aws4_request, Signature=x",
            "x-amz-target": "DynamoDB_20120810.Scan",
            "X-Amz-Request-Route": "r",
            "cookie": "_token=t",
        },
    )
    assert seen == {"host": OURS, "cookie": "_token=t", "x-forwarded-proto": "http"}
    _, seen = ask(tmp_path, {"host": OURS, "authorization": "Bearer t", "x-forwarded-proto": "https"})
    assert seen == {"host": OURS, "authorization": "Bearer t", "x-forwarded-proto": "https"}


def test_the_emulators_own_port_answers_this_machine_alone(tmp_path: Path) -> None:
    assert ask(tmp_path, {"host": f"127.0.0.1:{INNER}"}, port=INNER)[0] == 200
    for host in (f"{LAN}:{INNER}", "evil.example"):
        assert ask(tmp_path, {"host": host}, port=INNER)[0] == 403


@pytest.mark.parametrize(
    ("host", "demands"),
    [("127.0.0.1", False), ("localhost", False), ("127.0.0.2", True), ("0.0.0.0", True), ("::", True), (LAN, True)],  # noqa: S104  nothing is bound
)
def test_everywhere_but_on_loopback_a_login_is_demanded(tmp_path: Path, host: str, demands: bool) -> None:
    given = {"parameters": {"ApiAuthorization": "NONE"}, "environment": of_a_user()}
    stack = LocalStack(root=tmp_path, data=tmp_path, dags=None, host=host, **given)
    assert stack.demands_login == demands
    assert stack._parameters["ApiAuthorization"] == ("TOKEN" if demands else "NONE")


@pytest.mark.parametrize("host", ["198.51.100.1", "no-such-name.invalid"])
def test_an_address_that_is_not_this_machines_is_told_before_anything_starts(tmp_path: Path, host: str) -> None:
    data = tmp_path / "data"
    with pytest.raises(InUseError, match=f"Cannot listen on {host}"):
        LocalStack(root=tmp_path, data=data, dags=None, host=host, port=free_port(), environment=of_a_user()).start()
    assert [file.name for file in data.iterdir()] == []


def test_it_says_where_it_is() -> None:
    assert FrontDoor("0.0.0.0").url(80) == "http://127.0.0.1:80"  # noqa: S104  nothing is bound
    assert FrontDoor("::1").url(80) == "http://[::1]:80"
    assert FrontDoor("localhost").url(80, from_elsewhere=True) == "http://127.0.0.1:80"
    assert FrontDoor(LAN).url(80, from_elsewhere=True) == f"http://{LAN}:80"
    assert "0.0.0.0" not in FrontDoor("0.0.0.0").url(80, from_elsewhere=True)  # noqa: S104


def test_without_a_stack_there_is_nothing_to_sign_in_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["login", "--local", "--data", str(tmp_path)]) == 1
    assert "No local stack runs" in capsys.readouterr().err
