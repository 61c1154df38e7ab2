"""Tasks in containers of their own: state machine fargate_task, RunTask and the container's entry, on the local stack."""

from __future__ import annotations

import json
import signal
import time
from contextlib import suppress

import psutil
import pytest

from tests.aws_like.holding import At
from tests.system.local_gust import LocalGust

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FAR = """
    import os
    import signal
    import time
    from datetime import timedelta
    from airflow.sdk import dag, task

    ECS = "airflow.providers.amazon.aws.executors.ecs.ecs_executor.AwsEcsExecutor"

    @task(queue="fargate")
    def far():
        return {"rows": 42}

    @task
    def near(found):
        print("found", found["rows"])

    @task(execution_timeout=timedelta(hours=2))
    def long():
        print("takes its time")

    @task(executor=ECS, executor_config={
        "overrides": {"containerOverrides": [{"name": "worker", "environment": [{"name": "COLOUR", "value": "blue"}]}]}
    })
    def coloured():
        print("colour", os.environ["COLOUR"])
        print("of Gust", [name for name in os.environ if name.startswith("GUST_")])

    @task(executor_config={"gust": {"cpu": 256, "memory": 8192}})
    def impossible():
        print("never")

    @task(queue="spark", retries=3)
    def nowhere():
        print("never")

    @task(queue="fargate", executor_config={"gust": {"spot": True}})
    def on_spot():
        print("cheap")

    @dag(schedule=None)
    def far_away():
        near(far()); long(); coloured(); impossible(); nowhere(); on_spot()

    @dag(schedule=None)
    def lasting():
        @task(queue="fargate", retries=1, retry_delay=timedelta(seconds=1))
        def lasts(ti=None):
            print("try", ti.try_number)
            if ti.try_number == 1:
                time.sleep(600)
        lasts()

    def lingers(context):
        time.sleep(600)

    @dag(schedule=None)
    def ending():
        @task(queue="fargate", retries=1, retry_delay=timedelta(seconds=1), on_success_callback=lingers)
        def ends():
            print("ends")
        ends()

    @dag(schedule=None)
    def reporting():
        @task(queue="fargate", retries=1, retry_delay=timedelta(seconds=1))
        def reports():
            return "done"
        reports()

    @dag(schedule=None)
    def growing():
        @task(retries=1, retry_delay=timedelta(seconds=1))
        def grows(ti=None):
            if ti.try_number == 1:
                hoard = b"x" * (1400 * 2**20)
                os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does it where memory ends
        grows()

    @dag(schedule=None)
    def deleted():
        @task(queue="fargate")
        def never_begins():
            time.sleep(600)
        never_begins()

    far_away()
    lasting()
    ending()
    reporting()
    growing()
    deleted()
"""


@pytest.fixture(scope="module")
def stack(gust: LocalGust) -> LocalGust:
    gust.upload("far.py", FAR)
    gust.await_dag("far_away")
    gust.await_dag("lasting")
    gust.await_dag("ending")
    gust.await_dag("reporting")
    gust.await_dag("growing")
    gust.await_dag("deleted")
    return gust


def test_tasks_run_where_they_ask_to_or_say_why_they_cannot(stack: LocalGust) -> None:
    run = stack.trigger("far_away")
    stack.await_state("far_away", run, "failed", within=180)

    assert stack.states("far_away", run) == {
        "far": "success",
        "near": "success",
        "long": "success",
        "coloured": "success",
        "impossible": "failed",
        "nowhere": "failed",
        "on_spot": "success",
    }
    assert first_line(stack, "far_away", run, "far") == "Runs on Fargate (1 vCPU, 2 GB): queue='fargate'."
    assert "its execution_timeout of 2:00:00" in first_line(stack, "far_away", run, "long")
    assert "(1 vCPU, 2 GB, Spot)" in first_line(stack, "far_away", run, "on_spot")
    stack.await_log("far_away", run, "near", "found 42")
    stack.await_log("far_away", run, "coloured", "colour blue")
    stack.await_log("far_away", run, "coloured", "of Gust []")
    assert stack.await_log("far_away", run, "impossible", "leave the CPU out").endswith(
        "Fargate has no container with cpu=256 and 8192 MB of memory: with that CPU it has 2048 MB at most. "
        "Write cpu=1024, or leave the CPU out."
    )
    stack.await_log("far_away", run, "nowhere", "No worker takes tasks of the queue 'spark'.")
    assert stack.task_instance("far_away", run, "nowhere")["try_number"] == 1
    assert stack.task_instance("far_away", run, "far")["hostname"].startswith("fargate/")


