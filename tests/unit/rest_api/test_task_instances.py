"""Task instances: with items and without, mapped, tried again, waiting."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gust.model.dag_run import DagRun
from gust.model.dag_spec import Expansion, TaskGroupSpec, TaskSpec
from gust.model.place import Limit, Workers
from gust.model.state import DagRunState
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import ParkedTrigger
from gust.model.worker_group import WorkerGroup
from gust.rest_api.access.auth import ALL_ADMINS, Authenticator
from gust.rest_api.app import build
from tests.unit.rest_api.world import NOW, Api, World, etl_spec

TIS = "/api/v2/dags/etl/dagRuns/manual__1/taskInstances"


@pytest.fixture
def run(world: World) -> DagRun:
    return world.run(world.dag())


def listed(api: Api, query: str = "", url: str = TIS) -> list[tuple[str, int]]:
    found = api.ok("get_task_instances", "GET", f"{url}{query}")
    return [(ti["task_id"], ti["map_index"]) for ti in found["task_instances"]]


def test_instances_that_nothing_happened_to_are_shown_too(run: DagRun, api: Api) -> None:
    found = api.ok("get_task_instances", "GET", TIS)
    assert found["total_entries"] == 3
    assert [(ti["task_id"], ti["state"], ti["try_number"], ti["max_tries"]) for ti in found["task_instances"]] == [
        ("extract", None, 0, 2),
        ("transform", None, 0, 0),
        ("load", None, 0, 0),
    ]


def test_a_task_whose_dates_leave_the_run_out_is_not_shown(world: World, api: Api) -> None:
    later = NOW + timedelta(days=1)
    tasks = {"now": TaskSpec(task_id="now"), "later": TaskSpec(task_id="later", start_date=later)}
    dag = world.dag(spec=etl_spec(tasks=tasks, root_children=("now", "later")))
    world.run(dag, logical_date=NOW)

    assert listed(api) == [("now", -1)]
    assert api("GET", f"{TIS}/later").status == 404


def test_a_mapped_task_whose_length_the_file_says_is_shown_expanded(world: World, api: Api) -> None:
    two = Expansion.model_validate({"kwargs": [{"kwarg": "x", "length": {"kind": "literal", "length": 2}}]})
    run = world.run(world.dag(spec=etl_spec(tasks={"each": TaskSpec(task_id="each", expansion=two)})))
    assert listed(api) == [("each", 0), ("each", 1)]

    world.instance(run, "each", 1, state=S.RUNNING, try_number=1, start_date=NOW)

    assert listed(api) == [("each", 0), ("each", 1)]


def test_what_an_instance_borrows_from_its_task(world: World, run: DagRun, api: Api) -> None:
    world.instance(run, "extract", state=S.RUNNING, try_number=1, start_date=NOW, hostname="stream/1", pid=7)
    world.store.put_rendered_fields(run.key.task_instance("extract"), {"op_args": "[1]"}, dispatch_count=1)
    ti = api.ok("get_task_instance", "GET", f"{TIS}/extract")
    assert (ti["pool"], ti["priority_weight"], ti["operator_name"], ti["hostname"]) == ("slow", 3, "@task", "stream/1")
    assert ti["rendered_fields"] == {"op_args": "[1]"}
    assert ti["id"] == str(run.key.task_instance("extract").uuid(1))
    assert ti["dag_version"]["version_number"] == 1


def test_a_mapped_task_is_one_instance_until_it_expands(world: World, run: DagRun, api: Api) -> None:
    assert api.ok("get_task_instance", "GET", f"{TIS}/transform")["map_index"] == -1
    assert api.ok("get_mapped_task_instances", "GET", f"{TIS}/transform/listMapped")["total_entries"] == 0
    for index in range(3):
        world.instance(run, "transform", index, state=S.SUCCESS, try_number=1, start_date=NOW, end_date=NOW)
    assert listed(api) == [
        ("extract", -1),
        ("load", -1),
        ("transform", 0),
        ("transform", 1),
        ("transform", 2),
    ]
    mapped = api.ok("get_mapped_task_instances", "GET", f"{TIS}/transform/listMapped?order_by=-map_index&limit=2")
    assert [ti["rendered_map_index"] for ti in mapped["task_instances"]] == ["2", "1"]
    assert api.ok("get_mapped_task_instance", "GET", f"{TIS}/transform/1")["map_index"] == 1
    detail = api.refused("get_task_instance", 404, "GET", f"{TIS}/transform")
    assert detail == "Task instance is mapped, add the map_index value to the URL"


def test_an_instance_whose_task_the_version_does_not_have_is_shown_last(world: World, run: DagRun, api: Api) -> None:
    world.instance(run, "a_removed_task", state=S.REMOVED, try_number=1, operator="BashOperator")
    assert listed(api)[-1] == ("a_removed_task", -1)
    assert api.ok("get_task_instance", "GET", f"{TIS}/a_removed_task")["operator"] == "BashOperator"


def test_the_executor_is_the_one_that_the_task_names(world: World, api: Api) -> None:
    spec = etl_spec()
    named = spec.tasks["extract"].model_copy(update={"executor": "AwsEcsExecutor"})
    world.run(world.dag(spec=spec.model_copy(update={"tasks": spec.tasks | {"extract": named}})))
    found = api.ok("get_task_instances", "GET", TIS)
    executors = {ti["task_id"]: ti["executor"] for ti in found["task_instances"]}
    assert executors == {"extract": "AwsEcsExecutor", "transform": None, "load": None}
    assert listed(api, "?executor=AwsEcsExecutor") == [("extract", -1)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?state=success", ["transform0", "transform1"]),
        ("?state=no_status", ["load"]),
        ("?state=none&state=failed", ["extract", "load"]),
        ("?task_id=load", ["load"]),
        ("?map_index=1", ["transform1"]),
        ("?pool=slow", ["extract"]),
        ("?pool_name_pattern=DEF", ["load", "transform0", "transform1"]),
        ("?queue=default&limit=1", ["extract"]),
        ("?operator=BashOperator", ["load"]),
        ("?operator_name_prefix_pattern=@task", ["extract"]),
        ("?try_number=2", ["extract"]),
        ("?version_number=1&task_display_name_pattern=LOA", ["load"]),
        ("?executor=LocalExecutor", []),
        ("?rendered_map_index_pattern=eu", ["transform1"]),
        ("?duration_gt=5", ["transform0", "transform1"]),
        ("?start_date_gte=2026-03-04T13:00:00Z", ["load"]),
        ("?order_by=-duration", ["load", "transform1", "transform0", "extract"]),
        ("?order_by=-start_date", ["load", "extract", "transform1", "transform0"]),
        ("?order_by=rendered_map_index", ["transform1", "extract", "transform0", "load"]),
        ("?task_group_id=inner", ["load"]),
        ("?task_group_id=outer", ["extract", "load"]),
    ],
)
def test_filters(world: World, api: Api, query: str, expected: list[str]) -> None:
    groups = {
        "outer": TaskGroupSpec(group_id="outer", children=("extract", "inner")),
        "inner": TaskGroupSpec(group_id="inner", parent_group_id="outer", children=("load",)),
    }
    run = world.run(world.dag(spec=etl_spec(task_groups=groups)))
    later = NOW + timedelta(seconds=10)
    world.instance(run, "extract", state=S.FAILED, try_number=1, start_date=NOW, end_date=NOW)
    world.instance(run, "extract", state=S.FAILED, try_number=2, start_date=later, end_date=later)
    world.instance(run, "transform", 0, state=S.SUCCESS, try_number=1, start_date=NOW, end_date=later)
    world.instance(
        run, "transform", 1, state=S.SUCCESS, try_number=1, start_date=NOW, end_date=later, rendered_map_index="eu-1"
    )
    names = [f"{task_id}{index if index >= 0 else ''}" for task_id, index in listed(api, query)]
    assert names == expected


def test_over_all_runs(world: World, run: DagRun, api: Api) -> None:
    other = world.run(world.dag("ml"), "manual__2", queued_at=NOW + timedelta(minutes=1))
    world.instance(other, "load", state=S.SUCCESS, try_number=1)
    everything = "/api/v2/dags/~/dagRuns/~/taskInstances"
    assert len(listed(api, url=everything)) == 6
    assert len(listed(api, url="/api/v2/dags/ml/dagRuns/~/taskInstances")) == 3
    assert listed(api, "?state=success", url=everything) == [("load", -1)]
    body: dict[str, Any] = {"dag_ids": ["ml"], "state": ["success", None], "order_by": "-state"}
    found = api.ok("get_task_instances_batch", "POST", f"{everything}/list", body)
    assert [ti["task_id"] for ti in found["task_instances"]] == ["transform", "extract", "load"]
    body = {"dag_run_ids": ["manual__1"], "task_ids": ["load"]}
    assert api.ok("get_task_instances_batch", "POST", f"{everything}/list", body)["total_entries"] == 1


def test_by_cursor(run: DagRun, api: Api) -> None:
    first = api.ok("get_task_instances", "GET", f"{TIS}?cursor=&limit=2")
    assert listed(api, f"?cursor={first['next_cursor']}&limit=2") == [("load", -1)]


def test_tries(world: World, run: DagRun, api: Api) -> None:
    world.instance(run, "extract", state=S.UP_FOR_RETRY, try_number=1, start_date=NOW, end_date=NOW, hostname="one")
    world.instance(run, "extract", state=S.RUNNING, try_number=2, start_date=NOW, end_date=None, hostname="two")
    found = api.ok("get_task_instance_tries", "GET", f"{TIS}/extract/tries")
    assert [(t["try_number"], t["state"], t["hostname"]) for t in found["task_instances"]] == [
        (1, "failed", "one"),
        (2, "running", "two"),
    ]
    first = api.ok("get_task_instance_try_details", "GET", f"{TIS}/extract/tries/1")
    assert first["hostname"] == "one"
    assert api.ok("get_mapped_task_instance_try_details", "GET", f"{TIS}/extract/-1/tries/2")["hostname"] == "two"
    api.refused("get_task_instance_try_details", 404, "GET", f"{TIS}/extract/tries/3")


def test_a_deferred_instance_shows_its_trigger_but_not_the_arguments(world: World, run: DagRun, api: Api) -> None:
    trigger = ParkedTrigger(classpath="a.Trigger", kwargs={"password": "hunter2"}, next_method="execute_complete")
    world.instance(run, "extract", state=S.DEFERRED, try_number=1, start_date=NOW, trigger=trigger)
    reply = api("GET", f"{TIS}/extract")
    assert reply.json["trigger"]["classpath"] == "a.Trigger"
    assert "hunter2" not in reply.text
    api.ok("get_task_instance", "GET", f"{TIS}/extract")


def test_a_queued_instance_says_that_its_container_starts(world: World, run: DagRun) -> None:
    world.instance(run, "extract", state=S.QUEUED, try_number=2, outgrew=Limit.TIME)
    for workers, told in (
        (
            Workers(has_fargate=True),
            [
                {
                    "name": "Task Instance State",
                    "reason": "Runs on Fargate (1 vCPU, 2 GB): an earlier try took longer than Lambda can give. "
                    "Its container starts.",
                }
            ],
        ),
        (Workers(), []),
    ):
        api = Api(build(replace(world.services, workers=workers), Authenticator(ALL_ADMINS)))
        found = api.ok("get_task_instance_dependencies", "GET", f"{TIS}/extract/dependencies")
        assert found["dependencies"] == told


def test_a_queued_instance_says_that_the_workers_of_its_queue_are_away(world: World, api: Api) -> None:
    store, spec = world.services.store, etl_spec()
    extract = spec.tasks["extract"].model_copy(update={"queue": "onprem"})
    run = world.run(world.dag(spec=spec.model_copy(update={"tasks": {**spec.tasks, "extract": extract}})))
    store.register_worker_group(WorkerGroup(name="onprem", queue_url="https://sqs/onprem"))
    world.instance(run, "extract", state=S.QUEUED, try_number=1)
    now = world.services.clock.now()
    long_ago = now - timedelta(hours=1)
    away = (
        "Runs on a worker elsewhere: queue='onprem'. It waits for one: the last of this queue was heard of at "
        f"{long_ago:%Y-%m-%d %H:%M:%S} UTC. Start one: ./gust worker --queue onprem."
    )
    for heard_at, told in ((now, []), (long_ago, [away])):
        store.hear_of_worker_group("onprem", heard_at)
        found = api.ok("get_task_instance_dependencies", "GET", f"{TIS}/extract/dependencies")
        assert [each["reason"] for each in found["dependencies"]] == told


def test_why_an_instance_waits(world: World, run: DagRun, api: Api) -> None:
    world.instance(run, "extract", state=S.RUNNING, try_number=1, start_date=NOW)

    def reasons(task_id: str, operation: str = "get_task_instance_dependencies") -> dict[str, str]:
        found = api.ok(operation, "GET", f"{TIS}/{task_id}/dependencies")
        return {each["name"]: each["reason"] for each in found["dependencies"]}

    assert reasons("extract") == {}
    assert reasons("load").keys() == {"Trigger Rule"}
    assert reasons("load")["Trigger Rule"].startswith("Trigger rule all_success waits for 1 more of 1 to succeed")
    assert reasons("load/-1", "get_task_instance_dependencies_by_map_index") == reasons("load")
    world.store.put_dag(dag := world.store.get_dag("etl"), replace(dag, is_paused=True))  # type: ignore[type-var]
    assert reasons("load")["Dag Not Paused"] == "DAG 'etl' is paused"
    world.run(dag, "manual__2", state=DagRunState.QUEUED)  # type: ignore[arg-type]
    queued = api.ok(
        "get_task_instance_dependencies", "GET", "/api/v2/dags/etl/dagRuns/manual__2/taskInstances/load/dependencies"
    )
    assert "Dagrun Running" in {each["name"] for each in queued["dependencies"]}
