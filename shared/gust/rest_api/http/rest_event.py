"""Events of a REST API (payload version 1.0) as the HTTP API's (2.0), which the function is written for, and answers back.

What is lost on the way is what neither says: the order of parameters of different names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote_plus

BASE_PATH: Final = "basePath"
"""Field of a translated event: what stands before the API's paths in its address, as `/airflow`. Empty for a domain of one's
own."""


def is_rest(event: Mapping[str, Any]) -> bool:
    return "httpMethod" in event


def as_http_event(event: Mapping[str, Any]) -> dict[str, Any]:
    """`path` is still as it was sent, percent-encoded, and without the stage, which `requestContext.path` has."""
    context = event.get("requestContext") or {}
    identity = context.get("identity") or {}
    headers = {name.lower(): ",".join(values) for name, values in _headers(event).items() if name.lower() != "cookie"}
    if "accept" not in headers:
        # Without it API Gateway sends a compressed answer as the base64 that the function returned.
        headers.pop("accept-encoding", None)
    method, path = event["httpMethod"], event.get("path") or "/"
    route = _route(method, event.get("resource") or "")
    user = identity.get("userArn")
    return {
        "version": "2.0",
        "routeKey": route,
        "rawPath": path,
        "rawQueryString": _query(event),
        "cookies": [
            pair.strip()
            for name, values in _headers(event).items()
            if name.lower() == "cookie"
            for value in values
            for pair in value.split(";")
        ],
        "headers": headers,
        "pathParameters": event.get("pathParameters") or {},
        BASE_PATH: (context.get("path") or path).removesuffix(path).rstrip("/"),
        "requestContext": {
            "accountId": context.get("accountId"),
            "apiId": context.get("apiId"),
            "domainName": context.get("domainName"),
            "requestId": context.get("requestId"),
            "routeKey": route,
            "stage": "$default",  # the path has none
            **({"authorizer": {"iam": {"userArn": user}}} if user else {}),
            "http": {
                "method": method,
                "path": path,
                "protocol": context.get("protocol"),
                "sourceIp": identity.get("sourceIp"),
                "userAgent": identity.get("userAgent"),
            },
        },
        "body": event.get("body") or "",
        "isBase64Encoded": bool(event.get("isBase64Encoded")),
    }


def as_rest_answer(answer: Mapping[str, Any]) -> dict[str, Any]:
    """API Gateway refuses an answer with any other field."""
    translated: dict[str, Any] = {
        "statusCode": answer["statusCode"],
        "headers": dict(answer.get("headers") or {}),
        "body": answer.get("body") or "",
        "isBase64Encoded": bool(answer.get("isBase64Encoded")),
    }
    if cookies := answer.get("cookies"):
        translated["multiValueHeaders"] = {"Set-Cookie": list(cookies)}
    return translated


def _route(method: str, resource: str) -> str:
    """As the HTTP API names its route. An event does not say whether the REST API's method was `ANY`."""
    if resource in ("/", "/{proxy+}"):
        return "$default"
    return f"{'ANY' if resource == '/signed/{proxy+}' else method} {resource}"


def _headers(event: Mapping[str, Any]) -> dict[str, list[str]]:
    several = event.get("multiValueHeaders") or {}
    return {name: several.get(name) or [value] for name, value in (event.get("headers") or {}).items()} | several


def _query(event: Mapping[str, Any]) -> str:
    """Encoded again: API Gateway has decoded names and values."""
    several = event.get("multiValueQueryStringParameters")
    if several is None:
        several = {name: [value] for name, value in (event.get("queryStringParameters") or {}).items()}
    return "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, values in several.items() for value in values)
