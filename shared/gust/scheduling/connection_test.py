"""How the test of a connection moves, and when it counts as lost. Pure.

No timer watches a test: every reader sees one that is overdue as failed.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, assert_never

from gust.model.connection_test import ENDED, WAITING, ConnectionTest
from gust.model.connection_test import ConnectionTestState as State

TIMEOUT: Final = 60
"""Seconds that a hook is given: Airflow's default of `[connection_test] timeout`."""

GRACE: Final = 30
"""Seconds beyond the timeout after which a test counts as lost; as long as Airflow's."""

KEPT: Final = timedelta(days=1)
"""How long its result can be asked for."""

LONGEST_MESSAGE: Final = 2_000
"""Characters, as in Airflow."""


def queue(test: ConnectionTest, *, at: datetime) -> ConnectionTest:
    """pending → queued. SQS accepted its message."""
    return _moved(test, State.QUEUED, at, {State.PENDING})


def run(test: ConnectionTest, *, at: datetime) -> ConnectionTest:
    """pending | queued → running. A worker is given the connection, once."""
    return _moved(test, State.RUNNING, at, WAITING)


def end(test: ConnectionTest, state: State, message: str | None, *, at: datetime) -> ConnectionTest:
    """pending | queued | running → success | failed. The tested connection is forgotten."""
    if state not in ENDED:
        raise ValueError(f"{state} is no end of a connection's test")
    ended = _moved(test, state, at, WAITING | {State.RUNNING})
    return replace(ended, result_message=None if message is None else message[:LONGEST_MESSAGE], connection={})


def as_of(test: ConnectionTest, now: datetime) -> ConnectionTest:
    """The test as readers see it now: failed, where it has not moved for longer than it may take. Writes nothing."""
    over_at = test.updated_at + timedelta(seconds=TIMEOUT + GRACE)
    if test.has_ended or now <= over_at:
        return test
    return end(test, State.FAILED, f"{_what_is_missing(test.state)} ({TIMEOUT}s + {GRACE}s grace)", at=over_at)


def _what_is_missing(state: State) -> str:
    match state:
        case State.PENDING:
            return "The connection test was never sent to a worker"
        case State.QUEUED:
            return "The connection test was queued, and no worker has started it in time"
        case State.RUNNING | State.SUCCESS | State.FAILED:
            return "The connection test timed out: its worker has not reported in time"
        case _:
            assert_never(state)


def _moved(test: ConnectionTest, state: State, at: datetime, allowed: frozenset[State] | set[State]) -> ConnectionTest:
    if test.state not in allowed:
        raise ValueError(f"the test of a connection does not get from {test.state} to {state}")
    return replace(test, state=state, updated_at=at)
