"""Which callers are admitted, and as which user."""

from __future__ import annotations

from typing import Any

import jwt
import pytest

from gust.model.keys import TaskInstanceKey
from gust.model.state import TaskInstanceState
from gust.model.task_instance import TaskInstance
from gust.rest_api.access.auth import Authenticator
from gust.rest_api.app import build
from tests.unit.rest_api.world import Api, World

LOGIN = {"username": "a", "password": "b"}


@pytest.fixture
def closed(world: World) -> Api:
    """An API that was not told to let everybody in."""
    return Api(build(world.services, Authenticator("")))


def token_of(api: Api) -> str:
    reply = api("GET", "/auth/token")
    assert reply.status == 201
    return str(reply.json["access_token"])


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def test_everybody_gets_a_token_that_airflows_clients_understand(api: Api) -> None:
    claims = jwt.decode(token_of(api), options={"verify_signature": False})
    assert claims["aud"] == "apache-airflow"
    assert (claims["sub"], claims["role"]) == ("Anonymous", "ADMIN")


@pytest.mark.parametrize("path", ["/auth/token", "/auth/token/cli"])
def test_signing_in_takes_json_or_a_form(api: Api, path: str) -> None:
    assert api("POST", path, LOGIN).status == 201
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert api("POST", path, "username=a&password=b", headers=form).status == 201
    assert api("POST", path, {"username": "a"}).detail[0]["loc"] == ["body", "password"]


def test_tokens_live_for_an_hour(api: Api) -> None:
    def lifetime(token: str) -> int:
        claims = jwt.decode(token, options={"verify_signature": False})
        return int(claims["exp"] - claims["iat"])

    assert lifetime(token_of(api)) == 3_600
    assert lifetime(api("POST", "/auth/token/cli", LOGIN).json["access_token"]) == 3_600


def test_with_all_admins_a_request_needs_no_token(world: World, api: Api) -> None:
    dag = world.dag()
    run = api("POST", f"/api/v2/dags/{dag.dag_id}/dagRuns", {"logical_date": None})
    assert run.json["triggering_user_name"] == "Anonymous"


def test_a_token_that_is_given_must_be_good(world: World, api: Api) -> None:
    token = token_of(api)
    assert api("GET", "/api/v2/dags", headers=bearer(token)).status == 200
    assert api("GET", "/api/v2/dags", cookies=[f"other=1; _token={token}"]).status == 200
    refused = api("GET", "/api/v2/dags", headers=bearer(token[:-4] + "AAAA"))
    assert (refused.status, refused.detail) == (403, "Invalid JWT token")
    world.clock.advance(3_601)
    expired = api("GET", "/api/v2/dags", headers=bearer(token))
    assert (expired.status, expired.detail) == (401, "Token Expired")


def test_a_workers_token_opens_nothing_here(world: World, api: Api) -> None:
    key = TaskInstanceKey("etl", "run", "extract")
    instance = TaskInstance(
        dag_id=key.dag_id, run_id=key.run_id, task_id=key.task_id, state=TaskInstanceState.QUEUED, try_number=1
    )
    token = world.services.tokens.for_dispatch(instance, now=world.clock.now())
    assert api("GET", "/api/v2/dags", headers=bearer(token)).status == 403


def test_otherwise_nobody_is_let_in_without_a_token(closed: Api) -> None:
    refused = closed("GET", "/api/v2/dags")
    assert (refused.status, refused.detail) == (401, "Not authenticated")
    for reply in (closed("GET", "/auth/token"), closed("POST", "/auth/token", LOGIN)):
        assert reply.status == 401
        assert "Sign the request with IAM" in reply.detail
    assert closed("GET", "/api/v2/version").status == 200
    assert closed("GET", "/api/v2/monitor/health").status == 200


def test_a_token_is_good_everywhere(api: Api, closed: Api) -> None:
    assert closed("GET", "/api/v2/dags", headers=bearer(token_of(api))).status == 200


def test_whose_signature_the_gateway_checked_is_who_iam_says(world: World, closed: Api) -> None:
    world.dag()
    arn = "arn:aws:iam::123456789012:user/ada"
    signed = {"authorization": "AWS4-HMAC-SHA256 Credential=AKIA/20260304/eu-west-1/execute-api/aws4_request, …"}

    def through_the_gateway(event: dict[str, Any], context: Any) -> dict[str, Any]:
        event["requestContext"]["authorizer"] = {"iam": {"userArn": arn, "accountId": "123456789012"}}
        return closed.handler(event, context)

    def on_the_signed_route(event: dict[str, Any], context: Any) -> dict[str, Any]:
        event["routeKey"] = event["requestContext"]["routeKey"] = "ANY /signed/{proxy+}"
        event["rawPath"] = f"/signed{event['rawPath']}"
        return through_the_gateway(event, context)

    ada = Api(on_the_signed_route)
    run = ada("POST", "/api/v2/dags/etl/dagRuns", {"logical_date": None}, headers=signed)
    assert run.json["triggering_user_name"] == arn
    claims = jwt.decode(token_of(ada), options={"verify_signature": False})
    assert claims["sub"] == arn
    # Only where the gateway checks signatures is it believed.
    assert Api(through_the_gateway)("GET", "/api/v2/dags", headers=signed).status == 401
    assert closed("GET", "/api/v2/dags", headers=signed).status == 401


@pytest.mark.parametrize(
    ("wanted", "location"),
    [
        ("", "/"),
        ("?next=/dags/etl", "/dags/etl"),
        ("?next=https://evil.example/", "/"),
        ("?next=//evil.example/", "/"),
        ("?next=/%5Cevil.example/", "/"),
    ],
)
def test_signing_in_by_browser_goes_on_to_a_page_of_ours(api: Api, wanted: str, location: str) -> None:
    reply = api("GET", f"/auth/token/login{wanted}")
    assert (reply.status, reply.headers["location"]) == (307, location)
    cookie = reply.headers["set-cookie"].split(";")[0]
    assert api("GET", "/api/v2/dags", cookies=[cookie]).status == 200
