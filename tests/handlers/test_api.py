"""The API's door with API Gateway's events, recorded and shortened to the relevant parts."""

from __future__ import annotations

import base64
import gzip
import json
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from gust.aws.memory import MemoryObjects, MemoryQueues
from gust.aws.tokens import JwtTokens
from gust.model.dag import Dag
from gust.ports.clock import ManualClock
from gust.ports.logs import LogReader
from gust.rest_api.access.auth import ALL_ADMINS, Authenticator
from gust.rest_api.app import LARGEST_ANSWER, LambdaHandler, build
from gust.services.context import Services
from gust.store.memory import MemoryStore

RECORDED: dict[str, Any] = {
    "version": "2.0",
    "routeKey": "$default",
    "rawPath": "/api/v2/dags",
    "rawQueryString": "limit=1&tags=a%20b&tags=c%2Cd",
    "cookies": ["session=1"],
    "headers": {
        "accept": "application/json",
        "accept-encoding": "gzip, deflate",
        "content-length": "0",
        "host": "a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com",
        "user-agent": "python-requests/2.32.3",
        "x-amzn-trace-id": "Root=1-69a82f3c-0123456789abcdef01234567",
        "x-forwarded-for": "203.0.113.7",
        "x-forwarded-port": "443",
        "x-forwarded-proto": "https",
    },
    # Values of one name are joined with commas here, which is why it is not read.
    "queryStringParameters": {"limit": "1", "tags": "a b,c,d"},
    "requestContext": {
        "accountId": "123456789012",
        "apiId": "a1b2c3d4e5",
        "domainName": "a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com",
        "domainPrefix": "a1b2c3d4e5",
        "http": {
            "method": "GET",
            "path": "/api/v2/dags",
            "protocol": "HTTP/1.1",
            "sourceIp": "203.0.113.7",
            "userAgent": "python-requests/2.32.3",
        },
        "requestId": "Zx1abjO2FiAEMtg=",
        "routeKey": "$default",
        "stage": "$default",
        "time": "04/Mar/2026:12:00:00 +0000",
        "timeEpoch": 1772625600000,
    },
    "isBase64Encoded": False,
}


def event(**changed: Any) -> dict[str, Any]:
    """The recorded event with a method, a path and whatever else is given."""
    recorded = deepcopy(RECORDED)
    recorded["requestContext"]["http"] |= {
        "method": changed.pop("method", "GET"),
        "path": changed.get("rawPath", RECORDED["rawPath"]),
    }
    recorded["headers"] |= changed.pop("headers", {})
    recorded["requestContext"] |= changed.pop("requestContext", {})
    return recorded | changed


class NoLogs:
    def read_try(self, instance: Any, *, limit: int = 0, token: str | None = None) -> tuple[list[dict[str, Any]], None]:
        return [], None

    def where(self, instance: Any) -> list[str]:
        return []


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    store.put_dag(None, Dag(dag_id="one", tags=("a b",)))
    store.put_dag(None, Dag(dag_id="two", tags=("c,d", "x")))
    store.put_dag(None, Dag(dag_id="three", tags=("c",)))
    return store


@pytest.fixture
def handler(store: MemoryStore) -> LambdaHandler:
    logs: LogReader = NoLogs()
    clock = ManualClock(datetime(2026, 3, 4, 12, tzinfo=UTC))
    tokens = JwtTokens(lambda: "a signing key that is long enough for HS256")
    services = Services(
        store=store, objects=MemoryObjects(), queues=MemoryQueues(), tokens=tokens, clock=clock, logs=logs
    )
    return build(services, Authenticator(ALL_ADMINS))


def test_a_recorded_request(handler: LambdaHandler) -> None:
    answer = handler(event(), None)
    assert answer["statusCode"] == 200
    body = json.loads(answer["body"])
    assert ([dag["dag_id"] for dag in body["dags"]], body["total_entries"]) == (["one"], 2)
    assert answer["headers"]["Content-Type"] == "application/json"
    assert not answer["isBase64Encoded"]


def test_a_body_that_came_as_base64(handler: LambdaHandler, store: MemoryStore) -> None:
    body = base64.b64encode(json.dumps({"is_paused": True}).encode()).decode()
    said = {"content-type": "application/json"}
    patched = handler(
        event(method="PATCH", rawPath="/api/v2/dags/one", headers=said, body=body, isBase64Encoded=True), None
    )
    assert patched["statusCode"] == 200
    dag = store.get_dag("one")
    assert dag is not None
    assert dag.is_paused


def test_behind_a_named_stage(handler: LambdaHandler) -> None:
    staged = event(rawPath="/prod/api/v2/dags/one", requestContext={"stage": "prod"})
    assert handler(staged, None)["statusCode"] == 200


def test_an_event_with_nothing_optional(handler: LambdaHandler) -> None:
    bare = event(rawPath="/api/v2/version", rawQueryString="")
    for name in ("cookies", "queryStringParameters"):
        del bare[name]
    assert handler(bare, None)["statusCode"] == 200


def test_long_answers_are_compressed_for_those_who_can_read_it(handler: LambdaHandler, store: MemoryStore) -> None:
    for number in range(100):
        store.put_dag(None, Dag(dag_id=f"many_{number}", description="x" * 1000))
    asked = {"rawPath": "/api/v2/dags", "rawQueryString": "limit=100"}
    packed = handler(event(**asked), None)
    assert packed["isBase64Encoded"]
    assert packed["headers"]["Content-Encoding"] == "gzip"
    plain = handler(event(**asked, headers={"accept-encoding": "identity"}), None)
    assert gzip.decompress(base64.b64decode(packed["body"])).decode() == plain["body"]
    assert len(json.loads(plain["body"])["dags"]) == 100


def test_an_answer_that_lambda_could_not_return_is_refused_with_the_reason(
    handler: LambdaHandler, store: MemoryStore
) -> None:
    for number in range(100):
        store.put_dag(None, Dag(dag_id=f"huge_{number}", description="é" * (LARGEST_ANSWER // 100)))
    answer = handler(
        event(rawPath="/api/v2/dags", rawQueryString="limit=100", headers={"accept-encoding": "identity"}), None
    )
    assert answer["statusCode"] == 406
    assert "bytes" in json.loads(answer["body"])["detail"]


def test_our_own_bug_is_told_as_such_and_nothing_more(
    handler: LambdaHandler, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    dag = store.get_dag("one")
    assert dag is not None
    store.put_dag(dag, replace(dag, tags=None))  # type: ignore[arg-type] # what must not be
    answer = handler(event(rawPath="/api/v2/dags/one"), None)
    assert (answer["statusCode"], json.loads(answer["body"])) == (500, {"detail": "Internal Server Error"})
    assert any(record.exc_info for record in caplog.records)


def test_one_line_is_logged_for_each_request(handler: LambdaHandler, caplog: pytest.LogCaptureFixture) -> None:
    handler(event(rawPath="/api/v2/dags/none"), None)
    [record] = [record for record in caplog.records if record.message == "answered"]
    assert (record.method, record.path, record.status) == ("GET", "/api/v2/dags/none", 404)  # type: ignore[attr-defined]
