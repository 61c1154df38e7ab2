"""Read, make and change connections. Password and extra are encrypted in the table, as in Airflow, and no other field.

A connection stored before Gust encrypted settings is read as it is, and encrypted with its next write.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final

from gust.errors import AlreadyExists, NotFound, Unreadable
from gust.model.connection import CONNECTIONS, Connection
from gust.services.context import Services
from gust.services.settings.change_setting import change_setting, create_setting, delete_setting, missing_setting

SECRETS: Final = {"password": "is_encrypted", "extra": "is_extra_encrypted"}
"""Encrypted field → the field that says whether it is encrypted. Empty values are not encrypted."""

DEFAULTS: Final = Path(__file__).with_name("default_connections.json")
"""Airflow's default connections, of the pinned release; a test compares them."""


def find_connection(services: Services, conn_id: str) -> Connection | None:
    """The connection; `None` if there is none. Raises Unreadable if no key of the stack decrypts it."""
    stored = services.store.get_setting(CONNECTIONS, conn_id)
    return None if stored is None else read_connection(services, conn_id, stored)


def list_connections(services: Services) -> dict[str, dict[str, Any]]:
    """conn_id → stored document, for `read_connection`, in the order of their making."""
    return services.store.settings_by_age(CONNECTIONS)


def read_connection(services: Services, conn_id: str, stored: dict[str, Any]) -> Connection:
    """Raises Unreadable."""
    known = {field.name: stored[field.name] for field in fields(Connection) if field.name in stored}
    for field, flag in SECRETS.items():
        if stored.get(flag):
            known[field] = _decrypted(services, conn_id, stored[field])
    return Connection(**known | {"conn_id": conn_id})


def to_stored(services: Services, connection: Connection) -> dict[str, Any]:
    """For `read_connection`."""
    document = asdict(connection)
    del document["conn_id"]
    for field, flag in SECRETS.items():
        if document[field]:
            document[field] = services.cipher.encrypt(document[field])
            document[flag] = True
    return document


def create_connection(services: Services, connection: Connection) -> None:
    """Raises AlreadyExists."""
    conn_id, taken = connection.conn_id, f"A connection {connection.conn_id!r} exists already"
    create_setting(services, CONNECTIONS, conn_id, to_stored(services, connection), taken=taken)


def change_connection(services: Services, conn_id: str, change: Callable[[Connection], Connection]) -> Connection:
    """Apply `change` to the connection, again if another writer changed it meanwhile; returns the result. Raises NotFound,
    Unreadable, and Conflict if other writers kept changing it."""

    def changed(stored: dict[str, Any]) -> tuple[Connection, dict[str, Any]]:
        after = change(read_connection(services, conn_id, stored))
        return after, to_stored(services, after)

    return change_setting(services, CONNECTIONS, conn_id, changed, named=_named(conn_id))


def delete_connection(services: Services, conn_id: str) -> None:
    """Raises NotFound."""
    delete_setting(services, CONNECTIONS, conn_id, named=_named(conn_id))


def create_default_connections(services: Services) -> None:
    """Make those of Airflow's default connections whose id is free. Repeating it makes the missing ones."""
    for connection in default_connections():
        with suppress(AlreadyExists):
            create_connection(services, connection)


def default_connections() -> Iterable[Connection]:
    return (Connection(**fields_of) for fields_of in json.loads(DEFAULTS.read_text()))


def missing(conn_id: str) -> NotFound:
    return missing_setting(_named(conn_id))


def _named(conn_id: str) -> str:
    return f"Connection with connection_id: `{conn_id}`"


def _decrypted(services: Services, conn_id: str, token: str) -> str:
    try:
        return services.cipher.decrypt(token)
    except Unreadable as unreadable:
        raise Unreadable(f"The {_named(conn_id)} cannot be read: {unreadable}") from unreadable
