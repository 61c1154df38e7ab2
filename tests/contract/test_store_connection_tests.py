"""Tests of connections: one at a time of each, each state once, and the connection that a good one makes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gust.errors import AlreadyExists, Stale
from gust.model.connection import CONNECTIONS
from gust.model.connection_test import ConnectionTest
from gust.model.connection_test import ConnectionTestState as State
from gust.model.setting import SettingChange
from gust.ports.clock import ManualClock
from gust.ports.store import Store
from gust.scheduling import connection_test
from tests.contract.given import NOW, at
from tests.contract.stores import OnDynamoDB

TEST = ConnectionTest(
    test_id="6f0e0c1a-0000-5000-8000-000000000001",
    connection_id="ware.house-1",
    state=State.PENDING,
    created_at=NOW,
    updated_at=NOW,
    expires_at=NOW + connection_test.KEPT,
    connection={"conn_type": "http", "password": "encrypted", "is_encrypted": True, "port": None},
    commit_on_success=True,
)
OTHER = replace(TEST, test_id="6f0e0c1a-0000-5000-8000-000000000002")
QUEUED = connection_test.queue(TEST, at=at(1))
GOOD = connection_test.end(QUEUED, State.SUCCESS, "it answers", at=at(5))


def test_it_is_kept_as_it_was_written_and_for_a_day(store: Store, clock: ManualClock) -> None:
    assert store.get_connection_test(TEST.test_id) is None
    store.create_connection_test(TEST)
    assert store.get_connection_test(TEST.test_id) == TEST
    assert store.active_connection_test(TEST.connection_id) == TEST.test_id
    assert store.active_connection_test("another") is None
    clock.set(TEST.expires_at)
    assert store.get_connection_test(TEST.test_id) is None


def test_of_one_connection_there_is_one_at_a_time(store: Store) -> None:
    store.create_connection_test(TEST)
    for refused in (TEST, OTHER):
        with pytest.raises(AlreadyExists):
            store.create_connection_test(refused)
    assert store.get_connection_test(OTHER.test_id) is None
    store.create_connection_test(replace(OTHER, connection_id="another"))
    store.move_connection_test(TEST, QUEUED)
    store.move_connection_test(QUEUED, GOOD)
    assert store.active_connection_test(TEST.connection_id) is None
    store.create_connection_test(replace(OTHER, test_id="3"))
    assert store.get_connection_test(TEST.test_id) == GOOD


def test_one_that_nobody_waits_for_any_more_is_replaced_and_cannot_end(store: Store) -> None:
    store.create_connection_test(TEST)
    with pytest.raises(AlreadyExists):
        store.create_connection_test(OTHER, instead_of="another")
    store.create_connection_test(OTHER, instead_of=TEST.test_id)
    with pytest.raises(AlreadyExists):
        store.create_connection_test(replace(OTHER, test_id="3"), instead_of=TEST.test_id)
    with pytest.raises(Stale):
        store.move_connection_test(TEST, connection_test.end(TEST, State.SUCCESS, None, at=at(1)))
    assert store.active_connection_test(TEST.connection_id) == OTHER.test_id


def test_each_move_is_from_what_was_seen_and_may_be_repeated(store: Store) -> None:
    store.create_connection_test(TEST)
    for _ in range(2):
        store.move_connection_test(TEST, QUEUED)
    running = connection_test.run(QUEUED, at=at(2))
    with pytest.raises(Stale):
        store.move_connection_test(TEST, connection_test.run(TEST, at=at(2)))
    store.move_connection_test(QUEUED, running)
    with pytest.raises(Stale):
        store.move_connection_test(QUEUED, replace(running, updated_at=at(3)))
    bad = connection_test.end(running, State.FAILED, "it does not", at=at(4))
    for _ in range(2):
        store.move_connection_test(running, bad)
    assert store.get_connection_test(TEST.test_id) == bad
    assert bad.connection == {}


@pytest.mark.parametrize(
    ("before", "unseen"), [(None, {"conn_type": "new"}), ({"conn_type": "old"}, None), ({"conn_type": "old"}, {})]
)
def test_the_connection_is_written_with_the_end_or_not_at_all(store: Store, before: Any, unseen: Any) -> None:
    name, after = TEST.connection_id, {"conn_type": "http"}
    ended = connection_test.end(TEST, State.SUCCESS, None, at=at(1))
    store.create_connection_test(TEST)
    if before:
        store.put_setting(CONNECTIONS, name, before)
    with pytest.raises(Stale):
        store.move_connection_test(TEST, ended, commit=SettingChange(CONNECTIONS, name, unseen, after))
    assert store.get_connection_test(TEST.test_id) == TEST
    assert store.get_setting(CONNECTIONS, name) == before
    store.move_connection_test(TEST, ended, commit=SettingChange(CONNECTIONS, name, before, after))
    assert store.get_connection_test(TEST.test_id) == ended
    assert store.get_setting(CONNECTIONS, name) == after
    assert list(store.settings_by_age(CONNECTIONS)) == [name]


def test_a_whole_test_is_four_writes_that_the_table_forgets(dynamodb: OnDynamoDB) -> None:
    store = dynamodb.store
    store.create_connection_test(TEST)
    items = dynamodb.client.scan(TableName=dynamodb.table)["Items"]
    assert [int(item["ttl"]["N"]) > TEST.expires_at.timestamp() - 1 for item in items] == [True, True]
    assert not any("edge" in item or item["pk"]["S"].startswith("RUN#") for item in items)  # nobody is woken
    running = connection_test.run(QUEUED, at=at(2))
    store.move_connection_test(TEST, QUEUED)
    store.move_connection_test(QUEUED, running)
    store.move_connection_test(running, connection_test.end(running, State.FAILED, "no", at=at(3)))
    assert dynamodb.calls.operations == ["transact_write_items", "update_item", "update_item", "transact_write_items"]
