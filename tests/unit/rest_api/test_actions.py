"""Actions on task instances and runs over the API: the answers are the contract's, the refusals Airflow's."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gust.model.dag_run import DagRun
from gust.model.dag_spec import TaskGroupSpec
from gust.model.state import DagRunState
from gust.model.state import TaskInstanceState as S
from tests.unit.rest_api.world import NOW, Api, World, etl_spec

RUN = "/api/v2/dags/etl/dagRuns/manual__1"
TIS = f"{RUN}/taskInstances"
CLEAR = "/api/v2/dags/etl/clearTaskInstances"


@pytest.fixture
def run(world: World) -> DagRun:
    """A run that failed: extract succeeded, of transform's two instances one failed, load is upstream_failed."""
    spec = etl_spec()
    group = TaskGroupSpec(group_id="late", children=("transform", "load"))
    dag = world.dag(spec=spec.model_copy(update={"task_groups": {"late": group}, "root_children": ("extract", "late")}))
    run = world.run(dag, logical_date=NOW - timedelta(days=1))
    ended: dict[str, Any] = {"try_number": 1, "dispatch_count": 1, "start_date": NOW, "end_date": NOW}
    world.instance(run, "extract", state=S.SUCCESS, max_tries=2, xcom_lengths={"return_value": 2}, **ended)
    world.instance(run, "transform", 0, state=S.SUCCESS, **ended)
    world.instance(run, "transform", 1, state=S.FAILED, **ended)
    world.instance(run, "load", state=S.UPSTREAM_FAILED, start_date=NOW, end_date=NOW)
    finished = replace(run, state=DagRunState.FAILED, end_date=NOW, due_at=None)
    world.store.finish_run(run, finished)
    return finished


def states(world: World, run: DagRun) -> dict[tuple[str, int], S | None]:
    state = world.store.load_run(run.key)
    assert state is not None
    return {key: instance.state for key, instance in sorted(state.instances.items())}


def named(answer: Any) -> list[tuple[str, int, str | None]]:
    return [(i["task_id"], i["map_index"], i["state"]) for i in answer["task_instances"]]


# --- clearing ---------------------------------------------------------------------------------------------------------


def test_nothing_is_cleared_unless_asked_for(world: World, api: Api, run: DagRun) -> None:
    before = states(world, run)
    body = {"dag_run_id": run.run_id}
    answer = api.ok("post_clear_task_instances", "POST", CLEAR, body)
    assert named(answer) == [("transform", 1, "failed"), ("load", -1, "upstream_failed")]
    assert answer["total_entries"] == 2
    assert states(world, run) == before


def test_clearing_a_task_and_all_behind_it(world: World, api: Api, run: DagRun) -> None:
    body = {
        "dry_run": False,
        "dag_run_id": run.run_id,
        "task_ids": ["extract"],
        "include_downstream": True,
        "only_failed": False,
        "note": "again",
    }
    answer = api.ok("post_clear_task_instances", "POST", CLEAR, body)
    assert named(answer) == [("extract", -1, None), ("transform", 0, None), ("transform", 1, None), ("load", -1, None)]
    assert {i["note"] for i in answer["task_instances"]} == {"again"}
    first = answer["task_instances"][0]
    assert (first["try_number"], first["max_tries"], first["start_date"] is None) == (1, 3, False)
    shown = api.ok("get_dag_run", "GET", RUN)
    assert (shown["state"], shown["start_date"], shown["end_date"]) == ("queued", None, None)
    tries = api.ok("get_task_instance_tries", "GET", f"{TIS}/extract/tries")
    assert [(t["try_number"], t["state"]) for t in tries["task_instances"]] == [(1, "success"), (1, None)]


def test_clearing_one_instance_of_a_mapped_task(world: World, api: Api, run: DagRun) -> None:
    body = {"dry_run": False, "dag_run_id": run.run_id, "task_ids": [["transform", 1]], "only_failed": False}
    assert named(api.ok("post_clear_task_instances", "POST", CLEAR, body)) == [("transform", 1, None)]
    assert states(world, run)["transform", 0] is S.SUCCESS


