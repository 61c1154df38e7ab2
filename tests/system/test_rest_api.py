"""The stack with a REST API in the HTTP API's place: the emulator's events of version 1.0, and a stage in the path."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Route

from gust.local.stack import LocalStack
from tests.aws_like import calls
from tests.environment import of_a_user
from tests.system.browser import Person, chromium
from tests.system.local_gust import PATIENCE, ROOT


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    data = tmp_path_factory.mktemp("rest_api") / "data"
    stack = LocalStack(
        root=ROOT,
        data=data,
        dags=None,
        environment=of_a_user(),
        emulator=calls.EMULATOR,
        parameters={"ApiEndpoint": "Rest"},
    )
    calls.begin(data)
    stack.start()
    yield stack
    stack.stop()
    calls.look_at(data)


@pytest.fixture
def anybody(stack: LocalStack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.url, timeout=PATIENCE) as client:
        yield client


def test_the_http_api_is_gone(stack: LocalStack) -> None:
    assert stack.client("apigatewayv2").get_apis()["Items"] == []
    (api,) = stack.client("apigateway").get_rest_apis()["items"]
    assert (api["id"], stack.outputs["ApiUrl"].endswith("/airflow")) == (stack.outputs["ApiId"], True)


def test_bodies_repeated_parameters_and_escapes(anybody: httpx.Client) -> None:
    for key in ("a b", "é", "two"):
        assert anybody.post("/api/v2/variables", json={"key": key, "value": "ü"}).status_code == 201
    assert anybody.get("/api/v2/variables/a%20b").json()["value"] == "ü"
    listed = anybody.get("/api/v2/variables", params={"order_by": ["-key"], "limit": 2}).json()
    assert [each["key"] for each in listed["variables"]] == ["é", "two"]


def test_the_web_ui_and_its_files(anybody: httpx.Client) -> None:
    page = anybody.get("/dags", headers={"accept": "text/html,*/*"})
    assert '<base href="/airflow/"' in page.text
    script = (
        page.text.partition('src="./')[2].partition('"')[0]
        or page.text.partition('src="/airflow/')[2].partition('"')[0]
    )
    sent = anybody.get(f"/{script}")
    assert sent.headers["content-type"].startswith("text/javascript")
    assert len(sent.content) > 100_000  # uncompressed again by the client
    icon = anybody.get("/static/pin_32.png")
    assert icon.content.startswith(b"\x89PNG")


def test_a_sign_in_leads_below_the_stage(anybody: httpx.Client) -> None:
    came = anybody.get("/api/v2/auth/login")
    assert (came.status_code, came.headers["location"]) == (307, "/airflow/auth/token/login")
    signed_in = anybody.get("/auth/token/login")
    assert signed_in.headers["location"] == "/airflow/"
    assert signed_in.headers["set-cookie"].startswith("_token=")


def test_a_person_whose_files_are_refused_is_told_and_gets_the_page_a_moment_later(stack: LocalStack) -> None:
    refused: list[str] = []

    def refuse_once(route: Route) -> None:
        if refused:
            route.continue_()
        else:
            refused.append(route.request.url)
            route.fulfill(status=429, json={"message": "Too Many Requests"})

    with chromium() as browser, Person(browser, stack.url) as person:
        person.forgives("429")
        person.forgives(
            "/api/v2/plugins$"
        )  # the parser's first start takes longer than the API waits, on a busy machine
        person.page.route("**/static/assets/index-*.js", refuse_once)
        person.opens("/variables", "asked for too often at the moment")
        person.sees("Add Variable")
        # A page that came counts anew the next time.
        person.page.wait_for_function("sessionStorage.getItem('gust.reloads') === null")

    assert refused[0].startswith(f"{stack.url}/static/assets/")
