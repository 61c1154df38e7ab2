"""Task instances: moves are fenced, idempotent, and write nothing but their own fields."""

from dataclasses import replace
from typing import Any

import pytest

from gust.errors import StaleTaskInstance
from gust.model.keys import TaskInstanceKey
from gust.model.pool import Pool
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import ParkedTrigger
from gust.ports.store import Store
from gust.scheduling.slots import Claim
from gust.scheduling.transition import recount, resume, start
from tests.contract.given import (
    NOW,
    a_run,
    an_instance,
    at,
    given_dag,
    given_instance,
    given_run,
    given_running_instance,
    given_running_run,
    transition,
)


def test_an_instance_is_read_as_it_was_written(store: Store) -> None:
    instance = an_instance(
        "group.ex#tract",
        7,
        state=S.DEFERRED,
        try_number=2,
        max_tries=3,
        dispatch_count=4,
        scheduled_at=at(1),
        queued_at=at(2),
        start_date=at(3),
        end_date=at(4),
        heartbeat_at=at(5),
        due_at=at(6),
        hostname="2026/03/01/[$LATEST]0123456789abcdef",
        pid=42,
        operator="PythonOperator",
        version_number=3,
        xcom_lengths={"return_value": 0, "a.b c#": 12},
        pushed_keys=("a.b c#", "return_value"),
        rendered_map_index="row ü",
        rendered_fields={"sql": "select 'ü'", "params": [None]},
        rendered_by=2,
        trigger=ParkedTrigger(
            classpath="a.B",
            kwargs={"moment": {"__type": "datetime", "__var": 1.5}},
            next_method="go_on",
            next_kwargs="encoded",
            timeout_at=at(9),
            queue="q",
        ),
        next_method="go_on",
        next_kwargs={"x": None},
        reschedule_count=1,
        first_start_date=at(2),
        retry_delay_override=1.25,
        reason="waits for a trigger",
        note="n",
    )
    given_instance(store, instance)
    assert store.get_instance(instance.key) == instance
    given_run(store)
    loaded = store.load_run(a_run().key)
    assert loaded is not None
    assert loaded.instances == {("group.ex#tract", 7): instance}


def test_what_is_not_there_is_none(store: Store) -> None:
    assert store.get_instance(an_instance().key) is None
    assert store.list_tries(an_instance().key) == []
    assert store.get_rendered_fields(an_instance().key) is None


# --- move -------------------------------------------------------------------------------------------------------------


def test_the_first_move_makes_the_item(store: Store) -> None:
    """With all it says, also where `before` claims to know some of it."""
    seen = an_instance(max_tries=2)
    store.move(transition(seen, state=S.SCHEDULED, scheduled_at=NOW))
    assert store.get_instance(seen.key) == an_instance(max_tries=2, state=S.SCHEDULED, scheduled_at=NOW)


def test_an_expanded_instance_has_an_item_before_it_has_a_state(store: Store) -> None:
    store.move(transition(an_instance(map_index=0)))
    assert store.get_instance(an_instance(map_index=0).key) == an_instance(map_index=0)
    store.move(transition(an_instance(map_index=0), state=S.SCHEDULED))
    assert store.get_instance(an_instance(map_index=0).key) == an_instance(map_index=0, state=S.SCHEDULED)


def test_a_move_writes_what_changed_and_leaves_the_rest(store: Store) -> None:
    seen = given_running_instance(store)
    store.heartbeat(seen.key, try_number=1, dispatch_count=1, at=at(5))
    store.move(transition(seen, state=S.SUCCESS, end_date=at(6)))
    assert store.get_instance(seen.key) == replace(seen, state=S.SUCCESS, end_date=at(6), heartbeat_at=at(5))


def test_a_move_takes_fields_back(store: Store) -> None:
    seen = given_instance(
        store,
        an_instance(state=S.SUCCESS, try_number=1, end_date=NOW, pushed_keys=("a",), xcom_lengths={"a": 1, "b": 2}),
    )
    store.move(transition(seen, state=None, end_date=None, pushed_keys=(), xcom_lengths={"b": 3}))
    assert store.get_instance(seen.key) == an_instance(try_number=1, xcom_lengths={"b": 3})


