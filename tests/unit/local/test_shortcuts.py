"""Most calls go past MiniStack's router, and are answered as if they had not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import pytest

from gust.local.asgi import Application
from gust.local.ministack import straight_to_the_service

SIGNED = (
    "AWS4-HMAC-SHA256 Credential=123456789012/20261001/eu-west-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0"
)
ABROAD = SIGNED.replace("eu-west-1", "us-east-2")
TABLE = {
    "TableName": "calls",
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
    "BillingMode": "PAY_PER_REQUEST",
}
ITEM = {"pk": {"S": "one"}, "text": {"S": "Größe"}}


def call(
    application: Application,
    operation: str,
    body: Any,
    *,
    authorization: str = SIGNED,
    path: str = "/",
    query: bytes = b"",
    **more: str,
) -> tuple[int, dict[str, str], bytes]:
    target = operation if "." in operation else f"DynamoDB_20120810.{operation}"
    named = {
        "authorization": authorization,
        "host": "localhost",
        **({"x-amz-target": target} if operation else {}),
        **more,
    }
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    parts = iter(
        {"type": "http.request", "body": part, "more_body": is_more}
        for part, is_more in ((content[:7], True), (content[7:], False))
    )
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return next(parts)

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": query,
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
    }
    asyncio.run(application(scope, receive, send))
    headers = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(message["body"] for message in sent[1:])


@pytest.fixture(scope="module")
def both() -> tuple[Application, Application]:
    """MiniStack, and the way past its router, which nothing may leave."""
    from ministack import app

    async def nobody(*_: Any) -> None:
        pytest.fail("it went through the router")

    def straight(scope: Any, receive: Any, send: Any) -> Any:
        return straight_to_the_service(nobody)(scope, receive, send)

    assert call(app.app, "CreateTable", TABLE)[0] == 200
    return app.app, straight


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("PutItem", {"TableName": "calls", "Item": ITEM}),
        ("GetItem", {"TableName": "calls", "Key": {"pk": {"S": "one"}}}),
        ("GetItem", {"TableName": "nowhere", "Key": {"pk": {"S": "one"}}}),
        ("PutItem", {"TableName": "calls", "Item": ITEM, "ConditionExpression": "attribute_not_exists(pk)"}),
        ("DescribeTable", {"TableName": "calls"}),
        ("NoSuchOperation", {}),
        ("GetItem", b"no JSON at all"),
    ],
)
def test_an_answer_is_the_routers(both: tuple[Application, Application], operation: str, body: Any) -> None:
    routed, straight = (call(application, operation, body) for application in both)
    assert straight[0] == routed[0]
    assert straight[2] == routed[2]
    assert all(straight[1][name] == routed[1][name] for name in ("content-type", "content-length"))


def test_another_region_has_other_tables(both: tuple[Application, Application]) -> None:
    for application in both:
        assert call(application, "DescribeTable", {"TableName": "calls"}, authorization=ABROAD)[0] == 400


@pytest.mark.parametrize(
    "asked",
    [
        {"operation": "Logs_20140328.GetLogEvents"},
        {"operation": "AmazonSQS.SendMessage"},
        {"operation": "GetItem", "content-encoding": "gzip"},
        {"operation": "GetItem", "path": "/elsewhere"},
        {"operation": "GetItem", "query": b"a=b"},
        {"operation": "", "path": "/2015-03-31/functions/one"},
        {"operation": "", "path": "/_aws/execute-api/one/$default/invocations"},
    ],
)
def test_everything_else_goes_through_the_router(asked: dict[str, Any]) -> None:
    seen = []

    async def router(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    call(straight_to_the_service(router), body={}, **asked)
    assert seen == [asked.get("path", "/")]


def test_lines_of_a_log_and_invocations_take_the_same_way(both: tuple[Application, Application]) -> None:
    lines = {"logGroupName": "none", "logStreamName": "none", "logEvents": []}
    invocation = "/2015-03-31/functions/none/invocations"
    for asked in (
        {"operation": "Logs_20140328.PutLogEvents", "body": lines},
        {"operation": "", "body": {}, "path": invocation, "authorization": SIGNED.replace("/dynamodb/", "/lambda/")},
    ):
        routed, straight = (call(application, **asked) for application in both)  # type: ignore[arg-type]
        assert straight[0] == routed[0] >= 400
        assert straight[2] == routed[2]


def test_who_hangs_up_gets_no_answer() -> None:
    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.disconnect"}

    async def send(_: MutableMapping[str, Any]) -> None:
        pytest.fail("nobody listens")

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "query_string": b"",
        "headers": [(b"x-amz-target", b"DynamoDB_20120810.PutItem"), (b"authorization", SIGNED.encode())],
    }

    async def nobody(*_: Any) -> None:
        pytest.fail("it is the table's")

    asyncio.run(straight_to_the_service(nobody)(scope, receive, send))
