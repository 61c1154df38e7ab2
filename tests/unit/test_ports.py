"""What `gust.ports` holds: protocols and their stand-ins, one module for each noun of the store."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import is_dataclass
from types import ModuleType

import pytest

import gust.ports
import gust.store.dynamodb
import gust.store.memory
from gust.ports.store import Store
from gust.store.dynamodb import DynamoDBStore
from gust.store.memory import MemoryStore


def modules(package: ModuleType) -> Iterator[ModuleType]:
    for found in pkgutil.iter_modules(package.__path__):
        yield importlib.import_module(f"{package.__name__}.{found.name}")


def nouns(of: type) -> set[str]:
    """Modules of the classes that it inherits from."""
    return {base.__module__.rpartition(".")[2] for base in of.__mro__ if base.__module__.startswith("gust.")} - {
        "store"
    }


def test_values_are_in_the_model() -> None:
    values = [
        f"{module.__name__}.{name}"
        for module in modules(gust.ports)
        for name, found in vars(module).items()
        if isinstance(found, type)
        and found.__module__ == module.__name__
        and (is_dataclass(found) or issubclass(found, tuple))
    ]
    assert values == []


@pytest.mark.parametrize(("implementation", "shared"), [(MemoryStore, {"state"}), (DynamoDBStore, set())])
def test_a_port_and_its_implementations_are_in_modules_of_one_name(implementation: type, shared: set[str]) -> None:
    assert nouns(implementation) - shared == nouns(Store)


@pytest.mark.parametrize("implementation", [MemoryStore, DynamoDBStore])
def test_a_store_has_every_method_of_its_port_where_the_port_has_it(implementation: type) -> None:
    misplaced = {
        name: (_home(implementation, name), noun)
        for base in Store.__mro__
        if base.__module__.startswith("gust.ports.")
        for name in vars(base)
        if not name.startswith("_")
        for noun in [base.__module__.rpartition(".")[2]]
        if _home(implementation, name) != noun
    }
    assert misplaced == {}


def _home(implementation: type, name: str) -> str | None:
    return next((base.__module__.rpartition(".")[2] for base in implementation.__mro__ if name in vars(base)), None)
