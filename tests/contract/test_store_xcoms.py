"""XComs: any JSON value of any size, lengths noted where something maps over them."""

from dataclasses import replace
from typing import Any

import pytest

from gust.errors import StaleTaskInstance
from gust.model.keys import TaskInstanceKey
from gust.model.state import TaskInstanceState
from gust.model.xcom import XCom
from gust.ports.store import Store
from tests.contract.given import NOW, a_run, an_instance, at, given_instance, given_running_instance, transition


def an_xcom(value: Any = 1, name: str = "return_value", key: TaskInstanceKey | None = None, **facts: Any) -> XCom:
    return XCom(key=key or an_instance().key, name=name, value=value, timestamp=NOW, **facts)


@pytest.mark.parametrize(
    "value",
    [None, 0, 1.5, "", "ünïcode \ud800", [], {"__classname__": "x", "__data__": [1, None]}, "x" * 300_000],
    ids=["none", "zero", "float", "empty", "text", "list", "document", "large"],
)
def test_a_value_is_read_as_it_was_pushed(store: Store, value: Any) -> None:
    xcom = an_xcom(value, "a key/with #%\n", dag_result=True)
    store.put_xcom(xcom)
    assert store.get_xcom(xcom.key, xcom.name) == xcom
    assert store.get_xcom(xcom.key, "other") is None


@pytest.mark.parametrize(("first", "second"), [("x" * 300_000, "small"), ("small", "y" * 300_000)])
def test_a_push_replaces(store: Store, first: str, second: str) -> None:
    store.put_xcom(an_xcom(first))
    store.put_xcom(an_xcom(second))
    found = store.get_xcom(an_instance().key, "return_value")
    assert found is not None
    assert found.value == second


def test_xcoms_are_listed_in_order(store: Store) -> None:
    places = [("b", 10, "x"), ("b", 2, "x"), ("b", -1, "y"), ("b", -1, "x"), ("a", -1, "z"), ("b-c", 0, "x")]
    for number, (task_id, map_index, name) in enumerate(places):
        store.put_xcom(an_xcom(number, name, an_instance(task_id, map_index).key))
    store.put_xcom(an_xcom("other run", "x", an_instance("b", run=a_run("other")).key))

    def listed(**wanted: Any) -> list[tuple[str, int, str]]:
        return [(x.key.task_id, x.key.map_index, x.name) for x in store.list_xcoms(a_run().key, **wanted)]

    assert listed() == sorted(places)
    assert listed(task_id="b") == [("b", -1, "x"), ("b", -1, "y"), ("b", 2, "x"), ("b", 10, "x")]
    assert listed(task_id="b", map_index=-1) == [("b", -1, "x"), ("b", -1, "y")]
    assert listed(task_id="b", name="x") == [("b", -1, "x"), ("b", 2, "x"), ("b", 10, "x")]
    assert listed(map_index=0) == [("b-c", 0, "x")]
    assert listed(name="z") == [("a", -1, "z")]


def test_large_values_are_listed_too(store: Store) -> None:
    for index in range(4):
        store.put_xcom(an_xcom(f"{index}" * 300_000, key=an_instance("t", index).key))
    found = store.list_xcoms(a_run().key, task_id="t")
    assert [xcom.value[:1] for xcom in found] == ["0", "1", "2", "3"]


def test_xcoms_are_deleted(store: Store) -> None:
    for index in (1, 11):
        for number in range(30):
            store.put_xcom(an_xcom(number, f"k{number}", an_instance("t", index).key))
    key = an_instance("t", 1).key
    store.delete_xcom(key, "k3")
    store.delete_xcom(key, "k3")
    assert store.get_xcom(key, "k3") is None
    assert len(store.list_xcoms(key.run, task_id="t", map_index=1)) == 29
    store.delete_xcom(key)
    store.delete_xcom(key)
    assert len(store.list_xcoms(key.run)) == 30


# --- lengths ----------------------------------------------------------------------------------------------------------


