"""Connection tests."""

from __future__ import annotations

from typing import Protocol

from gust.model.connection_test import ConnectionTest
from gust.model.setting import SettingChange


class ConnectionTestStore(Protocol):
    """Tests of connections, for a day; of one connection one at a time."""

    def create_connection_test(self, test: ConnectionTest, *, instead_of: str | None = None) -> None:
        """Store a new test. Raises AlreadyExists if another test of the connection, except `instead_of`, has not ended."""

    def get_connection_test(self, test_id: str) -> ConnectionTest | None: ...

    def active_connection_test(self, connection_id: str) -> str | None:
        """The id of the connection's test that has not ended, if any."""

    def move_connection_test(
        self, before: ConnectionTest, after: ConnectionTest, *, commit: SettingChange | None = None
    ) -> None:
        """Write `after`, and the setting's change with it. Raises Stale if either has changed since it was read.
        Repeating it changes nothing."""