@pytest.mark.parametrize(
    "stored",
    [
        {"state": S.SUCCESS, "try_number": 1, "dispatch_count": 1},
        {"state": S.RUNNING, "try_number": 2, "dispatch_count": 1},
        {"state": S.RUNNING, "try_number": 1, "dispatch_count": 2},
    ],
    ids=["other state", "other try", "other dispatch"],
)
def test_a_move_of_an_instance_that_moved_is_stale(store: Store, stored: dict[str, Any]) -> None:
    current = given_instance(store, an_instance(**stored))
    seen = an_instance(state=S.RUNNING, try_number=1, dispatch_count=1)
    with pytest.raises(StaleTaskInstance, match="fail") as refused:
        store.move(transition(seen, edge="fail", state=S.FAILED))
    assert refused.value.current == current
    assert store.get_instance(seen.key) == current


def test_a_move_of_an_instance_that_vanished_is_stale(store: Store) -> None:
    seen = an_instance(state=S.RUNNING, try_number=1)
    with pytest.raises(StaleTaskInstance) as refused:
        store.move(transition(seen, state=S.FAILED))
    assert refused.value.current is None
    assert store.get_instance(seen.key) is None


def test_a_new_instance_is_stale_where_one_is_stored(store: Store) -> None:
    current = given_running_instance(store)
    with pytest.raises(StaleTaskInstance):
        store.move(transition(an_instance(), state=S.SCHEDULED))
    assert store.get_instance(current.key) == current


def test_a_move_may_be_repeated(store: Store) -> None:
    """The later repetition changes nothing, not even what it was told differently."""
    seen = given_running_instance(store)
    store.move(transition(seen, state=S.SUCCESS, end_date=at(1)))
    store.move(transition(seen, state=S.SUCCESS, end_date=at(2)))
    assert store.get_instance(seen.key) == replace(seen, state=S.SUCCESS, end_date=at(1))


def test_of_two_decisions_that_begin_a_dispatch_one_wins(store: Store) -> None:
    """Each has sent its message, and only the one of the decision that is written starts anything."""
    seen = an_instance()
    first = transition(seen, state=S.SCHEDULED, try_number=1, dispatch_count=1, scheduled_at=at(1))
    store.move(first)
    store.move(first)
    with pytest.raises(StaleTaskInstance) as refused:
        store.move(transition(seen, state=S.SCHEDULED, try_number=1, dispatch_count=1, scheduled_at=at(2)))
    assert refused.value.current == first.after


def test_of_two_workers_that_start_one_wins(store: Store) -> None:
    """It may ask again; the other one may not, though it would bring the instance to the same place."""
    seen = given_instance(store, an_instance(state=S.QUEUED, try_number=1, dispatch_count=1))
    start = transition(seen, state=S.RUNNING, hostname="one", pid=1)
    store.move(start)
    store.move(start)
    for hostname, pid in (("two", 1), ("one", 2)):
        with pytest.raises(StaleTaskInstance) as refused:
            store.move(transition(seen, state=S.RUNNING, hostname=hostname, pid=pid))
        assert refused.value.current == start.after


def test_a_move_that_leaves_the_state_writes_its_fields(store: Store) -> None:
    seen = given_running_instance(store)
    store.move(transition(seen, note="look at this"))
    assert store.get_instance(seen.key) == replace(seen, note="look at this")


def test_a_transition_stays_with_its_instance(store: Store) -> None:
    with pytest.raises(ValueError, match="cannot move"):
        store.move(transition(an_instance("a"), task_id="b"))


def test_a_try_that_ends_is_kept(store: Store) -> None:
    first = given_instance(
        store, an_instance(state=S.UP_FOR_RETRY, try_number=1, dispatch_count=1, start_date=NOW, end_date=at(1))
    )
    again = transition(first, keeps_try=True, state=S.SCHEDULED, try_number=2, start_date=None, end_date=None)
    store.move(again)
    store.move(again)
    second = replace(again.after, state=S.UP_FOR_RETRY)
    store.move(transition(again.after, state=S.UP_FOR_RETRY))
    store.move(transition(second, keeps_try=True, state=S.SCHEDULED, try_number=3))
    assert store.list_tries(first.key) == [again.finished_try, replace(second, state=S.FAILED)]
    assert store.tries_of_run(first.key.run) == {(first.task_id, first.map_index): store.list_tries(first.key)}
    current = store.get_instance(first.key)
    assert current is not None
    assert current.try_number == 3


def test_a_stale_move_keeps_no_try(store: Store) -> None:
    given_instance(store, an_instance(state=S.SUCCESS, try_number=1))
    seen = an_instance(state=S.UP_FOR_RETRY, try_number=1)
    with pytest.raises(StaleTaskInstance) as refused:
        store.move(transition(seen, keeps_try=True, state=S.SCHEDULED, try_number=2))
    assert refused.value.current == an_instance(state=S.SUCCESS, try_number=1)
    assert store.list_tries(seen.key) == []


