"""Asks the parser about installed plugins and providers: only it has Airflow, and plugins are DAG authors' code."""

from collections.abc import Callable, Mapping
from typing import Any

from gust.errors import ServiceUnavailable


class ParserInventory:
    """Implements `ports.Inventory`. Answers are cached for the life of the process: a bundle is immutable, and another
    release of the functions is another process."""

    def __init__(self, invoke: Callable[[Mapping[str, Any]], dict[str, Any]]) -> None:
        self._invoke = invoke
        self._known: dict[tuple[str, str | None], Any] = {}

    def plugins(self, bundle_version: str | None) -> list[dict[str, Any]]:
        return list(self._ask("plugins", bundle_version)["plugins"])

    def plugin_import_errors(self, bundle_version: str | None) -> dict[str, str]:
        return dict(self._ask("plugins", bundle_version)["import_errors"])

    def providers(self) -> list[dict[str, Any]]:
        return list(self._ask("providers", None))

    def configuration(self, bundle_version: str | None) -> dict[str, dict[str, str]]:
        return dict(self._ask("configuration", bundle_version))

    def _ask(self, what: str, bundle_version: str | None) -> Any:
        key = what, bundle_version
        if key not in self._known:
            answer = self._invoke({"inventory": what, "bundle_version": bundle_version})
            if "error" in answer:
                raise ServiceUnavailable(f"The parser could not tell its {what}: {answer['error']}")
            self._known[key] = answer["answer"]
        return self._known[key]
