"""Airflow's OpenAPI file, out of the wheel and without importing it, as something to hold answers against."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

FILE = "api_fastapi/core_api/openapi/v2-rest-api-generated.yaml"
UI_FILE = "api_fastapi/core_api/openapi/_private_ui.yaml"

LOOSE = {"StructuredLogMessage", "HealthInfoResponse", "ValidationError", "HTTPValidationError"}
"""Schemas whose objects may hold more or less than they declare."""


def raw(file: str = FILE) -> dict[str, Any]:
    """As it is in the wheel; a copy that the caller may change."""
    return deepcopy(_read(file))


@cache
def _read(file: str) -> dict[str, Any]:
    spec = find_spec("airflow")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    text = (Path(next(iter(spec.submodule_search_locations))) / file).read_text()
    loaded: dict[str, Any] = yaml.load(text, Loader=yaml.CSafeLoader)
    return loaded


@cache
def document(file: str = FILE, *, nulls: bool = True) -> dict[str, Any]:
    """With what Airflow keeps to beyond it. `nulls=False`: for operations that leave out fields without a value."""
    loaded = raw(file)
    for name, schema in loaded["components"]["schemas"].items():
        if schema.get("type") == "object" and "properties" in schema and name not in LOOSE:
            # Airflow always answers all fields of a model, and no others: stricter than the schema says.
            schema.setdefault("additionalProperties", False)
            has_value = [name for name in schema["properties"] if nulls or not _may_be_null(schema["properties"][name])]
            schema["required"] = has_value
    return loaded


def _may_be_null(schema: dict[str, Any]) -> bool:
    return {"type": "null"} in schema.get("anyOf", ())


@cache
def operations(file: str = FILE) -> dict[str, tuple[str, str]]:
    """operationId → (method, path)."""
    return {
        operation["operationId"]: (method.upper(), path)
        for path, methods in document(file)["paths"].items()
        for method, operation in methods.items()
    }


def check(operation_id: str, status: int, body: Any, *, file: str = FILE, nulls: bool = True) -> None:
    """Raises jsonschema's ValidationError where the body is not what the operation answers with that status."""
    validator(operation_id, status, file, nulls=nulls).validate(body)


@cache
def validator(operation_id: str, status: int, file: str = FILE, *, nulls: bool = True) -> Draft202012Validator:
    method, path = operations(file)[operation_id]
    responses = document(file, nulls=nulls)["paths"][path][method.lower()]["responses"]
    content = responses[str(status)]["content"]["application/json"]["schema"]
    registry: Registry[Any] = Registry().with_resource("contract", Resource(document(file, nulls=nulls), DRAFT202012))
    return Draft202012Validator(_absolute(content), registry=registry, format_checker=FormatChecker())


def _absolute(schema: Any) -> Any:
    match schema:
        case {"$ref": reference}:
            return {"$ref": f"contract{reference}"}
        case dict():
            return {key: _absolute(value) for key, value in schema.items()}
        case list():
            return [_absolute(value) for value in schema]
        case _:
            return schema
