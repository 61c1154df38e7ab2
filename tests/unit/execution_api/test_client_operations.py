"""Every other operation of Airflow's client, by that client: requests of running tasks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aws_lambda_powertools.logging import Logger

from gust.aws.cipher import FernetCipher
from gust.execution_api.app import ExecutionApi
from gust.model.asset import Asset, AssetEvent, AssetUpdate
from gust.model.connection import CONNECTIONS, Connection
from gust.model.dag import Dag, DagVersion
from gust.model.dag_spec import (
    AssetRef,
    ExpandedKwarg,
    Expansion,
    LiteralLength,
    TaskGroupSpec,
    TaskSpec,
    TimetableSpec,
    XComLength,
)
from gust.model.history_query import AssetEventSource
from gust.model.keys import DagRunKey
from gust.model.state import DagRunState, DagRunType
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import ParkedTrigger, TaskInstance
from gust.model.variable import VARIABLES
from gust.scheduling import transition
from gust.services.settings.connections import create_connection
from tests.unit.execution_api.world import NOW, RUN, World, failing

DAY = timedelta(days=1)


@pytest.fixture
def etl(world: World) -> World:
    world.given_dag(
        TaskSpec(task_id="extract", downstream_task_ids=("clean", "load", "store")),
        TaskSpec(task_id="clean", upstream_task_ids=("extract",), group_id="tidy"),
        TaskSpec(
            task_id="load",
            upstream_task_ids=("extract",),
            expansion=Expansion(kwargs=(ExpandedKwarg(kwarg="x", length=XComLength(task_id="extract")),)),
        ),
        TaskSpec(
            task_id="store",
            upstream_task_ids=("extract",),
            expansion=Expansion(kwargs=(ExpandedKwarg(kwarg="x", length=LiteralLength(length=3)),)),
        ),
        TaskSpec(
            task_id="report",
            upstream_task_ids=("load",),
            expansion=Expansion(kwargs=(ExpandedKwarg(kwarg="x", length=XComLength(task_id="load")),)),
        ),
        task_groups={"tidy": TaskGroupSpec(group_id="tidy", children=("clean",))},
    )
    world.given_run()
    return world


@pytest.fixture
def worker(etl: World) -> Any:
    return etl.worker(etl.given_running("extract"))


def own_id(task_id: str = "extract", map_index: int = -1) -> Any:
    return RUN.task_instance(task_id, map_index).uuid(1)


# --- waiting ----------------------------------------------------------------------------------------------------------


def test_defer_fire_and_resume(etl: World) -> None:
    from airflow.sdk.execution_time.comms import DeferTask

    ti = etl.given_running("extract")
    message = DeferTask(
        classpath="airflow.providers.X.Trigger",
        trigger_kwargs={"region": "eu", "__type": "dict"},
        trigger_timeout=timedelta(minutes=5),
        next_method="execute_complete",
        next_kwargs={"__type": "dict", "__var": {"a": 1}},
        queue="q",
    )
    etl.worker(ti).task_instances.defer(own_id(), message)
    deferred = etl.now(ti)
    assert (deferred.state, deferred.due_at) == (S.DEFERRED, NOW + timedelta(minutes=5))

    status, trigger = etl.request("GET", f"/gust/triggers/{own_id()}", token=etl.token(deferred))
    assert status == 200
    assert trigger["classpath"] == "airflow.providers.X.Trigger"
    assert trigger["kwargs"] == {"region": "eu", "__type": "dict"}
    assert trigger["timeout_at"] == "2026-03-01T12:05:00Z"
    etl.clock.advance(60)
    event = {"status": "success"}
    url = f"/gust/triggers/{own_id()}/event"
    assert etl.request("POST", url, token=etl.token(deferred), body={"event": event}) == (204, None)
    status, answer = etl.request("POST", url, token=etl.token(deferred), body={"event": event})
    assert (status, answer["detail"]["previous_state"]) == (409, "scheduled")
    assert etl.request("GET", f"/gust/triggers/{own_id()}", token=etl.token(deferred))[0] == 409

    resumed = etl.now(ti)
    assert (resumed.state, resumed.try_number, resumed.dispatch_count) == (S.SCHEDULED, 1, 2)
    context = etl.worker(resumed).task_instances.start(own_id(), pid=9, when=NOW + timedelta(hours=1))
    assert context.next_method == "execute_complete"
    assert context.next_kwargs["event"] == event
    assert context.start_date == NOW
    assert context.xcom_keys_to_clear == []


@pytest.mark.parametrize(("starts_from_trigger", "moment"), [(True, "{{ ds }}"), (True, "2026"), (False, "{{ ds }}")])
def test_a_trigger_that_the_scheduler_started_gets_what_its_templates_need(
    etl: World, starts_from_trigger: bool, moment: str
) -> None:
    etl.given_dag(TaskSpec(task_id="waits", start_from_trigger=starts_from_trigger, retries=2), dag_id="sensors")
    dag = etl.store.get_dag("sensors")
    etl.objects.put("serialized/1.json", b'{"dag": "as Airflow writes it"}')
    etl.store.put_version(
        DagVersion(
            dag_id="sensors",
            version_number=1,
            created_at=NOW,
            bundle_name="dags-folder",
            bundle_version=None,
            spec_key=dag.spec_key,
            serialized_key="serialized/1.json",
            source_key="",
        )
    )
    key = DagRunKey("sensors", "a-run")
    etl.given_run(key)
    new = TaskInstance(dag_id="sensors", run_id="a-run", task_id="waits")
    trigger = ParkedTrigger(classpath="a.Trigger", kwargs={"moment": moment}, next_method="resume")
    deferral = transition.start_from_trigger(new, at=NOW, retries=0, trigger=trigger)
    etl.store.move(deferral)

    url = f"/gust/triggers/{new.key.uuid(1)}"
    status, answer = etl.request("GET", url, token=etl.token(deferral.after))

    assert status == 200
    if starts_from_trigger and "{{" in moment:
        assert answer["template"]["serialized_dag"] == {"dag": "as Airflow writes it"}
        assert answer["template"]["dag_run"]["run_id"] == "a-run"
        assert answer["template"]["max_tries"] == 2
    else:
        assert answer["template"] is None


def test_a_trigger_that_breaks_fails_its_try_on_a_worker(etl: World) -> None:
    deferred = given_deferred(etl)
    body = {"error": "ValueError: no", "traceback": ["line 1", "line 2"]}
    assert etl.request("POST", f"/gust/triggers/{own_id()}/event", token=etl.token(deferred), body=body)[0] == 204
    resumed = etl.now(deferred)
    assert (resumed.state, resumed.next_method) == (S.SCHEDULED, "__fail__")
    assert resumed.next_kwargs == {"error": "Trigger failure", "traceback": ["line 1", "line 2"]}


@pytest.mark.parametrize("state", [S.SUCCESS, S.FAILED, S.SKIPPED])
def test_a_trigger_may_end_its_task(etl: World, state: S) -> None:
    deferred = given_deferred(etl)
    body = {"state": state, "xcoms": {"return_value": 7}}
    assert etl.request("POST", f"/gust/triggers/{own_id()}/event", token=etl.token(deferred), body=body)[0] == 204
    assert etl.state(deferred) is state
    assert etl.store.get_xcom(deferred.key, "return_value").value == "7"  # Airflow keeps it as text


def test_a_sleeping_trigger_is_sent_again_at_its_time(etl: World) -> None:
    deferred = given_deferred(etl)
    before = len(etl.services.queues.triggers)
    url = f"/gust/triggers/{own_id()}/park"
    how = {"sleeps_passed": 2, "is_poller": True}
    body = {"wake_at": (etl.clock.now() + timedelta(seconds=90)).isoformat(), **how}
    assert etl.request("POST", url, token=etl.token(deferred), body=body) == (204, None)
    ((sent, delay),) = etl.services.queues.triggers[before:]
    assert (sent.key, sent.dispatch_count, delay) == (deferred.key, deferred.dispatch_count, 90)
    assert sent.model_dump(include=how.keys()) == how
    assert etl.services.tokens.dispatch_of(sent.token, now=etl.clock.now()).id == own_id()

    event = {"event": 1}
    etl.request("POST", f"/gust/triggers/{own_id()}/event", token=etl.token(deferred), body=event)
    assert etl.request("POST", url, token=etl.token(deferred), body=body)[0] == 409
    assert len(etl.services.queues.triggers) == before + 1


def test_a_parked_trigger_goes_on_with_what_it_has_counted_and_what_it_remembers(etl: World) -> None:
    deferred = given_deferred(etl)
    url = f"/gust/triggers/{own_id()}"
    how = {"sleeps_passed": 0, "is_poller": True, "looks": 4, "place": "there"}
    body = {"wake_at": etl.clock.now().isoformat(), **how, "kwargs": {"seen": 3}}

    assert etl.request("POST", f"{url}/park", token=etl.token(deferred), body=body) == (204, None)

    sent, _ = etl.services.queues.triggers[-1]
    assert sent.model_dump(include=how.keys()) == how
    assert etl.request("GET", url, token=sent.token)[1]["kwargs"] == {"seen": 3}


def test_a_triggers_arguments_are_encrypted_in_the_table_and_told_to_the_triggerer_alone(etl: World) -> None:
    ti = etl.given_running("extract")
    secret = {"password": "hunter2", "gust:sealed": "a user's own"}
    etl.worker(ti).patch(f"task-instances/{own_id()}/state", json=DEFER | {"trigger_kwargs": secret})
    deferred = etl.now(ti)
    url = f"/gust/triggers/{own_id()}"

    assert "hunter2" not in str(deferred)
    assert etl.request("GET", url, token=etl.token(deferred))[1]["kwargs"] == secret

    body = {
        "wake_at": etl.clock.now().isoformat(),
        "sleeps_passed": 0,
        "is_poller": True,
        "kwargs": {"password": "hunter3"},
    }
    etl.request("POST", f"{url}/park", token=etl.token(deferred), body=body)
    sent, _ = etl.services.queues.triggers[-1]

    assert "hunter3" not in str(etl.now(ti))
    assert "hunter3" not in sent.model_dump_json()
    assert etl.request("GET", url, token=sent.token)[1]["kwargs"] == {"password": "hunter3"}


def test_a_trigger_whose_arguments_no_key_fits_has_broken(etl: World) -> None:
    deferred = given_deferred(etl)
    etl.services = replace(etl.services, cipher=FernetCipher(lambda: "another key"))
    etl.api = ExecutionApi(etl.services, log=Logger(service=f"another-{id(etl)}", stream=etl.log))

    assert etl.request("GET", f"/gust/triggers/{own_id()}", token=etl.token(deferred))[0] == 409
    assert etl.now(deferred).next_method == "__fail__"


def test_what_waits_for_a_moment_is_read_by_the_scheduler_and_opens_nothing(etl: World) -> None:
    """A sealed text that a task took from somewhere else stays closed."""
    stolen = etl.services.cipher.encrypt('"a password"')
    ti = etl.given_running("extract")
    classpath = "airflow.providers.standard.triggers.temporal.DateTimeTrigger"
    body = DEFER | {"classpath": classpath, "trigger_kwargs": {"gust:sealed": stolen}}
    etl.worker(ti).patch(f"task-instances/{own_id()}/state", json=body)

    answer = etl.request("GET", f"/gust/triggers/{own_id()}", token=etl.token(etl.now(ti)))

    assert answer[1]["kwargs"] == {"gust:sealed": stolen}


def test_a_trigger_says_one_thing(etl: World) -> None:
    deferred = given_deferred(etl)
    for body in ({}, {"event": 1, "error": "x"}, {"traceback": []}):
        assert etl.request("POST", f"/gust/triggers/{own_id()}/event", token=etl.token(deferred), body=body)[0] == 422
    assert etl.now(deferred) == deferred


def test_a_worker_is_not_the_triggerer(etl: World) -> None:
    ti = etl.given_running("extract")
    token = etl.token(ti)
    etl.worker(ti).patch(f"task-instances/{own_id()}/state", json=DEFER)
    assert etl.request("POST", f"/gust/triggers/{own_id()}/event", token=token, body={"event": 1})[0] == 403
    assert etl.state(ti) is S.DEFERRED


DEFER = {"state": "deferred", "classpath": "a.T", "next_method": "go"}


def given_deferred(etl: World) -> TaskInstance:
    ti = etl.given_running("extract")
    etl.worker(ti).patch(f"task-instances/{own_id()}/state", json=DEFER)
    return etl.now(ti)


def test_reschedule_counts_and_remembers_its_first_start(etl: World) -> None:
    from airflow.sdk.execution_time.comms import RescheduleTask

    ti = etl.given_running("extract")
    worker = etl.worker(ti)
    assert worker.task_instances.get_reschedule_start_date(own_id()).start_date is None
    later = NOW + timedelta(minutes=1)
    worker.task_instances.reschedule(own_id(), RescheduleTask(reschedule_date=later, end_date=NOW))
    waiting = etl.now(ti)
    assert (waiting.state, waiting.due_at) == (S.UP_FOR_RESCHEDULE, later)

    etl.clock.set(later)
    again = etl.given_queued("extract")
    worker = etl.worker(again)
    context = worker.task_instances.start(own_id(), pid=8, when=later)
    assert context.task_reschedule_count == 1
    assert worker.task_instances.get_reschedule_start_date(own_id()).start_date == NOW


def test_a_lost_try_is_tried_again_by_the_tasks_rules(world: World) -> None:
    world.given_dag(TaskSpec(task_id="extract", retries=1, retry_delay=60.0))
    world.given_run()
    ti = world.given_running("extract", retries=1)
    url, body = f"/gust/tries/{own_id()}/lost", {"reason": "killed by signal 9"}
    assert world.request("POST", url, token=world.token(ti), body=body) == (204, None)
    lost = world.now(ti)
    assert (lost.state, lost.due_at, lost.reason) == (S.UP_FOR_RETRY, NOW + timedelta(minutes=1), body["reason"])
    assert world.request("POST", url, token=world.token(ti), body=body)[0] == 409
    last = world.given_running("extract")
    url = f"/gust/tries/{last.key.uuid(2)}/lost"
    assert world.request("POST", url, token=world.token(last), body=body)[0] == 204
    assert world.state(last) is S.FAILED


# --- branching --------------------------------------------------------------------------------------------------------


def skip(worker: Any, *tasks: str | tuple[str, int]) -> None:
    from airflow.sdk.execution_time.comms import SkipDownstreamTasks

    worker.task_instances.skip_downstream_tasks(own_id(), SkipDownstreamTasks(tasks=list(tasks)))


def test_skip_downstream(etl: World, worker: Any) -> None:
    skip(worker, "clean", "nobody")
    skipped = etl.store.get_instance(RUN.task_instance("clean"))
    assert (skipped.state, skipped.reason) == (S.SKIPPED, "Skipped by extract")
    assert etl.store.get_instance(RUN.task_instance("nobody")) is None
    skip(worker, "clean")
    assert etl.store.get_instance(RUN.task_instance("clean")) == skipped


def test_what_runs_or_has_ended_is_not_skipped(etl: World, worker: Any) -> None:
    running = etl.given_running("clean")
    skip(worker, "clean")
    assert etl.now(running) == running
    etl.store.move(transition.succeed(running, at=NOW))
    skip(worker, ("clean", -1))
    assert etl.state(running) is S.SUCCESS


def test_a_mapped_task_is_skipped_before_it_is_expanded(etl: World, worker: Any) -> None:
    skip(worker, "load")
    assert states(etl, "load") == {-1: S.SKIPPED}


def test_an_expanded_task_is_left_to_the_scheduler(etl: World, worker: Any) -> None:
    """As in Airflow: without a map index the one that is not expanded is meant."""
    skip(worker, "store")
    assert states(etl, "store") == {}


def test_one_of_a_mapped_task_is_skipped(etl: World, worker: Any) -> None:
    skip(worker, ("store", 1), ("store", 5), ("clean", 0))
    assert states(etl, "store") == {1: S.SKIPPED}
    assert states(etl, "clean") == {}


def test_a_skip_that_races_with_a_start_looks_again(etl: World, worker: Any) -> None:
    queued = etl.given_queued("clean")
    etl.store.before("move_all", lambda: etl.store.move(transition.start(queued, at=NOW, hostname="h", pid=1)))
    skip(worker, "clean")
    assert etl.state(queued) is S.RUNNING


def states(etl: World, task_id: str) -> dict[int, S | None]:
    state = etl.store.load_run(RUN)
    return {index: ti.state for (task, index), ti in sorted(state.instances.items()) if task == task_id}


# --- XComs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, 0, "", "text", [1, {"a": None}], {"ä/ö": 1.5}, True])
def test_any_json_value_is_kept(worker: Any, value: Any) -> None:
    worker.xcoms.set(RUN.dag_id, RUN.run_id, "extract", "k", value)
    assert worker.xcoms.get(RUN.dag_id, RUN.run_id, "extract", "k").value == value


@pytest.mark.parametrize("key", ["return_value", "with space", "a/b/slice", "é", "x+y", 'quo"te', "item/7"])
def test_any_key_is_kept(etl: World, worker: Any, key: str) -> None:
    worker.xcoms.set(RUN.dag_id, RUN.run_id, "extract", key, key)
    assert etl.store.get_xcom(RUN.task_instance("extract"), key).value == key
    if "slice" not in key and "item" not in key:  # Airflow's routes for sequences come first
        assert worker.xcoms.get(RUN.dag_id, RUN.run_id, "extract", key).value == key


def given_mapped(etl: World, count: int = 4) -> Any:
    for index in range(count):
        ti = etl.given_running("load", map_index=index)
        etl.worker(ti).xcoms.set(RUN.dag_id, RUN.run_id, "load", "return_value", index * 10, map_index=index)
    return etl.worker(ti)


def test_mapped_xcoms_as_a_sequence(etl: World) -> None:
    worker = given_mapped(etl)
    where = (RUN.dag_id, RUN.run_id, "load", "return_value")
    assert worker.xcoms.head(*where).len == 4
    assert worker.xcoms.get(*where, map_index=2).value == 20
    assert worker.xcoms.get_sequence_item(*where, offset=1).root == 10
    assert worker.xcoms.get_sequence_item(*where, offset=-1).root == 30
    for beyond in (4, -5):
        assert worker.xcoms.get_sequence_item(*where, offset=beyond).error.value == "XCOM_NOT_FOUND"
    values = [0, 10, 20, 30]
    bounds = [None, 0, 1, 3, 7, -1, -3, -7]
    for start in bounds:
        for stop in bounds:
            for step in (None, 1, 2, -1, -2):
                found = worker.xcoms.get_sequence_slice(*where, start=start, stop=stop, step=step).root
                assert found == values[start:stop:step], (start, stop, step)


def test_what_a_mapped_instance_returns_is_noted_where_something_maps_over_it(etl: World) -> None:
    given_mapped(etl, count=2)
    assert etl.store.get_instance(RUN.task_instance("load", 1)).pushed_keys == ("return_value",)
    ti = etl.given_running("store", map_index=0)
    etl.worker(ti).xcoms.set(RUN.dag_id, RUN.run_id, "store", "return_value", 1, map_index=0)
    assert etl.now(ti).pushed_keys == ()
    none = etl.given_running("load", map_index=7)
    etl.worker(none).xcoms.set(RUN.dag_id, RUN.run_id, "load", "return_value", None, map_index=7)
    assert etl.now(none).pushed_keys == ()


def test_a_value_too_long_to_map_over_is_refused(etl: World, worker: Any) -> None:
    from airflow.sdk.api.client import ServerResponseError

    with pytest.raises(ServerResponseError) as refused:
        worker.xcoms.set(RUN.dag_id, RUN.run_id, "extract", "return_value", [], mapped_length=1025)
    assert refused.value.detail["reason"] == "unmappable_return_value_length"
    assert etl.store.list_xcoms(RUN) == []


def test_xcoms_of_prior_dates(etl: World, worker: Any) -> None:
    for days in (1, 2):
        run = DagRunKey(RUN.dag_id, f"day-{days}")
        etl.given_run(run, logical_date=NOW - days * DAY)
        ti = etl.given_running("clean", run=run)
        etl.worker(ti).xcoms.set(run.dag_id, run.run_id, "clean", "k", days)
    where = (RUN.dag_id, RUN.run_id, "clean", "k")
    assert worker.xcoms.get(*where).value is None
    assert worker.xcoms.get(*where, include_prior_dates=True).value == 1
    assert worker.xcoms.get(RUN.dag_id, "day-2", "clean", "k", include_prior_dates=True).value == 2
    every = worker.xcoms.get_sequence_slice(*where, None, None, None, include_prior_dates=True)
    assert every.root == [2, 1]  # the oldest run's first


# --- variables and connections ----------------------------------------------------------------------------------------


def test_variables(worker: Any) -> None:
    assert worker.variables.get("region").error.value == "VARIABLE_NOT_FOUND"
    for key in ("region", "team/a", "team/b"):
        worker.variables.set(key, f"of {key}", "said by a task")
    assert worker.variables.get("team/a").value == "of team/a"
    keys = worker.variables.keys(prefix="team/", limit=1, offset=1)
    assert (keys.keys, keys.total_entries) == (["team/b"], 2)
    worker.variables.delete("team/a")
    worker.variables.delete("team/a")
    assert worker.variables.get("team/a").error.value == "VARIABLE_NOT_FOUND"


def test_connections(etl: World, worker: Any) -> None:
    assert worker.connections.get("aws").error.value == "CONNECTION_NOT_FOUND"
    stored = Connection(
        conn_id="aws", conn_type="aws", login="me", password="in full", port=7, schema="s", extra='{"a": 1}'
    )
    create_connection(etl.services, stored)
    assert "in full" not in str(etl.store.get_setting(CONNECTIONS, "aws"))
    got = worker.connections.get("aws")
    assert (got.conn_type, got.login, got.password, got.port, got.schema_, got.extra) == (
        ("aws", "me", "in full", 7, "s", '{"a": 1}')
    )


def test_what_was_stored_before_anything_was_encrypted(etl: World, worker: Any) -> None:
    etl.store.put_setting(CONNECTIONS, "old", {"conn_type": "fs", "extra": '{"path": "/"}', "password": "pw"})
    etl.store.put_setting(VARIABLES, "old", {"value": "v", "description": None})
    got = worker.connections.get("old")
    assert (got.conn_type, got.password, got.extra) == ("fs", "pw", '{"path": "/"}')
    assert worker.variables.get("old").value == "v"


def test_a_value_whose_key_is_gone_fails_the_task_and_says_why(etl: World, worker: Any) -> None:
    from airflow.sdk.api.client import ServerResponseError

    worker.variables.set("lost", "v")
    services = replace(etl.services, cipher=FernetCipher(lambda: "another key"))
    etl.api = ExecutionApi(services, log=Logger(service="gone", stream=etl.log))
    with pytest.raises(ServerResponseError) as refused:
        worker.variables.get("lost")
    assert refused.value.response.status_code == 409
    assert "`lost` cannot be read" in refused.value.response.text


def test_a_task_stores_what_it_sets_encrypted(etl: World, worker: Any) -> None:
    worker.variables.set("mine", "in the clear", description="d")
    stored = etl.store.get_setting(VARIABLES, "mine")
    assert stored["is_encrypted"] is True
    assert "clear" not in stored["value"]
    assert worker.variables.get("mine").value == "in the clear"


# --- DagRuns and DAGs -------------------------------------------------------------------------------------------------


def test_dag_runs(etl: World, worker: Any) -> None:
    for days, state in ((1, DagRunState.FAILED), (2, DagRunState.SUCCESS), (3, DagRunState.SUCCESS)):
        etl.given_run(DagRunKey(RUN.dag_id, f"day-{days}"), logical_date=NOW - days * DAY, state=state)
    assert worker.dag_runs.get_detail(RUN.dag_id, "day-1").logical_date == NOW - DAY
    assert worker.dag_runs.get_state(RUN.dag_id, "day-2").state == "success"
    assert worker.dag_runs.get_count(RUN.dag_id).count == 4
    assert worker.dag_runs.get_count(RUN.dag_id, states=["success", "failed"]).count == 3
    assert worker.dag_runs.get_count(RUN.dag_id, logical_dates=[NOW, NOW - DAY]).count == 2
    assert worker.dag_runs.get_count(RUN.dag_id, run_ids=["day-3"], states=["failed"]).count == 0
    assert worker.dag_runs.get_previous(RUN.dag_id, NOW).dag_run.run_id == "day-1"
    assert worker.dag_runs.get_previous(RUN.dag_id, NOW, state="success").dag_run.run_id == "day-2"
    assert worker.dag_runs.get_previous(RUN.dag_id, NOW - 3 * DAY).dag_run is None
    before = worker.task_instances.get_previous_successful_dagrun(own_id())
    assert before.data_interval_start == NOW - 2 * DAY


def test_no_such_run(worker: Any) -> None:
    from airflow.sdk.api.client import ServerResponseError

    with pytest.raises(ServerResponseError) as missing:
        worker.dag_runs.get_detail("nothing", "never")
    assert missing.value.response.status_code == 404
    assert missing.value.detail["reason"] == "not_found"


def test_dags(etl: World, worker: Any) -> None:
    etl.store.put_dag(None, Dag(dag_id="other", is_paused=True, tags=("b", "a"), owners=("me", "you")))
    dag = worker.dags.get("other")
    assert (dag.is_paused, dag.tags, dag.owners) == (True, ["a", "b"], "me, you")


def test_task_instances_of_runs(etl: World, worker: Any) -> None:
    done = etl.given_running("clean")
    etl.store.move(transition.succeed(done, at=NOW + timedelta(seconds=3)))
    count, ask = worker.task_instances.get_count, {"dag_id": RUN.dag_id}
    # extract, clean, load[-1], store[0..2], report[-1]: those that nothing happened to yet are counted too.
    assert count(**ask).count == 7
    assert count(**ask, states=["success"]).count == 1
    assert count(**ask, states=["null"]).count == 5
    assert count(**ask, states=["null", "running"]).count == 6
    assert count(**ask, task_ids=["clean", "load"]).count == 2
    assert count(**ask, task_group_id="tidy").count == 1
    assert count(**ask, task_group_id="tidy", task_ids=["extract"]).count == 0
    assert count(**ask, logical_dates=[NOW - DAY]).count == 0
    assert count(**ask, run_ids=[RUN.run_id], map_index=1).count == 1

    found = worker.task_instances.get_task_states(RUN.dag_id, run_ids=[RUN.run_id]).task_states[RUN.run_id]
    assert found["clean"] == "success"
    assert found["extract"] == "running"
    assert found["load"] is None
    assert set(found) == {"extract", "clean", "load", "store_0", "store_1", "store_2", "report"}
    either = worker.task_instances.get_task_states(RUN.dag_id, task_ids=["extract"], task_group_id="tidy").task_states
    assert set(either[RUN.run_id]) == {"extract", "clean"}

    crumbs = worker.task_instances.get_task_breakcrumbs(RUN.dag_id, RUN.run_id).breadcrumbs
    assert [(c["task_id"], c["state"], c["duration"]) for c in crumbs] == [("clean", "success", 3.0)]


def test_a_group_that_does_not_exist(worker: Any) -> None:
    from airflow.sdk.api.client import ServerResponseError

    with pytest.raises(ServerResponseError) as missing:
        worker.task_instances.get_count(RUN.dag_id, task_group_id="nothing")
    assert missing.value.response.status_code == 404


def test_the_previous_task_instance(etl: World, worker: Any) -> None:
    for days in (1, 2):
        run = DagRunKey(RUN.dag_id, f"day-{days}")
        etl.given_run(run, logical_date=NOW - days * DAY)
        ti = etl.given_running("extract", run=run)
        if days == 2:
            etl.store.move(transition.succeed(ti, at=NOW))
    previous = worker.task_instances.get_previous
    assert previous(RUN.dag_id, "extract", logical_date=NOW).task_instance.run_id == "day-1"
    assert previous(RUN.dag_id, "extract", logical_date=NOW, state="success").task_instance.run_id == "day-2"
    assert previous(RUN.dag_id, "extract").task_instance.run_id == RUN.run_id
    assert previous(RUN.dag_id, "extract", logical_date=NOW - 9 * DAY).task_instance is None


def test_trigger_a_run(etl: World, worker: Any) -> None:
    etl.given_dag(TaskSpec(task_id="only"), dag_id="child")
    logical_date = datetime(2026, 1, 1, tzinfo=UTC)
    done = worker.dag_runs.trigger("child", "from-etl", conf={"a": 1}, logical_date=logical_date, note="by etl")
    assert done.ok
    run = etl.store.get_run(DagRunKey("child", "from-etl"))
    assert run.run_type is DagRunType.OPERATOR_TRIGGERED
    assert (run.conf, run.note, run.logical_date, run.state) == ({"a": 1}, "by etl", logical_date, DagRunState.QUEUED)
    assert (run.data_interval_start, run.data_interval_end) == (NOW, NOW)  # Airflow asks the timetable about now
    assert worker.dag_runs.trigger("child", "from-etl").error.value == "DAGRUN_ALREADY_EXISTS"


def test_trigger_a_run_of_no_dag(worker: Any) -> None:
    from airflow.sdk.api.client import ServerResponseError

    with pytest.raises(ServerResponseError) as missing:
        worker.dag_runs.trigger("nothing", "run")
    assert missing.value.response.status_code == 404


# --- assets -----------------------------------------------------------------------------------------------------------


def profile(type_: str, name: str | None = None, uri: str | None = None) -> Any:
    from airflow.sdk.api.datamodels._generated import AssetProfile

    return AssetProfile(name=name, uri=uri, type=type_)


def succeed(worker: Any, *outlets: Any, events: Any = ()) -> None:
    worker.task_instances.succeed(
        own_id(), when=NOW, task_outlets=list(outlets), outlet_events=list(events), rendered_map_index=None
    )


def test_success_updates_the_outlets(etl: World, worker: Any) -> None:
    for name in ("orders", "users", "other"):
        etl.store.put_asset(Asset(name=name, uri=f"s3://lake/{name}", extra={"owner": name}))
    emitted = {"dest_asset_key": {"name": "orders", "uri": "s3://lake/orders"}, "extra": {"rows": 3}}
    succeed(
        worker,
        profile("Asset", "orders", "s3://lake/orders"),
        profile("AssetNameRef", "users"),
        profile("Asset", "unknown", "s3://lake/unknown"),
        events=[emitted],
    )
    found = worker.asset_events.get(name="orders").asset_events
    assert [(event.asset.uri, event.extra, event.source_task_id) for event in found] == [
        ("s3://lake/orders", {"rows": 3}, "extract")
    ]
    assert [event.source_run_id for event in worker.asset_events.get(uri="s3://lake/users").asset_events] == [
        RUN.run_id
    ]
    assert worker.asset_events.get(name="other").asset_events == []
    assert worker.asset_events.get(name="unknown").asset_events == []
    assert etl.state(etl.store.get_instance(RUN.task_instance("extract"))) is S.SUCCESS


def test_a_repeated_success_emits_nothing_twice(etl: World, worker: Any) -> None:
    etl.store.put_asset(Asset(name="orders", uri="s3://lake/orders"))
    outlet = profile("Asset", "orders", "s3://lake/orders")
    etl.store.before("move", failing(RuntimeError("the function dies between the events and the state")))
    ti = etl.store.get_instance(RUN.task_instance("extract"))
    body = {"state": "success", "end_date": "2026-03-01T12:00:01Z", "task_outlets": [outlet.model_dump()]}
    url = f"/task-instances/{own_id()}/state"
    assert etl.request("PATCH", url, token=etl.token(ti), body=body)[0] == 500
    assert etl.request("PATCH", url, token=etl.token(ti), body=body)[0] == 204
    assert etl.request("PATCH", url, token=etl.token(ti), body=body)[0] == 204
    assert len(etl.store.list_asset_events(AssetEventSource(name="orders"))) == 1


def test_events_through_an_alias_bring_forth_their_asset(etl: World, worker: Any) -> None:
    event = {
        "source_alias_name": "latest",
        "dest_asset_key": {"name": "new", "uri": "s3://lake/new"},
        "dest_asset_extra": {"made": "by alias"},
        "extra": {"n": 1},
    }
    unasked = {**event, "source_alias_name": "not an outlet"}
    succeed(worker, profile("AssetAlias", "latest"), events=[event, unasked])
    assert [e.extra for e in worker.asset_events.get(alias_name="latest").asset_events] == [{"n": 1}]
    assert worker.assets.get(name="new").extra == {"made": "by alias"}
    assert [a.uri for a in worker.assets.get_by_alias("latest").assets] == ["s3://lake/new"]
    assert worker.assets.get_by_alias("not an outlet").assets == []


def test_asset_events_in_a_range(etl: World, worker: Any) -> None:
    etl.store.put_asset(Asset(name="orders", uri="s3://lake/orders"))
    for n in range(4):
        event = AssetEvent(
            event_id=f"00000000-0000-0000-0000-00000000000{n}",
            name="orders",
            uri="s3://lake/orders",
            timestamp=NOW + n * DAY,
            extra={"n": n},
        )
        etl.store.put_asset_events(event.event_id, [AssetUpdate(event)])
    ask = worker.asset_events.get
    assert [e.extra["n"] for e in ask(name="orders", ascending=False, limit=2).asset_events] == [3, 2]
    assert [e.extra["n"] for e in ask(name="orders", after=NOW + DAY, before=NOW + 2 * DAY).asset_events] == [1, 2]


def test_assets(etl: World, worker: Any) -> None:
    etl.store.put_asset(Asset(name="orders", uri="s3://lake/orders", group="g", extra={"a": 1}))
    assert worker.assets.get(uri="s3://lake/orders").name == "orders"
    assert worker.assets.get(name="nothing").error.value == "ASSET_NOT_FOUND"


def test_inactive_assets_are_named(world: World) -> None:
    outlets = (AssetRef(name="orders", uri="s3://lake/orders"), AssetRef(name="gone", uri="s3://lake/gone"))
    world.given_dag(TaskSpec(task_id="extract", outlets=outlets, inlets=(AssetRef(kind="alias", name="a"),)))
    world.given_run()
    world.store.put_asset(Asset(name="orders", uri="s3://lake/orders"))
    worker = world.worker(world.given_running("extract"))
    inactive = worker.task_instances.validate_inlets_and_outlets(own_id()).inactive_assets
    assert [(asset.name, asset.uri, asset.type) for asset in inactive] == [("gone", "s3://lake/gone", "Asset")]


@pytest.mark.parametrize(
    "rival",
    [AssetRef(name="old", uri="s3://lake/orders"), AssetRef(name="orders", uri="s3://lake/old")],
    ids=["one URI", "one name"],
)
@pytest.mark.parametrize("kept_by", ["an inlet", "a schedule", "nobody"])
def test_of_two_assets_that_share_a_name_or_uri_the_first_is_active(
    world: World, rival: AssetRef, kept_by: str
) -> None:
    orders = AssetRef(name="orders", uri="s3://lake/orders")
    world.given_dag(TaskSpec(task_id="extract", outlets=(orders,)))
    old = {"asset": {"name": rival.name, "uri": rival.uri, "group": "asset"}}
    on_asset = TimetableSpec(
        type="airflow.timetables.simple.AssetTriggeredTimetable", asset_expression={"any": [{"all": [old]}]}
    )
    match kept_by:
        case "an inlet":
            world.given_dag(TaskSpec(task_id="read", inlets=(rival,)), dag_id="reader")
        case "a schedule":
            world.given_dag(TaskSpec(task_id="read"), dag_id="reader", timetable=on_asset)
    world.given_run()
    for age, ref in enumerate((orders, rival)):
        born = NOW - timedelta(days=age)
        world.store.put_asset(Asset(name=ref.name or "", uri=ref.uri or "", created_at=born))
    worker = world.worker(world.given_running("extract"))
    inactive = worker.task_instances.validate_inlets_and_outlets(own_id()).inactive_assets
    assert [asset.name for asset in inactive] == ([] if kept_by == "nobody" else ["orders"])


# --- state stores -----------------------------------------------------------------------------------------------------


def test_the_task_state_store_outlives_the_try(etl: World) -> None:
    first = etl.given_running("extract", retries=1)
    store = etl.worker(first).task_state_store
    store.set(own_id(), "job/1", {"id": 7}, None)
    store.set(own_id(), "short", 1, NOW + timedelta(minutes=1))
    etl.store.move(transition.lose(first, at=NOW, reason="gone", retry_at=NOW))
    second = etl.given_running("extract")
    store, ti_id = etl.worker(second).task_state_store, second.key.uuid(2)
    assert store.get(ti_id, "job/1").value == {"id": 7}
    etl.clock.advance(61)
    assert store.get(ti_id, "short").error.value == "TASK_STORE_NOT_FOUND"
    store.set(ti_id, "more", False, None)
    assert store.get(ti_id, "more").value is False
    store.delete(ti_id, "job/1")
    assert store.get(ti_id, "job/1").error.value == "TASK_STORE_NOT_FOUND"
    store.clear(ti_id)
    assert store.get(ti_id, "more").error.value == "TASK_STORE_NOT_FOUND"


def test_a_key_that_looks_escaped_is_not_another_key(etl: World) -> None:
    store = etl.worker(etl.given_running("extract")).task_state_store
    for key, value in {"aA": 1, "a%41": 2, "a%2541": 3, "50%": 4, "50%25": 5, "a/b": 6, "a%2Fb": 7}.items():
        store.set(own_id(), key, value, None)
    keys = ("aA", "a%41", "a%2541", "50%", "50%25", "a/b", "a%2Fb")
    assert [store.get(own_id(), key).value for key in keys] == [1, 2, 3, 4, 5, 6, 7]


def test_the_asset_state_store(etl: World, worker: Any) -> None:
    from airflow.sdk.api.client import ServerResponseError

    etl.store.put_asset(Asset(name="orders", uri="s3://lake/orders"))
    store = worker.asset_state_store
    store.set("cursor", [1, 2], name="orders")
    assert store.get("cursor", uri="s3://lake/orders").value == [1, 2]
    store.set("other", 1, uri="s3://lake/orders")
    store.delete("cursor", uri="s3://lake/orders")
    assert store.get("cursor", name="orders").error.value == "ASSET_STORE_NOT_FOUND"
    store.clear(name="orders")
    assert store.get("other", name="orders").error.value == "ASSET_STORE_NOT_FOUND"
    with pytest.raises(ServerResponseError):
        store.set("cursor", 1, name="no such asset")


def test_null_is_not_kept_in_a_state_store(etl: World, worker: Any) -> None:
    ti = etl.store.get_instance(RUN.task_instance("extract"))
    status, answer = etl.request("PUT", f"/store/ti/{own_id()}/k", token=etl.token(ti), text='{"value": null}')
    assert (status, answer["detail"][0]["loc"]) == (422, ["body", "value"])


# --- the rest ---------------------------------------------------------------------------------------------------------


def test_the_label_of_a_mapped_instance(etl: World) -> None:
    ti = etl.given_running("load", map_index=3)
    etl.worker(ti).task_instances.set_rendered_map_index(own_id("load", 3), "eu-west-1")
    assert etl.now(ti).rendered_map_index == "eu-west-1"
    assert etl.state(ti) is S.RUNNING


@pytest.mark.parametrize(
    "report",
    [
        {"state": "success", "end_date": "2026-03-01T12:00:01Z"},
        {"state": "failed", "end_date": "2026-03-01T12:00:01Z"},
        {"state": "skipped", "end_date": "2026-03-01T12:00:01Z"},
        {"state": "up_for_retry", "end_date": "2026-03-01T12:00:01Z"},
        {"state": "deferred", "classpath": "a.T", "next_method": "go"},
    ],
    ids=lambda report: report["state"],
)
def test_a_report_may_bring_the_label(etl: World, report: dict[str, Any]) -> None:
    ti = etl.given_running("load", map_index=3)
    etl.worker(ti).patch(
        f"task-instances/{own_id('load', 3)}/state", json={**report, "rendered_map_index": "eu-west-1"}
    )
    assert (etl.state(ti), etl.now(ti).rendered_map_index) == (report["state"], "eu-west-1")


def test_health(etl: World) -> None:
    assert etl.request("GET", "/health") == (200, {"status": "healthy"})
    assert etl.request("GET", "/health/ping") == (200, {"ok": ["store"], "failing": {}})