def test_a_try_that_used_up_a_lambda_workers_memory_is_followed_by_one_on_fargate(stack: LocalGust) -> None:
    run = stack.trigger("growing")
    stack.await_state("growing", run, "success", within=120)

    told = "The next try runs on Fargate (1 vCPU, 4 GB)."
    stack.await_log("growing", run, "grows", told, try_number=1)
    why = "an earlier try used the 1769 MB of a Lambda worker."
    assert first_line(stack, "growing", run, "grows", 2) == f"Runs on Fargate (1 vCPU, 4 GB): {why}"


def test_a_container_that_is_killed_loses_its_try_and_the_next_one_runs(stack: LocalGust) -> None:
    run = begun(stack)
    container_of(stack, "lasting", run).kill()

    stack.await_state("lasting", run, "success", within=120)
    assert stack.task_instance("lasting", run, "lasts")["try_number"] == 2
    told = "The container ended without reporting the end of its try (exit code 137"
    stack.await_log("lasting", run, "lasts", told, try_number=1)


def test_a_container_that_is_told_to_stop_reports_its_try_lost(stack: LocalGust) -> None:
    run = begun(stack)
    container_of(stack, "lasting", run).send_signal(signal.SIGTERM)

    stack.await_state("lasting", run, "success", within=120)
    assert stack.task_instance("lasting", run, "lasts")["try_number"] == 2
    assert "The container was told to stop" in stack.logs("lasting", run, "lasts", try_number=1)


def test_clearing_ends_the_container_and_begins_another(stack: LocalGust) -> None:
    run = begun(stack)
    first, name = container_of(stack, "lasting", run), name_of(stack, "lasting", run)
    stack.api.call(
        "POST",
        "/api/v2/dags/lasting/clearTaskInstances",
        body={"dag_run_id": run, "dry_run": False, "only_failed": False},
    )

    stack.await_state("lasting", run, "success", within=120)
    assert stack.task_instance("lasting", run, "lasts")["try_number"] == 2
    first.wait(30)
    assert "ABORTED" in executions_of(stack, name).values()


def test_marking_stops_a_container_that_starts(stack: LocalGust) -> None:
    earlier = executions_of(stack, "").keys()
    run = stack.trigger("lasting")
    stack.await_state("lasting", run, "queued", task="lasts")
    path = f"/api/v2/dags/lasting/dagRuns/{run}/taskInstances/lasts"
    stack.api.call("PATCH", path, body={"new_state": "success"})

    (name,) = executions_of(stack, "").keys() - earlier
    await_end_of_execution(stack, name, "ABORTED")
    assert stack.states("lasting", run) == {"lasts": "success"}


def test_deleting_a_dag_stops_a_container_that_starts(stack: LocalGust) -> None:
    earlier = executions_of(stack, "").keys()
    run = stack.trigger("deleted")
    stack.await_state("deleted", run, "queued", task="never_begins")
    stack.api.call("DELETE", "/api/v2/dags/deleted")

    (name,) = executions_of(stack, "").keys() - earlier
    await_end_of_execution(stack, name, "ABORTED")


def test_an_execution_that_is_stopped_from_outside_loses_its_try_and_the_next_one_runs(stack: LocalGust) -> None:
    run = begun(stack)
    stack.stack.client("stepfunctions").stop_execution(
        executionArn=execution_arn(stack, name_of(stack, "lasting", run))
    )

    stack.await_state("lasting", run, "success", within=120)
    assert stack.task_instance("lasting", run, "lasts")["try_number"] == 2
    assert "The container was told to stop" in stack.logs("lasting", run, "lasts", try_number=1)


@pytest.mark.parametrize("ends_by", [signal.SIGTERM, signal.SIGKILL])
def test_a_container_that_ends_after_it_reported_begins_no_other_try(stack: LocalGust, ends_by: signal.Signals) -> None:
    earlier = executions_of(stack, "").keys()
    run = stack.trigger("ending")
    stack.await_state("ending", run, "success", task="ends")
    name = name_of(stack, "ending", run)
    container_of(stack, "ending", run).send_signal(ends_by)

    await_end_of_execution(stack, name, "SUCCEEDED")
    assert executions_of(stack, "").keys() - earlier == {name}
    stack.await_state("ending", run, "success")
    assert stack.task_instance("ending", run, "ends")["state"] == "success"
    assert stack.task_instance("ending", run, "ends")["try_number"] == 1


