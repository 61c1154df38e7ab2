"""Secrets Manager and SSM's Parameter Store, as Airflow's secrets backends read them."""

from __future__ import annotations

from typing import Protocol

from gust.model.secrets_backend import Service


class SecretReader(Protocol):
    def read(self, service: Service, name: str, region: str | None) -> str | None:
        """The secret's text; None if there is none of that name, or none in text form. Raises Forbidden with AWS's reason,
        ServiceUnavailable where another try may succeed."""


class NoSecrets:
    """For functions that read none."""

    def read(self, service: Service, name: str, region: str | None) -> str | None:  # noqa: ARG002 - the port's signature
        return None
