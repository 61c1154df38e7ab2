"""The calls that the supervisor makes for one TaskFlow task, by Airflow's own client."""

import json
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk.api.client import ServerResponseError
from airflow.sdk.api.datamodels._generated import DagRunType, TaskInstanceState
from airflow.sdk.exceptions import TaskAlreadyRunningError

from gust.errors import ServiceUnavailable
from gust.execution_api.app import SHORT
from gust.model.dag_spec import TaskSpec
from gust.model.execution_paths import BASE_PATH
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.scheduling import transition
from tests.unit.execution_api.world import NOW, RUN, World, failing, http_event

END = "2026-03-01T12:00:05Z"
REPORTS = {
    "deferred": {"classpath": "a.T", "next_method": "go"},
    "up_for_reschedule": {"end_date": END, "reschedule_date": END},
}
LONG = "x" * SHORT


@pytest.fixture
def etl(world: World) -> World:
    world.given_dag(
        TaskSpec(task_id="extract", downstream_task_ids=("load",), retries=2, retry_delay=60.0),
        TaskSpec(task_id="load", upstream_task_ids=("extract",)),
    )
    world.given_run(conf={"day": "monday"})
    return world


def test_a_task_from_start_to_success(etl: World) -> None:
    ti = etl.given_queued("extract")
    worker = etl.worker(ti)
    ti_id = ti.key.uuid(1)

    context = worker.task_instances.start(ti_id, pid=7, when=NOW)
    assert etl.state(ti) is S.RUNNING
    assert context.dag_run.run_id == RUN.run_id
    assert context.dag_run.conf == {"day": "monday"}
    assert context.dag_run.run_type == DagRunType.MANUAL
    assert context.dag_run.logical_date == NOW
    assert context.max_tries == 0
    assert context.should_retry is False
    assert context.xcom_keys_to_clear == []
    assert context.next_method is None

    etl.clock.advance(15)
    worker.task_instances.heartbeat(ti_id, pid=7)
    assert etl.now(ti).heartbeat_at == NOW + timedelta(seconds=15)

    worker.task_instances.set_rtif(ti_id, {"bash_command": "echo 1"})
    worker.xcoms.set(RUN.dag_id, RUN.run_id, "extract", "return_value", [1, 2], mapped_length=2)
    assert worker.xcoms.get(RUN.dag_id, RUN.run_id, "extract", "return_value").value == [1, 2]
    assert etl.now(ti).xcom_lengths == {"return_value": 2}

    end = NOW + timedelta(seconds=6)
    worker.task_instances.succeed(ti_id, when=end, task_outlets=[], outlet_events=[], rendered_map_index=None)
    done = etl.now(ti)
    assert (done.state, done.start_date, done.end_date) == (S.SUCCESS, NOW, end)
    assert etl.store.get_rendered_fields(ti.key) == {"bash_command": "echo 1"}, "they travel with the report"


def test_a_carried_request_that_could_not_be_worked_off_is_asked_for_again_with_its_carrier(etl: World) -> None:
    ti = etl.given_running("extract")
    worker = etl.worker(ti)
    worker.task_instances.set_rtif(ti.key.uuid(1), {"bash_command": LONG})
    etl.store.before("put_rendered_fields", failing(ServiceUnavailable("throttled")))
    worker.task_instances.finish(ti.key.uuid(1), TaskInstanceState.FAILED, NOW, None)
    assert etl.state(ti) is S.FAILED
    assert etl.store.get_rendered_fields(ti.key) == {"bash_command": LONG}
    assert dict(etl.store.calls)["move"] == 4, "three before, and one report"


@pytest.mark.parametrize("state", ["failed", "skipped", "up_for_retry", "deferred", "up_for_reschedule", "success"])
def test_short_fields_are_stored_with_the_report(etl: World, state: str) -> None:
    """Also if the worker repeats it, because it did not get the answer."""
    ti = etl.given_running("extract", retries=1)
    event = with_fields("PATCH", f"/task-instances/{ti.key.uuid(1)}/state", etl.token(ti), ti)
    event["body"] = json.dumps({"state": state, **REPORTS.get(state, {"end_date": END})})
    for _ in range(2):
        assert etl.invoke(event)["statusCode"] == 204
        now = etl.now(ti)
        assert (now.state, now.rendered_fields, now.rendered_by) == (state, {"a": "b"}, 1)
    assert etl.store.get_rendered_fields(ti.key) == {"a": "b"}
    assert "put_rendered_fields" not in etl.store.calls