@pytest.mark.parametrize("at", [At.REQUEST, At.ANSWER])
def test_a_container_that_is_stopped_in_the_moment_of_its_report_ends_its_try_once(stack: LocalGust, at: At) -> None:
    """StopTask comes before the report is written, or before the container knows that it is."""
    earlier = executions_of(stack, "").keys()
    with stack.holding("POST", "*-execution-api/invocations", at=at, text='/state"') as report:
        run = stack.trigger("reporting")
        report.wait()
        name = name_of(stack, "reporting", run)
        stop_task_of(stack, name)

    stack.await_state("reporting", run, "success")
    await_end_of_execution(stack, name, "SUCCEEDED")
    assert executions_of(stack, "").keys() - earlier == {name}
    assert [(each["try_number"], each["state"]) for each in stack.tries("reporting", run, "reports")] == [
        (1, "success")
    ]
    assert stack.xcom("reporting", run, "reports") == "done"


def begun(stack: LocalGust) -> str:
    """A run whose container is at its first try."""
    run = stack.trigger("lasting")
    stack.await_state("lasting", run, "running", task="lasts")
    stack.await_log("lasting", run, "lasts", "try 1")
    return run


def first_line(stack: LocalGust, dag_id: str, run_id: str, task: str, try_number: int = 1) -> str:
    """What the try's log begins with, below where its lines come from."""
    lines = stack.await_log(dag_id, run_id, task, "\nRuns on ", try_number=try_number).splitlines()
    return lines[lines.index("::endgroup::") + 1]


def name_of(stack: LocalGust, dag_id: str, run_id: str) -> str:
    """Of the container that has the task now."""
    (instance,) = stack.task_instances(dag_id, run_id)
    return str(instance["hostname"]).split("/")[1]


def executions_of(stack: LocalGust, name: str) -> dict[str, str]:
    """The statuses of all executions whose names begin so."""
    states = stack.stack.client("stepfunctions")
    found = states.list_executions(stateMachineArn=machine_arn(stack))["executions"]
    return {each["name"]: each["status"] for each in found if each["name"].startswith(name)}


def machine_arn(stack: LocalGust) -> str:
    machines = stack.stack.client("stepfunctions").list_state_machines()["stateMachines"]
    (arn,) = [each["stateMachineArn"] for each in machines if each["name"].endswith("-fargate-task")]
    return str(arn)


def execution_arn(stack: LocalGust, name: str) -> str:
    return f"{machine_arn(stack).replace(':stateMachine:', ':execution:')}:{name}"


def await_end_of_execution(stack: LocalGust, name: str, status: str) -> None:
    deadline = time.monotonic() + 60
    while executions_of(stack, name)[name] == "RUNNING":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert executions_of(stack, name)[name] == status


def stop_task_of(stack: LocalGust, name: str) -> None:
    """What an operator does in the console of ECS, to the container of the dispatch."""
    ecs = stack.stack.client("ecs")
    tasks = [
        task
        for cluster in ecs.list_clusters()["clusterArns"]
        if (arns := ecs.list_tasks(cluster=cluster)["taskArns"])
        for task in ecs.describe_tasks(cluster=cluster, tasks=arns)["tasks"]
    ]
    (task,) = [each for each in tasks if name in json.dumps(each["overrides"])]
    ecs.stop_task(cluster=task["clusterArn"], task=task["taskArn"])


def container_of(stack: LocalGust, dag_id: str, run_id: str) -> psutil.Process:
    (container,) = containers_of(stack, dag_id, run_id)
    return container


def containers_of(stack: LocalGust, dag_id: str, run_id: str) -> list[psutil.Process]:
    """The first process of each container that the task has now."""
    name = name_of(stack, dag_id, run_id)
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            is_first = process.parent() is None or "gust.container" not in process.parent().cmdline()
            if (
                "gust.container" in process.cmdline()
                and name in process.environ().get("GUST_WORKLOAD", "")
                and is_first
            ):
                found.append(process)
    return found
