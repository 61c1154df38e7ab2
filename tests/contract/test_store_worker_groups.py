"""The registered worker groups."""

from __future__ import annotations

from dataclasses import replace

from gust.model.worker_group import WorkerGroup
from gust.ports.store import Store
from tests.contract.given import NOW, at

LARGE = WorkerGroup(
    name="large",
    queue_url="https://sqs/large",
    memory=4096,
    architecture="x86_64",
    task_role="arn:aws:iam::123456789012:role/gust/gust/large",
)
ONPREM = WorkerGroup(name="on prem#1", queue_url="https://sqs/onprem")


def test_they_are_listed_as_they_were_registered(store: Store) -> None:
    assert store.list_worker_groups() == []
    for group in (ONPREM, LARGE, LARGE):
        store.register_worker_group(group)
    assert store.list_worker_groups() == [LARGE, ONPREM]
    store.delete_worker_group("large")
    store.delete_worker_group("large")
    assert store.list_worker_groups() == [ONPREM]


def test_a_sign_of_life_is_kept_when_the_group_is_registered_again(store: Store) -> None:
    store.register_worker_group(replace(ONPREM, heard_at=NOW))
    assert store.list_worker_groups() == [ONPREM]
    assert store.hear_of_worker_group(ONPREM.name, at(5))
    store.register_worker_group(replace(ONPREM, queue_url="https://sqs/other"))
    assert store.list_worker_groups() == [replace(ONPREM, queue_url="https://sqs/other", heard_at=at(5))]


def test_an_unregistered_group_gives_no_sign_of_life(store: Store) -> None:
    assert not store.hear_of_worker_group("large", NOW)
    assert store.list_worker_groups() == []


def test_a_group_that_is_being_removed_is_told_so_until_it_is_registered_again(store: Store) -> None:
    store.close_worker_group(ONPREM.name)
    assert store.list_worker_groups() == []
    store.register_worker_group(ONPREM)
    for _ in range(2):
        store.close_worker_group(ONPREM.name)
        assert store.list_worker_groups() == [replace(ONPREM, is_closing=True)]
    assert not store.hear_of_worker_group(ONPREM.name, NOW)
    store.register_worker_group(ONPREM)
    assert store.list_worker_groups() == [ONPREM]
