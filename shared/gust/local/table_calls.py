"""MiniStack's DynamoDB, to which most calls of a stack go, for less of the processor.

What is done here is what MiniStack does: the same functions of its DynamoDB answer.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping
from typing import Any, Final

from gust.local.asgi import Application, Receive, Scope, Send

TABLE_CALLS: Final = b"DynamoDB_20120810."
"""How `X-Amz-Target` begins."""


def straight_to_the_table(application: Application) -> Application:
    """MiniStack asks of each request whether it is for one of a hundred services, or a page of its own, before it looks at
    the header that says so: a quarter of what such a call costs."""
    from ministack import app
    from ministack.core import responses, router

    dynamodb = app._get_module("dynamodb")  # so that it is among those whose state is saved

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"]) if scope["type"] == "http" else {}
        target = headers.get(b"x-amz-target", b"")
        if not target.startswith(TABLE_CALLS) or scope["path"] != "/" or b"content-encoding" in headers:
            await application(scope, receive, send)
            return
        body = bytearray()
        while (part := await receive())["type"] == "http.request":
            body += part.get("body", b"")
            if not part.get("more_body"):
                break
        else:
            return  # Who asked has gone.
        asked = {name: headers.get(name.encode(), b"").decode("latin-1") for name in ("x-amz-target", "authorization")}
        responses.set_request_account_id(router.extract_access_key_id(asked))
        responses.set_request_region(router.extract_region(asked))
        status, named, answer = await dynamodb.handle_request("POST", "/", asked, bytes(body), {})
        content = answer if isinstance(answer, bytes) else answer.encode()
        sent = [(name.encode(), str(value).encode()) for name, value in named.items()]
        sent.append((b"content-length", str(len(content)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": sent})
        await send({"type": "http.response.body", "body": content})

    return handle


def parse_expressions_once() -> None:
    """MiniStack parses and checks the condition of a Query anew for every item of the partition."""
    from ministack.services import dynamodb

    for name in ("_tokenize", "_condition_syntax_error"):
        setattr(dynamodb, name, functools.lru_cache(maxsize=1024)(getattr(dynamodb, name)))
    dynamodb._evaluate_condition = comparing_keys(dynamodb._evaluate_condition)
    dynamodb._project_item = projecting_names(dynamodb._project_item)
    dynamodb._sort_key_value = sorting_text(dynamodb._sort_key_value)


def projecting_names(project: Callable[..., Any]) -> Callable[..., Any]:
    """Projections on whole attributes, as ours are, without a parser for each item."""

    def projected(item: Mapping[str, Any], expression: str, names: Mapping[str, str] | None) -> Any:
        paths = (expression or "").split(", ")
        if not names or not names.keys() >= set(paths) or len(set(paths)) < len(paths):
            return project(item, expression, names)
        return {name: item[name] for path in paths if (name := names[path]) in item}

    return projected


def sorting_text(sort_value: Callable[..., Any]) -> Callable[..., Any]:
    """Sorting a partition, which MiniStack does for each Query: keys of text without a look at their type."""

    def sorted_by(attribute: Mapping[str, Any] | None, kind: str | None) -> Any:
        return attribute["S"] if attribute and "S" in attribute else sort_value(attribute, kind)

    return sorted_by


KEY_CONDITIONS: Final[dict[str, Callable[[str, Mapping[str, Any]], bool]]] = {
    "#pk = :pk": lambda sk, values: True,  # noqa: ARG005 - one shape for all
    "#pk = :pk AND begins_with(#sk, :begin)": lambda sk, values: sk.startswith(values[":begin"]["S"]),
    "#pk = :pk AND #sk <= :until": lambda sk, values: sk <= values[":until"]["S"],
    "#pk = :pk AND #sk BETWEEN :first AND :last": lambda sk, values: (
        values[":first"]["S"] <= sk <= values[":last"]["S"]
    ),
}
"""Those that `store.table` writes, all of whose keys are text."""


def comparing_keys(evaluate: Callable[..., Any]) -> Callable[..., Any]:
    """The conditions of our queries without a parser; every other goes to `evaluate`."""

    def evaluated(
        expression: str,
        item: Mapping[str, Any],
        values: Mapping[str, Any],
        names: Mapping[str, str],
        slot: str = "ConditionExpression",
    ) -> Any:
        if slot == "KeyConditionExpression" and expression in KEY_CONDITIONS:
            with contextlib.suppress(KeyError):
                in_partition = item[names["#pk"]] == values[":pk"]
                sk = item[names["#sk"]]["S"] if "#sk" in names else ""
                return in_partition and KEY_CONDITIONS[expression](sk, values)
        return evaluate(expression, item, values, names, slot)

    return evaluated
