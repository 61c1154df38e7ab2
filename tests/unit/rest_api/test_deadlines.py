"""Deadlines of runs and the alerts they come from, by the contract of Airflow's private UI operations."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from gust.model.callback import CallbackState
from gust.model.dag import Dag
from gust.model.dag_run import DagRun
from gust.scheduling.callback import miss
from gust.services.runs.deadlines import create_run_with_deadlines
from gust.services.specs import load_spec
from tests.unit.rest_api import contract
from tests.unit.rest_api.world import NOW, Api, World, etl_spec

CALLBACK = {
    "__classname__": "airflow.sdk.definitions.callback.SyncCallback",
    "__version__": 0,
    "__data__": {"path": "alerts.late", "kwargs": {}, "executor": None},
}


def alert(name: str | None, minutes: int, reference: str = "DagRunQueuedAtDeadline") -> dict[str, Any]:
    interval = {"__classname__": "datetime.timedelta", "__version__": 2, "__data__": minutes * 60.0}
    return {"name": name, "reference": {"reference_type": reference}, "interval": interval, "callback": CALLBACK}


VARIABLE = {
    **alert("by variable", 0),
    "interval": {
        "__classname__": "airflow.sdk.definitions.deadline.VariableInterval",
        "__version__": 1,
        "__data__": {"key": "minutes"},
    },
}


@pytest.fixture
def dag(world: World) -> Dag:
    return world.dag(spec=etl_spec(deadline=[alert("soon", 1), alert(None, 60), VARIABLE]))


def a_run(world: World, dag: Dag, run_id: str = "r1") -> DagRun:
    template = world.run(dag, f"template of {run_id}")
    from dataclasses import replace

    run = replace(template, run_id=run_id)
    return create_run_with_deadlines(world.services, run, load_spec(world.objects, dag.spec_key))


def answered(api: Api, operation_id: str, url: str, **query: Any) -> Any:
    reply = api("GET", url, **query)
    assert reply.status == 200, reply.text
    contract.check(operation_id, 200, reply.json, file=contract.UI_FILE)
    return reply.json


def deadlines(api: Api, dag_id: str = "etl", run_id: str = "r1", **query: Any) -> list[dict[str, Any]]:
    answer = answered(api, "get_deadlines", f"/ui/dags/{dag_id}/dagRuns/{run_id}/deadlines", **query)
    found: list[dict[str, Any]] = answer["deadlines"]
    return found


def test_the_deadlines_of_a_run(api: Api, world: World, dag: Dag) -> None:
    run = a_run(world, dag)
    world.store.move_callback(miss(world.store.list_callbacks(run.key)[0], at=NOW + timedelta(minutes=2)))
    found = deadlines(api)

    assert [(d["alert_name"], d["missed"]) for d in found] == [("soon", True), (None, False)]
    alerts = answered(api, "get_dag_deadline_alerts", "/ui/dags/etl/deadlineAlerts")
    assert [d["alert_id"] for d in found] == [a["id"] for a in alerts["deadline_alerts"][:2]]


def test_they_are_filtered_and_ordered(api: Api, world: World, dag: Dag) -> None:
    run = a_run(world, dag)
    world.store.move_callback(miss(world.store.list_callbacks(run.key)[0], at=NOW))

    assert [d["alert_name"] for d in deadlines(api, missed="true")] == ["soon"]
    assert [d["alert_name"] for d in deadlines(api, order_by="-deadline_time")] == [None, "soon"]
    after = (NOW + timedelta(minutes=30)).isoformat()
    assert [d["alert_name"] for d in deadlines(api, deadline_time_gte=after)] == [None]
    assert len(deadlines(api, limit=1)) == 1


def test_all_runs_and_all_dags(api: Api, world: World, dag: Dag) -> None:
    a_run(world, dag, "r1")
    a_run(world, dag, "r2")
    world.run(world.dag("other"), "r1")

    assert len(deadlines(api, run_id="~")) == 4
    assert len(deadlines(api, dag_id="~", run_id="~")) == 4
    assert deadlines(api, dag_id="other") == []
    assert api("GET", "/ui/dags/~/dagRuns/r1/deadlines").status == 400


def test_a_run_that_is_not_there(api: Api, dag: Dag) -> None:
    reply = api("GET", f"/ui/dags/{dag.dag_id}/dagRuns/none/deadlines")
    assert (reply.status, reply.detail) == (404, "DagRun with dag_id: `etl` and run_id: `none` was not found")


def test_the_alerts_of_a_dag(api: Api, dag: Dag) -> None:
    answer = answered(api, "get_dag_deadline_alerts", f"/ui/dags/{dag.dag_id}/deadlineAlerts")

    assert [(a["name"], a["reference_type"], a["interval"]) for a in answer["deadline_alerts"]] == [
        ("soon", "DagRunQueuedAtDeadline", 60.0),
        (None, "DagRunQueuedAtDeadline", 3600.0),
        ("by variable", "DagRunQueuedAtDeadline", None),
    ]
    assert answer["total_entries"] == 3


def test_alerts_of_a_version_or_dag_that_is_not_there(api: Api, dag: Dag) -> None:
    reply = api("GET", "/ui/dags/none/deadlineAlerts")
    assert (reply.status, reply.detail) == (404, "Dag with id none was not found")
    reply = api("GET", f"/ui/dags/{dag.dag_id}/deadlineAlerts", version_number=7)
    assert (reply.status, reply.detail) == (404, "Dag with id etl and version number 7 was not found")


def test_the_table_is_the_contracts() -> None:
    from gust.rest_api.http.operations import UI_OPERATIONS

    known = contract.operations(contract.UI_FILE)
    assert {name: known[name] for name in UI_OPERATIONS} == {n: tuple(o) for n, o in UI_OPERATIONS.items()}


def test_a_deadline_that_was_met_is_not_shown(api: Api, world: World, dag: Dag) -> None:
    from gust.scheduling.callback import CallbackMove

    run = a_run(world, dag)
    for deadline in world.store.list_callbacks(run.key):
        assert deadline.state is CallbackState.SCHEDULED
        world.store.move_callback(CallbackMove(deadline, None))
    assert deadlines(api) == []
