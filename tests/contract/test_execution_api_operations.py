"""Our table of routes and our request models against Airflow's own OpenAPI document of version 2026-06-30."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from gust.execution_api.routes import AIRFLOW_ROUTES
from gust.execution_api.routing import Access, Route

VERSION = "2026-06-30"
METHODS = {"get", "head", "post", "put", "patch", "delete"}


@pytest.fixture(scope="module")
def contract() -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "only to let the application start")
        environment.setenv("AIRFLOW__EXECUTION_API__JWT_AUDIENCE", "nobody")
        from airflow.api_fastapi.execution_api.app import create_task_execution_api_app
        from starlette.testclient import TestClient

        with TestClient(create_task_execution_api_app()) as client:
            answer = client.get("/openapi.json", params={"version": VERSION})
    assert answer.status_code == 200
    return dict(answer.json())


def test_every_operation_has_a_route_and_no_route_is_made_up(contract: dict[str, Any]) -> None:
    theirs = {(m.upper(), path) for path, item in contract["paths"].items() for m in item if m in METHODS}
    ours = [(route.method, _plain(route.path)) for route in AIRFLOW_ROUTES]
    assert len(theirs) > 50
    assert set(ours) == theirs
    assert len(ours) == len(set(ours))


def test_query_parameters_are_airflows(contract: dict[str, Any]) -> None:
    for route in AIRFLOW_ROUTES:
        declared = _operation(contract, route).get("parameters", [])
        theirs = {p["name"]: p.get("required", False) for p in declared if p["in"] == "query"}
        # Airflow declares both as required and refuses the request where neither has a value; its client sends both.
        if _plain(route.path) == "/asset-events/by-asset":
            theirs |= {"name": False, "uri": False}
        fields = route.query.model_fields if route.query else {}
        assert {name: field.is_required() for name, field in fields.items()} == theirs, route.path


def test_request_bodies_have_airflows_fields(contract: dict[str, Any]) -> None:
    compared = 0
    for route in AIRFLOW_ROUTES:
        theirs = _operation(contract, route).get("requestBody")
        if theirs is None or _comes_later(route):
            continue
        assert route.body is not None, route.path
        ours = TypeAdapter.json_schema(route.body())
        expected = contract_shapes(theirs["content"]["application/json"]["schema"], contract)
        assert contract_shapes(ours, ours) == expected, route.path
        compared += 1
    assert compared > 10


def test_the_same_routes_check_that_the_token_is_the_ids_own() -> None:
    from airflow.api_fastapi.execution_api.routes import execution_api_router
    from fastapi import FastAPI

    app = FastAPI()
    app.include_router(execution_api_router)
    theirs = set()
    for route in _flat(app.routes):
        scopes = {s for d in getattr(route, "dependencies", []) for s in getattr(d, "scopes", None) or []}
        if scopes & {"ti:self", "ct:self"}:
            theirs |= {(method, _plain(route.path)) for method in route.methods}
    ours = {(r.method, _plain(r.path)) for r in AIRFLOW_ROUTES if r.access is Access.OWN}
    assert len(theirs) > 10
    assert ours == theirs
    assert {_plain(r.path) for r in AIRFLOW_ROUTES if r.access is Access.OPEN} == {"/health", "/health/ping"}


def _flat(routes: Any) -> list[Any]:
    return [route for route in routes if hasattr(route, "methods") and route.path.startswith("/")]


def _plain(path: str) -> str:
    return path.replace(":path", "")


def _operation(contract: dict[str, Any], route: Route) -> dict[str, Any]:
    return dict(contract["paths"][_plain(route.path)][route.method.lower()])


def _comes_later(route: Route) -> bool:
    return route.path.startswith("/hitlDetails")


def contract_shapes(schema: dict[str, Any], document: dict[str, Any]) -> Any:
    """What a body may be: of every object its fields, the required ones marked; of anything else its type."""
    if "$ref" in schema:
        target: Any = document
        for step in schema["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        return contract_shapes(target, document)
    if not schema.keys() - {"title", "description"} or schema.get("title") == "Any valid JSON value":
        return "any"
    if options := schema.get("oneOf") or schema.get("anyOf"):
        shapes = [contract_shapes(option, document) for option in options]
        return sorted(map(str, shapes))
    if "properties" in schema:
        required = set(schema.get("required", []))
        fields = {name: name in required for name in sorted(schema["properties"])}
        return {"fields": fields, "closed": schema.get("additionalProperties") is False}
    return schema.get("type")
