"""What the scheduler makes of Step Functions' answers to the start of a container."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from gust.aws.containers import StepFunctionsContainers, execution_input
from gust.aws.memory import MemoryObjects
from gust.errors import ServiceUnavailable
from gust.model.architecture import ARM64, X86_64
from gust.model.container_start import ContainerStart
from gust.model.place import OnFargate
from tests.contract.test_queues import a_task

START = ContainerStart("name", a_task(1), OnFargate(cpu=1024, memory=2048))


class StepFunctions:
    def __init__(self, error: Exception | None) -> None:
        self.error = error

    def start_execution(self, **_: Any) -> Any:
        if self.error is not None:
            raise self.error


class Bucket(MemoryObjects):
    def __init__(self, error: Exception | None) -> None:
        super().__init__()
        self.error = error

    def put(self, key: str, body: bytes, *, content_type: str = "") -> None:
        if self.error is not None:
            raise self.error
        super().put(key, body)


def refusal(code: str, status: int = 400) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": "why"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "StartExecution")


def start(error: Exception | None, *, of_bucket: Exception | None = None) -> list[str]:
    containers = StepFunctionsContainers("arn", StepFunctions(error), Bucket(of_bucket))
    return [unsent.why for unsent in containers.start([START])]


def test_the_state_machine_is_told_which_task_definition_has_the_architecture() -> None:
    definitions = [
        execution_input(replace(START, place=replace(START.place, architecture=architecture)), "key")["definition"]
        for architecture in (ARM64, X86_64)
    ]
    assert definitions == [0, 1]


@pytest.mark.parametrize("error", [None, refusal("ExecutionAlreadyExists")])
def test_it_is_started_once(error: Exception | None) -> None:
    assert start(error) == []


@pytest.mark.parametrize(
    "error",
    [
        refusal("ThrottlingException"),
        refusal("ExecutionLimitExceeded"),
        refusal("InternalServerError", 500),
        EndpointConnectionError(endpoint_url="https://states"),
    ],
)
def test_what_passes_is_refused_for_now(error: Exception) -> None:
    assert start(error) == [""]


def test_a_bucket_that_does_not_answer_is_refused_for_now() -> None:
    assert start(None, of_bucket=ServiceUnavailable("S3")) == [""]


@pytest.mark.parametrize("code", ["AccessDeniedException", "StateMachineDoesNotExist", "ValidationException"])
def test_what_does_not_pass_is_refused_with_the_reason_of_aws(code: str) -> None:
    (why,) = start(refusal(code))
    assert (
        why
        == f"AWS does not start the container: An error occurred ({code}) when calling the StartExecution operation: why"
    )


def test_a_workload_that_may_not_be_stored_is_refused_with_the_reason_of_aws() -> None:
    (why,) = start(None, of_bucket=refusal("AccessDenied", 403))
    assert why.startswith("AWS does not start the container: An error occurred (AccessDenied)")
