"""The document with Airflow's options, which an operator writes."""

from __future__ import annotations

from typing import Protocol


class ConfigurationDocument(Protocol):
    def text(self) -> str:
        """The document; empty if there is none. Raises ServiceUnavailable."""


class NoConfiguration:
    """For functions that do not read the document."""

    def text(self) -> str:
        return ""
