"""The table of operations is the wheel's, and each has a handler."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.metadata import version

import pytest

from gust.rest_api.access.permissions import PUBLIC
from gust.rest_api.http.modules import MODULE_OF, OPERATIONS_OF
from gust.rest_api.http.operations import OPERATIONS, UI_OPERATIONS
from gust.rest_api.http.routing import HANDLERS, UI_HANDLERS, operation
from tests.unit.rest_api import contract
from tests.unit.rest_api.world import Api


def test_the_table_is_the_contracts() -> None:
    assert {name: tuple(operation) for name, operation in OPERATIONS.items()} == contract.operations()


def test_every_operation_has_a_handler() -> None:
    assert OPERATIONS.keys() == HANDLERS.keys()


def test_the_version_is_the_wheels(api: Api) -> None:
    assert api.ok("get_version", "GET", "/api/v2/version")["version"] == version("apache-airflow")


@pytest.mark.parametrize("operation_id", sorted(HANDLERS))
def test_an_operation_with_a_handler_is_reached_by_its_own_path(api: Api, operation_id: str) -> None:
    """Nothing else answers for it, such as `{task_id}` for `list`: over an empty store it succeeds, leads
    elsewhere, or is refused."""
    method, path = OPERATIONS[operation_id]
    reply = api(method, re.sub(r"\{\w+\}", "7", path))
    assert reply.status in (200, 204, 307, 400, 403, 404, 422), reply.text
    assert "Not Found" not in reply.text


def test_only_what_airflow_shows_to_everybody_is_public() -> None:
    secured = {
        name
        for name, (method, path) in contract.operations().items()
        if "security" in contract.document()["paths"][path][method.lower()]
    }
    assert PUBLIC & secured == {"logout"}


def test_unknown_paths_and_methods(api: Api) -> None:
    assert api("GET", "/api/v2/nope").status == 404
    assert api("POST", "/nope").detail == "Method Not Allowed"  # the web UI's page answers any other path
    assert api("DELETE", "/api/v2/version").status == 405


def test_what_no_route_answers_is_only_the_wrong_method(api: Api) -> None:
    """Airflow has an answer for every GET, so any other method finds a route, and is not the route's."""
    for method, path, allowed in (
        ("POST", "/api/v2/backfills/1/pause", "GET, PUT"),
        ("DELETE", "/api/v2/assets/1/queuedEvents/", "GET"),
        ("PUT", "/api/v2/nope", "GET"),
    ):
        reply = api(method, path)
        assert (reply.status, reply.detail, reply.headers["allow"]) == (405, "Method Not Allowed", allowed)
    assert api("GET", "/api/v2/dags/etl/clearTaskInstances").json == {"error": "API route not found"}


def test_a_key_with_a_line_break_is_within_reach(api: Api) -> None:
    api.ok("post_variable", "POST", "/api/v2/variables", {"key": "a\nb", "value": "v"}, 201)
    assert api.ok("get_variable", "GET", "/api/v2/variables/a%0Ab")["key"] == "a\nb"
    assert api("DELETE", "/api/v2/variables/a%0Ab").status == 204


def test_each_module_answers_the_operations_that_are_said_to_be_its_own() -> None:
    for name, operations in OPERATIONS_OF.items():
        import_module(f"gust.rest_api.{name}")
        for operation_id in operations:
            handler = HANDLERS.get(operation_id) or UI_HANDLERS[operation_id]
            assert handler.__module__ == f"gust.rest_api.{name}"
    assert len(MODULE_OF) == sum(map(len, OPERATIONS_OF.values()))


def test_every_operation_is_answered_once() -> None:
    assert MODULE_OF.keys() == OPERATIONS.keys() | UI_OPERATIONS.keys()
    assert not OPERATIONS.keys() & UI_OPERATIONS.keys()


def test_a_handler_in_another_module_is_refused() -> None:
    def get_version(services: object, request: object) -> None: ...

    with pytest.raises(ValueError, match=r"get_version is answered in tests"):
        operation("get_version")(get_version)
