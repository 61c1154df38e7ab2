"""The cost of one request: its calls of the store, which are the bill, counted."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gust.execution_api.app import SHORT
from gust.execution_api.datamodels.dagrun import dag_run_response
from gust.model.asset import Asset
from gust.model.dag_run import TOLD_TO_TASKS
from gust.model.dag_spec import TaskSpec
from gust.model.state import DagRunState
from tests.environment import of_a_user
from tests.unit.execution_api.world import NOW, RUN, World, hostname

END = "2026-03-01T12:00:05Z"

READ_AND_MOVE = {"get_instance": 1, "move": 1}

COSTS: list[tuple[str, str, Any, dict[str, int]]] = [
    ("PUT", "rtif", {"a": "b"}, {"get_instance": 1, "put_rendered_fields": 1}),
    ("PATCH", "state", {"state": "success", "end_date": END}, READ_AND_MOVE),
    ("PATCH", "state", {"state": "failed", "end_date": END}, READ_AND_MOVE),
    ("PATCH", "state", {"state": "deferred", "classpath": "a.T", "next_method": "go"}, READ_AND_MOVE),
    ("PATCH", "state", {"state": "up_for_reschedule", "end_date": END, "reschedule_date": END}, READ_AND_MOVE),
    ("PATCH", "state", {"state": "up_for_retry", "end_date": END}, {**READ_AND_MOVE, "get_run": 1}),
    ("PATCH", "skip-downstream", {"tasks": ["load"]}, {"load_run": 1, "move_all": 1}),
]


@pytest.fixture
def etl(world: World) -> World:
    world.given_dag(TaskSpec(task_id="extract", retries=1), TaskSpec(task_id="load"))
    world.given_run()
    return world


@pytest.mark.parametrize(("method", "operation", "body", "calls"), COSTS)
def test_reports(etl: World, method: str, operation: str, body: Any, calls: dict[str, int]) -> None:
    ti = etl.given_running("extract")
    token = etl.token(ti)
    etl.store.calls.clear()
    status, _ = etl.request(method, f"/task-instances/{ti.key.uuid(1)}/{operation}", token=token, body=body)
    assert status in {201, 204}
    assert dict(etl.store.calls) == calls


def test_a_heartbeat_is_a_read_and_now_and_then_a_write(etl: World) -> None:
    ti = etl.given_running("extract")
    worker = etl.worker(ti)
    costs = []
    for _ in range(6):
        etl.clock.advance(5)
        etl.store.calls.clear()
        worker.task_instances.heartbeat(ti.key.uuid(1), pid=1)
        costs.append(dict(etl.store.calls))
    quiet = {"get_instance": 1}
    assert costs == [quiet, quiet, {**quiet, "heartbeat": 1}] * 2


def test_start(etl: World) -> None:
    """Of the first dispatch of an instance the token tells everything; of others, the table."""
    ti = etl.given_queued("extract", retries=1)
    worker = etl.worker(ti)
    etl.store.calls.clear()
    worker.task_instances.start(ti.key.uuid(1), pid=7, when=NOW)
    assert dict(etl.store.calls) == {"get_run": 1, "move_unread": 1}
    worker.task_instances.retry(ti.key.uuid(1), NOW, None)
    again = etl.given_queued("extract")
    etl.store.calls.clear()
    etl.worker(again).task_instances.start(again.key.uuid(2), pid=7, when=NOW)
    assert dict(etl.store.calls) == {"get_instance_and_run": 1, "move": 1, "list_xcoms": 1}


def test_a_run_is_read_for_the_first_of_its_tasks_that_starts(etl: World) -> None:
    """And again once it has changed in what a task's context has."""
    first, second, third = (etl.given_queued("extract", map_index=number) for number in range(3))
    etl.store.calls.clear()
    told = [etl.started_by_message(first), etl.started_by_message(second)]
    assert dict(etl.store.calls) == {"get_run": 1, "move_unread": 2}
    run = etl.store.get_run(RUN)
    etl.store.update_run(run, replace(run, note="Look at this", due_at=NOW))
    told.append(etl.started_by_message(third))
    assert [answer["dag_run"]["note"] for answer in told] == [None, None, "Look at this"]


def test_a_run_of_which_only_the_schedulers_fields_changed_is_the_same_to_its_tasks(etl: World) -> None:
    run = etl.store.get_run(RUN)
    assert replace(run, due_at=NOW, last_scheduling_decision=NOW, let_go=3).digest == run.digest
    others = {"clear_number": 1, "conf": {"a": 1}, "start_date": NOW - timedelta(1), "state": DagRunState.QUEUED}
    assert all(replace(run, **{name: value}).digest != run.digest for name, value in others.items())
    context = dag_run_response(run).keys() - {"dag_id", "run_id", "consumed_asset_events", "team_name"}
    assert context == set(TOLD_TO_TASKS)


