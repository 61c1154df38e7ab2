"""Connection tests, in memory."""

from __future__ import annotations

import json

from gust.errors import AlreadyExists, Stale
from gust.model.connection_test import ConnectionTest
from gust.model.setting import SettingChange
from gust.store.memory.settings import MemorySettings
from gust.store.memory.state import as_stored, atomic


class MemoryConnectionTests(MemorySettings):
    """Implements `ports.ConnectionTestStore`."""

    @atomic
    def create_connection_test(self, test: ConnectionTest, *, instead_of: str | None = None) -> None:
        active = self._active_connection_tests.get(test.connection_id)
        if active != instead_of or test.test_id in self._connection_tests:
            raise AlreadyExists(f"A test of {test.connection_id!r} has not ended")
        self._connection_tests[test.test_id] = as_stored(test)
        self._active_connection_tests[test.connection_id] = test.test_id

    @atomic
    def get_connection_test(self, test_id: str) -> ConnectionTest | None:
        found = self._connection_tests.get(test_id)
        return None if found is None or found.expires_at <= self._clock.now() else as_stored(found)

    @atomic
    def active_connection_test(self, connection_id: str) -> str | None:
        return self._active_connection_tests.get(connection_id)

    @atomic
    def move_connection_test(
        self, before: ConnectionTest, after: ConnectionTest, *, commit: SettingChange | None = None
    ) -> None:
        current = self._connection_tests.get(before.test_id)
        if current == after:
            return
        if current is None or (current.state, current.updated_at) != (before.state, before.updated_at):
            raise Stale(f"the test {before.test_id} moved on")
        if after.has_ended:
            if self._active_connection_tests.get(before.connection_id) != before.test_id:
                raise Stale(f"another test of {before.connection_id!r} has taken its place")
            if commit is not None:
                self._commit(commit)
            del self._active_connection_tests[before.connection_id]
        self._connection_tests[before.test_id] = as_stored(after)

    def _commit(self, change: SettingChange) -> None:
        there = self._settings.get((change.namespace, change.name))
        before = None if change.before is None else json.dumps(change.before)
        if (None if there is None else there.document) != before:
            raise Stale(f"{change.name!r} of {change.namespace} has changed since it was read")
        self.put_setting(change.namespace, change.name, change.after)
