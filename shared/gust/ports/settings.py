"""Variables and connections."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol


class SettingStore(Protocol):
    """Variables and connections: small named JSON documents."""

    def get_setting(self, namespace: str, name: str) -> Any | None: ...

    def put_setting(self, namespace: str, name: str, value: Any, *, expires_at: datetime | None = None) -> None:
        """Store or replace, unconditionally."""

    def create_setting(self, namespace: str, name: str, value: Any) -> None:
        """Raises AlreadyExists."""

    def change_setting(self, namespace: str, name: str, before: Any, after: Any) -> None:
        """Replace the stored value if it equals `before`. Raises Stale."""

    def delete_setting(self, namespace: str, name: str) -> bool:
        """Delete it; returns whether it existed."""

    def list_settings(self, namespace: str, *, prefix: str = "") -> dict[str, Any]:
        """In order of their names."""

    def settings_by_age(self, namespace: str) -> dict[str, Any]:
        """In the order of their making."""
