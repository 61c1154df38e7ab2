"""State stores of task instances and assets, written by tasks, watchers and API users."""

from __future__ import annotations

from typing import Any

import pytest

from gust.model.asset import AssetKey
from gust.model.state_entry import StateEntry
from gust.ports.clock import ManualClock
from gust.ports.store import Store
from tests.contract.given import NOW, a_run, at, given_run

KEY = a_run().key.task_instance("a#b", 3)
ASSET = AssetKey("orders#1", "s3://bucket/a b")


def an_entry(key: str = "job/id #1", value: Any = 1, **fields: Any) -> StateEntry:
    return StateEntry(key=key, value=value, updated_at=NOW, **fields)


@pytest.mark.parametrize(
    "value", [0, "x", 1.5, False, [1, {"a": None}], {"a": "\N{GRINNING FACE} \ud800"}, "y" * 300_000]
)
def test_what_is_kept_is_read_back(store: Store, value: Any) -> None:
    entry = an_entry(value=value, expires_at=at(60))
    store.put_task_state(KEY, entry)
    assert store.get_task_state(KEY, entry.key) == entry
    of_asset = an_entry(value=value, last_updated_by={"kind": "api"})
    store.put_asset_state(ASSET, of_asset)
    assert store.get_asset_state(ASSET, entry.key) == of_asset


def test_a_later_write_replaces_all(store: Store) -> None:
    store.put_task_state(KEY, an_entry(expires_at=at(60)))
    store.put_task_state(KEY, an_entry(value=2))
    assert store.list_task_state(KEY) == [an_entry(value=2)]
    store.put_asset_state(ASSET, an_entry(last_updated_by={"kind": "task", "dag_id": "d"}))
    store.put_asset_state(ASSET, an_entry(value=2, last_updated_by={"kind": "watcher"}))
    assert store.list_asset_state(ASSET) == [an_entry(value=2, last_updated_by={"kind": "watcher"})]


def test_each_has_its_own(store: Store) -> None:
    others = [KEY.run.task_instance("a#b", 4), KEY.run.task_instance("a", 3), a_run("2").key.task_instance("a#b", 3)]
    for number, key in enumerate((KEY, *others)):
        store.put_task_state(key, an_entry(value=number))
    store.put_asset_state(ASSET, an_entry(value="asset"))
    assert store.list_task_state(KEY) == [an_entry(value=0)]
    assert [store.list_task_state(key)[0].value for key in others] == [1, 2, 3]
    store.clear_task_state(KEY.run, "a#b", 3)
    assert store.list_task_state(KEY) == []
    assert all(store.list_task_state(key) for key in others)
    store.clear_task_state(KEY.run, "a#b", None)
    assert store.list_task_state(others[0]) == []
    assert all(store.list_task_state(key) for key in others[1:])
    assert store.list_asset_state(ASSET) == [an_entry(value="asset")]
    assert store.list_asset_state(AssetKey("orders", "1")) == []
    store.clear_asset_state(ASSET)
    assert store.list_asset_state(ASSET) == []


def test_they_are_listed_by_key(store: Store) -> None:
    for name in ("b", "a/c", "a", "Z"):
        store.put_task_state(KEY, an_entry(name))
        store.put_asset_state(ASSET, an_entry(name))
    assert [entry.key for entry in store.list_task_state(KEY)] == ["Z", "a", "a/c", "b"]
    assert [entry.key for entry in store.list_asset_state(ASSET)] == ["Z", "a", "a/c", "b"]
    store.delete_task_state(KEY, "a")
    store.delete_task_state(KEY, "a")
    store.delete_asset_state(ASSET, "b")
    assert [entry.key for entry in store.list_task_state(KEY)] == ["Z", "a/c", "b"]
    assert [entry.key for entry in store.list_asset_state(ASSET)] == ["Z", "a", "a/c"]


def test_what_has_expired_is_gone_at_once(store: Store, clock: ManualClock) -> None:
    store.put_task_state(KEY, an_entry("short", expires_at=at(10)))
    store.put_task_state(KEY, an_entry("long"))
    clock.advance(9)
    assert len(store.list_task_state(KEY)) == 2
    clock.advance(2)
    assert [entry.key for entry in store.list_task_state(KEY)] == ["long"]
    assert store.get_task_state(KEY, "short") is None


def test_a_tasks_goes_with_its_run_and_not_with_its_history(store: Store) -> None:
    run = given_run(store)
    store.put_task_state(KEY, an_entry())
    store.delete_history(KEY)
    assert store.list_task_state(KEY) == [an_entry()]
    store.delete_run(run)
    assert store.list_task_state(KEY) == []
