"""`./gust delete`, and a deployment that turns Fargate off: no container outlives the command."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from gust.cli import containers
from gust.cli.aws import AwsError, Stack
from gust.cli.containers import Containers
from tests.unit.cli.cloud import CloudFormation, Fargate, refusal

STACK = Stack(name="gust", status="UPDATE_COMPLETE", outputs={}, parameters={}, tags={})


class Time:
    """Passes by pauses; the scheduler starts what is due."""

    def __init__(self, fargate: Fargate, **starts_at: float) -> None:
        self.now = 0.0
        self.fargate = fargate
        self.starts_at = starts_at

    def pause(self, seconds: float) -> None:
        self.now += seconds
        for name in [name for name, moment in self.starts_at.items() if moment <= self.now]:
            del self.starts_at[name]
            self.fargate.start(name)


def of(fargate: Any, **others: Any) -> Containers:
    clients = {"stepfunctions": fargate, "ecs": fargate, "cloudformation": CloudFormation(resources=Fargate.RESOURCES)}
    found = containers.containers_of({**clients, **others}.__getitem__, STACK)
    assert found is not None
    return found


def stop_all(fargate: Fargate, time: Time) -> list[str]:
    said: list[str] = []
    of(fargate).stop_all(said.append, pause=time.pause)
    return said


def test_it_stops_executions_and_waits_for_their_containers() -> None:
    fargate = Fargate("etl", "train", looks=3)
    assert of(fargate).count() == 2
    assert stop_all(fargate, Time(fargate)) == ["Stopping 2 containers …"]
    assert fargate.stopped == ["etl", "train"]
    assert fargate.containers == {"etl": 0, "train": 0}


def test_it_stops_what_the_scheduler_starts_in_between() -> None:
    """Also just after a look that has found nothing."""
    fargate = Fargate("etl", looks=1)
    stop_all(fargate, Time(fargate, retry=5, next=15))
    assert fargate.stopped == ["etl", "retry", "next"]
    assert not fargate.executions


def test_it_stops_a_container_that_no_execution_knows() -> None:
    """RunTask has started it, and its answer was lost."""
    fargate = Fargate("lost")
    fargate.executions.clear()
    stop_all(fargate, Time(fargate))
    assert fargate.stopped == ["lost"]


def test_it_gives_up_on_a_container_that_does_not_end_and_tells_of_it_meanwhile() -> None:
    fargate = Fargate("stuck", looks=1000)
    time, said = Time(fargate), list[str]()
    with pytest.raises(AwsError, match="gust-FargateCluster-1 still has 1 container after 5 minutes"):
        of(fargate).stop_all(said.append, pause=time.pause)
    assert time.now == containers.PATIENCE
    assert len(said) == containers.PATIENCE / containers.TELL_EVERY
    assert set(said) == {"Stopping 1 container …"}


def test_what_ends_by_itself_meanwhile_is_no_failure() -> None:
    class Late(Fargate):
        def stop_execution(self, *, executionArn: str, cause: str) -> None:  # noqa: N803 - boto3's
            super().stop_execution(executionArn=executionArn, cause=cause)
            raise refusal("ExecutionDoesNotExist")

    fargate = Late("etl", looks=0)
    assert stop_all(fargate, Time(fargate)) == ["Stopping 1 container …"]


def test_a_later_stop_ends_for_no_refusal() -> None:
    fargate = Fargate("etl")
    of(fargate).stop_again()
    assert fargate.stopped == ["etl"]

    class Gone:
        def get_paginator(self, _: str) -> Any:
            raise refusal("StateMachineDoesNotExist")

    assert of(Gone(), ecs=Fargate()).count() == 0

    class Refused:
        def get_paginator(self, _: str) -> Any:
            raise refusal("AccessDeniedException")

    of(Refused()).stop_again()
    with pytest.raises(ClientError):
        of(Refused()).stop_all(lambda _: None, pause=lambda _: None)


def test_the_requests_are_such_as_aws_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As boto3 checks them, and moto answers."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with mock_aws():
        session = boto3.Session(region_name="eu-west-1")
        states, ecs = session.client("stepfunctions"), session.client("ecs")
        waits = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 100, "End": True}}}
        machine = states.create_state_machine(
            name="gust-fargate-task", definition=json.dumps(waits), roleArn="arn:aws:iam::123456789012:role/x"
        )["stateMachineArn"]
        states.start_execution(stateMachineArn=machine, name="etl")
        ecs.create_cluster(clusterName="tasks")
        ecs.register_task_definition(
            family="gust-worker",
            requiresCompatibilities=["FARGATE"],
            networkMode="awsvpc",
            cpu="256",
            memory="512",
            containerDefinitions=[{"name": "worker", "image": "python", "memory": 512}],
        )
        (subnet, *_) = session.client("ec2").describe_subnets()["Subnets"]
        ecs.run_task(
            cluster="tasks",
            taskDefinition="gust-worker",
            launchType="FARGATE",
            networkConfiguration={"awsvpcConfiguration": {"subnets": [subnet["SubnetId"]], "securityGroups": []}},
        )
        clients = {"stepfunctions": states, "ecs": ecs}
        found = Containers(clients.__getitem__, machine, "tasks")
        assert found.count() == 1
        found.stop_all(lambda _: None, pause=lambda _: None)
        assert found.count() == 0
        ecs.delete_cluster(cluster="tasks")
        states.delete_state_machine(stateMachineArn=machine)
        assert found.count() == 0


def test_a_stack_without_fargate_has_no_containers() -> None:
    assert containers.containers_of({"cloudformation": CloudFormation()}.__getitem__, STACK) is None
