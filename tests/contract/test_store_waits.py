"""Who waits for what of AWS."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from gust.model.awaited import Wait
from gust.model.dispatch import Dispatch
from gust.model.keys import TaskInstanceKey
from gust.ports.clock import ManualClock
from gust.ports.store import Store
from tests.contract.given import NOW

WAIT = Wait.of("Job: #1 é", Dispatch(TaskInstanceKey("d #", "r/1", "t", 3), 1, 2), NOW + timedelta(hours=1))
OTHER = replace(WAIT, task_id="other", map_index=-1)


def test_a_resource_has_its_waits_one_for_each_try_until_they_expire(store: Store, clock: ManualClock) -> None:
    store.put_wait(replace(WAIT, dispatch_count=1))
    store.put_wait(WAIT)
    store.put_wait(OTHER)
    store.put_wait(replace(WAIT, resource="Job: #10 é"))
    assert sorted(store.waits_for(WAIT.resource), key=lambda wait: wait.task_id) == [OTHER, WAIT]
    assert store.waits_for("Job: #1") == []
    clock.advance(3600)
    assert store.waits_for(WAIT.resource) == []


def test_one_that_is_over_is_dropped_and_one_of_a_later_dispatch_is_not(store: Store) -> None:
    store.put_wait(WAIT)
    store.put_wait(OTHER)
    store.drop_wait(OTHER)
    store.drop_wait(OTHER)
    store.drop_wait(replace(WAIT, dispatch_count=1))
    assert store.waits_for(WAIT.resource) == [WAIT]
