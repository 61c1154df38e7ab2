"""Only the current dispatch of a task instance can change it, in whatever order the messages come."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import jwt
import pytest

from gust.aws.tokens import DISPATCH_AUDIENCE
from gust.model.access import Role
from gust.model.dag_spec import TaskSpec
from gust.model.dispatch import Dispatch, Scope
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.model.user import User
from gust.scheduling import transition
from gust.services.scheduler.carry_out import PROMPT
from tests.unit.execution_api.world import NOW, RUN, World, hostname

END = "2026-03-01T12:00:05Z"
SUCCESS = {"state": "success", "end_date": END, "task_outlets": [], "outlet_events": []}


@pytest.fixture
def etl(world: World) -> World:
    world.given_dag(TaskSpec(task_id="extract", retries=3, retry_delay=60.0), TaskSpec(task_id="load"))
    world.given_run()
    return world


def path(instance: TaskInstance, operation: str) -> str:
    return f"/task-instances/{instance.key.uuid(instance.try_number)}/{operation}"


def start_body(pid: int = 42) -> dict[str, Any]:
    return {"state": "running", "hostname": hostname(), "unixname": "me", "pid": pid, "start_date": END}


WRITES: list[tuple[str, str, Any]] = [
    ("PATCH", "state", SUCCESS),
    ("PATCH", "state", {"state": "failed", "end_date": END}),
    ("PATCH", "state", {"state": "up_for_retry", "end_date": END}),
    ("PATCH", "state", {"state": "up_for_reschedule", "end_date": END, "reschedule_date": END}),
    ("PATCH", "state", {"state": "deferred", "classpath": "a.T", "next_method": "go"}),
    ("PUT", "heartbeat", {"hostname": "h", "pid": 1}),
    ("PATCH", "rendered-map-index", "label"),
    ("PATCH", "skip-downstream", {"tasks": ["load"]}),
]


@pytest.mark.parametrize(("method", "operation", "body"), WRITES)
def test_a_report_of_an_earlier_dispatch_changes_nothing(etl: World, method: str, operation: str, body: Any) -> None:
    """The same try, sent to a worker a second time: a sensor that was rescheduled."""
    first = etl.given_running("extract")
    etl.store.move(transition.reschedule(first, at=NOW, due_at=NOW))
    second = etl.given_running("extract")
    assert (second.try_number, second.dispatch_count) == (1, 2)
    status, answer = etl.request(method, path(first, operation), token=etl.token(first), body=body)
    assert status == 409
    assert answer["detail"]["reason"] in {"invalid_state", "running_elsewhere"}
    assert etl.now(first) == second
    assert etl.store.get_instance(RUN.task_instance("load")) is None


@pytest.mark.parametrize(("method", "operation", "body"), WRITES)
def test_a_report_of_an_earlier_try_changes_nothing(etl: World, method: str, operation: str, body: Any) -> None:
    first = etl.given_running("extract", retries=3)
    etl.store.move(transition.lose(first, at=NOW, reason="silent", retry_at=NOW))
    second = etl.given_running("extract")
    status, _ = etl.request(method, path(first, operation), token=etl.token(first), body=body)
    assert status == (410 if operation == "heartbeat" else 409)
    assert etl.now(first) == second
    assert etl.store.get_instance(RUN.task_instance("load")) is None


@pytest.mark.parametrize(("method", "operation", "body"), WRITES)
def test_a_report_before_the_start_changes_nothing(etl: World, method: str, operation: str, body: Any) -> None:
    queued = etl.given_queued("extract")
    status, answer = etl.request(method, path(queued, operation), token=etl.token(queued), body=body)
    assert status == 403
    assert answer["detail"].startswith("Token type 'workload' not allowed for this endpoint")
    not_exchanged = etl.tokens.renewed(Dispatch.of(queued), now=NOW)
    status, answer = etl.request(method, path(queued, operation), token=not_exchanged, body=body)
    assert status == 409
    said = answer["detail"]
    assert said.get("previous_state", said.get("current_state")) == "queued"
    assert etl.now(queued) == queued


@pytest.mark.parametrize(("method", "operation", "body"), [*WRITES, ("PATCH", "run", start_body())])
def test_a_token_speaks_for_its_own_task_instance_only(etl: World, method: str, operation: str, body: Any) -> None:
    mine, other = etl.given_running("extract"), etl.given_running("load")
    status, answer = etl.request(method, path(other, operation), token=etl.token(mine), body=body)
    assert (status, answer) == (403, {"detail": "Token subject does not match task instance ID"})
    assert etl.now(other) == other


@pytest.mark.parametrize("operation", ["PATCH run", "PATCH state", "PUT heartbeat"])
def test_without_a_good_token_nothing_happens(etl: World, operation: str) -> None:
    queued = etl.given_queued("extract")
    method, name = operation.split()
    good = etl.token(queued)
    claims = jwt.decode(good, options={"verify_signature": False})
    forged = jwt.encode(claims, "another key, long enough for HS256 too", algorithm="HS256")
    unsigned = jwt.encode(claims, None, algorithm="none")
    persons = etl.tokens.for_user(User("me", Role.ADMIN), now=NOW, lifetime=timedelta(days=1))
    for token in (forged, unsigned, persons, "nonsense", good[:-2]):
        assert etl.request(method, path(queued, name), token=token, body=start_body())[0] == 403
    assert etl.request(method, path(queued, name), body=start_body()) == (401, {"detail": "Missing auth token"})
    etl.clock.advance(3601)
    assert etl.request(method, path(queued, name), token=good, body=start_body())[0] == 403
    assert etl.now(queued) == queued


def test_a_message_that_comes_after_it_was_sent_again_starts_nothing(etl: World) -> None:
    first = etl.given_queued("extract")
    etl.store.move(transition.resend(first, at=NOW, reason="nobody came"))
    second = etl.now(first)
    status, answer = etl.request("PATCH", path(first, "run"), token=etl.token(first), body=start_body())
    assert (status, answer["detail"]["previous_state"]) == (409, "scheduled")
    assert etl.now(first) == second
    assert etl.request("PATCH", path(second, "run"), token=etl.token(second), body=start_body())[0] == 200


@pytest.mark.parametrize("written_after", [1, 5])
def test_a_worker_that_is_faster_than_the_write_of_its_dispatch_waits_for_it(etl: World, written_after: int) -> None:
    new = TaskInstance(dag_id=RUN.dag_id, run_id=RUN.run_id, task_id="extract")
    scheduled = transition.schedule(new, at=NOW, retries=0)
    looks: list[float] = []

    def the_scheduler_writes_meanwhile(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == written_after:
            etl.store.move(transition.queue_at_once(scheduled, at=NOW))

    etl.clock.sleep = the_scheduler_writes_meanwhile  # type: ignore[method-assign]
    status, _ = etl.request("PATCH", path(scheduled.after, "run"), token=etl.token(scheduled.after), body=start_body())
    assert status == 200
    assert len(looks) == written_after
    assert etl.now(new).state is S.RUNNING


def test_a_later_dispatch_than_the_one_that_is_written_is_waited_for(etl: World) -> None:
    first = etl.given_running("extract")
    etl.store.move(transition.reschedule(first, at=NOW, due_at=NOW))
    again = transition.schedule(etl.now(first), at=NOW, retries=0)
    write = partial(etl.store.move, transition.queue_at_once(again, at=NOW))
    etl.clock.sleep = lambda _: write()  # type: ignore[method-assign]
    status, _ = etl.request("PATCH", path(again.after, "run"), token=etl.token(again.after), body=start_body())
    assert status == 200
    assert (etl.now(first).state, etl.now(first).dispatch_count) == (S.RUNNING, 2)


def test_a_dispatch_that_is_never_written_starts_nothing(etl: World) -> None:
    """The scheduler died between sending and writing, or somebody moved the instance in between."""
    new = TaskInstance(dag_id=RUN.dag_id, run_id=RUN.run_id, task_id="extract")
    sent = transition.schedule(new, at=NOW, retries=0).after
    status, _ = etl.request("PATCH", path(sent, "run"), token=etl.token(sent), body=start_body())
    assert status == 404
    assert etl.store.get_instance(new.key) is None
    assert PROMPT < etl.clock.now() - NOW < timedelta(seconds=10), "longer than a scheduler may take"

    etl.store.move(transition.skip(new, at=NOW, reason="a person skipped it"))
    status, answer = etl.request("PATCH", path(sent, "run"), token=etl.token(sent), body=start_body())
    assert (status, answer["detail"]["previous_state"]) == (409, "skipped")


@pytest.mark.parametrize(("dispatches", "read"), [(1, "get_run"), (2, "get_instance_and_run")])
def test_of_two_workers_that_start_at_the_same_time_one_runs(etl: World, dispatches: int, read: str) -> None:
    """Both have read before either has written: the message was delivered twice."""
    queued = etl.given_queued("extract")
    for _ in range(dispatches - 1):
        etl.store.move(transition.reschedule(etl.given_running("load"), at=NOW, due_at=NOW))
        queued = etl.given_queued("load")
    other = transition.start(queued, at=NOW, hostname=hostname(), pid=1)
    etl.store.after(read, lambda: etl.store.move(other))
    status, answer = etl.request("PATCH", path(queued, "run"), token=etl.token(queued), body=start_body(pid=2))
    assert status == 409
    assert answer["detail"] == {
        "reason": "invalid_state",
        "message": "TI was not in a state where it could be marked as running",
        "previous_state": "running",
    }
    assert etl.now(queued) == other.after


@pytest.mark.parametrize(
    "body", [body for method, operation, body in WRITES if operation == "state"], ids=lambda body: str(body["state"])
)
def test_the_same_report_twice_counts_once(etl: World, body: dict[str, Any]) -> None:
    ti = etl.given_running("extract", retries=1)
    assert etl.request("PATCH", path(ti, "state"), token=etl.token(ti), body=body) == (204, None)
    after = etl.now(ti)
    etl.clock.advance(10)
    assert etl.request("PATCH", path(ti, "state"), token=etl.token(ti), body=body)[0] in {200, 204}
    assert etl.now(ti) == after


def test_success_after_the_scheduler_gave_the_try_up_does_not_count(etl: World) -> None:
    ti = etl.given_running("extract", retries=1)
    etl.store.move(transition.lose(ti, at=NOW, reason="silent for 60 s", retry_at=NOW + timedelta(seconds=60)))
    status, answer = etl.request("PATCH", path(ti, "state"), token=etl.token(ti), body=SUCCESS)
    assert (status, answer["detail"]["previous_state"]) == (409, "up_for_retry")
    assert etl.state(ti) is S.UP_FOR_RETRY


def test_a_heartbeat_of_a_try_that_was_taken_away_ends_the_process(etl: World) -> None:
    ti = etl.given_running("extract")
    etl.store.move(transition.fail(ti, at=NOW, reason="marked failed"))
    status, answer = etl.request("PUT", path(ti, "heartbeat"), token=etl.token(ti), body={"hostname": "h", "pid": 1})
    assert status == 409
    assert answer["detail"] == {
        "reason": "not_running",
        "message": "TI is no longer in the running state and task should terminate",
        "current_state": "failed",
    }


def test_what_does_not_exist_is_not_found(etl: World) -> None:
    ghost = TaskInstance(dag_id=RUN.dag_id, run_id=RUN.run_id, task_id="ghost", try_number=1, dispatch_count=1)
    for operation, method, body in (("run", "PATCH", start_body()), ("heartbeat", "PUT", {"hostname": "h", "pid": 1})):
        status, answer = etl.request(method, path(ghost, operation), token=etl.token(ghost), body=body)
        assert (status, answer["detail"]["reason"]) == (404, "not_found")


# --- XComs ------------------------------------------------------------------------------------------------------------


def test_a_try_pushes_its_own_xcoms_only(etl: World) -> None:
    mine, other = etl.given_running("extract"), etl.given_running("load")
    theirs = f"/xcoms/{RUN.dag_id}/{RUN.run_id}/load/key"
    assert etl.request("POST", theirs, token=etl.token(mine), body=1)[0] == 403
    assert etl.request("POST", theirs, token=etl.token(other), body=2)[0] == 201
    assert etl.request("DELETE", theirs, token=etl.token(mine))[0] == 403
    assert etl.request("GET", theirs, token=etl.token(mine)) == (200, {"key": "key", "value": 2})


def test_a_mapped_instance_is_not_its_neighbour(etl: World) -> None:
    mine = etl.given_running("extract", map_index=0)
    etl.given_running("extract", map_index=1)
    url = f"/xcoms/{RUN.dag_id}/{RUN.run_id}/extract/key"
    assert etl.request("POST", url, token=etl.token(mine), body=1, query="map_index=1")[0] == 403
    assert etl.request("POST", url, token=etl.token(mine), body=1)[0] == 403
    assert etl.request("POST", url, token=etl.token(mine), body=1, query="map_index=0")[0] == 201


def test_a_lost_worker_does_not_overwrite_what_its_successor_pushed(etl: World) -> None:
    first = etl.given_running("extract", retries=3)
    etl.store.move(transition.lose(first, at=NOW, reason="silent", retry_at=NOW))
    second = etl.given_running("extract")
    url = f"/xcoms/{RUN.dag_id}/{RUN.run_id}/extract/return_value"
    assert etl.request("POST", url, token=etl.token(second), body="new")[0] == 201
    assert etl.request("POST", url, token=etl.token(first), body="old")[0] == 409
    assert etl.request("DELETE", url, token=etl.token(first))[0] == 409
    assert etl.request("GET", url, token=etl.token(second))[1]["value"] == "new"


def test_rendered_fields_of_an_earlier_dispatch_do_not_replace_its_successors(etl: World) -> None:
    first = etl.given_running("extract", retries=3)
    etl.store.move(transition.lose(first, at=NOW, reason="silent", retry_at=NOW))
    second = etl.given_running("extract")
    for fields in ({"sql": "new"}, {"sql": "newer"}):
        assert etl.request("PUT", path(second, "rtif"), token=etl.token(second), body=fields)[0] == 201
    status, answer = etl.request("PUT", path(first, "rtif"), token=etl.token(first), body={"sql": "old"})
    assert (status, answer["detail"]["reason"]) == (409, "invalid_state")
    assert etl.store.get_rendered_fields(second.key) == {"sql": "newer"}


@pytest.mark.parametrize("end", [SUCCESS, {"state": "deferred", "classpath": "a.T", "next_method": "go"}])
def test_what_a_try_tells_after_its_end_is_kept_until_it_has_a_successor(etl: World, end: Any) -> None:
    """Airflow's task runner pushes an operator's links and the final rendered fields when the end is reported."""
    ti = etl.given_running("extract")
    link = f"/xcoms/{RUN.dag_id}/{RUN.run_id}/extract/_link_Console"
    assert etl.request("PATCH", path(ti, "state"), token=etl.token(ti), body=end)[0] in (200, 204)

    assert etl.request("POST", link, token=etl.token(ti), body="https://there")[0] == 201
    assert etl.request("PUT", path(ti, "rtif"), token=etl.token(ti), body={"bash_command": "echo 1"})[0] == 201
    assert etl.store.get_rendered_fields(ti.key) == {"bash_command": "echo 1"}
    assert etl.request("POST", link, token=etl.token(ti), body=[1, 2], query="mapped_length=2")[0] == 409, (
        "a downstream may have been expanded by now"
    )


# --- tokens -----------------------------------------------------------------------------------------------------------


def test_a_heartbeat_renews_the_token(etl: World) -> None:
    ti = etl.given_running("extract")
    worker = etl.worker(ti)
    for _ in range(5):
        etl.clock.advance(300)
        worker.task_instances.heartbeat(ti.key.uuid(1), pid=42)
    assert etl.tokens.dispatch_of(worker.auth.token, now=etl.clock.now()) == Dispatch.of(ti)


def test_the_token_of_a_deferred_instance_is_the_triggerers(etl: World) -> None:
    assert etl.tokens.dispatch_of(etl.token(etl.given_running("load")), now=NOW).scope is Scope.EXECUTION
    ti = etl.given_running("extract")
    etl.request("PATCH", path(ti, "state"), token=etl.token(ti), body=WRITES[4][2])
    token = etl.token(etl.now(ti))
    assert etl.tokens.dispatch_of(token, now=NOW).scope is Scope.TRIGGER
    assert jwt.decode(token, options={"verify_signature": False})["aud"] == DISPATCH_AUDIENCE
    status, answer = etl.request("PATCH", path(ti, "state"), token=token, body=SUCCESS)
    assert status == 403
    assert "Token type 'trigger' not allowed" in answer["detail"]
    assert etl.state(ti) is S.DEFERRED


def test_what_a_rescheduled_dispatch_sends_after_the_next_one_is_queued_is_refused(etl: World) -> None:
    first = etl.given_running("extract")
    etl.store.move(transition.reschedule(first, at=NOW, due_at=NOW))
    second = etl.given_running("extract")
    link = f"/xcoms/{first.dag_id}/{first.run_id}/extract/link"
    assert etl.request("POST", link, token=etl.token(first), body="late")[0] == 409
    assert etl.store.get_xcom(second.key, "link") is None


def given_started_by_this_process(etl: World) -> TaskInstance:
    queued = etl.given_queued("extract")
    assert etl.request("PATCH", path(queued, "run"), token=etl.token(queued), body=start_body())[0] == 200
    return etl.now(queued)


def test_who_started_a_try_writes_its_success_without_a_look(etl: World) -> None:
    ti = given_started_by_this_process(etl)
    etl.store.calls.clear()
    assert etl.request("PATCH", path(ti, "state"), token=etl.token(ti), body=SUCCESS)[0] == 204
    assert dict(etl.store.calls) == {"move": 1}
    assert etl.now(ti).state is S.SUCCESS


@pytest.mark.parametrize(
    ("move", "status", "state"),
    [
        (lambda ti: transition.annotate(ti, note="look"), 204, S.SUCCESS),
        (transition.interrupt, 410, None),
        (lambda ti: transition.mark(ti, state=S.FAILED, at=NOW), 409, S.FAILED),
    ],
    ids=["a note", "a clear", "a mark"],
)
def test_what_a_person_did_to_a_try_since_it_was_started_counts(
    etl: World, move: Callable[[TaskInstance], transition.Transition], status: int, state: S | None
) -> None:
    ti = given_started_by_this_process(etl)
    etl.store.move(move(ti))
    between = etl.now(ti)
    assert etl.request("PATCH", path(ti, "state"), token=etl.token(ti), body=SUCCESS)[0] == status
    assert etl.now(ti).state is state
    assert etl.now(ti).note == between.note
