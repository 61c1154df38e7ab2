"""The local stack with a login: the same stack first on 127.0.0.1, where every caller is administrator, then on another of
this machine's addresses, where a caller must sign in first. 127.0.0.2 stands for an address in a network."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

import httpx
import pytest

from gust.cli.__main__ import main
from gust.local.stack import LocalStack
from gust.rest_api.access.permissions import PUBLIC
from gust.rest_api.http.operations import OPERATIONS, UI_OPERATIONS
from tests.environment import of_a_user
from tests.system.browser import Person, chromium
from tests.system.local_gust import PATIENCE, ROOT

ELSEWHERE: Final = "127.0.0.2"
FORGED: Final = {
    "authorization": "AWS4-HMAC-SHA256 Credential=000000000000/20260301/us-east-1/execute-api/aws4_request, "
    "SignedHeaders=host, Signature=0000",
    "x-amz-date": "20260301T000000Z",
}
"""What the emulator would believe to be the account's administrator."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demanded_login") / "data"


@pytest.fixture(scope="module")
def stack(data: Path) -> Iterator[LocalStack]:
    before = LocalStack(root=ROOT, data=data, dags=None, environment=of_a_user())
    before.start()
    try:
        assert httpx.get(f"{before.url}/api/v2/dags", timeout=PATIENCE).status_code == 200
    finally:
        before.stop()
    stack = LocalStack(root=ROOT, data=data, dags=None, host=ELSEWHERE, environment=of_a_user())
    stack.start()
    yield stack
    stack.stop()


@pytest.fixture
def anybody(stack: LocalStack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.url, timeout=PATIENCE) as client:
        yield client


@pytest.fixture
def person(stack: LocalStack) -> Iterator[httpx.Client]:
    """Signed in by a link."""
    with httpx.Client(base_url=stack.url, timeout=PATIENCE) as client:
        assert client.get(stack.login_link()).status_code == 307
        yield client


def test_no_operation_answers_somebody_unknown(anybody: httpx.Client) -> None:
    for name, (method, path) in {**OPERATIONS, **UI_OPERATIONS}.items():
        for headers in ({}, FORGED):
            status = anybody.request(method, re.sub(r"\{\w+\}", "7", path), headers=headers).status_code
            assert status == 401 or name in PUBLIC, name
    assert anybody.get("/openapi.json").status_code == 401


def test_health_and_version_are_answered(anybody: httpx.Client) -> None:
    assert anybody.get("/api/v2/version").status_code == 200
    assert anybody.get("/api/v2/monitor/health").json()["metadatabase"]["status"] == "healthy"


@pytest.mark.parametrize("path", ["/auth/token", "/auth/token/cli", "/auth/login-link", "/auth/token/as/ops"])
def test_nobody_is_given_a_token_for_a_signature_that_nobody_verifies(anybody: httpx.Client, path: str) -> None:
    body = {} if path == "/auth/login-link" else {"username": "ada", "password": "x"}
    assert anybody.post(path, headers=FORGED, json=body).status_code == 401
    assert anybody.post(path, json=body).status_code == 401
    signed = anybody.post(f"/signed{path}", headers=FORGED, json=body)
    assert (signed.status_code, "access_token" in signed.text) == (405, False)
    assert anybody.get("/auth/token").status_code == 401
    assert "total_entries" not in anybody.get("/signed/api/v2/dags", headers=FORGED).text


def test_a_link_lets_one_browser_in_once_and_leads_to_the_page(stack: LocalStack, anybody: httpx.Client) -> None:
    link = stack.login_link("/dags?tags=shop#top")
    assert link.startswith(f"http://{ELSEWHERE}:")
    came = anybody.get(link)
    assert (came.status_code, came.headers["location"]) == (307, "/dags?tags=shop#top")
    attributes = came.headers["set-cookie"].split("; ")[1:]
    assert {"HttpOnly", "SameSite=Lax"} <= set(attributes)
    assert "Secure" not in attributes, "a browser would not send it over plain HTTP"
    assert anybody.get("/api/v2/dags").status_code == 200
    with httpx.Client(timeout=PATIENCE) as another:
        assert another.get(link).status_code == 403
        assert another.get(f"{stack.url}/api/v2/dags").status_code == 401


def test_a_link_leads_to_no_other_site(stack: LocalStack) -> None:
    for page, leads_to in (("https://evil.example/", "/"), (f"{stack.url}/dags", "/dags")):
        assert httpx.get(stack.login_link(page), timeout=PATIENCE).headers["location"] == leads_to


def test_who_is_in_acts_from_our_own_pages_alone(stack: LocalStack, person: httpx.Client) -> None:
    pool = {"name": "p", "slots": 1}
    for origin in ("http://evil.example", f"http://{ELSEWHERE}:9", f"http://127.0.0.1:{urlsplit(stack.url).port}"):
        assert person.post("/api/v2/pools", json=pool, headers={"origin": origin}).status_code == 403
    assert person.post("/api/v2/pools", json=pool, headers={"origin": stack.url}).status_code == 201


@pytest.mark.parametrize(
    "name", ["evil.example", "gust.s3.localhost", "00000000.execute-api.localhost", "gust.localhost"]
)
def test_no_name_from_elsewhere_is_answered(person: httpx.Client, name: str) -> None:
    assert person.get("/api/v2/version", headers={"host": name}).status_code == 403


def test_the_emulator_stays_on_loopback(stack: LocalStack) -> None:
    emulator, api = urlsplit(stack.endpoint), urlsplit(stack.url)
    assert emulator.hostname == "127.0.0.1"
    for address in ((ELSEWHERE, emulator.port), ("127.0.0.1", api.port)):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address).close()


def test_who_sits_at_the_machine_gets_more_links_and_tokens(
    stack: LocalStack, data: Path, anybody: httpx.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["login", "--local", "--data", str(data), "--print", "--page", "/pools"]) == 0
    assert anybody.get(capsys.readouterr().out.strip()).headers["location"] == "/pools"
    assert main(["login", "--local", "--data", str(data), "--token"]) == 0
    token = capsys.readouterr().out.strip()
    bearer = {"authorization": f"Bearer {token}"}
    assert httpx.get(f"{stack.url}/api/v2/connections", headers=bearer, timeout=PATIENCE).status_code == 200


def test_in_a_browser(stack: LocalStack) -> None:
    """Who is not signed in is told how, and that it leads back; who is goes on to the page, and to the contract's."""
    with chromium() as browser:
        with Person(browser, stack.url) as stranger:
            stranger.forgives(r"^\w+ 401 /")
            stranger.page.goto(f"{stack.url}/dags?tags=shop")
            stranger.sees("You are not signed in")
            assert "--page '/dags?tags=shop'" in stranger.page.inner_text("body")
            stranger.page.goto(f"{stack.url}/docs")
            stranger.sees("You are not signed in")
            assert quote("/docs", safe="") in stranger.page.url
        with Person(browser, stack.url) as person:
            person.page.goto(stack.login_link("/pools"))
            person.sees("default_pool")
            person.opens("/docs", "Airflow API", "/api/v2/assets")
