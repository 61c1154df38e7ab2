"""Connections: addresses and credentials with which hooks reach other systems."""

from dataclasses import dataclass
from typing import Final

CONNECTIONS: Final = "connections"
"""The namespace of settings that connections are kept in, by conn_id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    conn_id: str
    conn_type: str = ""
    description: str | None = None
    host: str | None = None
    schema: str | None = None
    login: str | None = None
    password: str | None = None
    port: int | None = None
    extra: str | None = None
    """JSON text, as in Airflow."""
