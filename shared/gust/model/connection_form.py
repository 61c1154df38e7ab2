"""Connection types as the web UI's form asks for them, from what a provider declares of itself.

Standard library alone, and no import of Gust: `layers/web/pack.py` runs this file by its path.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from typing import Any

FIELDS = {
    "description": "description",
    "url_schema": "schema",
    "host": "host",
    "port": "port",
    "login": "login",
    "password": "password",
}
"""Standard fields of the form, and what providers call them."""


def declared_in(source: str) -> dict[str, Any]:
    """What `get_provider_info` in the text of a module returns, without running it: providers write it as one literal. Empty
    where this one does not."""
    try:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef) and node.name == "get_provider_info":
                for statement in node.body:
                    if isinstance(statement, ast.Return) and statement.value is not None:
                        declared = ast.literal_eval(statement.value)
                        return declared if isinstance(declared, dict) else {}
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        pass
    return {}


def forms_of(provider: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of the connection types that a provider declares."""
    types: Iterable[Mapping[str, Any]] = provider.get("connection-types", [])
    return [form(declared) for declared in types if declared.get("hook-class-name")]


def form(declared: Mapping[str, Any]) -> dict[str, Any]:
    behaviour = declared.get("ui-field-behaviour")
    extra = declared.get("conn-fields")
    return {
        "connection_type": declared["connection-type"],
        "hook_class_name": declared["hook-class-name"],
        "default_conn_name": None,
        "hook_name": declared.get("hook-name") or declared["connection-type"],
        "standard_fields": {field: _shown_as(name, behaviour) for field, name in FIELDS.items()} if behaviour else None,
        "extra_fields": {name: _extra_field(field) for name, field in extra.items()} if extra else None,
    }


def _shown_as(name: str, behaviour: Mapping[str, Any]) -> dict[str, Any] | None:
    hidden = name in behaviour.get("hidden-fields", [])
    title = behaviour.get("relabeling", {}).get(name)
    placeholder = behaviour.get("placeholders", {}).get(name)
    if not (hidden or title or placeholder):
        return None
    return {"hidden": hidden, "title": title, "placeholder": placeholder}


def _extra_field(field: Mapping[str, Any]) -> dict[str, Any]:
    schema = dict(field.get("schema", {}))
    if "label" in field:
        schema["title"] = field["label"]
    return {
        "value": schema.get("default"),
        "schema": schema,
        "description": field.get("description"),
        "source": None,
    }