def test_lengths_are_noted_on_the_instance(store: Store) -> None:
    seen = given_running_instance(store)
    store.put_xcom(an_xcom([1, 2], mapped_length=2))
    store.put_xcom(an_xcom([1, 2, 3], mapped_length=3))
    store.put_xcom(an_xcom([], "odd name.#", mapped_length=0))
    store.put_xcom(an_xcom("x", "not mapped"))
    current = store.get_instance(seen.key)
    assert current == replace(
        seen, xcom_lengths={"return_value": 3, "odd name.#": 0}, pushed_keys=("odd name.#", "return_value")
    )


def test_what_a_branch_decided_is_noted_on_the_instance(store: Store) -> None:
    seen = given_running_instance(store)
    decided = an_xcom({"followed": ["a"]}, "skipmixin_key", skip_decision={"followed": ["a"]})
    store.put_xcom(decided)
    assert store.get_instance(seen.key) == replace(seen, skip_decision={"followed": ["a"]})
    assert store.get_xcom(seen.key, "skipmixin_key") == replace(decided, skip_decision=None)
    store.put_xcom(an_xcom({"skipped": []}, "skipmixin_key", skip_decision={"skipped": []}))
    assert store.get_instance(seen.key) == replace(seen, skip_decision={"skipped": []})


def test_a_report_keeps_the_lengths_it_has_not_seen(store: Store) -> None:
    seen = given_running_instance(store)
    store.put_xcom(an_xcom([1, 2], mapped_length=2))
    store.move(transition(seen, state=TaskInstanceState.SUCCESS))
    current = store.get_instance(seen.key)
    assert current is not None
    assert current.xcom_lengths == {"return_value": 2}


def test_a_worker_that_lost_its_instance_pushes_nothing(store: Store) -> None:
    current = given_instance(store, an_instance(state=TaskInstanceState.FAILED, try_number=1))
    with pytest.raises(StaleTaskInstance) as refused:
        store.put_xcom(an_xcom([1], mapped_length=1))
    assert refused.value.current == current
    assert store.get_xcom(current.key, "return_value") is None
    assert store.get_instance(current.key) == current


def test_what_is_given_is_not_shared(store: Store) -> None:
    value = {"a": [1]}
    store.put_xcom(an_xcom(value))
    value["a"].append(2)
    found = store.get_xcom(an_instance().key, "return_value")
    assert found is not None
    found.value["a"].append(3)
    again = store.get_xcom(an_instance().key, "return_value")
    assert again is not None
    assert again.value == {"a": [1]}
    assert again.timestamp == at(0)


def test_what_a_later_dispatch_pushed_is_neither_replaced_nor_deleted_by_an_earlier_one(store: Store) -> None:
    key = an_instance().key
    store.put_xcom(an_xcom("first", dispatch_count=1))
    store.put_xcom(an_xcom("second", dispatch_count=2))
    with pytest.raises(StaleTaskInstance):
        store.put_xcom(an_xcom("late", dispatch_count=1))
    with pytest.raises(StaleTaskInstance):
        store.delete_xcom(key, "return_value", dispatch_count=1)
    assert store.get_xcom(key, "return_value") == an_xcom("second", dispatch_count=2)
    store.put_xcom(an_xcom("by a person"))
    store.delete_xcom(key, "return_value", dispatch_count=2)
    store.delete_xcom(key, "return_value", dispatch_count=2)
    assert store.get_xcom(key, "return_value") is None


def test_a_length_is_noted_for_the_dispatch_that_runs(store: Store) -> None:
    current = given_running_instance(store)
    with pytest.raises(StaleTaskInstance):
        store.put_xcom(an_xcom([1], mapped_length=1, dispatch_count=current.dispatch_count - 1))
    assert store.get_instance(current.key) == current
    store.put_xcom(an_xcom([1], mapped_length=1, dispatch_count=current.dispatch_count))
    noted = store.get_instance(current.key)
    assert noted is not None
    assert noted.xcom_lengths == {"return_value": 1}
