"""Settings: named documents that may expire."""

from typing import Any

import pytest

from gust.errors import AlreadyExists, Stale
from gust.ports.clock import ManualClock
from gust.ports.store import Store
from tests.contract.given import at


@pytest.mark.parametrize("value", ["text", {"a": [None, 1.5]}, 0, False, "x" * 300_000], ids=lambda v: type(v).__name__)
def test_a_setting_is_read_as_it_was_written(store: Store, value: Any) -> None:
    store.put_setting("variables", "a/b #1", "old")
    store.put_setting("variables", "a/b #1", value)
    assert store.get_setting("variables", "a/b #1") == value
    assert store.get_setting("variables", "a/b") is None
    assert store.get_setting("connections", "a/b #1") is None


def test_settings_are_listed_by_prefix(store: Store) -> None:
    for name in ("b", "a#2", "a#1", "a%"):
        store.put_setting("state/etl", name, name)
    store.put_setting("state/etl2", "a#3", "other")
    assert list(store.list_settings("state/etl").items()) == [(n, n) for n in ("a#1", "a#2", "a%", "b")]
    assert list(store.list_settings("state/etl", prefix="a#")) == ["a#1", "a#2"]
    assert store.list_settings("no") == {}


def test_deleting_tells_whether_it_was_there(store: Store) -> None:
    store.put_setting("variables", "a", 1)
    assert store.delete_setting("variables", "a")
    assert not store.delete_setting("variables", "a")
    assert store.get_setting("variables", "a") is None


def test_what_has_expired_is_not_there(store: Store, clock: ManualClock) -> None:
    for name, expires_at in [("short", at(10)), ("long", at(10.5)), ("for ever", None)]:
        store.put_setting("state", name, name, expires_at=expires_at)
    clock.set(at(9.999999))
    assert len(store.list_settings("state")) == 3
    clock.set(at(10))
    assert sorted(store.list_settings("state")) == ["for ever", "long"]
    assert store.get_setting("state", "short") is None
    assert not store.delete_setting("state", "short")


def test_writing_again_renews(store: Store, clock: ManualClock) -> None:
    store.put_setting("state", "a", 1, expires_at=at(10))
    store.put_setting("state", "a", 2)
    clock.set(at(100))
    assert store.get_setting("state", "a") == 2


def test_making_one_that_is_there_is_refused(store: Store) -> None:
    store.create_setting("variables", "a", {"v": 1})
    with pytest.raises(AlreadyExists):
        store.create_setting("variables", "a", {"v": 2})
    assert store.get_setting("variables", "a") == {"v": 1}
    assert store.delete_setting("variables", "a")
    store.create_setting("variables", "a", {"v": 3})
    assert store.get_setting("variables", "a") == {"v": 3}


@pytest.mark.parametrize("large", ["", "x" * 300_000], ids=["in the item", "in the bucket"])
def test_a_change_is_of_what_was_seen(store: Store, large: str) -> None:
    seen = {"a": 1, "é": large}
    with pytest.raises(Stale):
        store.change_setting("variables", "a", seen, 2)
    store.put_setting("variables", "a", seen)
    store.change_setting("variables", "a", seen, {"b": 1})
    with pytest.raises(Stale):
        store.change_setting("variables", "a", seen, {"c": 1})
    assert store.get_setting("variables", "a") == {"b": 1}
    store.change_setting("variables", "a", {"b": 1}, {"b": large})
    store.change_setting("variables", "a", {"b": large}, {"b": 2})
    assert store.get_setting("variables", "a") == {"b": 2}


def test_settings_stay_in_the_order_in_which_they_were_made(store: Store, clock: ManualClock) -> None:
    for name in ("c", "a", "b"):
        clock.advance(1)
        store.create_setting("variables", name, 1)
    clock.advance(1)
    store.put_setting("variables", "c", 2)
    store.change_setting("variables", "a", 1, 3)
    assert list(store.settings_by_age("variables").items()) == [("c", 2), ("a", 3), ("b", 1)]
    store.delete_setting("variables", "c")
    store.put_setting("variables", "c", 4)
    assert list(store.settings_by_age("variables")) == ["a", "b", "c"]
