"""What is installed."""

from __future__ import annotations

from typing import Any, Protocol

from gust.errors import NotSupportedYet


class Inventory(Protocol):
    """What the functions that have Airflow consist of. `bundle_version` names the bundle whose `plugins/` count too. Raises
    ServiceUnavailable where it cannot be asked."""

    def plugins(self, bundle_version: str | None) -> list[dict[str, Any]]:
        """As the REST API shows them, by name."""

    def plugin_import_errors(self, bundle_version: str | None) -> dict[str, str]:
        """Where from → why not."""

    def providers(self) -> list[dict[str, Any]]:
        """As the REST API shows them, by name."""

    def configuration(self) -> dict[str, dict[str, str]]:
        """Section → option → value, without secrets."""


class NoInventory:
    """For where no parser can be asked."""

    def plugins(self, bundle_version: str | None) -> list[dict[str, Any]]:  # noqa: ARG002 - the port's signature
        raise self._refusal()

    def plugin_import_errors(self, bundle_version: str | None) -> dict[str, str]:  # noqa: ARG002
        raise self._refusal()

    def providers(self) -> list[dict[str, Any]]:
        raise self._refusal()

    def configuration(self) -> dict[str, dict[str, str]]:
        raise self._refusal()

    @staticmethod
    def _refusal() -> NotSupportedYet:
        return NotSupportedYet("What is installed cannot be asked here")
