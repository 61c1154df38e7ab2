"""Connection tests."""

from __future__ import annotations

from typing import Protocol

from gust.model.connection_test import ConnectionTest
from gust.model.setting import SettingChange


class ConnectionTestStore(Protocol):
    """Tests of connections, kept for a day. One test of a connection runs at a time."""

    def create_connection_test(self, test: ConnectionTest, *, instead_of: str | None = None) -> None:
<<<<<<< HEAD
        """Raises AlreadyExists if a test of the connection is active, other than `instead_of`."""
=======
        """Store a new test. Raises AlreadyExists if another test of the connection, except `instead_of`, has not ended."""
>>>>>>> w-words

    def get_connection_test(self, test_id: str) -> ConnectionTest | None:
        """`None` if there is no such test, or if it has expired."""

    def active_connection_test(self, connection_id: str) -> str | None:
<<<<<<< HEAD
        """Id of the connection's test that has not ended."""
=======
        """The id of the connection's test that has not ended, if any."""
>>>>>>> w-words

    def move_connection_test(
        self, before: ConnectionTest, after: ConnectionTest, *, commit: SettingChange | None = None
    ) -> None:
<<<<<<< HEAD
        """Replace `before` by `after`; with `commit`, write that setting in the same transaction. Raises Stale if the test
        or the setting is not as seen. Repeating it changes nothing."""
=======
        """Write `after`, and the setting's change with it. Raises Stale if either has changed since it was read.
        Repeating it changes nothing."""
>>>>>>> w-words
