"""A triggerer or worker renews its claim of a watcher or callback; without a renewal it counts as dead, and another
continues."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from gust.aws.queues import HIDDEN_FOR, RENEWED_EVERY
from gust.model.callback import Callback, CallbackKind, CallbackState
from gust.model.watcher import Watcher
from gust.scheduling import callback, watching

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SENT = watching.send(Watcher(watcher_id="w", classpath="a.W"), now=NOW)
CALLBACK = Callback(
    dag_id="d",
    run_id="r",
    callback_id="dag/success",
    kind=CallbackKind.DAG,
    event="success",
    state=CallbackState.QUEUED,
    created_at=NOW,
    updated_at=NOW,
    dispatch_count=1,
)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_a_message_comes_back_when_the_lease_of_a_dead_function_is_over_and_not_before_it_missed_a_sign() -> None:
    for lease in (watching.LEASE, callback.LEASE):
        assert 2 * RENEWED_EVERY < lease.total_seconds() < HIDDEN_FOR


def test_a_watcher_whose_triggerer_died_is_run_by_the_next() -> None:
    claimed = watching.claim(SENT, by="first", now=NOW)
    renewed = watching.claim(claimed, by="first", now=after(RENEWED_EVERY))

    assert not watching.may_claim(renewed, life=1, by="second", now=after(HIDDEN_FOR))
    assert watching.may_claim(renewed, life=1, by="first", now=after(2 * RENEWED_EVERY))
    assert watching.may_claim(renewed, life=1, by="second", now=after(RENEWED_EVERY + HIDDEN_FOR))


def test_a_callback_whose_worker_died_is_run_by_the_next() -> None:
    claimed = callback.claim(CALLBACK, at=NOW, hostname="first").after
    assert claimed is not None
    renewed = replace(claimed, started_at=after(RENEWED_EVERY))

    def may(hostname: str, at: float) -> bool:
        return callback.may_claim(renewed, dispatch_count=1, hostname=hostname, at=after(at))

    assert not may("second", HIDDEN_FOR)
    assert may("first", 2 * RENEWED_EVERY)
    assert may("second", RENEWED_EVERY + HIDDEN_FOR)