@pytest.mark.parametrize(
    ("fields", "calls"),
    [({"a": "b"}, {"move": 1}), ({"a": "b" * SHORT}, {"move": 1, "put_rendered_fields": 1})],
    ids=["short", "long"],
)
def test_a_success_with_short_rendered_fields_is_one_write_and_no_read(
    etl: World, fields: dict[str, str], calls: dict[str, int]
) -> None:
    ti = etl.given_queued("extract")
    worker = etl.worker(ti)
    worker.task_instances.start(ti.key.uuid(1), pid=7, when=NOW)
    worker.task_instances.set_rtif(ti.key.uuid(1), fields)
    etl.store.calls.clear()
    etl.log.truncate(0)
    worker.task_instances.succeed(ti.key.uuid(1), when=NOW, task_outlets=[], outlet_events=[], rendered_map_index=None)
    assert dict(etl.store.calls) == calls
    assert etl.store.get_rendered_fields(ti.key) == fields
    assert etl.log.getvalue().count("\n") == 1, "and one line of the log"


def test_push_and_pull(etl: World) -> None:
    worker = etl.worker(etl.given_running("extract"))
    etl.store.calls.clear()
    worker.xcoms.set(RUN.dag_id, RUN.run_id, "extract", "return_value", 1)
    assert dict(etl.store.calls) == {"get_instance": 1, "put_xcom": 1}
    etl.store.calls.clear()
    worker.xcoms.get(RUN.dag_id, RUN.run_id, "extract", "return_value")
    assert dict(etl.store.calls) == {"get_xcom": 1}


def test_asking_about_runs_by_name_or_date_reads_those_runs(etl: World) -> None:
    """A sensor that waits for another DAG asks so with every poke, and that DAG may have years of runs."""
    worker = etl.worker(etl.given_running("extract"))
    which: list[dict[str, Any]] = [{"run_ids": [RUN.run_id]}, {"logical_dates": [NOW]}]
    for asked in [*which, {**which[0], **which[1]}]:
        etl.store.calls.clear()
        assert worker.dag_runs.get_count(RUN.dag_id, **asked).count == 1
        assert worker.task_instances.get_count(RUN.dag_id, task_ids=["extract"], **asked).count == 1
        assert "list_runs" not in etl.store.calls
    assert worker.dag_runs.get_count(RUN.dag_id, run_ids=["no such run"]).count == 0
    assert worker.dag_runs.get_count(RUN.dag_id, logical_dates=[NOW - timedelta(seconds=1)]).count == 0


def test_an_outlet(etl: World) -> None:
    etl.store.put_asset(Asset(name="orders", uri="s3://lake/orders"))
    ti = etl.given_running("extract")
    body = {
        "state": "success",
        "end_date": END,
        "task_outlets": [{"name": "orders", "uri": "s3://lake/orders", "type": "Asset"}],
    }
    token = etl.token(ti)
    etl.store.calls.clear()
    etl.request("PATCH", f"/task-instances/{ti.key.uuid(1)}/state", token=token, body=body)
    assert dict(etl.store.calls) == {
        **READ_AND_MOVE,
        "get_run": 1,
        "get_asset": 1,
        "schedules_on_asset": 1,
        "put_asset_events": 1,
    }


def test_who_may_not_ask_costs_nothing(etl: World) -> None:
    ti = etl.given_running("extract")
    other = etl.token(etl.given_running("load"))
    etl.store.calls.clear()
    body = {"state": "running", "hostname": hostname(), "unixname": "me", "pid": 1, "start_date": END}
    assert etl.request("PATCH", f"/task-instances/{ti.key.uuid(1)}/run", token=other, body=body)[0] == 403
    assert etl.request("GET", "/variables/x", token="forged")[0] == 403
    assert etl.request("GET", "/variables/x")[0] == 401
    assert dict(etl.store.calls) == {}


def test_a_cold_start_imports_neither_airflow_nor_what_few_requests_need() -> None:
    unwanted = ["airflow", "fastapi", "httpx", "jsonschema", "croniter", "pandas"]
    code = f"""
import sys
sys.modules.update(dict.fromkeys({unwanted!r}))
import gust.execution_api.app
assert gust.execution_api.app.ROUTES
assert "boto3" not in sys.modules
"""
    path = ":".join(p for p in sys.path if p)
    subprocess.run([sys.executable, "-c", code], check=True, env=of_a_user(PYTHONPATH=path))  # noqa: S603
