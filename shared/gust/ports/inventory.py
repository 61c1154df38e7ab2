"""The packages, providers and plugins that are installed."""

from __future__ import annotations

from typing import Any, Protocol

from gust.errors import NotSupportedYet


class Inventory(Protocol):
    """The packages, providers and plugins in the parser, which has Airflow. `bundle_version` names the bundle whose
    `plugins/` and options count as well. Every method raises ServiceUnavailable if the parser does not answer."""

    def plugins(self, bundle_version: str | None) -> list[dict[str, Any]]:
        """Plugins as the REST API shows them, by name."""

    def plugin_import_errors(self, bundle_version: str | None) -> dict[str, str]:
        """source of the plugin → traceback."""

    def providers(self) -> list[dict[str, Any]]:
        """Provider packages as the REST API shows them, by name."""

    def configuration(self, bundle_version: str | None) -> dict[str, dict[str, str]]:
        """section → option → value, without secrets."""


class NoInventory:
    """For functions that cannot ask the parser."""

    def plugins(self, bundle_version: str | None) -> list[dict[str, Any]]:  # noqa: ARG002 - the port's signature
        raise self._refusal()

    def plugin_import_errors(self, bundle_version: str | None) -> dict[str, str]:  # noqa: ARG002
        raise self._refusal()

    def providers(self) -> list[dict[str, Any]]:
        raise self._refusal()

    def configuration(self, bundle_version: str | None) -> dict[str, dict[str, str]]:  # noqa: ARG002
        raise self._refusal()

    @staticmethod
    def _refusal() -> NotSupportedYet:
        return NotSupportedYet("What is installed cannot be asked here")