def test_past_and_future_runs(world: World, api: Api, run: DagRun) -> None:
    dag = world.store.get_dag("etl")
    assert dag is not None
    for name, days in {"earlier": 2, "later": 0}.items():
        other = world.run(dag, name, logical_date=NOW - timedelta(days=days))
        world.instance(other, "extract", state=S.SUCCESS, try_number=1, dispatch_count=1)
    body = {"dag_run_id": run.run_id, "task_ids": ["extract"], "only_failed": False}

    def runs(**around: bool) -> set[str]:
        answer = api.ok("post_clear_task_instances", "POST", CLEAR, body | around)
        return {i["dag_run_id"] for i in answer["task_instances"]}

    assert runs() == {"manual__1"}
    assert runs(include_past=True) == {"manual__1", "earlier"}
    assert runs(include_future=True) == {"manual__1", "later"}
    assert runs(include_past=True, include_future=True) == {"manual__1", "earlier", "later"}
    window = {"start_date": (NOW - timedelta(days=1)).isoformat(), "only_failed": False, "task_ids": ["extract"]}
    answer = api.ok("post_clear_task_instances", "POST", CLEAR, window)
    assert {i["dag_run_id"] for i in answer["task_instances"]} == {"manual__1", "later"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"only_failed": True, "only_running": True}, "only_failed and only_running both are set to True"),
        (
            {"start_date": "2026-02-01T00:00:00Z", "end_date": "2026-01-01T00:00:00Z"},
            "end_date is sooner than start_date",
        ),
        ({"start_date": "2026-02-01T00:00:00Z", "dag_run_id": "r"}, "Exactly one of dag_run_id or start_date"),
        ({"task_ids": []}, "task_ids list should have at least 1 element."),
        ({"nonsense": 1}, "Extra inputs are not permitted"),
        ({"note": "x" * 1001}, "String should have at most 1000 characters"),
    ],
)
def test_clears_that_are_refused(api: Api, run: DagRun, body: Any, message: str) -> None:
    detail = api.refused("post_clear_task_instances", 422, "POST", CLEAR, body)
    assert message in detail[0]["msg"]


def test_clears_of_what_is_not_there(world: World, api: Api, run: DagRun) -> None:
    assert api.refused("post_clear_task_instances", 404, "POST", CLEAR, {"dag_run_id": "no"}) == (
        "Dag Run id no not found in dag etl"
    )
    assert api("POST", "/api/v2/dags/no/clearTaskInstances", {}).detail == "The Dag with ID: `no` was not found"
    dag = world.store.get_dag("etl")
    assert dag is not None
    world.run(dag, "undated")
    body = {"dag_run_id": "undated", "include_past": True}
    detail = api.refused("post_clear_task_instances", 400, "POST", CLEAR, body)
    assert detail.startswith("Cannot use include_past or include_future with no logical_date")


def test_what_runs_may_be_protected(world: World, api: Api, run: DagRun) -> None:
    world.instance(run, "extract", state=S.RUNNING)
    body = {"dry_run": False, "dag_run_id": run.run_id, "only_failed": False, "prevent_running_task": True}
    before = states(world, run)
    assert "prevent_running_task" in api.refused("post_clear_task_instances", 409, "POST", CLEAR, body)
    assert states(world, run) == before
    del body["prevent_running_task"]
    assert named(api.ok("post_clear_task_instances", "POST", CLEAR, body))[0] == ("extract", -1, "restarting")


# --- marking ----------------------------------------------------------------------------------------------------------


def test_marking_an_instance(world: World, api: Api, run: DagRun) -> None:
    body = {"new_state": "success", "note": "by hand"}
    dry = api.ok("patch_task_instance_dry_run_by_map_index", "PATCH", f"{TIS}/transform/1/dry_run", body)
    assert named(dry) == [("transform", 1, "failed")]
    answer = api.ok("patch_task_instance_by_map_index", "PATCH", f"{TIS}/transform/1", body)
    assert named(answer) == [("transform", 1, "success")]
    assert answer["task_instances"][0]["note"] == "by hand"
    # What had failed behind it is to run again, and with it the run.
    assert states(world, run)["load", -1] is None
    assert api.ok("get_dag_run", "GET", RUN)["state"] == "queued"
    again = api("PATCH", f"{TIS}/transform/1", {"new_state": "success"})
    assert (again.status, again.detail) == (409, "Task id transform is already in success state")


@pytest.mark.parametrize("where", ["taskInstances/transform/1", "taskGroupInstances/late"])
def test_a_mark_that_is_refused_changes_nothing(world: World, api: Api, run: DagRun, where: str) -> None:
    """Not the note, and not what had failed behind it: Airflow takes its transaction back."""
    for task_id, index in (("transform", 0), ("transform", 1), ("load", -1)):
        world.instance(run, task_id, index, state=S.FAILED, try_number=1, dispatch_count=1, end_date=NOW)
    before = world.store.load_run(run.key)
    assert api("PATCH", f"{RUN}/{where}", {"new_state": "failed", "note": "n"}).status == 409
    assert world.store.load_run(run.key) == before


def test_marking_all_instances_of_a_task(world: World, api: Api, run: DagRun) -> None:
    answer = api.ok("patch_task_instance", "PATCH", f"{TIS}/transform", {"new_state": "skipped"})
    assert named(answer) == [("transform", 0, "skipped"), ("transform", 1, "skipped")]


