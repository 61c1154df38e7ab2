"""Both stores answer alike after any calls in any order: results of unit tests on the twin hold on DynamoDB."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gust.aws.memory import MemoryObjects
from gust.errors import GustError
from gust.model.dag import Dag
from gust.model.dag_run import DagRun
from gust.model.keys import DagRunKey
from gust.model.state import DagRunState
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.model.xcom import XCom
from gust.ports.clock import ManualClock
from gust.ports.store import Store
from gust.store.dynamodb import DynamoDBStore
from gust.store.keyspace import TABLE_DEFINITION
from gust.store.memory import MemoryStore
from tests.contract.given import NOW, a_dag, a_run, an_instance, at, transition
from tests.contract.stores import Aws

Act = Callable[[Store], Any]

dag_ids = st.sampled_from(["a", "a#b"])
run_ids = st.sampled_from(["r", "r#2"])
moments = st.none() | st.integers(0, 3).map(at)
numbers = st.integers(0, 2)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_both_stores_answer_alike(aws: Aws, data: st.DataObject) -> None:
    table = f"gust-{uuid4().hex}"
    aws.dynamodb.create_table(TableName=table, **TABLE_DEFINITION)
    twin = MemoryStore(clock=ManualClock(NOW))
    real = DynamoDBStore(table, aws.dynamodb, MemoryObjects(), clock=ManualClock(NOW))
    remembered: list[Any] = []
    for _ in range(data.draw(st.integers(1, 15), "how many")):
        act = data.draw(acts(twin, remembered))
        answer = outcome(act, twin)
        assert outcome(act, real) == answer
    for dag_id in ("a", "a#b"):
        assert everything(real, dag_id) == everything(twin, dag_id)
    aws.dynamodb.delete_table(TableName=table)


def outcome(act: Act, store: Store) -> Any:
    try:
        return act(store)
    except (GustError, ValueError) as error:
        return type(error), getattr(error, "current", None)


def everything(store: Store, dag_id: str) -> list[Any]:
    runs = [DagRunKey(dag_id, run_id) for run_id in ("r", "r#2")]
    return [
        store.get_dag(dag_id),
        store.list_dags(),
        store.list_runs(dag_id),
        store.queued_runs(dag_id, limit=9),
        store.due_runs(at(2)),
        store.due_dags(at(2)),
        [store.load_run(run) for run in runs],
        [store.list_xcoms(run) for run in runs],
        [store.list_tries(run.task_instance("t", index)) for run in runs for index in (-1, 0)],
    ]


@st.composite
def acts(draw: st.DrawFn, twin: MemoryStore, remembered: list[Any]) -> Act:
    """Something to do, from what is stored now or from what was stored a while ago."""
    dag_id, run_id = draw(dag_ids), draw(run_ids)
    dag = _seen(draw, remembered, twin.get_dag(dag_id), a_dag(dag_id))
    run = _seen(draw, remembered, twin.get_run(DagRunKey(dag_id, run_id)), a_run(run_id, dag_id))
    key = run.key.task_instance("t", draw(st.sampled_from([-1, 0])))
    instance = _seen(draw, remembered, twin.get_instance(key), an_instance("t", key.map_index, run))
    choices: list[st.SearchStrategy[Act]] = [
        _dag_acts(dag),
        _run_acts(run, dag),
        _instance_acts(instance),
    ]
    return draw(st.one_of(choices))


def _seen(draw: st.DrawFn, remembered: list[Any], current: Any, new: Any) -> Any:
    old = [value for value in remembered if type(value) is type(new)]
    if current is not None:
        remembered.append(current)
    return draw(st.sampled_from([new if current is None else current] * 3 + old[-2:] + [new]))


def _dag_acts(dag: Dag) -> st.SearchStrategy[Act]:
    changes = st.fixed_dictionaries(
        {},
        optional={
            "is_paused": st.booleans(),
            "is_stale": st.booleans(),
            "next_run_after": moments,
            "version_number": numbers,
            "running_runs": numbers,
            "tags": st.sampled_from([(), ("x",)]),
        },
    )
    return st.builds(
        lambda is_new, changed: lambda store: store.put_dag(None if is_new else dag, replace(dag, **changed)),
        st.booleans(),
        changes,
    )


def _run_acts(run: DagRun, dag: Dag) -> st.SearchStrategy[Act]:
    states = st.sampled_from(DagRunState)
    changes = st.fixed_dictionaries(
        {},
        optional={
            "due_at": moments,
            "note": st.sampled_from([None, "n"]),
            "clear_number": numbers,
            "conf": st.just({"x": 1}),
        },
    )
    dag = replace(dag, dag_id=run.dag_id)
    return st.one_of(
        st.builds(
            lambda date, state: lambda store: store.create_run(replace(run, logical_date=date, state=state)),
            moments,
            st.sampled_from([DagRunState.QUEUED, DagRunState.RUNNING]),
        ),
        st.builds(
            lambda date, next_run_after: (
                lambda store: store.create_run(
                    replace(run, logical_date=date), moving=(dag, replace(dag, next_run_after=next_run_after))
                )
            ),
            moments,
            moments,
        ),
        st.builds(
            lambda limit, changed: (
                lambda store: store.start_run(
                    run, replace(run, state=DagRunState.RUNNING, **changed), max_active_runs=limit
                )
            ),
            numbers,
            changes,
        ),
        st.builds(
            lambda state, changed: lambda store: store.finish_run(run, replace(run, state=state, **changed)),
            states,
            changes,
        ),
        st.builds(
            lambda state, changed: lambda store: store.update_run(run, replace(run, state=state, **changed)),
            states,
            changes,
        ),
    )


def _instance_acts(instance: TaskInstance) -> st.SearchStrategy[Act]:
    changes = st.fixed_dictionaries(
        {},
        optional={
            "state": st.none() | st.sampled_from(S),
            "try_number": numbers,
            "dispatch_count": numbers,
            "hostname": st.sampled_from([None, "h"]),
            "due_at": moments,
            "xcom_lengths": st.dictionaries(st.sampled_from("xy"), numbers),
            "pushed_keys": st.sampled_from([(), ("x",), ("x", "y")]),
            "max_tries": numbers,
        },
    )
    xcom = XCom(key=instance.key, name="x", value=[1], timestamp=NOW)
    return st.one_of(
        st.builds(lambda changed: lambda store: store.move(transition(instance, **changed)), changes),
        st.builds(
            lambda changed: (
                lambda store: store.move(
                    transition(instance, keeps_try=True, **changed | {"try_number": instance.try_number + 1})
                )
            ),
            changes,
        ),
        st.builds(
            lambda changed: lambda store: store.move(transition(instance, state=S.RUNNING, **changed)),
            st.fixed_dictionaries({"try_number": numbers, "dispatch_count": numbers}),
        ),
        st.just(
            lambda store: store.heartbeat(
                instance.key, try_number=instance.try_number, dispatch_count=instance.dispatch_count, at=at(1)
            )
        ),
        st.builds(
            lambda length: lambda store: store.put_xcom(replace(xcom, mapped_length=length)), st.none() | numbers
        ),
        st.just(lambda store: store.delete_xcom(instance.key)),
    )
