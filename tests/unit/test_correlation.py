"""The id by which log lines about one request are found: accepted or made, kept by the run, sent along."""

from __future__ import annotations

import io
import json

import pytest

from gust.model.correlation import correlation_id_of
from gust.model.keys import DagRunKey
from gust.model.workload import TaskWorkload
from gust.rest_api.access.auth import ALL_ADMINS, Authenticator
from gust.rest_api.app import build, logger
from gust.services.runs.create_dag_run import create_due_runs
from gust.store import items
from tests.unit.rest_api.world import Api, make_world
from tests.unit.rest_api.world import World as ApiWorld
from tests.unit.services.test_due_runs import hourly
from tests.world import World

TRACE = "Root=1-67891233-abcdef012345678912345678;Parent=53995c3f42cd8ad8;Sampled=1"
GIVEN = {"x-request-id": "order-42"}
RUNS = "/api/v2/dags/etl/dagRuns"


def test_a_request_may_bring_its_own() -> None:
    assert correlation_id_of(GIVEN | {"x-amzn-trace-id": TRACE}) == "order-42"


def test_else_the_root_of_the_gateways_trace_is_taken() -> None:
    assert correlation_id_of({"x-amzn-trace-id": TRACE}) == "1-67891233-abcdef012345678912345678"


@pytest.mark.parametrize("given", ["", "x" * 65, "two\nlines", 'say "no"', "naïve"])
def test_one_that_does_not_fit_a_log_or_an_item_is_not_used(given: str) -> None:
    made = correlation_id_of({"x-request-id": given})
    assert made != given
    assert len(made) == 16


@pytest.fixture
def api_world() -> ApiWorld:
    world = make_world()
    world.dag()
    return world


@pytest.fixture
def api(api_world: ApiWorld) -> Api:
    return Api(build(api_world.services, Authenticator(ALL_ADMINS)))


def kept(world: ApiWorld, run_id: str) -> str | None:
    run = world.store.get_run(DagRunKey("etl", run_id))
    assert run is not None
    return run.correlation_id


def trigger(api: Api, run_id: str, **options: object) -> dict[str, str]:
    body = {"logical_date": None, "dag_run_id": run_id}
    answer = api("POST", RUNS, body, **options)
    assert answer.status == 200, answer.text
    return answer.headers


def test_the_answer_names_it_and_the_run_keeps_it(api_world: ApiWorld, api: Api) -> None:
    assert trigger(api, "one", headers=GIVEN)["x-request-id"] == "order-42"
    assert kept(api_world, "one") == "order-42"


def test_a_request_without_one_gets_one(api_world: ApiWorld, api: Api) -> None:
    assert trigger(api, "two")["x-request-id"] == kept(api_world, "two")


def test_an_edit_of_a_run_replaces_it_in_a_write_that_it_makes_anyway(api_world: ApiWorld, api: Api) -> None:
    trigger(api, "three", headers=GIVEN)
    answer = api("PATCH", f"{RUNS}/three", {"state": "failed"}, headers={"x-request-id": "order-43"})
    assert answer.status == 200
    assert kept(api_world, "three") == "order-43"


def test_the_apis_line_has_it_and_what_the_path_names(api: Api) -> None:
    handler = logger.registered_handler
    before = handler.setStream(written := io.StringIO())
    try:
        api("GET", f"{RUNS}/none/taskInstances/extract/2", headers=GIVEN)
    finally:
        handler.setStream(before)
    line = json.loads(written.getvalue())
    assert {name: line[name] for name in ("correlation_id", "dag_id", "run_id", "task_id", "map_index")} == {
        "correlation_id": "order-42",
        "dag_id": "etl",
        "run_id": "none",
        "task_id": "extract",
        "map_index": "2",
    }


def test_the_scheduler_makes_one_for_a_scheduled_run_and_sends_it_to_workers() -> None:
    world = World()
    world.given_dag(hourly())
    world.pass_time(minutes=30)
    (run,) = create_due_runs(world.services, "etl")
    assert run.correlation_id is not None
    assert len(run.correlation_id) == 16
    world.advance(run.key)
    sent = [task for task in world.queues.tasks if isinstance(task, TaskWorkload)]
    assert {task.correlation_id for task in sent} == {run.correlation_id}
    assert sent[0].names == {
        "dag_id": "etl",
        "run_id": run.run_id,
        "task_id": "extract",
        "map_index": -1,
        "try_number": 1,
        "correlation_id": run.correlation_id,
    }


def test_the_longest_one_leaves_a_usual_runs_item_under_a_kilobyte(api_world: ApiWorld, api: Api) -> None:
    trigger(api, "scheduled" + "-" * 40, headers={"x-request-id": "x" * 64})
    run = api_world.store.get_run(DagRunKey("etl", "scheduled" + "-" * 40))
    assert run is not None
    item = items.DAG_RUN.item(run)
    assert sum(len(name) + len(str(next(iter(value.values())))) for name, value in item.items()) < 1024 - 300