def test_only_what_the_mask_names(world: World, api: Api, run: DagRun) -> None:
    body = {"new_state": "failed", "note": "n"}
    api.ok("patch_task_instance", "PATCH", f"{TIS}/extract?update_mask=note", body)
    instance = world.store.get_instance(run.key.task_instance("extract"))
    assert instance is not None
    assert (instance.state, instance.note) == (S.SUCCESS, "n")
    api.ok("patch_task_instance", "PATCH", f"{TIS}/extract", {"note": ""})
    assert api.ok("get_task_instance", "GET", f"{TIS}/extract")["note"] is None


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (None, "'new_state' should not be empty"),
        ("running", "'running' is not one of ['success', 'failed', 'skipped']"),
    ],
)
def test_states_that_a_person_cannot_set(api: Api, run: DagRun, state: Any, message: str) -> None:
    detail = api.refused("patch_task_instance", 422, "PATCH", f"{TIS}/extract", {"new_state": state})
    assert detail[0]["msg"] == f"Value error, {message}"


def test_marking_what_is_not_there(api: Api, run: DagRun) -> None:
    body = {"new_state": "success"}
    assert api("PATCH", f"{TIS}/no", body).detail == "Task 'no' not found in Dag 'etl'"
    reply = api("PATCH", f"{TIS}/extract/7", body)
    assert (reply.status, reply.detail) == (
        404,
        [
            "The Task Instance with dag_id: `etl`, run_id: `manual__1`, task_id: `extract` and map_index: `7` was not found"
        ],
    )


def test_marking_a_group(world: World, api: Api, run: DagRun) -> None:
    url = f"{RUN}/taskGroupInstances/late"
    dry = api.ok("patch_task_group_instances_dry_run", "PATCH", f"{url}/dry_run", {"new_state": "success"})
    assert {(task, index) for task, index, _ in named(dry)} == {("transform", 1), ("load", -1)}
    api.ok("patch_task_group_instances", "PATCH", url, {"new_state": "success"})
    assert set(states(world, run).values()) == {S.SUCCESS}
    again = api("PATCH", url, {"new_state": "success"})
    assert (again.status, again.detail) == (409, "All task instances in the group are already in success state")
    assert api("PATCH", f"{RUN}/taskGroupInstances/no", {}).detail == "Task group 'no' not found in DAG 'etl'"


# --- many and none ----------------------------------------------------------------------------------------------------


def test_bulk_actions_on_instances(world: World, api: Api, run: DagRun) -> None:
    body = {
        "actions": [
            {"action": "create", "entities": [{"task_id": "extract"}]},
            {"action": "update", "entities": [{"task_id": "transform", "map_index": 1, "new_state": "success"}]},
            {"action": "update", "entities": [{"task_id": "no", "note": "n"}]},
            {"action": "delete", "entities": ["load"]},
        ]
    }
    answer = api.ok("bulk_task_instances", "PATCH", TIS, body)
    assert answer["create"]["errors"][0]["status_code"] == 405
    assert answer["update"]["success"] == ["etl.manual__1.transform[1]"]
    assert answer["update"]["errors"][0]["status_code"] == 404
    assert answer["delete"] == {"success": ["etl.manual__1.load[-1]"], "errors": []}
    assert states(world, run)["load", -1] is None
    everywhere = {"actions": [{"action": "update", "entities": [{"task_id": "extract", "note": "n"}]}]}
    answer = api.ok("bulk_task_instances", "PATCH", "/api/v2/dags/~/dagRuns/~/taskInstances", everywhere)
    assert answer["update"]["errors"][0]["status_code"] == 400


def test_deleting_an_instance(world: World, api: Api, run: DagRun) -> None:
    api.ok("delete_task_instance", "DELETE", f"{TIS}/extract")
    assert "was not found" in api.refused("get_task_instance", 404, "GET", f"{TIS}/extract")
    assert "was not found" in api.refused("delete_task_instance", 404, "DELETE", f"{TIS}/extract")
    listed = api.ok("get_task_instances", "GET", TIS)["task_instances"]
    assert "extract" not in {each["task_id"] for each in listed}
    assert "was not found" in api.refused("delete_task_instance", 404, "DELETE", f"{TIS}/transform?map_index=9")


def test_a_deleted_instance_is_there_again_once_its_run_goes_on(world: World, api: Api, run: DagRun) -> None:
    api.ok("delete_task_instance", "DELETE", f"{TIS}/extract")
    api.ok("clear_dag_run", "POST", f"{RUN}/clear", {"dry_run": False})
    assert api.ok("get_task_instance", "GET", f"{TIS}/extract")["try_number"] == 0


# --- runs -------------------------------------------------------------------------------------------------------------


