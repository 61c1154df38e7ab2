"""Errors of a request are reported as FastAPI and Airflow report them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskAlreadyRunningError
from pydantic import TypeAdapter, ValidationError

from gust.errors import ServiceUnavailable
from gust.model import bucket_keys, transfer
from gust.model.dag_spec import TaskSpec
from gust.model.task_instance import TaskInstance
from tests.unit.execution_api.world import NOW, RUN, World, failing, http_event

END = "2026-03-01T12:00:05Z"


@pytest.fixture
def ti(world: World) -> TaskInstance:
    return given_running(world)


def given_running(world: World) -> TaskInstance:
    world.given_dag(TaskSpec(task_id="extract"))
    world.given_run()
    return world.given_running("extract")


BAD_STATES: list[tuple[str, Any]] = [
    ("TISuccessStatePayload", {"state": "success"}),
    ("TISuccessStatePayload", {"state": "success", "end_date": "yesterday"}),
    ("TISuccessStatePayload", {"state": "success", "end_date": "2026-03-01T12:00:05"}),
    ("TISuccessStatePayload", {"state": "success", "end_date": END, "surprise": 1}),
    ("TISuccessStatePayload", {"state": "success", "end_date": END, "task_outlets": [{"name": "a"}]}),
    ("TITerminalStatePayload", {"state": "failed"}),
    ("TITerminalStatePayload", {"state": "skipped", "end_date": END, "rendered_map_index": 3}),
    ("TIDeferredStatePayload", {"state": "deferred", "classpath": "a.T"}),
    ("TIDeferredStatePayload", {"state": "deferred", "next_method": "go", "trigger_timeout": "soon", "queue": {}}),
    ("TIRescheduleStatePayload", {"state": "up_for_reschedule", "end_date": END}),
    ("TIRetryStatePayload", {"state": "up_for_retry", "end_date": END, "retry_delay_seconds": "soon"}),
]


@pytest.mark.parametrize(("model", "body"), BAD_STATES, ids=json.dumps)
def test_a_malformed_report_is_refused_in_airflows_words(world: World, model: str, body: Any) -> None:
    from airflow.api_fastapi.execution_api.datamodels import taskinstance

    with pytest.raises(ValidationError) as airflows:
        TypeAdapter(getattr(taskinstance, model)).validate_python(body)
    ti = given_running(world)
    status, answer = world.request("PATCH", f"/task-instances/{ti.key.uuid(1)}/state", token=world.token(ti), body=body)
    assert status == 422
    theirs = [(error["type"], list(error["loc"]), error["msg"]) for error in airflows.value.errors()]
    ours = [(error["type"], error["loc"], error["msg"]) for error in answer["detail"]]
    assert [loc[0] for _, loc, _ in ours] == ["body"] * len(ours)
    assert [(kind, loc[2:], msg) for kind, loc, msg in ours] == theirs
    assert world.now(ti) == ti


@pytest.mark.parametrize("body", [{}, {"state": "nonsense"}, [], 3, {"state": "running"}, {"state": "queued"}])
def test_a_report_of_no_state_that_a_worker_can_report(world: World, ti: TaskInstance, body: Any) -> None:
    status, _ = world.request("PATCH", f"/task-instances/{ti.key.uuid(1)}/state", token=world.token(ti), body=body)
    assert status == 422
    assert world.now(ti) == ti


def test_airflows_client_reads_the_errors(world: World, ti: TaskInstance) -> None:
    from airflow.sdk.api.client import ServerResponseError

    worker = world.worker(ti)
    with pytest.raises(ServerResponseError) as refused:
        worker.patch(f"task-instances/{ti.key.uuid(1)}/state", content=json.dumps({"state": "success"}))
    assert [error.loc for error in refused.value.detail] == [["body", "success", "end_date"]]


@pytest.mark.parametrize("deep", ["[" * 100_000, "[" * 2_000 + "]" * 2_000])
def test_a_body_that_is_nested_too_deeply_is_the_callers_mistake(world: World, ti: TaskInstance, deep: str) -> None:
    """And none that is sent again and again, as after a 500."""
    url = f"/task-instances/{ti.key.uuid(1)}/rtif"
    status, _ = world.request("PUT", url, token=world.token(ti), text=f'{{"field": {deep}}}')
    assert status == 422


def test_a_body_that_is_no_json(world: World, ti: TaskInstance) -> None:
    url, token = f"/task-instances/{ti.key.uuid(1)}/heartbeat", world.token(ti)
    status, answer = world.request("PUT", url, token=token, text='{"pid": ')
    assert (status, answer["detail"][0]["type"], answer["detail"][0]["loc"]) == (422, "json_invalid", ["body", 8])
    status, answer = world.request("PUT", url, token=token)
    assert (status, answer["detail"][0]["type"], answer["detail"][0]["loc"]) == (422, "missing", ["body"])


@pytest.mark.parametrize(
    ("path", "query", "name", "kind"),
    [
        ("/task-instances/count", "", "dag_id", "missing"),
        ("/task-instances/count", "dag_id=etl&map_index=x", "map_index", "int_parsing"),
        ("/dag-runs/previous", "dag_id=etl&logical_date=then", "logical_date", "datetime_from_date_parsing"),
        ("/variables/keys", "limit=0", "limit", "greater_than_equal"),
        ("/store/asset/by-name/value", "name=&key=k", "name", "string_too_short"),
    ],
)
def test_a_bad_query(world: World, path: str, query: str, name: str, kind: str) -> None:
    status, answer = world.request("GET", path, token=world.token(given_running(world)), query=query)
    assert status == 422
    assert [(e["type"], e["loc"]) for e in answer["detail"]] == [(kind, ["query", name])]


def test_a_stranger_does_not_learn_what_would_be_right(world: World, ti: TaskInstance) -> None:
    status, _ = world.request("PATCH", f"/task-instances/{ti.key.uuid(1)}/state", body={})
    assert status == 401


def test_no_such_route(world: World, ti: TaskInstance) -> None:
    assert world.request("GET", "/nowhere", token=world.token(ti)) == (404, {"detail": "Not Found"})
    assert world.request("POST", "/health") == (404, {"detail": "Not Found"})


def test_another_version_of_the_api_is_refused(world: World, ti: TaskInstance) -> None:
    status, answer = world.request(
        "GET", "/variables/x", token=world.token(ti), headers={"Airflow-API-Version": "2025-04-28"}
    )
    assert status == 422
    assert answer["detail"][0]["loc"] == ["header", "airflow-api-version"]


def test_the_correlation_id_comes_back(world: World) -> None:
    answer = world.api(http_event("GET", "/execution/health", "", {"Correlation-Id": "42"}, None), None)
    assert answer["headers"]["correlation-id"] == "42"


def test_every_request_is_one_line_in_the_log(world: World, ti: TaskInstance) -> None:
    """Equal requests of different tries have equal messages; an accepted start is told by the report of its end."""
    world.request("GET", "/variables/x", token=world.token(ti))
    world.request("GET", "/nowhere")
    queued = world.given_queued("load")
    worker = world.worker(queued).task_instances
    worker.start(queued.key.uuid(1), pid=7, when=NOW)
    with pytest.raises(TaskAlreadyRunningError):
        world.worker(queued).task_instances.start(queued.key.uuid(1), pid=8, when=NOW)
    worker.heartbeat(queued.key.uuid(1), pid=7)
    lines = [json.loads(line) for line in world.log.getvalue().splitlines()]
    assert [(line["message"], line["status"]) for line in lines] == [
        ("GET /variables/x", 404),
        ("GET /nowhere", 404),
        ("PATCH /task-instances/{id}/run", 409),
        ("PUT /task-instances/{id}/heartbeat", 204),
    ]


def test_the_line_about_a_report_has_its_state(world: World, ti: TaskInstance) -> None:
    world.request(
        "PATCH",
        f"/task-instances/{ti.key.uuid(1)}/state",
        token=world.token(ti),
        body={"state": "failed", "end_date": END},
    )
    world.request("GET", "/variables/x", token=world.token(ti))
    first, second = [json.loads(line) for line in world.log.getvalue().splitlines()]
    assert (first["message"], first["status"], first["state"]) == ("PATCH /task-instances/{id}/state", 204, "failed")
    assert "state" not in second


def test_a_line_in_the_log_names_the_try_and_the_request_that_its_run_began_with(
    world: World, ti: TaskInstance
) -> None:
    world.request("GET", "/variables/x", token=world.token(ti), headers={"Correlation-Id": "order-42"})
    line = json.loads(world.log.getvalue())
    assert {name: line[name] for name in ("dag_id", "run_id", "task_id", "map_index", "try_number")} == {
        "dag_id": ti.dag_id,
        "run_id": ti.run_id,
        "task_id": ti.task_id,
        "map_index": ti.map_index,
        "try_number": ti.try_number,
    }
    assert line["correlation_id"] == "order-42"


def test_our_own_failure_is_a_500_that_the_client_repeats(world: World, ti: TaskInstance) -> None:
    world.store.before("get_setting", failing(ServiceUnavailable("the table is throttled")))
    answer = world.request("GET", "/variables/x", token=world.token(ti))
    assert answer == (500, {"message": "Internal server error"})


# --- bodies that an invocation cannot carry ---------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["x" * 3_000_000, ['"' * 30] * 100_000], ids=["text", "quotes"])
def test_large_bodies_go_through_the_bucket_both_ways(world: World, ti: TaskInstance, value: Any) -> None:
    worker, sizes = world.worker(ti), []
    invoke = world.invoke

    def measured(event: dict[str, Any]) -> dict[str, Any]:
        answer = invoke(event)
        sizes.append(max(len(json.dumps(event)), len(json.dumps(answer))))
        return answer

    worker._transport._invoke = measured
    worker.xcoms.set(RUN.dag_id, RUN.run_id, "extract", "return_value", value)
    assert worker.xcoms.get(RUN.dag_id, RUN.run_id, "extract", "return_value").value == value
    assert len(sizes) == 2
    assert max(sizes) < 6_000_000
    assert len(world.objects.list(bucket_keys.TRANSFERS)) == 2


def test_a_worker_cannot_have_other_objects_read_as_a_body(world: World, ti: TaskInstance) -> None:
    world.objects.put("bundles/secret.zip", b'"secret"')
    status, _ = world.request(
        "POST",
        f"/xcoms/{RUN.dag_id}/{RUN.run_id}/extract/return_value",
        token=world.token(ti),
        headers={transfer.HEADER: "bundles/secret.zip"},
    )
    assert status == 403
    assert world.store.list_xcoms(RUN) == []
