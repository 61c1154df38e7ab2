"""Read, make and change variables, for API users (REST API) and for tasks and triggers (Execution API).

Values are encrypted on the way into the table and decrypted on the way out. A value stored before Gust encrypted settings is
read as it is, and encrypted with its next write.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gust.errors import Invalid, NotFound, Unreadable
from gust.model.variable import VARIABLES, Variable
from gust.services.context import Services
from gust.services.settings.change_setting import change_setting, create_setting, delete_setting, missing_setting


def find_variable(services: Services, key: str) -> Variable | None:
    """The variable; `None` if there is none. Raises Unreadable if no key of the stack decrypts it."""
    stored = services.store.get_setting(VARIABLES, key)
    return None if stored is None else read_variable(services, key, stored)


def list_variables(services: Services) -> dict[str, dict[str, Any]]:
    """Key → stored document, for `read_variable` or `show_variable`, in the order of their making. Values stay encrypted:
    a list decrypts only the rows of its page."""
    return services.store.settings_by_age(VARIABLES)


def variable_keys(services: Services, prefix: str) -> list[str]:
    return sorted(services.store.list_settings(VARIABLES, prefix=prefix))


def show_variable(services: Services, key: str, stored: dict[str, Any]) -> Variable:
    """As `read_variable`, but with the value `None` if it cannot be decrypted: a list shows the other variables."""
    try:
        return read_variable(services, key, stored)
    except Unreadable:
        return Variable(key=key, value=None, description=stored.get("description"))


def read_variable(services: Services, key: str, stored: dict[str, Any]) -> Variable:
    """Raises Unreadable."""
    is_encrypted = stored.get("is_encrypted", False)
    value = stored["value"]
    try:
        return Variable(
            key=key,
            value=services.cipher.decrypt(value) if is_encrypted else value,
            description=stored.get("description"),
            is_encrypted=is_encrypted,
        )
    except Unreadable as unreadable:
        raise Unreadable(f"The {_named(key)} cannot be read: {unreadable}") from unreadable


def set_variable(services: Services, variable: Variable) -> None:
    """Make the variable, or replace it."""
    services.store.put_setting(VARIABLES, variable.key, _stored(services, variable))


def create_variable(services: Services, variable: Variable) -> None:
    """Raises AlreadyExists."""
    taken = f"The {_named(variable.key)} already exists"
    create_setting(services, VARIABLES, variable.key, _stored(services, variable), taken=taken)


def change_variable(services: Services, key: str, change: Callable[[Variable], Variable]) -> Variable:
    """Apply `change` to the variable, again if another writer changed it meanwhile; returns the result. Raises NotFound, and
    Conflict if other writers kept changing it."""

    def changed(stored: dict[str, Any]) -> tuple[Variable, dict[str, Any]]:
        after = change(show_variable(services, key, stored))
        # A value that cannot be decrypted, and was not replaced, stays: its encryption key may come back.
        return after, stored | {"description": after.description} if after.value is None else _stored(services, after)

    return change_setting(services, VARIABLES, key, changed, named=_named(key))


def delete_variable(services: Services, key: str) -> None:
    """Raises NotFound."""
    delete_setting(services, VARIABLES, key, named=_named(key))


def missing(key: str) -> NotFound:
    return missing_setting(_named(key))


def _named(key: str) -> str:
    return f"Variable with key: `{key}`"


def _stored(services: Services, variable: Variable) -> dict[str, Any]:
    if not variable.key:  # Airflow accepts it, and no route can reach it
        raise Invalid("A variable's key may not be empty", field=("body", "key"), value="")
    if variable.value is None:
        raise ValueError(f"Variable {variable.key!r} has no value to store")
    return {
        "value": services.cipher.encrypt(variable.value),
        "description": variable.description,
        "is_encrypted": True,
    }