def test_marking_a_run(world: World, api: Api, run: DagRun) -> None:
    answer = api.ok("patch_dag_run", "PATCH", RUN, {"state": "success", "note": "fine"})
    assert (answer["state"], answer["note"]) == ("success", "fine")
    assert api.ok("patch_dag_run", "PATCH", RUN, {"state": "queued"})["start_date"] is None
    assert api.ok("patch_dag_run", "PATCH", RUN, {"note": ""})["note"] is None
    assert api.refused("patch_dag_run", 422, "PATCH", RUN, {"state": "running"})
    assert api("PATCH", f"{RUN}x", {"state": "success"}).status == 404


def test_clearing_a_run(world: World, api: Api, run: DagRun) -> None:
    url = f"{RUN}/clear"
    dry = api.ok("clear_dag_run", "POST", url, {"only_failed": True})
    assert named(dry) == [("transform", 1, "failed"), ("load", -1, "upstream_failed")]
    assert api.ok("clear_dag_run", "POST", url, {"only_new": True}) == {"task_instances": [], "total_entries": 0}
    answer = api.ok("clear_dag_run", "POST", url, {"dry_run": False, "note": "again"})
    assert (answer["state"], answer["note"]) == ("queued", "again")
    assert set(states(world, run).values()) == {None}
    both = api.refused("clear_dag_run", 422, "POST", url, {"only_new": True, "only_failed": True})
    assert "mutually exclusive" in both[0]["msg"]


def test_clearing_several_runs(world: World, api: Api, run: DagRun) -> None:
    url = "/api/v2/dags/etl/clearDagRuns"
    answer = api.ok("clear_dag_runs", "POST", url, {"dag_runs": [{"dag_run_id": run.run_id}], "dry_run": False})
    assert [one["state"] for one in answer["dag_runs"]] == ["queued"]
    detail = api.refused("clear_dag_runs", 422, "POST", url, {})
    assert "Exactly one of dag_runs" in detail[0]["msg"]
    elsewhere = {"dag_runs": [{"dag_run_id": run.run_id, "dag_id": "other"}]}
    assert "does not match the URL" in api.refused("clear_dag_runs", 400, "POST", url, elsewhere)


def test_deleting_a_run(world: World, api: Api, run: DagRun) -> None:
    dag = world.store.get_dag("etl")
    assert dag is not None
    running = world.run(dag, "running")
    assert api("DELETE", RUN).status == 204
    assert api("GET", RUN).status == 404
    assert "cannot be deleted in running state" in api("DELETE", f"/api/v2/dags/etl/dagRuns/{running.run_id}").detail
    assert api("DELETE", RUN).status == 404


def test_bulk_actions_on_runs(world: World, api: Api, run: DagRun) -> None:
    dag = world.store.get_dag("etl")
    assert dag is not None
    world.run(dag, "running")
    body = {
        "actions": [
            {"action": "update", "entities": [{"dag_run_id": run.run_id, "state": "success", "note": "n"}]},
            {"action": "delete", "entities": [run.run_id, "running"]},
            {"action": "delete", "entities": ["no"]},
        ]
    }
    answer = api.ok("bulk_dag_runs", "PATCH", "/api/v2/dags/etl/dagRuns", body)
    assert answer["create"] is None
    assert answer["update"] == {"success": ["etl.manual__1"], "errors": []}
    assert answer["delete"]["success"] == ["etl.manual__1"]
    assert [error["status_code"] for error in answer["delete"]["errors"]] == [409, 404]


def test_deleting_a_dag(world: World, api: Api, run: DagRun) -> None:
    dag = world.store.get_dag("etl")
    assert dag is not None
    unfinished = world.run(dag, "unfinished")
    world.instance(unfinished, "extract", state=S.RUNNING)
    reply = api("DELETE", "/api/v2/dags/etl")
    assert (reply.status, reply.detail) == (409, "Task instances of dag with id: 'etl' are still running")
    world.instance(unfinished, "extract", state=S.SUCCESS)
    assert api("DELETE", "/api/v2/dags/etl").status == 204
    assert [api("GET", url).status for url in ("/api/v2/dags/etl", RUN)] == [404, 404]
    assert api("DELETE", "/api/v2/dags/etl").detail == "Dag with id: etl was not found"


def test_many_instances_are_shown_with_their_fields_by_one_read(world: World, api: Api, run: DagRun) -> None:
    for index in range(2, 40):
        world.instance(run, "transform", index, state=S.SUCCESS, try_number=1, dispatch_count=1, start_date=NOW)
    world.store.put_rendered_fields(run.key.task_instance("transform", 7), {"x": "seven"}, dispatch_count=1)
    body = {"dag_run_id": run.run_id, "task_ids": ["transform"], "only_failed": False}
    shown = api.ok("post_clear_task_instances", "POST", CLEAR, body)["task_instances"]
    assert len(shown) == 40
    assert {i["map_index"]: i["rendered_fields"] for i in shown if i["rendered_fields"]} == {7: {"x": "seven"}}
