"""Gives a worker the connection to test, and stores the worker's result."""

from __future__ import annotations

from typing import Final

from gust.errors import Conflict, NotFound, Stale, Unreadable
from gust.model.connection import CONNECTIONS, Connection
from gust.model.connection_test import WAITING, ConnectionTest, ConnectionTestState
from gust.model.setting import SettingChange
from gust.scheduling import connection_test
from gust.services.context import Services
from gust.services.settings.connections import read_connection, to_stored

ATTEMPTS: Final = 5


def take_connection_test(services: Services, test_id: str) -> Connection:
    """pending | queued → running. Returns the connection, decrypted, once: a repeated message gets nothing.

    Raises NotFound, Conflict."""
    for _ in range(ATTEMPTS):
        test, now = _known(services, test_id), services.clock.now()
        if test.state not in WAITING:
            raise _conflict(test, f"is in state {test.state}: its connection is given out once, before it runs.")
        try:
            try:
                connection = read_connection(services, test.connection_id, test.connection)
            except Unreadable as unreadable:
                failed = connection_test.end(test, ConnectionTestState.FAILED, str(unreadable), at=now)
                services.store.move_connection_test(test, failed)
                raise _conflict(failed, "cannot be run: no key decrypts its connection.") from unreadable
            services.store.move_connection_test(test, connection_test.run(test, at=now))
        except Stale:
            continue
        return connection
    raise Conflict(f"Connection test {test_id} is being changed by others", reason="conflict")


def end_connection_test(services: Services, test_id: str, state: ConnectionTestState, message: str | None) -> None:
    """→ success | failed. With success, if the request wanted it, the same write makes or changes the connection.

    Raises NotFound, Conflict."""
    for _ in range(ATTEMPTS):
        test = _known(services, test_id)
        if test.has_ended:
            raise _conflict(test, f"is already in terminal state: {test.state}")
        ended = connection_test.end(test, state, message, at=services.clock.now())
        is_wanted = test.commit_on_success and state is ConnectionTestState.SUCCESS
        try:
            commit = _as_tested(services, test) if is_wanted else None
        except Unreadable as unreadable:  # there is no connection to store
            commit = None
            ended = connection_test.end(test, ConnectionTestState.FAILED, str(unreadable), at=ended.updated_at)
        try:
            return services.store.move_connection_test(test, ended, commit=commit)
        except Stale:
            continue
    raise Conflict(f"Connection test {test_id} is being changed by others", reason="conflict")


def _as_tested(services: Services, test: ConnectionTest) -> SettingChange:
    """The change that stores the tested connection. As in Airflow the stored description stays: it is not part of a test.

    It is encrypted anew: a key change may have begun meanwhile (`reencrypt_settings`), and the old key may soon be gone.
    Raises Unreadable."""
    before = services.store.get_setting(CONNECTIONS, test.connection_id)
    tested = read_connection(services, test.connection_id, test.connection)
    after = to_stored(services, tested) | {"description": (before or {}).get("description")}
    return SettingChange(CONNECTIONS, test.connection_id, before, after)


def _known(services: Services, test_id: str) -> ConnectionTest:
    found = services.store.get_connection_test(test_id)
    if found is None:
        raise NotFound(f"Connection test {test_id} not found")
    return connection_test.as_of(found, services.clock.now())


def _conflict(test: ConnectionTest, what: str) -> Conflict:
    return Conflict(f"Connection test {test.test_id} {what}", reason="conflict")
