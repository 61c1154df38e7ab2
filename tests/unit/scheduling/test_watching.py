"""From when a watcher must see what comes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from gust.model.watcher import Watcher
from gust.scheduling import watching

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)


def test_the_first_life_watches_from_the_moment_at_which_it_is_sent() -> None:
    sent = watching.send(Watcher(watcher_id="w", classpath="a.T"), now=NOW)
    assert sent.looked_at == NOW
    assert watching.send(sent, now=LATER).looked_at == NOW, "it was lost, or has not looked at all"
    assert watching.send(sent, now=LATER, looked_at=LATER).looked_at == LATER


def test_what_comes_while_no_dag_wants_it_is_not_for_it() -> None:
    rested = watching.rest(watching.send(Watcher(watcher_id="w", classpath="a.T"), now=NOW))
    assert rested.looked_at is None
    assert watching.send(rested, now=LATER).looked_at == LATER


def test_a_life_of_before_watchers_kept_the_moment_stays_without_one() -> None:
    parked = Watcher(watcher_id="w", classpath="a.T", life=3, wake_at=NOW)
    assert watching.send(parked, now=LATER).looked_at is None
