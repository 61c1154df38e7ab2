"""API users' edits of XComs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gust.errors import AlreadyExists
from gust.model.task_instance import TaskInstance
from gust.model.xcom import XCom
from gust.ports.store import Store
from tests.contract.given import NOW, a_run, given_running_instance

KEY = a_run().key.task_instance("extract")


def an_xcom(value: Any = 1, name: str = "return_value") -> XCom:
    return XCom(key=KEY, name=name, value=value, timestamp=NOW)


def stored(store: Store) -> TaskInstance:
    instance = store.get_instance(KEY)
    assert instance is not None
    return instance


@pytest.mark.parametrize("value", [None, 1, "x" * 300_000])
def test_one_is_made_once(store: Store, value: Any) -> None:
    store.create_xcom(an_xcom(value))
    assert store.get_xcom(KEY, "return_value") == an_xcom(value)
    with pytest.raises(AlreadyExists):
        store.create_xcom(an_xcom("another"))
    assert store.get_xcom(KEY, "return_value") == an_xcom(value)


def test_what_is_noted_says_nothing_else(store: Store) -> None:
    before = given_running_instance(store)
    store.note_xcom(KEY, "a", is_pushed=True, skip_decision=None)
    store.note_xcom(KEY, "b", is_pushed=True, skip_decision=None)
    store.note_xcom(KEY, "b", is_pushed=True, skip_decision=None)
    assert stored(store).pushed_keys == ("a", "b")
    store.note_xcom(KEY, "a", is_pushed=False, skip_decision=None)
    store.note_xcom(KEY, "c", is_pushed=False, skip_decision=None)
    assert stored(store).pushed_keys == ("b",)
    store.note_xcom(KEY, "b", is_pushed=False, skip_decision=None)
    store.note_xcom(KEY, "x", is_pushed=None, skip_decision={"followed": ["load"]})
    assert stored(store).skip_decision == {"followed": ["load"]}
    store.note_xcom(KEY, "x", is_pushed=None, skip_decision={})
    assert stored(store) == before


def test_an_instance_that_has_no_item_notes_nothing(store: Store) -> None:
    store.note_xcom(KEY, "a", is_pushed=True, skip_decision={"skipped": []})
    assert store.get_instance(KEY) is None


def test_of_many_notes_none_is_lost(store: Store) -> None:
    given_running_instance(store)
    names = [f"key{number}" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: store.note_xcom(KEY, name, is_pushed=True, skip_decision=None), names))
    assert stored(store).pushed_keys == tuple(names)
