"""Create, change or delete a stored setting. A refusal names it in Airflow's words, e.g. ``Variable with key: `x` ``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

from gust.errors import AlreadyExists, Conflict, NotFound, Stale
from gust.services.context import Services

T = TypeVar("T")

ATTEMPTS: Final = 5


def create_setting(services: Services, namespace: str, key: str, document: dict[str, Any], *, taken: str) -> None:
    """Raises AlreadyExists with the message `taken`."""
    try:
        services.store.create_setting(namespace, key, document)
    except AlreadyExists as exists:
        raise AlreadyExists(taken) from exists


def change_setting(
    services: Services,
    namespace: str,
    key: str,
    change: Callable[[dict[str, Any]], tuple[T, dict[str, Any]]],
    *,
    named: str,
) -> T:
    """`change` takes the stored document and returns its result with the new document; it is called again if another writer
    changed the setting meanwhile. Returns its result. Raises NotFound, and Conflict if other writers kept changing it."""
    for _ in range(ATTEMPTS):
        stored = services.store.get_setting(namespace, key)
        if stored is None:
            raise missing_setting(named)
        changed, after = change(stored)
        with suppress(Stale):
            services.store.change_setting(namespace, key, stored, after)
            return changed
    raise Conflict(f"Other requests keep changing the {named}; try again")


def delete_setting(services: Services, namespace: str, key: str, *, named: str) -> None:
    """Raises NotFound."""
    if not services.store.delete_setting(namespace, key):
        raise missing_setting(named)


def missing_setting(named: str) -> NotFound:
    return NotFound(f"The {named} was not found")
