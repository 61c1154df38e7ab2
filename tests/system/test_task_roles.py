"""Who a task is to AWS: its stack's default role, or the role that the access document gives to its file."""

from __future__ import annotations

from typing import Any

import pytest

from gust.model.architecture import ARM64, X86_64, this_architecture
from tests.system.conftest import TEAM_A, TEAM_B
from tests.system.local_gust import LocalGust

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

WHO_AM_I = """
    import os
    from airflow.sdk import dag, task

    @dag(schedule=None)
    def {dag_id}():
        @task
        def here():
            import boto3

            return [boto3.client("sts").get_caller_identity()["Arn"], os.environ.get("AWS_SECRET_ACCESS_KEY")]

        @task.bash
        def in_a_process():
            look = "import boto3; print(boto3.client('sts').get_caller_identity()['Arn'])"
            return f'python -c "{{look}}"'

        @task(queue="fargate", executor_config={{"gust": {{"architecture": "{architecture}"}}}})
        def in_a_container():
            import boto3

            return [boto3.client("sts").get_caller_identity()["Arn"], "AWS_CONTAINER_CREDENTIALS_FULL_URI" in os.environ]

        here(), in_a_process(), in_a_container()

    {dag_id}()
"""


def identities(gust: LocalGust, dag_id: str, run_id: str) -> dict[str, Any]:
    gust.await_state(dag_id, run_id, "success")
    return {task: gust.xcom(dag_id, run_id, task) for task in ("here", "in_a_process", "in_a_container")}


def test_a_task_is_its_role(gust: LocalGust) -> None:
    """Containers of x86_64, too, where this machine, which plays them, is one."""
    gust.upload("who_am_i.py", WHO_AM_I.format(dag_id="who_am_i", architecture=this_architecture()))
    gust.upload("team_a/who_in_team_a.py", WHO_AM_I.format(dag_id="who_in_team_a", architecture=ARM64))
    default = gust.stack.outputs["TaskRoleArn"].rsplit("/", 1)[-1]
    roles = {"who_am_i": default, "who_in_team_a": TEAM_A.rsplit("/", 1)[-1]}
    for dag_id in roles:
        gust.await_dag(dag_id)
    runs = {dag_id: gust.trigger(dag_id) for dag_id in roles}
    for dag_id, role in roles.items():
        seen = identities(gust, dag_id, runs[dag_id])
        (here, secret), (in_a_container, has_endpoint) = seen["here"], seen["in_a_container"]
        assert secret is None
        assert has_endpoint
        for arn in (here, seen["in_a_process"], in_a_container):
            assert f":assumed-role/{role}/{dag_id[:27]}-" in arn
        assert here != in_a_container, "each try has a session of its own"
    if this_architecture() == X86_64:
        log = gust.logs("who_am_i", runs["who_am_i"], "in_a_container")
        assert "Runs on Fargate (1 vCPU, 2 GB, x86_64): queue='fargate'." in log


def test_a_role_that_aws_refuses_fails_the_try_with_awss_reason(gust: LocalGust) -> None:
    gust.upload("team_b/who_in_team_b.py", WHO_AM_I.format(dag_id="who_in_team_b", architecture=ARM64))
    gust.await_dag("who_in_team_b")
    run_id = gust.trigger("who_in_team_b")
    gust.await_state("who_in_team_b", run_id, "failed")
    for task in ("here", "in_a_container"):
        gust.await_log("who_in_team_b", run_id, task, "The task gets no AWS credentials")
        log = str(gust.log_lines("who_in_team_b", run_id, task))
        assert f"AWS refuses the role {TEAM_B}" in log
        assert "is not authorized to perform: sts:AssumeRole" in log