@pytest.mark.parametrize("reported", ["success", "failed", "skipped"])
@pytest.mark.parametrize("marked", [S.SUCCESS, S.FAILED, S.SKIPPED])
def test_the_fields_of_a_try_that_a_person_has_marked_meanwhile_are_stored(
    etl: World, marked: S, reported: str
) -> None:
    """Airflow stores them before the task runs. The report changes nothing, and is refused unless it says the same."""
    ti = etl.given_running("extract", retries=1)
    event = with_fields("PATCH", f"/task-instances/{ti.key.uuid(1)}/state", etl.token(ti), ti)
    event["body"] = json.dumps({"state": reported, "end_date": END})
    by_person = transition.mark(etl.now(ti), state=marked, at=NOW)
    etl.store.move(by_person)
    for _ in range(2):
        assert etl.invoke(event)["statusCode"] == (204 if marked == reported else 409)
        assert etl.now(ti) == by_person.after
        assert etl.store.get_rendered_fields(ti.key) == {"a": "b"}


def test_fields_that_a_task_renders_anew_are_shown_whether_it_tells_them_before_or_after_its_end(etl: World) -> None:
    """As `@task.bash` does (`overwrite_rtif_after_execution`): a success is reported before, a failure after."""
    succeeds, fails = etl.given_running("extract"), etl.given_running("load")
    ends, of_the_other = etl.worker(succeeds).task_instances, etl.worker(fails)
    dies = of_the_other.task_instances
    ends.set_rtif(succeeds.key.uuid(1), {"sql": "first"})
    ends.succeed(succeeds.key.uuid(1), when=NOW, task_outlets=[], outlet_events=[], rendered_map_index=None)
    ends.set_rtif(succeeds.key.uuid(1), {"sql": "second"})
    dies.set_rtif(fails.key.uuid(1), {"sql": LONG})
    of_the_other._transport.send_held()  # a second has passed
    dies.set_rtif(fails.key.uuid(1), {"sql": "second"})
    dies.finish(fails.key.uuid(1), TaskInstanceState.FAILED, NOW, None)
    for ti in (succeeds, fails):
        assert etl.store.get_rendered_fields(ti.key) == {"sql": "second"}


def test_the_fields_of_a_try_are_shown_until_the_next_one_renders_its_own(etl: World) -> None:
    first = etl.given_running("extract", retries=1)
    worker = etl.worker(first).task_instances
    worker.set_rtif(first.key.uuid(1), {"sql": "first"})
    worker.retry(first.key.uuid(1), NOW, None)
    second = etl.given_running("extract")
    assert (second.try_number, etl.store.get_rendered_fields(first.key)) == (2, {"sql": "first"})
    url = f"/task-instances/{second.key.uuid(2)}/rtif"
    assert etl.request("PUT", url, token=etl.token(second), body={"sql": "second"})[0] == 201
    assert etl.store.get_rendered_fields(first.key) == {"sql": "second"}


def test_rendered_fields_stay_where_what_they_travel_with_is_refused(etl: World) -> None:
    ti = etl.given_running("extract")
    worker = etl.worker(ti)
    worker.task_instances.set_rtif(ti.key.uuid(1), {"bash_command": "echo 1"})
    too_long = [{"dest_asset_key": {"name": "a", "uri": "s3://a"}, "extra": {}, "partition_key": "x" * 5000}]
    with pytest.raises(ServerResponseError):
        worker.task_instances.succeed(
            ti.key.uuid(1), when=NOW, task_outlets=[], outlet_events=too_long, rendered_map_index=None
        )
    assert etl.state(ti) is S.RUNNING
    assert etl.store.get_rendered_fields(ti.key) == {"bash_command": "echo 1"}


@pytest.mark.parametrize("path", ["/variables/state", "/variables/a/state", "/dag-runs/no/run/state"])
def test_rendered_fields_stay_where_a_read_that_looks_like_a_report_finds_nothing(etl: World, path: str) -> None:
    ti = etl.given_running("extract")
    assert etl.invoke(with_fields("GET", path, etl.token(ti), ti))["statusCode"] == 404
    assert etl.store.get_rendered_fields(ti.key) == {"a": "b"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/variables/some/rtif"),
        ("DELETE", "/task-instances/{own}/rtif"),
        ("POST", "/dag-runs/other/rtif"),
        ("PUT", "/store/ti/{own}/rtif"),
    ],
)
def test_no_other_request_is_carried(etl: World, method: str, path: str) -> None:
    """It would have no line in the log, and beside a report no fence."""
    ti = etl.given_running("extract")
    event = with_fields("GET", f"/dag-runs/{RUN.dag_id}/{RUN.run_id}/state", etl.token(ti), ti)
    http = {"method": method, "path": path}
    event["carried"] |= {"rawPath": BASE_PATH + path.format(own=ti.key.uuid(1)), "requestContext": {"http": http}}
    etl.store.calls.clear()
    assert etl.invoke(event)["statusCode"] == 400
    assert dict(etl.store.calls) == {}


def test_fields_of_a_try_that_is_over_pass_no_fence_beside_a_read(etl: World) -> None:
    ti = etl.given_running("extract", retries=1)
    token = etl.token(ti)
    etl.worker(ti).task_instances.retry(ti.key.uuid(1), NOW, None)
    etl.given_running("extract")
    assert etl.invoke(with_fields("GET", f"/dag-runs/{RUN.dag_id}/{RUN.run_id}/state", token, ti))["statusCode"] == 200
    assert etl.store.get_rendered_fields(ti.key) is None


