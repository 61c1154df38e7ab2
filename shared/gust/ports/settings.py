"""Variables and connections."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol


class SettingStore(Protocol):
    """Variables, connections and other small named JSON documents. A namespace holds one kind."""

    def get_setting(self, namespace: str, name: str) -> Any | None:
        """`None` if there is no such setting, or if it has expired."""

    def put_setting(self, namespace: str, name: str, value: Any, *, expires_at: datetime | None = None) -> None:
        """Store or replace without a check."""

    def create_setting(self, namespace: str, name: str, value: Any) -> None:
        """Raises AlreadyExists if the name is taken."""

    def change_setting(self, namespace: str, name: str, before: Any, after: Any) -> None:
        """Replace. Raises Stale if the stored value is not `before`."""

    def delete_setting(self, namespace: str, name: str) -> bool:
        """Returns whether the setting existed."""

    def list_settings(self, namespace: str, *, prefix: str = "") -> dict[str, Any]:
        """name → value of the settings with this prefix, in order of their names."""

    def settings_by_age(self, namespace: str) -> dict[str, Any]:
        """name → value, oldest first."""
