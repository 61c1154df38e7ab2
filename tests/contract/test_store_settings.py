"""Settings: named documents that may expire."""

from typing import Any

import pytest

from gust.services.clock import ManualClock
from gust.services.ports import Store
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
