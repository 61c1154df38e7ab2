"""Variables and connections."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol


class SettingStore(Protocol):
    """Variables, connections and other small named JSON documents. A namespace holds one kind."""

    def get_setting(self, namespace: str, name: str) -> Any | None:
        """`None` if there is no such setting, or if it has expired."""

    def put_setting(self, namespace: str, name: str, value: Any, *, expires_at: datetime | None = None) -> None:
<<<<<<< HEAD
        """Store or replace without a check."""
=======
        """Store or replace, unconditionally."""
>>>>>>> w-words

    def create_setting(self, namespace: str, name: str, value: Any) -> None:
        """Raises AlreadyExists if the name is taken."""

    def change_setting(self, namespace: str, name: str, before: Any, after: Any) -> None:
<<<<<<< HEAD
        """Replace. Raises Stale if the stored value is not `before`."""

    def delete_setting(self, namespace: str, name: str) -> bool:
        """Returns whether the setting existed."""
=======
        """Replace the stored value if it equals `before`. Raises Stale."""

    def delete_setting(self, namespace: str, name: str) -> bool:
        """Delete it; returns whether it existed."""
>>>>>>> w-words

    def list_settings(self, namespace: str, *, prefix: str = "") -> dict[str, Any]:
        """name → value of the settings with this prefix, in order of their names."""

    def settings_by_age(self, namespace: str) -> dict[str, Any]:
<<<<<<< HEAD
        """name → value, oldest first."""
=======
        """In the order of their making."""
>>>>>>> w-words
