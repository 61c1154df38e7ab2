"""What runs on Fargate: how its container is started, and what becomes of it when the container is gone."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gust.aws import clients
from gust.aws.containers import overrides
from gust.aws.memory import MemoryContainers
from gust.errors import Conflict
from gust.model.callback import CallbackState
from gust.model.container_start import container_name, host
from gust.model.dispatch import Dispatch
from gust.model.keys import DagRunKey
from gust.model.place import NO_GUST, NOT_ITS_TASK, TASK_VARIABLES, Limit, OnFargate, Workers
from gust.model.state import DagRunState
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import ParkedTrigger, TaskInstance
from gust.model.worker_group import ELSEWHERE
from gust.model.workload import WakeRun
from gust.scheduling import transition
from gust.services.people.clear_task_instances import Clear, clear_task_instances
from gust.services.people.delete_dag_run import delete_run, delete_task_instance
from gust.services.people.set_state import Mark, mark_task_instances, set_dag_run_state
from gust.services.worker.report_container import report_container
from gust.services.worker.report_task_instance import report_lost, report_success
from gust.services.worker.start_task_instance import start_task_instance
from tests.world import World, chain


def test_the_variables_of_a_dag_file_do_not_steer_the_supervisor() -> None:
    """It reads Airflow's options, Python's and the addresses of AWS from its environment."""
    given = (("AWS_ENDPOINT_URL", "https://elsewhere.example"), ("PYTHONPATH", "/tmp"))  # noqa: S108
    (container,) = overrides(OnFargate(cpu=256, memory=512, environment=given, why=""), "w")["ContainerOverrides"]
    variables = {each["Name"]: each["Value"] for each in container["Environment"]}
    assert variables == {"GUST_WORKLOAD": "w", TASK_VARIABLES: json.dumps(dict(given))}


def test_a_container_is_named_in_the_calls_that_it_makes() -> None:
    """By what `gust.container` leaves in its environment: no longer the key of its workload."""
    assert clients.caller({"GUST_LOG_STREAM": host("workloads/w.json", {})}) == "container"
    assert clients.caller({"GUST_LOG_STREAM": f"{ELSEWHERE}queue/host/1"}) == ""
    assert clients.caller({"AWS_LAMBDA_FUNCTION_NAME": "gust-worker"}) == "gust-worker"


@pytest.fixture
def containers(world: World) -> MemoryContainers:
    """A stack with Fargate, and one DAG whose task asks for it."""
    containers = MemoryContainers()
    world.services = replace(world.services, workers=Workers(has_fargate=True), containers=containers)
    spec = chain("far")
    far = spec.tasks["far"].model_copy(update={"queue": "fargate", "retries": 1})
    world.given_dag(spec.model_copy(update={"tasks": {"far": far}}))
    return containers


def started(world: World) -> tuple[DagRunKey, TaskInstance]:
    """The container has been asked for."""
    run = world.trigger()
    world.advance(run)
    return run, instance(world, run)


def begun(world: World, containers: MemoryContainers) -> tuple[DagRunKey, TaskInstance]:
    """The container has been started, and has begun the try."""
    run, waiting = started(world)
    dispatch = Dispatch.of(waiting)
    start_task_instance(world.services, dispatch, hostname="fargate/x", pid=1, at=world.clock.now())
    return run, instance(world, run)


def instance(world: World, run: DagRunKey) -> TaskInstance:
    found = world.store.get_instance(run.task_instance("far"))
    assert found is not None
    return found


def gone(world: World, of: TaskInstance, **told: Any) -> None:
    """As the state machine tells it."""
    dispatch = {
        "dag_id": of.dag_id,
        "run_id": of.run_id,
        "task_id": of.task_id,
        "map_index": of.map_index,
        "try_number": of.try_number,
        "dispatch_count": of.dispatch_count,
        "name": container_name(of),
    }
    report_container(world.services, {"dispatch": dispatch, **told}, at=world.clock.now())


def failed(**task: Any) -> dict[str, str]:
    return {"Error": "States.TaskFailed", "Cause": json.dumps(task)}


def test_what_asks_for_fargate_is_started_as_a_container_and_sent_to_no_worker(world, containers):
    run = world.trigger()
    for _ in range(2):
        world.advance(run)
    (start,) = containers.started.values()
    assert world.queues.tasks == []
    assert world.state(run, "far") is S.QUEUED
    assert start.name == container_name(instance(world, run))
    assert len(start.name) <= 80
    assert (start.place.cpu, start.place.memory) == (1024, 2048)
    assert start.workload.place == "Runs on Fargate (1 vCPU, 2 GB): queue='fargate'."


def test_what_step_functions_refuses_stays_scheduled_and_is_started_by_the_next_look(world, containers):
    run = world.trigger()
    containers.is_full = True
    world.advance(run)
    assert world.state(run, "far") is S.SCHEDULED
    assert [wake.run_id for wake, _ in world.queues.wakes if isinstance(wake, WakeRun)] == ["r"]

    containers.is_full = False
    world.advance(run)
    assert world.state(run, "far") is S.QUEUED
    assert len(containers.started) == 1


def test_what_step_functions_refuses_for_good_loses_its_try_alone_with_the_reason(world, containers):
    run = world.trigger()
    containers.forbidden = "AWS does not start the container: AccessDeniedException"
    world.advance(run)
    assert world.state(run, "far") is S.UP_FOR_RETRY
    assert instance(world, run).reason == containers.forbidden

    containers.forbidden = ""
    world.pass_time(minutes=10)
    world.advance(run)
    assert world.state(run, "far") is S.QUEUED
    assert instance(world, run).try_number == 2


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (
            {"error": failed(StopCode="EssentialContainerExited", Containers=[{"ExitCode": 139}])},
            "The container ended without reporting the end of its try (exit code 139).",
        ),
        (
            {"error": failed(Containers=[{"ExitCode": 137, "Reason": "OutOfMemoryError: Container killed"}])},
            "The container ran out of memory and was ended (exit code 137). Give the task more memory.",
        ),
        (
            {"error": failed(StopCode="EssentialContainerExited", Containers=[{"ExitCode": NO_GUST}])},
            "The container could not fetch Gust's layers from Lambda, and it is too late for another one. Its own log "
            "says why: often no way to Lambda, or a permissions boundary without lambda:GetLayerVersion.",
        ),
        (
            {"error": failed(StopCode="SpotInterruption", StoppedReason="Your Spot Task was interrupted.")},
            "AWS took the container back: Your Spot Task was interrupted.",
        ),
        (
            {"ended": {"StopCode": "EssentialContainerExited", "Containers": [{"ExitCode": 0}]}},
            "The container ended without reporting the end of its try (exit code 0).",
        ),
        (
            {"error": {"Error": "ECS.ClientException", "Cause": "No Fargate configuration exists for given values."}},
            "Fargate could not run the container: ECS.ClientException: No Fargate configuration exists for given values.",
        ),
    ],
)
def test_a_container_that_is_gone_fails_its_try_with_the_reason(world, containers, told, reason):
    run, running = begun(world, containers)
    for _ in range(2):
        gone(world, running, **told)
        assert instance(world, run).state is S.UP_FOR_RETRY
        assert instance(world, run).reason == reason


def test_a_container_that_could_not_be_started_fails_its_try(world, containers):
    run = world.trigger()
    world.advance(run)
    no_room = failed(StopCode="TaskFailedToStart", StoppedReason="Capacity is unavailable at this time")
    gone(world, instance(world, run), error=no_room)
    assert instance(world, run).state is S.UP_FOR_RETRY
    assert instance(world, run).reason == "Fargate could not start the container: Capacity is unavailable at this time"


def test_a_container_that_had_reported_its_end_changes_nothing(world, containers):
    run, running = begun(world, containers)
    world.store.move(transition.succeed(running, at=world.clock.now()))
    for told in (
        {"ended": {"Containers": [{"ExitCode": 0}]}},
        {"error": failed(StopCode="UserInitiated", Containers=[{"ExitCode": 137}])},
    ):
        gone(world, running, **told)
        assert world.state(run, "far") is S.SUCCESS


def test_the_report_of_a_container_that_is_known_to_be_gone_comes_too_late(world, containers):
    """It was killed between sending the report and its arrival: one of the two counts, whichever comes first."""
    run, running = begun(world, containers)
    gone(world, running, error=failed(Containers=[{"ExitCode": 137}]))
    with pytest.raises(Conflict):
        report_success(world.services, Dispatch.of(running), at=world.clock.now())
    assert world.state(run, "far") is S.UP_FOR_RETRY


def test_a_container_that_found_another_one_at_its_try_says_nothing_of_it(world, containers):
    run, running = begun(world, containers)
    gone(world, running, error=failed(Containers=[{"ExitCode": NOT_ITS_TASK}]))
    assert world.state(run, "far") is S.RUNNING


def test_of_two_containers_of_a_dispatch_with_the_same_process_ids_one_starts_the_try(world, containers):
    _, waiting = started(world)
    dispatch, key = Dispatch.of(waiting), f"workloads/{container_name(waiting)}.json"
    for environ in (
        [{}, {}],
        [{"ECS_CONTAINER_METADATA_URI_V4": f"http://169.254.170.2/v4/{task}-1"} for task in "ab"],
    ):
        one, other = (host(key, each) for each in environ)
        assert one != other
        assert one.startswith(f"fargate/{container_name(waiting)}/")
    for _ in "twice":  # its answer may be lost
        start_task_instance(world.services, dispatch, hostname=one, pid=7, at=world.clock.now())
    with pytest.raises(Conflict):
        start_task_instance(world.services, dispatch, hostname=other, pid=7, at=world.clock.now())


def test_the_end_of_an_earlier_dispatch_s_container_does_not_touch_the_current_one(world, containers):
    run, running = begun(world, containers)
    for earlier in (
        replace(running, dispatch_count=running.dispatch_count - 1),
        replace(running, scheduled_at=running.scheduled_at - timedelta(seconds=1)),
    ):
        gone(world, earlier, error=failed(Containers=[{"ExitCode": 1}]))
    assert world.state(run, "far") is S.RUNNING


def test_what_nothing_can_run_any_more_goes_to_a_worker_that_fails_it(world, containers):
    """Fargate was taken away while the task was deferred: no container, and no message that no worker takes."""
    run, running = begun(world, containers)
    trigger = ParkedTrigger(classpath="x.T", kwargs={}, next_method="execute_complete")
    world.store.move(transition.defer(running, trigger=trigger))
    world.store.move(transition.resume(instance(world, run), at=world.clock.now(), event=None))
    world.services = replace(world.services, workers=Workers())
    world.advance(run)
    (sent,) = world.queues.tasks
    assert sent.refused.startswith("The task needs Fargate (queue='fargate'), and this stack has none.")


@pytest.mark.parametrize(("outgrew", "memory"), [(Limit.TIME, 2048), (Limit.MEMORY, 4096)])
def test_a_try_that_lambda_ended_is_retried_in_a_container_and_its_log_says_so(world, containers, outgrew, memory):
    spec = chain("near")
    near = spec.tasks["near"].model_copy(update={"retries": 2, "retry_delay": 0.0})
    world.given_dag(spec.model_copy(update={"dag_id": "d", "tasks": {"near": near}}))
    run = world.trigger(dag_id="d")
    world.advance(run)
    assert len(world.queues.tasks) == 1
    key = run.task_instance("near")
    for lost_to in (outgrew, None):  # whatever ends a later try
        dispatch = Dispatch.of(world.store.get_instance(key))
        start_task_instance(world.services, dispatch, hostname="x", pid=1, at=world.clock.now())
        report_lost(world.services, dispatch, at=world.clock.now(), reason="Lost", outgrew=lost_to)
        told = "Lost. The next try runs on Fargate (1 vCPU, " if lost_to else "Lost"
        assert world.store.get_instance(key).reason.startswith(told)
        world.clock.advance(1)
        world.advance(run)
    assert [start.place.memory for start in containers.started.values()] == [memory, memory]
    assert len(world.queues.tasks) == 1


def test_a_container_that_is_stuck_is_stopped_also_in_a_paused_dag(world, containers):
    run, stuck = started(world)
    dag = world.dag()
    world.store.put_dag(dag, replace(dag, is_paused=True))
    world.pass_time(minutes=11)
    world.advance(run)
    assert containers.stopped == [container_name(stuck)]


@pytest.mark.parametrize("has_begun", [True, False])
def test_a_run_that_is_deleted_stops_its_containers(world, containers, has_begun):
    run, taken = begun(world, containers) if has_begun else started(world)
    delete_run(world.services, run)
    assert containers.stopped == [container_name(taken)]
    assert world.store.get_run(run) is None


def test_a_run_is_deleted_also_where_its_containers_cannot_be_stopped_now(world, containers):
    run, _ = started(world)
    containers.is_full = True
    delete_run(world.services, run)
    assert world.store.get_run(run) is None


@pytest.mark.parametrize("has_begun", [True, False])
@pytest.mark.parametrize("action", ["clear", "mark", "mark the run", "delete"])
def test_a_person_who_takes_a_try_away_stops_its_container(world, containers, action, has_begun):
    run, taken = begun(world, containers) if has_begun else started(world)
    match action:
        case "clear":
            clear_task_instances(world.services, [run], Clear(markers=frozenset({("far", -1)})))
        case "mark":
            mark_task_instances(world.services, run, Mark(tasks=[("far", -1)], state=S.SUCCESS))
        case "mark the run":
            set_dag_run_state(world.services, run, DagRunState.FAILED)
        case _:
            delete_task_instance(world.services, taken.key)
    for _ in "twice":
        world.advance(run)
    assert containers.stopped == [container_name(taken)]
    assert world.queues.callbacks == []
    (stop,) = world.store.list_callbacks(run)
    assert stop.state is CallbackState.SUCCESS


def test_a_run_that_times_out_stops_its_containers(world, containers):
    spec = chain("far")
    far = spec.tasks["far"].model_copy(update={"queue": "fargate"})
    world.given_dag(spec.model_copy(update={"dag_id": "short", "tasks": {"far": far}, "dagrun_timeout": 60.0}))
    run = world.trigger(dag_id="short")
    world.advance(run)
    world.clock.advance(61)
    world.advance(run)
    assert containers.stopped == list(containers.started)


def test_a_container_that_cannot_be_stopped_now_is_stopped_by_the_next_look(world, containers):
    run, taken = started(world)
    containers.is_full = True
    mark_task_instances(world.services, run, Mark(tasks=[("far", -1)], state=S.SUCCESS))
    world.advance(run)
    assert containers.stopped == []
    containers.is_full = False
    world.advance(run)
    assert containers.stopped == [container_name(taken)]


def test_what_runs_on_lambda_or_ends_by_itself_stops_no_container(world, containers):
    world.given_dag(chain("near").model_copy(update={"dag_id": "d"}))
    near = world.trigger(dag_id="d")
    world.advance(near)
    mark_task_instances(world.services, near, Mark(tasks=[("near", -1)], state=S.SUCCESS))
    world.advance(near)
    run, running = begun(world, containers)
    world.store.move(transition.succeed(running, at=world.clock.now()))
    world.advance(run)
    assert containers.stopped == []
    assert world.store.list_callbacks(near) == world.store.list_callbacks(run) == []
