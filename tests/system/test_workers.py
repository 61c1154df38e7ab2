"""Further workers on the local stack: a worker group on Lambda, and a host with `./gust worker`."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gust.cli import __main__ as cli
from gust.model.architecture import MACHINES, this_architecture
from tests.environment import of_a_user
from tests.system.local_gust import ROOT, LocalGust
from tests.system.package_index import answers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NEAR = """
    import os
    import time
    from airflow.sdk import dag, task

    @task(queue="large")
    def big():
        print("memory", os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"))
        return 42

    @task
    def small(found):
        print("found", found)

    @dag(schedule=None)
    def grouped():
        small(big())

    @dag(schedule=None)
    def hosted():
        @task(queue="onprem")
        def there(ti=None):
            print("begins")
            while not os.path.exists(f"{MARKS}/{ti.run_id}"):
                time.sleep(0.1)
            print("of Gust", [name for name in os.environ if name.startswith("GUST_")])
        there()

    grouped()
    hosted()
"""


PAYROLL = """
    import importlib.metadata
    from airflow.sdk import dag, task

    @dag(schedule=None)
    def {dag_id}():
        @task
        def default():
            return importlib.metadata.version("toolz")

        @task(queue="payroll")
        def in_group():
            import boto3

            return [importlib.metadata.version("toolz"), boto3.client("sts").get_caller_identity()["Arn"]]

        default() >> in_group()

    {dag_id}()
"""

OTHER = next(name for name in MACHINES if name != this_architecture())


@pytest.fixture(scope="module")
def marks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task of `hosted` ends once its run's id is a file here."""
    return tmp_path_factory.mktemp("marks")


@pytest.fixture(scope="module")
def stack(gust: LocalGust, marks: Path) -> LocalGust:
    gust.upload("near.py", f"    MARKS = {str(marks)!r}\n{NEAR}")
    gust.await_dag("grouped", within=180)
    gust.await_dag("hosted")
    return gust


def workers(stack: LocalGust, *arguments: str) -> int:
    """`./gust workers …`; returns the exit code."""
    return cli.main(["workers", *arguments, "--local", "--data", str(stack.data)])


@pytest.fixture(scope="module")
def host(stack: LocalGust, tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[bytes]]:
    """`./gust worker` with the queue `onprem`, ready for a task."""
    assert workers(stack, "add", "onprem", "--elsewhere") == 0
    temporary = tmp_path_factory.mktemp("host")
    with (stack.stack.logs / "host.log").open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  our own command
            [sys.executable, "-m", "gust.cli", "worker", "--queue", "onprem", "--local", "--data", str(stack.data)],
            env=of_a_user(PYTHONPATH=str(ROOT / "shared"), TMPDIR=str(temporary)),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    yield process
    process.kill()
    process.wait()


def dependencies(stack: LocalGust, run: str) -> list[Mapping[str, Any]]:
    path = f"/api/v2/dags/hosted/dagRuns/{run}/taskInstances/there/dependencies"
    return list(stack.api.call("GET", path)["dependencies"])


def test_a_worker_group_is_added_selected_by_its_queue_listed_and_removed(
    stack: LocalGust, capsys: pytest.CaptureFixture[str]
) -> None:
    assert workers(stack, "add", "large", "--memory", "2048", "--concurrency", "2") == 0
    run = stack.trigger("grouped")
    stack.await_state("grouped", run, "success", within=120)
    log = stack.logs("grouped", run, "big")
    assert "Runs in the worker group 'large' (Lambda, 2048 MB): queue='large'." in log
    assert "memory 2048" in log
    assert "found 42" in stack.logs("grouped", run, "small")

    assert workers(stack, "add", "large", "--concurrency", "3", "--architecture", OTHER) == 0
    capsys.readouterr()
    assert workers(stack, "list") == 0
    listed = capsys.readouterr().out
    assert f"large  Lambda, {OTHER}, 2048 MB  3        0      as elsewhere   as the stack's" in listed

    assert workers(stack, "remove", "large") == 0
    run = stack.trigger("grouped")
    stack.await_state("grouped", run, "failed")
    assert "No worker takes tasks of the queue 'large'. Write one of 'default', 'fargate'" in stack.await_log(
        "grouped", run, "big", "No worker"
    )
    assert stack.stack.client("cloudformation").describe_stacks(StackName="gust")["Stacks"]


def test_a_group_of_another_architecture_has_packages_of_its_own_a_role_of_its_own_and_dags_of_its_own(
    stack: LocalGust, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pure Python: the emulator's worker is this machine, whatever the group says that it is."""
    if not answers("toolz==1.0.0", tmp_path):
        pytest.skip("no package index answers")
    versions = {this_architecture(): "1.0.0", OTHER: "0.12.0"}
    lines = [f"toolz=={version}; platform_machine == '{MACHINES[name]}'\n" for name, version in versions.items()]
    for folder in ("payroll", "other"):
        (stack.dags / folder).mkdir()
        (stack.dags / folder / "requirements.txt").write_text("".join(lines))
        stack.upload(f"{folder}/etl.py", PAYROLL.format(dag_id=f"paid_by_{folder}"))
        stack.await_dag(f"paid_by_{folder}", within=180)
    policy = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
    assert workers(stack, "add", "payroll", "--architecture", OTHER, "--policies", policy) == 0
    assert f"Packages of requirements.txt are built for {OTHER} …" in capsys.readouterr().out

    runs = {folder: stack.trigger(f"paid_by_{folder}") for folder in ("payroll", "other")}
    stack.await_state("paid_by_payroll", runs["payroll"], "success", within=120)
    assert stack.xcom("paid_by_payroll", runs["payroll"], "default") == "1.0.0"
    version, identity = stack.xcom("paid_by_payroll", runs["payroll"], "in_group")
    (group,) = [one for one in stack.services().store.list_worker_groups() if one.name == "payroll"]
    assert version == "0.12.0"
    assert ":role/gust/gust/" in group.task_role
    assert f":assumed-role/{group.task_role.rpartition('/')[2]}/paid_by_payroll-" in identity
    attached = stack.stack.client("iam").list_attached_role_policies(RoleName=group.task_role.rpartition("/")[2])
    assert [one["PolicyArn"] for one in attached["AttachedPolicies"]] == [policy]

    stack.await_state("paid_by_other", runs["other"], "failed")
    assert stack.xcom("paid_by_other", runs["other"], "default") == "1.0.0"
    assert "The access document does not let this DAG use the queue 'payroll'." in stack.await_log(
        "paid_by_other", runs["other"], "in_group", "The access document"
    )
    assert workers(stack, "list") == 0
    assert (
        f"payroll  Lambda, {OTHER}, 1769 MB  50       0      gust-workers-payroll-TaskRole" in capsys.readouterr().out
    )
    assert workers(stack, "remove", "payroll") == 0


def test_a_host_runs_tasks_of_its_queue_and_finishes_them_when_it_is_told_to_stop(
    stack: LocalGust, host: subprocess.Popen[bytes], marks: Path
) -> None:
    def is_there() -> bool | None:
        groups = {group.name: group for group in stack.services().store.list_worker_groups()}
        return groups["onprem"].heard_at is not None or None

    stack._await(is_there, 60, lambda: "the host has shown no sign of life")
    run = stack.trigger("hosted")
    stack.await_state("hosted", run, "running", task="there", within=180)
    stack.await_log("hosted", run, "there", "begins")
    assert stack.task_instance("hosted", run, "there")["hostname"].startswith("elsewhere/onprem/")

    host.send_signal(signal.SIGTERM)
    (marks / run).touch()
    stack.await_state("hosted", run, "success")
    stack.await_log("hosted", run, "there", "of Gust []")
    assert host.wait(60) == 0

    waits = stack.trigger("hosted")
    stack.await_state("hosted", waits, "queued", task="there")
    assert stack.states("hosted", waits) == {"there": "queued"}