def with_fields(method: str, path: str, token: str, ti: TaskInstance) -> dict[str, Any]:
    """A request that carries rendered fields of the try."""
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    fields = http_event("PUT", f"{BASE_PATH}/task-instances/{ti.key.uuid(1)}/rtif", "", headers, '{"a": "b"}')
    return {**http_event(method, f"{BASE_PATH}{path}", "", headers, None), "carried": fields}


def test_a_failure_that_is_final(etl: World) -> None:
    ti = etl.given_running("extract")
    etl.worker(ti).task_instances.finish(ti.key.uuid(1), TaskInstanceState.FAILED, NOW, None)
    assert etl.state(ti) is S.FAILED


@pytest.mark.parametrize("state", [TaskInstanceState.SKIPPED, TaskInstanceState.REMOVED])
def test_a_try_that_ends_otherwise(etl: World, state: TaskInstanceState) -> None:
    ti = etl.given_running("extract")
    etl.worker(ti).task_instances.finish(ti.key.uuid(1), state, NOW, None)
    assert etl.state(ti) == state.value


def test_a_failure_that_is_tried_again_after_the_tasks_delay(etl: World) -> None:
    ti = etl.given_queued("extract", retries=2)
    worker = etl.worker(ti)
    assert worker.task_instances.start(ti.key.uuid(1), pid=7, when=NOW).should_retry is True
    worker.task_instances.retry(ti.key.uuid(1), end_date=NOW, rendered_map_index=None)
    failed = etl.now(ti)
    assert (failed.state, failed.due_at) == (S.UP_FOR_RETRY, NOW + timedelta(seconds=60))


def test_a_retry_policy_sets_its_own_delay(etl: World) -> None:
    ti = etl.given_running("extract", retries=2)
    etl.worker(ti).task_instances.retry(ti.key.uuid(1), NOW, None, retry_delay_seconds=5.0, retry_reason="rate limited")
    failed = etl.now(ti)
    assert failed.due_at == NOW + timedelta(seconds=5)
    assert failed.reason == "rate limited"
    assert failed.retry_delay_override == 5.0


def test_the_last_try_is_not_tried_again(etl: World) -> None:
    ti = etl.given_running("extract", retries=1)
    etl.worker(ti).task_instances.retry(ti.key.uuid(1), NOW, None)
    second = etl.given_queued("extract")
    assert second.try_number == 2
    context = etl.worker(second).task_instances.start(second.key.uuid(2), pid=8, when=NOW)
    assert context.should_retry is False


def test_a_new_try_clears_what_the_one_before_pushed(etl: World) -> None:
    first = etl.given_running("extract", retries=1)
    worker = etl.worker(first)
    worker.xcoms.set(RUN.dag_id, RUN.run_id, "extract", "half", "of it")
    worker.task_instances.retry(first.key.uuid(1), NOW, None)

    second = etl.given_queued("extract")
    worker = etl.worker(second)
    context = worker.task_instances.start(second.key.uuid(2), pid=8, when=NOW)
    assert context.xcom_keys_to_clear == ["half"]
    worker.xcoms.delete(RUN.dag_id, RUN.run_id, "extract", "half")
    assert worker.xcoms.get(RUN.dag_id, RUN.run_id, "extract", "half").value is None


def test_starting_again_after_a_lost_answer(etl: World) -> None:
    ti = etl.given_queued("extract")
    worker = etl.worker(ti)
    first = worker.task_instances.start(ti.key.uuid(1), pid=7, when=NOW)
    started = etl.now(ti)
    again = worker.task_instances.start(ti.key.uuid(1), pid=7, when=NOW + timedelta(seconds=1))
    assert again == first
    assert etl.now(ti) == started


def test_a_second_worker_does_not_start(etl: World) -> None:
    ti = etl.given_queued("extract")
    etl.worker(ti).task_instances.start(ti.key.uuid(1), pid=7, when=NOW)
    with pytest.raises(TaskAlreadyRunningError):
        etl.worker(ti).task_instances.start(ti.key.uuid(1), pid=8, when=NOW)
    assert etl.now(ti).pid == 7


def test_a_worker_may_be_faster_than_the_note_that_its_message_was_accepted(etl: World) -> None:
    from gust.scheduling import transition

    scheduled = transition.schedule(etl.now(etl_instance()), at=NOW, retries=0)
    etl.store.move(scheduled)
    etl.worker(scheduled.after).task_instances.start(scheduled.after.key.uuid(1), pid=7, when=NOW)
    assert etl.store.move_all([transition.queue(scheduled.after, at=NOW)]) != []
    assert etl.state(scheduled.after) is S.RUNNING


def etl_instance():
    from gust.model.task_instance import TaskInstance

    return TaskInstance(dag_id=RUN.dag_id, run_id=RUN.run_id, task_id="extract")
