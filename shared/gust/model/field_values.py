"""The fields of a value that a condition checks or an answer shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

T = TypeVar("T")


def values_of(kind: type[T], *names: str) -> Callable[[T], dict[str, Any]]:
    """A function that returns name → value for these fields and properties of a dataclass `kind`. Raises AttributeError at
    once, when the module is imported, if the class has no such name."""
    declared = {field.name for field in fields(kind)}  # type: ignore[arg-type]  # mypy knows no bound for "a dataclass"
    if unknown := [name for name in names if name not in declared and not hasattr(kind, name)]:
        raise AttributeError(f"{kind.__name__} has no {', '.join(unknown)}")
    return lambda value: {name: getattr(value, name) for name in names}
