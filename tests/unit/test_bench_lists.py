"""The bench of the API asks for every list there is, so that none is forgotten."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest

from benches.api import Call, calls
from benches.history import Size
from gust.rest_api.http.operations import OPERATIONS, UI_OPERATIONS
from tests.unit.rest_api import contract

SIZE: Final = Size(dags=200, runs=2000)

ASKED_OF_THE_PARSER: Final = {"get_plugins", "import_errors", "get_providers"}
"""What is installed: no table is read for these."""
OF_THE_SESSION: Final = {"get_auth_menus", "get_current_user_info", "get_configs", "hook_meta_data", "list_teams"}
"""What the UI asks of itself; the forms of connections, which are installed too; teams, which there are none of."""
WITHOUT_A_PAGE: Final = {"create_backfill_dry_run"}
"""Counts what it plans, and lists nothing that is stored."""


def lists_of_the_contract() -> set[str]:
    """Operations that answer with a collection."""
    document = contract.document()
    found = set()
    for methods in document["paths"].values():
        for operation in methods.values():
            schema = _answer(operation)
            name = schema.get("$ref", "").rpartition("/")[2]
            resolved = document["components"]["schemas"].get(name, schema)
            if "total_entries" in resolved.get("properties", {}) and not _changes(operation):
                found.add(operation["operationId"])
    return found - ASKED_OF_THE_PARSER - WITHOUT_A_PAGE


def _answer(operation: dict[str, Any]) -> dict[str, Any]:
    content = operation["responses"].get("200", {}).get("content", {})
    schema: dict[str, Any] = content.get("application/json", {}).get("schema", {})
    return schema


def _changes(operation: dict[str, Any]) -> bool:
    operation_id = operation["operationId"]
    method, path = contract.operations()[operation_id]
    return method != "GET" and not path.endswith("/list")


def lists_of_the_ui() -> set[str]:
    return {name for name, operation in UI_OPERATIONS.items() if operation.method == "GET"} - OF_THE_SESSION


def asked_by(call: Call) -> str:
    """The operation that answers: of those whose path fits, the one with the fewest parameters."""
    path, method = call.path.partition("?")[0], "GET" if call.body is None else "POST"
    fitting = [
        name
        for name, operation in (OPERATIONS | UI_OPERATIONS).items()
        if operation.method == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", operation.path), path)
    ]
    return min(fitting, key=lambda name: (OPERATIONS | UI_OPERATIONS)[name].path.count("{"))


ASKED: Final = {asked_by(call) for call in calls(SIZE)}


@pytest.mark.parametrize("operation", sorted(lists_of_the_contract() | lists_of_the_ui()))
def test_the_bench_asks_for_every_list(operation: str) -> None:
    assert operation in ASKED


def test_the_bench_asks_for_nothing_else() -> None:
    assert lists_of_the_contract() | lists_of_the_ui() >= ASKED


def test_there_are_as_many_lists_as_the_contract_has() -> None:
    assert len(lists_of_the_contract()) == 31
    assert len(lists_of_the_ui()) == 18


def test_each_call_has_a_name_of_its_own() -> None:
    titles = [call.title for call in calls(SIZE) if not call.title.startswith(("…", "UI: …"))]
    assert len(titles) == len(set(titles))


def test_only_the_pages_of_dags_may_take_longer() -> None:
    assert {asked_by(call) for call in calls(SIZE) if call.target != 0.3} == {"get_dags_ui"}
