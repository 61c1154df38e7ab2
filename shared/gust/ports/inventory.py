"""Installed plugins, providers and configuration."""

from __future__ import annotations

from typing import Any, Protocol

from gust.errors import NotSupportedYet


class Inventory(Protocol):
<<<<<<< HEAD
    """What is installed where Airflow is: the parser answers. `bundle_version` names the bundle whose `plugins/` count as
    well. Every method raises ServiceUnavailable if the parser does not answer."""
=======
    """Installed plugins, providers and configuration of the functions that have Airflow. `bundle_version` names the bundle
    whose `plugins/` count too. Raises ServiceUnavailable if the parser does not answer."""
>>>>>>> w-words

    def plugins(self, bundle_version: str | None) -> list[dict[str, Any]]:
        """Plugins as the REST API shows them, by name."""

    def plugin_import_errors(self, bundle_version: str | None) -> dict[str, str]:
<<<<<<< HEAD
        """source of the plugin → traceback."""
=======
        """Source of the plugin → why it could not be imported."""
>>>>>>> w-words

    def providers(self) -> list[dict[str, Any]]:
        """Provider packages as the REST API shows them, by name."""

    def configuration(self) -> dict[str, dict[str, str]]:
        """section → option → value, without secrets."""


class NoInventory:
    """For functions that cannot ask the parser."""

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
        return NotSupportedYet("Installed plugins and providers are not known here")
