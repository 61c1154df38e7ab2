"""Encrypt all variables and connections anew, with the first key of the stack's: what changing the key ends with.

Each is one conditional write of its own. Died half-way, run it again; what a person changes meanwhile is encrypted with the
new key by that.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from gust.errors import NotFound, Unreadable
from gust.services.connections import change_connection, list_connections
from gust.services.context import Services
from gust.services.variables import change_variable, list_variables


@dataclass(frozen=True, slots=True)
class Reencrypted:
    written: int
    unreadable: tuple[str, ...]
    """What no key of the stack fits; it is left as it is."""


def reencrypt_settings(services: Services) -> Reencrypted:
    written, unreadable = 0, []
    for key in list_variables(services):
        with suppress(NotFound):  # deleted meanwhile
            if change_variable(services, key, lambda variable: variable).value is None:
                unreadable.append(f"variable {key}")
            else:
                written += 1
    for conn_id in list_connections(services):
        try:
            change_connection(services, conn_id, lambda connection: connection)
            written += 1
        except Unreadable:
            unreadable.append(f"connection {conn_id}")
        except NotFound:
            continue
    return Reencrypted(written, tuple(unreadable))
