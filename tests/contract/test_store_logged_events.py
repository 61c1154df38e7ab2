"""The event log: every event has a moment, which is its id."""

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from gust.model.history_query import LoggedEventQuery
from gust.model.logged_event import KEPT_FOR, LoggedEvent, id_of
from gust.model.window import NEWEST_FIRST, Window
from gust.ports.store import Store
from tests.contract.given import NOW, at
from tests.contract.stores import OnDynamoDB

EVENT = LoggedEvent(when=NOW, event="patch_dag", owner="me", owner_display_name="Me", extra="{}", dag_id="etl")


def test_an_event_is_read_as_it_was_kept(store: Store) -> None:
    event = replace(EVENT, task_id="t", run_id="r#1", map_index=3, try_number=2, logical_date=at(5), extra="é" * 1000)
    assert store.log_event(event) == event
    assert store.get_logged_event(event.event_log_id) == event
    assert store.get_logged_event(event.event_log_id + 1) is None
    bare = store.log_event(LoggedEvent(when=at(1), event="bulk_pools"))
    assert store.get_logged_event(id_of(at(1))) == bare


def test_two_events_of_one_moment_become_two(store: Store) -> None:
    first = store.log_event(EVENT)
    second = store.log_event(replace(EVENT, event="other"))
    third = store.log_event(replace(EVENT, event="third", dag_id="another"))
    assert [first.when, second.when, third.when] == [NOW + timedelta(microseconds=n) for n in range(3)]
    assert len({event.event_log_id for event in (first, second, third)}) == 3
    assert store.logged_events() == [first, second, third]


def test_the_same_event_again_changes_nothing(store: Store) -> None:
    """As when an answer is lost and the call is repeated."""
    assert store.log_event(EVENT) == store.log_event(EVENT)
    assert store.count_logged_events() == 1


def test_lists_are_in_order_of_time_and_narrow(store: Store) -> None:
    events = [
        store.log_event(LoggedEvent(when=at(n), event=f"e{n}", dag_id=dag_id, run_id=run_id))
        for n, (dag_id, run_id) in enumerate(
            [("etl", "a"), (None, None), ("etl", "b"), ("etl2", "a"), ("etl", "a"), ("etl", None), ("e#", "x#y")]
        )
    ]

    def listed(*args: Any, limit: int | None = None, **kwargs: Any) -> list[str]:
        query = LoggedEventQuery(*args, **kwargs)
        found = [event.event for event in store.logged_events(query, limit=limit)]
        if limit is None:
            assert store.count_logged_events(query) == len(found)
            assert [event.event for event in store.walk_logged_events(query)] == found
        return found

    assert listed() == [event.event for event in events]
    assert listed(window=NEWEST_FIRST, limit=2) == ["e6", "e5"]
    assert listed("etl") == ["e0", "e2", "e4", "e5"]
    assert listed("etl", NEWEST_FIRST, limit=3) == ["e5", "e4", "e2"]
    assert listed("etl", run_id="a") == ["e0", "e4"]
    assert listed(run_id="a") == ["e0", "e3", "e4"]
    assert listed("e#", run_id="x#y") == ["e6"]
    assert listed("nope") == []
    between = partial(Window.between, ascending=True)
    assert listed(window=between(at(1), at(4))) == ["e2", "e3"]
    assert listed(window=Window(at(1), at(4), ascending=True)) == ["e1", "e2", "e3", "e4"]
    assert listed("etl", between(at(0), at(5))) == ["e2", "e4"]
    assert listed("etl", between(None, at(0))) == []
    assert listed(window=between(at(9), None)) == []
    assert listed(window=between(at(4), at(4))) == []
    assert listed("etl", Window.between(at(1), None, ascending=False), run_id="a", limit=1) == ["e4"]


@pytest.mark.parametrize("run_id", ["r" * 250, "é" * 250, "#" * 250])
def test_ids_as_long_as_they_come(store: Store, run_id: str) -> None:
    event = store.log_event(replace(EVENT, dag_id="d" * 250, run_id=run_id))
    store.log_event(replace(EVENT, dag_id="d" * 250, run_id=f"{run_id[:-1]}x"))
    assert store.logged_events(LoggedEventQuery("d" * 250, run_id=run_id)) == [event]


def test_an_event_goes_after_a_year_and_costs_one_call(dynamodb: OnDynamoDB) -> None:
    dynamodb.calls.clear()
    event = dynamodb.store.log_event(EVENT)
    assert dynamodb.calls.operations == ["put_item"]
    [item] = dynamodb.client.scan(TableName=dynamodb.table)["Items"]
    assert int(item["ttl"]["N"]) == int((event.when + KEPT_FOR).timestamp()) + (event.when.microsecond > 0)