def test_tries_of_map_indexes_and_like_named_tasks_are_apart(store: Store) -> None:
    for task_id, map_index in [("t", 1), ("t", 11), ("t1", 1)]:
        seen = given_instance(store, an_instance(task_id, map_index, state=S.FAILED, try_number=1))
        store.move(transition(seen, keeps_try=True, state=None))
    assert [kept.key for kept in store.list_tries(an_instance("t", 1).key)] == [an_instance("t", 1).key]


# --- move_all ---------------------------------------------------------------------------------------------------------


def test_many_moves_report_the_stale_ones(store: Store) -> None:
    seen = [an_instance("t", n) for n in range(40)]
    given_instance(store, replace(seen[7], state=S.SKIPPED))
    given_instance(store, replace(seen[23], state=S.SKIPPED))
    moves = [transition(instance, state=S.SCHEDULED) for instance in seen]
    assert store.move_all(moves) == [moves[7], moves[23]]
    given_run(store)
    loaded = store.load_run(a_run().key)
    assert loaded is not None
    states = [loaded.instances["t", n].state for n in range(40)]
    assert states.count(S.SCHEDULED) == 38
    assert states[7] is states[23] is S.SKIPPED
    assert store.move_all([]) == []


# --- heartbeat --------------------------------------------------------------------------------------------------------


def test_a_heartbeat_is_noted(store: Store) -> None:
    seen = given_running_instance(store)
    store.heartbeat(seen.key, try_number=1, dispatch_count=1, at=at(30))
    assert store.get_instance(seen.key) == replace(seen, heartbeat_at=at(30))


@pytest.mark.parametrize(
    "stored",
    [
        {"state": S.RUNNING, "try_number": 2, "dispatch_count": 1},
        {"state": S.RUNNING, "try_number": 1, "dispatch_count": 2},
        {"state": S.RESTARTING, "try_number": 1, "dispatch_count": 1},
        None,
    ],
    ids=["other try", "other dispatch", "not running", "nothing"],
)
def test_a_heartbeat_of_another_dispatch_is_stale(store: Store, stored: dict[str, Any] | None) -> None:
    current = given_instance(store, an_instance(**stored)) if stored else None
    with pytest.raises(StaleTaskInstance) as refused:
        store.heartbeat(an_instance().key, try_number=1, dispatch_count=1, at=NOW)
    assert refused.value.current == current
    assert store.get_instance(an_instance().key) == current


# --- rendered fields --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, 400_000])
def test_rendered_fields_are_replaced(store: Store, size: int) -> None:
    key = an_instance("t", 0).key
    store.put_rendered_fields(key, {"sql": "old"}, dispatch_count=1)
    store.put_rendered_fields(key, {"sql": "x" * size, "n": [1, None]}, dispatch_count=1)
    assert store.get_rendered_fields(key) == {"sql": "x" * size, "n": [1, None]}
    assert store.get_rendered_fields(an_instance("t", 1).key) is None


def test_rendered_fields_of_an_earlier_dispatch_are_stale(store: Store) -> None:
    key = an_instance("t", 0).key
    store.put_rendered_fields(key, {"sql": "new"}, dispatch_count=2)
    with pytest.raises(StaleTaskInstance):
        store.put_rendered_fields(key, {"sql": "old"}, dispatch_count=1)
    store.put_rendered_fields(key, {"sql": "newest"}, dispatch_count=3)
    assert store.get_rendered_fields(key) == {"sql": "newest"}


def test_the_last_dispatchs_rendered_fields_are_read_from_the_instance_or_from_beside_it(store: Store) -> None:
    seen = given_instance(store, an_instance("t", 0, state=S.RUNNING, try_number=1, dispatch_count=2))
    store.put_rendered_fields(seen.key, {"sql": "first"}, dispatch_count=1)
    ended = transition(seen, state=S.UP_FOR_RETRY, rendered_fields={"sql": "second"}, rendered_by=2)
    store.move(ended)
    store.move(ended)
    assert_shown(store, seen.key, {"sql": "second"})
    store.put_rendered_fields(seen.key, {"sql": "second, anew"}, dispatch_count=2)
    assert_shown(store, seen.key, {"sql": "second, anew"})
    third = replace(ended.after, state=S.RUNNING, try_number=2, dispatch_count=3)
    store.move(transition(ended.after, state=S.RUNNING, try_number=2, dispatch_count=3))
    assert_shown(store, seen.key, {"sql": "second, anew"})
    store.move(transition(third, state=S.SUCCESS, rendered_fields={}, rendered_by=3))
    assert_shown(store, seen.key, {})


