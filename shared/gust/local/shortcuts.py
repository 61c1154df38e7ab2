"""Cheaper versions of MiniStack's functions that nearly every call uses; `ministack` installs them.

Each gives MiniStack's result, and leaves every case that it does not know to MiniStack's function.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from gust.local.asgi import Scope

log = logging.getLogger("gust.emulator")

INVOCATIONS: Final = "/2015-03-31/functions/"
"""How the path of an invocation of a function begins."""


def service_of(scope: Scope) -> str | None:
    """MiniStack's name of the service, if it is a call of the table, an invocation, or lines for a log."""
    if scope["type"] != "http" or scope["method"] != "POST" or scope["query_string"]:
        return None
    headers = dict(scope["headers"])
    if b"authorization" not in headers or b"content-encoding" in headers:
        return None
    path, target = scope["path"], headers.get(b"x-amz-target", b"")
    if path == "/":
        is_log = target == b"Logs_20140328.PutLogEvents"
        return "dynamodb" if target.startswith(b"DynamoDB_20120810.") else "cloudwatch_logs" if is_log else None
    return "lambda_svc" if path.startswith(INVOCATIONS) and path.endswith("/invocations") else None


def projecting_names(project: Callable[..., Any]) -> Callable[..., Any]:
    """Project whole attributes, as our queries do, without a parser for each item."""

    def projected(item: Mapping[str, Any], expression: str, names: Mapping[str, str] | None) -> Any:
        paths = (expression or "").split(", ")
        if not names or not names.keys() >= set(paths) or len(set(paths)) < len(paths):
            return project(item, expression, names)
        return {name: item[name] for path in paths if (name := names[path]) in item}

    return projected


def sorting_text(sort_value: Callable[..., Any]) -> Callable[..., Any]:
    """Sort keys of text without looking at their type: MiniStack sorts a partition for each Query."""

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
"""The key conditions that `store.dynamodb` writes; all of its keys are text."""


def comparing_keys(evaluate: Callable[..., Any]) -> Callable[..., Any]:
    """Evaluate the conditions of our queries without a parser; every other goes to `evaluate`."""

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
