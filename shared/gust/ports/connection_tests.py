"""Connection tests."""

from __future__ import annotations

from typing import Protocol

from gust.model.connection_test import ConnectionTest
from gust.model.setting import SettingChange


class ConnectionTestStore(Protocol):
    """Tests of connections, for a day; of one connection one at a time."""

    def create_connection_test(self, test: ConnectionTest, *, instead_of: str | None = None) -> None:
        """Raises AlreadyExists where one of the connection has not ended, but for the test `instead_of`."""

    def get_connection_test(self, test_id: str) -> ConnectionTest | None: ...

    def active_connection_test(self, connection_id: str) -> str | None:
        """The connection's test that was not seen to end."""

    def move_connection_test(
        self, before: ConnectionTest, after: ConnectionTest, *, commit: SettingChange | None = None
    ) -> None:
        """Write what `before` has become, and with it the setting. Raises Stale where either is not what was seen. Again
        changes nothing."""
