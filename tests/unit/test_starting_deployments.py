"""What Step Functions is asked when many uploads want a deployment."""

from __future__ import annotations

from typing import Any

import pytest

from gust.aws.deployments import StepFunctionsDeployments


class StepFunctions:
    class exceptions:  # noqa: N801 - boto3's
        class ExecutionAlreadyExists(Exception): ...

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.is_busy = False

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> Any:  # noqa: N803
        if self.is_busy:
            raise RuntimeError("ThrottlingException")
        self.asked.append(name)
        if self.asked.count(name) > 1:
            raise self.exceptions.ExecutionAlreadyExists


def test_a_burst_of_uploads_asks_once_in_each_process_for_the_deployment_that_all_of_them_share() -> None:
    client = StepFunctions()
    deployments = StepFunctionsDeployments("arn", client)
    for _ in range(1000):
        deployments.start("after-1")
    deployments.start("after-2")
    assert client.asked == ["after-1", "after-2"]
    deployments.start("after-1")


def test_one_that_step_functions_refuses_is_asked_for_again() -> None:
    client = StepFunctions()
    deployments = StepFunctionsDeployments("arn", client)
    client.is_busy = True
    with pytest.raises(RuntimeError):
        deployments.start("after-1")
    client.is_busy = False
    deployments.start("after-1")
    assert client.asked == ["after-1"]
