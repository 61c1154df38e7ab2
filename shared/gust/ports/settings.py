"""Variables and connections."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol


class SettingStore(Protocol):
    """Variables and connections: small named JSON documents."""

    def get_setting(self, namespace: str, name: str) -> Any | None: ...

    def put_setting(self, namespace: str, name: str, value: Any, *, expires_at: datetime | None = None) -> None:
        """Store or replace, whatever is there."""

    def create_setting(self, namespace: str, name: str, value: Any) -> None:
        """Raises AlreadyExists."""

    def change_setting(self, namespace: str, name: str, before: Any, after: Any) -> None:
        """Replace, if `before` is what is stored. Raises Stale."""

    def delete_setting(self, namespace: str, name: str) -> bool:
        """Whether it was there."""

    def list_settings(self, namespace: str, *, prefix: str = "") -> dict[str, Any]:
        """In order of their names."""

    def settings_by_age(self, namespace: str) -> dict[str, Any]:
        """In the order in which they were made."""