def assert_shown(store: Store, key: TaskInstanceKey, fields: dict[str, Any]) -> None:
    neighbour = an_instance("t", 1).key
    assert store.get_rendered_fields(key) == fields
    assert store.get_many_rendered_fields([key, neighbour]) == {key: fields}
    assert store.list_rendered_fields(key.run) == {("t", 0): fields}


def test_an_instance_and_its_run_in_one_call(store: Store) -> None:
    given_dag(store)
    run = given_running_run(store)
    key = an_instance("extract").key
    assert store.get_instance_and_run(key) == (None, store.get_run(run.key))
    given = given_instance(store, an_instance("extract", state=S.QUEUED))
    assert store.get_instance_and_run(key) == (given, store.get_run(run.key))
    assert store.get_instance_and_run(replace(key, run_id="other")) == (None, None)
    both = [("extract", -1), ("load", 3)]
    assert store.get_run_and_instances(run.key, both) == (store.get_run(run.key), {("extract", -1): given})
    assert store.get_run_and_instances(run.key, []) == (store.get_run(run.key), {})
    assert store.get_run_and_instances(replace(run.key, run_id="other"), both) == (None, {})


def test_an_instance_is_moved_unread_if_it_is_as_the_caller_supposes(store: Store) -> None:
    stored = an_instance(
        state=S.QUEUED, try_number=1, dispatch_count=1, scheduled_at=NOW, queued_at=at(1), operator="x", reason="ready",
        holds={"pool:p": 2}, max_tries=3,
    )  # fmt: skip
    given_instance(store, stored)
    supposed = an_instance(state=S.QUEUED, try_number=1, dispatch_count=1, scheduled_at=NOW, reason="?")
    moved = start(supposed, at=at(2), hostname="h", pid=7)
    for wrong in ({"scheduled_at": at(1)}, {"dispatch_count": 2}, {"state": S.SCHEDULED}, {"try_number": 2}):
        assert store.move_unread(replace(moved, before=replace(supposed, **wrong))) is None
        assert store.get_instance(stored.key) == stored
    now = replace(stored, state=S.RUNNING, start_date=at(2), heartbeat_at=at(2), hostname="h", pid=7, reason=None)
    assert store.move_unread(moved) == now
    assert store.move_unread(moved) is None
    assert store.get_instance(stored.key) == now
    nowhere = replace(supposed, task_id="nowhere")
    assert store.move_unread(start(nowhere, at=at(2))) is None
    assert store.get_instance(nowhere.key) is None


def test_a_run_and_instances_with_its_dag_and_pools_in_one_call(store: Store) -> None:
    given_dag(store)
    run = given_running_run(store)
    given_instance(store, an_instance("extract", state=S.QUEUED))
    store.put_pool(None, Pool(name="p", slots=4))
    pools, instances = ["default_pool", "p"], [("extract", -1), ("load", 3)]
    for key in (run.key, replace(run.key, run_id="other"), replace(run.key, dag_id="other")):
        assert store.get_dag_and_run(key, pools=pools, instances=instances) == (
            store.get_dag_and_pools(key.dag_id, pools),
            store.get_run_and_instances(key, instances),
        )


def test_slots_that_a_pool_counted_meanwhile_are_given_back(store: Store) -> None:
    """The trigger's end was decided before the pool began to count the deferred instance: the same move gives back what the
    instance holds by then, and nothing stays counted."""
    given_dag(store)
    given_running_run(store)
    store.put_pool(None, pool := Pool(name="p", slots=4, include_deferred=True))
    trigger = ParkedTrigger(classpath="a.B", kwargs={}, next_method="go_on")
    seen = given_instance(store, an_instance(state=S.DEFERRED, try_number=1, dispatch_count=1, trigger=trigger))
    store.move(recount(seen, claims=[Claim("pool:p", 2, 4, pool)]))
    assert store.get_pools(["p"])["p"].used == 2

    store.move(resume(seen, at=at(5), event="fired"))

    stored = store.get_instance(seen.key)
    assert stored is not None
    assert (stored.state, stored.holds, stored.holds_pool_deferred) == (S.SCHEDULED, {}, False)
    assert store.get_pools(["p"])["p"].used == 0
