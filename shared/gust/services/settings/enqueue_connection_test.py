"""Has a worker test a connection, and reads the result.

The API stores the test, sends it, and marks it as sent. After a crash in between no worker runs the test: it reads as failed
when its time is up, and from then on blocks no other test.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from datetime import datetime
from typing import Final, NamedTuple

from gust.errors import AlreadyExists, Conflict, ServiceUnavailable, Stale
from gust.model.connection import Connection
from gust.model.connection_test import ConnectionTest, ConnectionTestState, connection_test_id
from gust.model.workload import ConnectionTestWorkload
from gust.scheduling import connection_test
from gust.services.context import Services
from gust.services.settings.connections import to_stored
from gust.services.settings.environment_providers import folder_with

ATTEMPTS: Final = 5

LOOKS: Final = (0.5, 0.5, 1.0, 1.0, 2.0)
"""Seconds between two reads of the result; the last value repeats."""


class Enqueued(NamedTuple):
    token: str
    """Gives access to the result. It is stored nowhere."""
    test: ConnectionTest


def enqueue_connection_test(services: Services, connection: Connection, *, commit_on_success: bool = False) -> Enqueued:
    """Store the test and send it to a worker. Raises Conflict if another test of this conn_id has not ended,
    ServiceUnavailable if SQS refuses the message."""
    token, now = secrets.token_urlsafe(32), services.clock.now()
    test = ConnectionTest(
        test_id=connection_test_id(token),
        connection_id=connection.conn_id,
        state=ConnectionTestState.PENDING,
        created_at=now,
        updated_at=now,
        expires_at=now + connection_test.KEPT,
        connection=to_stored(services, connection),
        commit_on_success=commit_on_success,
    )
    _store(services, test, now=now)
    if not services.queues.send_connection_test(_workload(services, test, connection.conn_type, now=now)):
        refused = connection_test.end(test, ConnectionTestState.FAILED, "SQS did not take it", at=services.clock.now())
        with suppress(Stale):  # it arrived nevertheless
            services.store.move_connection_test(test, refused)
        raise ServiceUnavailable(f"SQS refused the test of {connection.conn_id!r}")
    with suppress(Stale):  # its worker was faster
        services.store.move_connection_test(test, connection_test.queue(test, at=services.clock.now()))
    return Enqueued(token, test)


def find_connection_test(services: Services, token: str) -> ConnectionTest | None:
    """The test of that token; one whose time is up reads as failed."""
    found = services.store.get_connection_test(connection_test_id(token))
    return None if found is None else connection_test.as_of(found, services.clock.now())


def await_connection_test(services: Services, enqueued: Enqueued, *, until: datetime) -> ConnectionTest:
    """The test once it has ended, or its state when `until` comes."""
    looks = iter(LOOKS)
    test = enqueued.test
    while not test.has_ended and (left := (until - services.clock.now()).total_seconds()) > 0:
        services.clock.sleep(min(next(looks, LOOKS[-1]), left))
        test = find_connection_test(services, enqueued.token) or test
    return test


def _store(services: Services, test: ConnectionTest, *, now: datetime) -> None:
    """Raises Conflict."""
    in_its_place: str | None = None
    for _ in range(ATTEMPTS):
        try:
            return services.store.create_connection_test(test, instead_of=in_its_place)
        except AlreadyExists:
            in_its_place = services.store.active_connection_test(test.connection_id)
        other = None if in_its_place is None else services.store.get_connection_test(in_its_place)
        if other is not None and not connection_test.as_of(other, now).has_ended:
            break
    raise Conflict(f"An active connection test already exists for connection_id `{test.connection_id}`.")


def _workload(services: Services, test: ConnectionTest, conn_type: str, *, now: datetime) -> ConnectionTestWorkload:
    active = services.store.active_bundle()
    return ConnectionTestWorkload(
        bundle_version=active.version if active else None,
        folder=folder_with(services, conn_type),
        test_id=test.test_id,
        connection_id=test.connection_id,
        timeout=connection_test.TIMEOUT,
        token=services.tokens.for_connection_test(test.test_id, now=now),
    )
