"""API users' edits of XComs, and their consequences for the scheduler."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow._shared.serialization import FORBIDDEN_XCOM_KEYS

from gust.model.dag_run import DagRun
from gust.model.dag_spec import TaskSpec
from gust.model.state import TaskInstanceState as S
from gust.rest_api.public.xcom import RESERVED
from tests.unit.rest_api.world import NOW, Api, World, etl_spec

RUN = "/api/v2/dags/etl/dagRuns/manual__1"
URL = f"{RUN}/taskInstances/extract/xcomEntries"
MAPPED = f"{RUN}/taskInstances/transform/xcomEntries"


@pytest.fixture
def run(world: World) -> DagRun:
    tasks = dict(etl_spec().tasks)
    tasks["load"] = TaskSpec(
        task_id="load",
        operator="BashOperator",
        upstream_task_ids=("transform",),
        expansion={"kwargs": [{"kwarg": "x", "length": {"kind": "xcom", "task_id": "transform"}}]},
    )
    return world.run(world.dag(spec=etl_spec(tasks=tasks)))


def test_an_entry_is_made(run: DagRun, api: Api) -> None:
    made = api.ok("create_xcom_entry", "POST", URL, {"key": "a/b", "value": {"x": [1, None]}}, status=201)
    assert (made["key"], made["value"], made["map_index"], made["task_id"]) == ("a/b", {"x": [1, None]}, -1, "extract")
    assert made["timestamp"] == NOW.isoformat().replace("+00:00", "Z")
    assert api.ok("get_xcom_entry", "GET", f"{URL}/a/b")["value"] == {"x": [1, None]}


def test_one_that_exists_is_not_made_again(run: DagRun, api: Api) -> None:
    api.ok("create_xcom_entry", "POST", URL, {"key": "a", "value": 1}, status=201)
    detail = api.refused("create_xcom_entry", 409, "POST", URL, {"key": "a", "value": 2})
    assert detail == "The XCom with key: `a` with mentioned task instance already exists."
    assert api.ok("get_xcom_entry", "GET", f"{URL}/a")["value"] == 1


@pytest.mark.parametrize(
    ("url", "detail"),
    [
        (URL.replace("etl", "none"), "The Dag with ID: `none` was not found"),
        (URL.replace("extract", "none"), "Task with ID: `none` not found in dag: `etl`"),
        (URL.replace("manual__1", "none"), "Dag Run with ID: `none` not found for dag: `etl`"),
    ],
)
def test_what_it_belongs_to_must_exist(run: DagRun, api: Api, url: str, detail: str) -> None:
    assert api.refused("create_xcom_entry", 404, "POST", url, {"key": "a", "value": 1}) == detail


def test_so_must_the_instance(run: DagRun, api: Api) -> None:
    api.refused("create_xcom_entry", 404, "POST", URL, {"key": "a", "value": 1, "map_index": 3})


@pytest.mark.parametrize("body", [{"key": "a"}, {"value": 1}, {"key": "a", "value": 1, "more": 2}])
def test_a_body_is_checked(run: DagRun, api: Api, body: Any) -> None:
    api.refused("create_xcom_entry", 422, "POST", URL, body)


@pytest.mark.parametrize("key", sorted(FORBIDDEN_XCOM_KEYS))
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: [{"a": [v]}], json.dumps, lambda v: [json.dumps([v])]])
def test_nobody_says_which_class_a_worker_makes_of_a_value(run: DagRun, api: Api, key: str, wrap: Any) -> None:
    api.ok("create_xcom_entry", "POST", URL, {"key": "there", "value": 1}, status=201)
    value = wrap({key: "x"})
    for reply in (
        api("POST", URL, {"key": "a", "value": value}),
        api("PATCH", f"{URL}/there", {"value": value}),
    ):
        assert reply.status == 422
        assert reply.detail[0]["loc"] == ["body", "value"]
        assert "contains reserved serialization keys" in reply.detail[0]["msg"]


def test_the_keys_are_airflows() -> None:
    assert RESERVED == FORBIDDEN_XCOM_KEYS


def test_an_entry_is_changed(world: World, run: DagRun, api: Api) -> None:
    world.xcom(run, "extract", {"a": 1})
    changed = api.ok("update_xcom_entry", "PATCH", f"{URL}/return_value", {"value": [2]})
    assert changed["value"] == [2]
    assert api.ok("get_xcom_entry", "GET", f"{URL}/return_value")["value"] == [2]


def test_an_entry_is_deleted(world: World, run: DagRun, api: Api) -> None:
    world.xcom(run, "extract", 1)
    assert api("DELETE", f"{URL}/return_value").status == 204
    api.refused("get_xcom_entry", 404, "GET", f"{URL}/return_value")


def test_what_is_not_there_is_neither_changed_nor_deleted(run: DagRun, api: Api) -> None:
    detail = "The XCom with key: `a` with mentioned task instance doesn't exist."
    assert api.refused("update_xcom_entry", 404, "PATCH", f"{URL}/a", {"value": 1}) == detail
    assert api.refused("delete_xcom_entry", 404, "DELETE", f"{URL}/a") == detail
    assert api.refused("delete_xcom_entry", 404, "DELETE", f"{URL}/a?map_index=4") == detail
    api.refused("delete_xcom_entry", 422, "DELETE", f"{URL}/a?map_index=-2")


def test_how_many_of_a_mapped_task_pushed_follows(world: World, run: DagRun, api: Api) -> None:
    for index, pushed in enumerate([("return_value",), ()]):
        world.instance(run, "transform", index, state=S.SUCCESS, try_number=1, pushed_keys=pushed)
    world.xcom(run, "transform", 1, map_index=0)

    def pushed() -> list[tuple[str, ...]]:
        instances = [world.store.get_instance(run.key.task_instance("transform", index)) for index in (0, 1)]
        return [instance.pushed_keys for instance in instances if instance]

    api.ok("create_xcom_entry", "POST", MAPPED, {"key": "return_value", "value": None, "map_index": 1}, status=201)
    api.ok("create_xcom_entry", "POST", MAPPED, {"key": "other", "value": 1, "map_index": 1}, status=201)
    assert pushed() == [("return_value",), ("return_value",)]
    api.ok("update_xcom_entry", "PATCH", f"{MAPPED}/return_value", {"value": 5, "map_index": 1})
    assert pushed() == [("return_value",), ("return_value",)]
    assert api("DELETE", f"{MAPPED}/return_value?map_index=0").status == 204
    assert pushed() == [(), ("return_value",)]


def test_the_length_of_what_a_plain_task_pushed_stays_what_its_worker_said(world: World, run: DagRun, api: Api) -> None:
    """Airflow keeps it in a table of its own, `task_map`, which its API does not touch."""
    world.instance(run, "extract", state=S.SUCCESS, try_number=1, xcom_lengths={"return_value": 3})
    world.xcom(run, "extract", [1, 2, 3])
    api.ok("update_xcom_entry", "PATCH", f"{URL}/return_value", {"value": [1]})
    instance = world.store.get_instance(run.key.task_instance("extract"))
    assert instance is not None
    assert instance.xcom_lengths == {"return_value": 3}


def test_whom_a_branch_skips_follows(world: World, run: DagRun, api: Api) -> None:
    world.instance(run, "extract", state=S.SUCCESS, try_number=1, skip_decision={"followed": []})

    def decision() -> dict[str, Any]:
        instance = world.store.get_instance(run.key.task_instance("extract"))
        assert instance is not None
        return instance.skip_decision

    url = f"{URL}/skipmixin_key"
    body = {"key": "skipmixin_key", "value": {"skipped": ["transform", "far"]}}
    api.ok("create_xcom_entry", "POST", URL, body, status=201)
    assert decision() == {"skipped": ["transform"]}
    api.ok("update_xcom_entry", "PATCH", url, {"value": {"followed": ["transform"]}})
    assert decision() == {"followed": ["transform"]}
    api.ok("update_xcom_entry", "PATCH", url, {"value": "nobody"})
    assert decision() == {}
    api.ok("update_xcom_entry", "PATCH", url, {"value": {"skipped": ["transform"]}})
    assert api("DELETE", url).status == 204
    assert decision() == {}
