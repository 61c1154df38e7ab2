"""Every parameter of a list in Airflow's document is declared, and every declared filter is applied."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel

from gust.http.check import Query
from gust.rest_api import app  # noqa: F401 - importing it registers the handlers
from gust.rest_api.http.request import Body
from gust.rest_api.http.routing import HANDLERS, UI_HANDLERS
from gust.rest_api.lists.filters import PAGE_PARAMETERS, Elsewhere, Filters
from tests.unit.rest_api import contract

NO_LISTS = {
    "list_teams": "teams are off by default, and Gust has none",
    "get_tasks": "has an order alone",
}
"""Operations with `limit` or `order_by` that declare nothing, and why."""

FILTERED_WITHOUT_PAGES = {
    "get_dag_stats", "get_asset_queued_events", "get_dag_asset_queued_events", "get_partitioned_dag_runs", "get_calendar",
}  # fmt: skip
"""Lists that are answered whole."""

CHOOSES_THE_ANSWER = {"granularity"}
"""Parameters that change an answer's shape and filter nothing."""


def lists() -> dict[str, set[str]]:
    """Operation → parameters, without those of the page. The batch lists have theirs in the body."""
    found: dict[str, set[str]] = {}
    for file in (contract.FILE, contract.UI_FILE):
        document = contract.raw(file)
        for methods in document["paths"].values():
            for method, operation in methods.items():
                names = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "query"}
                if method == "post" and operation["operationId"].endswith("_batch"):
                    schema = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
                    names = set(document["components"]["schemas"][schema.rpartition("/")[2]]["properties"])
                is_list = method != "patch" and names & {"limit", "order_by", "page_limit"}
                if is_list or operation["operationId"] in FILTERED_WITHOUT_PAGES | {"patch_dags"}:
                    found[operation["operationId"]] = names - PAGE_PARAMETERS - {"update_mask"}
    return found


LISTS = lists()
OF_HANDLERS = {**HANDLERS, **UI_HANDLERS}


def module_of(operation_id: str) -> ModuleType:
    module = inspect.getmodule(OF_HANDLERS[operation_id])
    assert module is not None
    return module


def models(operation_id: str) -> list[type[BaseModel]]:
    """The models that the handler, or a function of its module that it calls, checks a request with."""
    module = module_of(operation_id)
    found: list[type[BaseModel]] = []
    names = list(OF_HANDLERS[operation_id].__code__.co_names)
    for name in names:
        value = getattr(module, name, None)
        if inspect.isclass(value) and issubclass(value, Query | Body):
            found.append(value)
        elif inspect.isfunction(value) and value.__module__ == module.__name__:
            names += [inner for inner in value.__code__.co_names if inner not in names]
    return found


def imported(module: ModuleType, group: Filters[Any]) -> bool:
    """Whether the module has the group only to build its own of it."""
    return any(set(group) < set(other) for other in vars(module).values() if isinstance(other, Filters))


def groups() -> dict[str, Filters[Any]]:
    modules = {module_of(operation_id) for operation_id in LISTS if operation_id in OF_HANDLERS}
    return {
        f"{module.__name__}.{name}": value
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, Filters) and not imported(module, value)
    }


@pytest.mark.parametrize("operation_id", sorted(LISTS))
def test_every_parameter_of_a_list_is_declared(operation_id: str) -> None:
    if operation_id in NO_LISTS:
        assert LISTS[operation_id] == set()
        return
    by_group = {name for group in groups().values() for name in group.fields}
    fields = {name: info for model in models(operation_id) for name, info in model.model_fields.items()}
    declared = {
        name
        for name, info in fields.items()
        if name in by_group or any(isinstance(mark, Elsewhere) and mark.reason for mark in info.metadata)
    }
    assert LISTS[operation_id] - CHOOSES_THE_ANSWER - declared == set()
    undeclared = fields.keys() - declared - PAGE_PARAMETERS - {"update_mask", "is_paused"} - CHOOSES_THE_ANSWER
    assert undeclared == set()


@pytest.mark.parametrize("name", sorted(groups()))
def test_every_group_of_filters_is_applied(name: str) -> None:
    """By a function of its module: a group that only its query model names filters nothing."""
    module_name, _, group = name.rpartition(".")
    module = next(m for m in map(module_of, sorted(LISTS.keys() & OF_HANDLERS.keys())) if m.__name__ == module_name)
    functions = [
        value for value in vars(module).values() if inspect.isfunction(value) and value.__module__ == module_name
    ]
    assert any(group in function.__code__.co_names for function in functions)
