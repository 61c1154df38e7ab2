"""The API's door with a REST API's events, in the form that AWS documents ("Lambda proxy integrations", payload 1.0)."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from gust.model.dag import Dag
from gust.rest_api.access.access import Access
from gust.rest_api.access.auth import ALL_ADMINS, Authenticator
from gust.rest_api.app import LambdaHandler, build
from gust.rest_api.http import web
from gust.store.memory import MemoryStore
from tests.unit.rest_api.ui.test_web import packed  # noqa: F401 - a fixture
from tests.unit.rest_api.world import World, make_world

HOST = "a1b2c3d4e5-vpce-0123456789abcdef0.execute-api.eu-central-1.amazonaws.com"
ADA = "arn:aws:sts::123456789012:assumed-role/DataTeam/ada"

RECORDED: dict[str, Any] = {
    "resource": "/{proxy+}",
    "path": "/api/v2/dags",
    "httpMethod": "GET",
    "headers": {
        "Accept": "application/json",
        "Accept-Encoding": "gzip, deflate",
        "Host": HOST,
        "User-Agent": "python-requests/2.32.3",
        "x-amzn-vpce-id": "vpce-0123456789abcdef0",
        "X-Forwarded-For": "10.0.0.7",
    },
    "multiValueHeaders": {
        "Accept": ["application/json"],
        "Accept-Encoding": ["gzip, deflate"],
        "Host": [HOST],
        "User-Agent": ["python-requests/2.32.3"],
        "x-amzn-vpce-id": ["vpce-0123456789abcdef0"],
        "X-Forwarded-For": ["10.0.0.7"],
    },
    "queryStringParameters": None,
    "multiValueQueryStringParameters": None,
    "pathParameters": {"proxy": "api/v2/dags"},
    "stageVariables": None,
    "requestContext": {
        "resourceId": "abc123",
        "resourcePath": "/{proxy+}",
        "httpMethod": "GET",
        "extendedRequestId": "Zx1abjO2FiAEMtg=",
        "requestTime": "04/Mar/2026:12:00:00 +0000",
        "path": "/airflow/api/v2/dags",
        "accountId": "123456789012",
        "protocol": "HTTP/1.1",
        "stage": "airflow",
        "domainPrefix": "a1b2c3d4e5-vpce-0123456789abcdef0",
        "requestTimeEpoch": 1772625600000,
        "requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
        "identity": {
            "cognitoIdentityPoolId": None,
            "accountId": None,
            "caller": None,
            "sourceIp": "10.0.0.7",
            "principalOrgId": None,
            "accessKey": None,
            "userAgent": "python-requests/2.32.3",
            "user": None,
            "userArn": None,
            "vpcId": "vpc-1",
            "vpceId": "vpce-0123456789abcdef0",
        },
        "domainName": HOST,
        "apiId": "a1b2c3d4e5",
    },
    "body": None,
    "isBase64Encoded": False,
}


def event(
    method: str,
    url: str,
    body: bytes | None = None,
    *,
    resource: str = "/{proxy+}",
    headers: Mapping[str, str | list[str]] | None = None,
    signer: str | None = None,
    stage_in_path: str = "/airflow",
    **path_parameters: str,
) -> dict[str, Any]:
    """What API Gateway would send: the path encoded, parameters of the query decoded, every body in base64."""
    made = deepcopy(RECORDED)
    parts = urlsplit(url)
    query = parse_qs(parts.query, keep_blank_values=True)
    made |= {
        "resource": resource,
        "path": parts.path,
        "httpMethod": method,
        "pathParameters": path_parameters or {"proxy": unquote(parts.path[1:])},
        "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
        "multiValueQueryStringParameters": query or None,
    }
    for name, value in (headers or {}).items():
        values = [value] if isinstance(value, str) else value
        made["headers"][name], made["multiValueHeaders"][name] = values[-1], values
    if body is not None:
        made |= {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    made["requestContext"] |= {"path": f"{stage_in_path}{parts.path}", "httpMethod": method, "resourcePath": resource}
    made["requestContext"]["identity"]["userArn"] = signer
    return made


@pytest.fixture
def world() -> World:
    return make_world()


@pytest.fixture
def store(world: World) -> MemoryStore:
    store = world.store
    store.put_dag(None, Dag(dag_id="one", tags=("a b",)))
    store.put_dag(None, Dag(dag_id="two", tags=("c,d", "x")))
    store.put_dag(None, Dag(dag_id="three", tags=("c",)))
    return store


@pytest.fixture
def open_api(world: World, store: MemoryStore) -> LambdaHandler:
    return build(world.services, Authenticator(ALL_ADMINS))


@pytest.fixture
def closed_api(world: World, store: MemoryStore) -> LambdaHandler:
    return build(world.services, Authenticator("", Access(lambda: "")))


def body_of(answer: dict[str, Any]) -> Any:
    text = base64.b64decode(answer["body"]) if answer["isBase64Encoded"] else answer["body"].encode()
    return json.loads(gzip.decompress(text) if answer["headers"].get("Content-Encoding") == "gzip" else text)


def test_parameters_that_repeat_and_hold_commas(open_api: LambdaHandler) -> None:
    answer = open_api(event("GET", "/api/v2/dags?limit=5&tags=a%20b&tags=c%2Cd"), None)

    assert [dag["dag_id"] for dag in body_of(answer)["dags"]] == ["one", "two"]
    assert set(answer) <= {"statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"}  # or it is a 502
    assert all(isinstance(value, str) for value in answer["headers"].values())


def test_a_body_is_base64_since_every_type_is_binary(open_api: LambdaHandler, store: MemoryStore) -> None:
    said = {"Content-Type": "application/json"}
    answer = open_api(event("PATCH", "/api/v2/dags/one", b'{"is_paused": true}', headers=said), None)

    assert answer["statusCode"] == 200
    dag = store.get_dag("one")
    assert dag is not None
    assert dag.is_paused


def test_a_path_is_decoded_once(open_api: LambdaHandler) -> None:
    said = {"Content-Type": "application/json"}
    for key in ("with%2Fslash", "with%2520escape", "%C3%A9"):
        value = json.dumps({"key": unquote(key), "value": "1"}).encode()
        assert open_api(event("POST", "/api/v2/variables", value, headers=said), None)["statusCode"] == 201
        found = open_api(event("GET", f"/api/v2/variables/{key}"), None)
        assert body_of(found)["key"] == unquote(key)


def test_a_long_answer_is_compressed_unless_api_gateway_would_not_decode_it(
    open_api: LambdaHandler, store: MemoryStore
) -> None:
    for number in range(100):
        store.put_dag(None, Dag(dag_id=f"many_{number}", description="x" * 1000))
    asked = event("GET", "/api/v2/dags?limit=100")
    packed_answer = open_api(asked, None)
    for headers in (asked["headers"], asked["multiValueHeaders"]):
        del headers["Accept"]
    plain = open_api(asked, None)

    assert packed_answer["isBase64Encoded"]
    assert not plain["isBase64Encoded"]
    assert body_of(packed_answer) == body_of(plain)


def test_the_web_ui_lives_below_the_stage(
    open_api: LambdaHandler,
    packed: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GUST_WEB", str(packed))
    web.web_files.cache_clear()
    page = open_api(event("GET", "/", resource="/", headers={"Accept": "text/html"}), None)
    image = open_api(event("GET", "/static/pin_32.png", resource="/static/{proxy+}", proxy="pin_32.png"), None)

    assert '<base href="/airflow/" />' in page["body"]
    assert (image["headers"]["Content-Type"], image["isBase64Encoded"]) == ("image/png", True)
    assert base64.b64decode(image["body"]) == bytes(range(256))
    own_domain = open_api(event("GET", "/dags/one", stage_in_path=""), None)
    assert '<base href="/" />' in own_domain["body"]
    web.web_files.cache_clear()


def test_a_signature_counts_on_signed_routes_alone(closed_api: LambdaHandler) -> None:
    unsigned = closed_api(event("POST", "/auth/token", resource="/auth/token"), None)
    token = closed_api(event("POST", "/auth/token", resource="/auth/token", signer=ADA), None)
    under_prefix = closed_api(
        event("GET", "/signed/api/v2/dags", resource="/signed/{proxy+}", signer=ADA, proxy="api/v2/dags"), None
    )
    elsewhere = closed_api(event("GET", "/api/v2/dags", signer=ADA), None)
    with_token = closed_api(
        event("GET", "/api/v2/dags", headers={"Authorization": f"Bearer {body_of(token)['access_token']}"}), None
    )

    assert [unsigned["statusCode"], token["statusCode"], under_prefix["statusCode"]] == [422, 201, 200]
    assert [elsewhere["statusCode"], with_token["statusCode"]] == [401, 200]


def test_a_sessions_own_tag_is_in_the_path_that_it_signs(world: World, store: MemoryStore) -> None:
    document = json.dumps(
        {"iam": [{"principal": "arn:aws:sts::123456789012:assumed-role/DataTeam/*", "tag": "ops", "role": "Op"}]}
    )
    api = build(world.services, Authenticator("", Access(lambda: document)))

    def ask(tag: str) -> int:
        resource = "/auth/token/as/{tag}"
        return int(
            api(event("POST", f"/auth/token/as/{tag}", resource=resource, signer=ADA, tag=tag), None)["statusCode"]
        )

    assert (ask("ops"), ask("dev")) == (201, 403)


def test_a_browser_is_led_below_the_stage_and_keeps_its_cookie(closed_api: LambdaHandler) -> None:
    said = {"Content-Type": "application/json"}
    made = event(
        "POST", "/auth/login-link", b'{"next": "/dags"}', resource="/auth/login-link", headers=said, signer=ADA
    )
    link = body_of(closed_api(made, None))["path"]
    came = closed_api(event("GET", link, resource="/auth/login-link"), None)

    assert (came["statusCode"], came["headers"]["Location"]) == (307, "/airflow/dags")
    cookie = came["headers"]["Set-Cookie"].partition(";")[0]
    again = closed_api(event("GET", "/api/v2/dags", headers={"Cookie": ["theme=dark", cookie]}), None)
    assert again["statusCode"] == 200
    changed = event("PATCH", "/api/v2/dags/one", b'{"is_paused": true}', headers={**said, "Cookie": cookie})
    changed["headers"]["Origin"] = "https://other.example.com"
    assert closed_api(changed, None)["statusCode"] == 403
    changed["headers"]["Origin"] = f"https://{HOST}"
    assert closed_api(changed, None)["statusCode"] == 200
    page = f"https://{HOST}/airflow/dags/one"
    login = closed_api(event("GET", f"/api/v2/auth/login?next={page}"), None)
    assert login["headers"]["Location"].startswith("/airflow/auth/token/login?next=https%3A%2F%2F")


def test_the_address_of_the_caller_is_in_the_trail(
    closed_api: LambdaHandler, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    closed_api(event("POST", "/auth/token", resource="/auth/token", signer=ADA), None)

    [record] = [record for record in caplog.records if record.message == "answered"]
    assert record.ip == "10.0.0.7"  # type: ignore[attr-defined]
    assert any("10.0.0.7" in (entry.extra or "") for entry in world.store.logged_events())
