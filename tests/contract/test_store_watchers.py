"""Watchers: their triggerer, the DAGs that want them, and their due times."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gust.errors import StaleWatcher
from gust.model.watcher import Want, Watcher
from gust.ports.store import Store
from gust.scheduling import watching
from tests.contract.given import NOW, at

WANT = Want("etl", "orders", "s3://orders", "w").written()
WATCHER = Watcher(
    watcher_id="0f0e", classpath="a.T", kwargs={"folder": "/x", "deep": {"n": 1}}, wanted_by=(WANT,), created_at=NOW
)


def test_it_is_kept_as_it_was_written(store: Store) -> None:
    assert (store.get_watcher("0f0e"), store.list_watchers()) == (None, [])
    store.put_watcher(None, WATCHER)
    store.put_watcher(None, WATCHER)
    assert store.get_watcher("0f0e") == WATCHER
    other = replace(WATCHER, watcher_id="0a", bundle_version="v1", looked_at=NOW)
    store.put_watcher(None, other)
    assert store.list_watchers() == [other, WATCHER]


def test_one_that_moved_is_not_written_over(store: Store) -> None:
    store.put_watcher(None, WATCHER)
    sent = watching.send(WATCHER, now=NOW)
    store.put_watcher(WATCHER, sent)
    for stale in (None, WATCHER):
        with pytest.raises(StaleWatcher):
            store.put_watcher(stale, replace(WATCHER, life=7))
    with pytest.raises(StaleWatcher):
        store.delete_watcher(WATCHER)
    store.put_watcher(WATCHER, sent)
    assert store.get_watcher("0f0e") == sent


def test_of_two_that_claim_a_life_one_gets_it(store: Store) -> None:
    sent = watching.send(WATCHER, now=NOW)
    store.put_watcher(None, sent)
    store.put_watcher(sent, watching.claim(sent, by="a", now=NOW))
    with pytest.raises(StaleWatcher):
        store.put_watcher(sent, watching.claim(sent, by="b", now=NOW))


def test_it_is_due_beside_backfills(store: Store) -> None:
    sent = watching.send(WATCHER, now=NOW, wake_at=at(60))
    store.put_watcher(None, sent)
    assert sent.due_at == at(180)
    assert store.due_backfills_and_watchers(at(179)) == ([], [])
    assert store.due_backfills_and_watchers(at(180)) == ([], [("0f0e", at(180))])
    assert store.due_backfills(at(180)) == []
    assert store.due_dags(at(999)) == []

    store.put_watcher(sent, watching.rest(sent))
    assert store.due_backfills_and_watchers(at(999)) == ([], [])


def test_it_goes(store: Store) -> None:
    store.put_watcher(None, WATCHER)
    store.delete_watcher(WATCHER)
    store.delete_watcher(WATCHER)
    assert store.list_watchers() == []


def test_watched_queues_are_kept_until_they_are_taken_back(store: Store) -> None:
    orders, bills = (f"arn:aws:sqs:eu-west-1:111122223333:{name}" for name in ("orders", "bills"))
    assert store.watched_sources() == frozenset()
    store.unwatch_source(orders)
    for arn in (orders, bills, orders):
        store.watch_source(arn)
    assert store.watched_sources() == {orders, bills}
    store.unwatch_source(orders)
    assert store.watched_sources() == {bills}
    assert store.list_watchers() == []
