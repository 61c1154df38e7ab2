"""Connection tests."""

from __future__ import annotations

from typing import Protocol

from gust.model.connection_test import ConnectionTest
from gust.model.setting import SettingChange


class ConnectionTestStore(Protocol):
    """Tests of connections, kept for a day. One test of a connection runs at a time."""

    def create_connection_test(self, test: ConnectionTest, *, instead_of: str | None = None) -> None:
        """Raises AlreadyExists if a test of the connection is active, other than `instead_of`."""

    def get_connection_test(self, test_id: str) -> ConnectionTest | None:
        """`None` if there is no such test, or if it has expired."""

    def active_connection_test(self, connection_id: str) -> str | None:
        """Id of the connection's test that has not ended."""

    def move_connection_test(
        self, before: ConnectionTest, after: ConnectionTest, *, commit: SettingChange | None = None
    ) -> None:
        """Replace `before` by `after`; with `commit`, write that setting in the same transaction. Raises Stale if the test
        or the setting is not as seen. Repeating it changes nothing."""
