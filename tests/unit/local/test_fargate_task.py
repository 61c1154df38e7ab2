"""The state machine fargate_task, as the emulator's Step Functions run it, with an ECS that does as the test says."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gust.model.place import NO_GUST
from gust.services.worker.report_container import why_gone

ROOT = Path(__file__).parents[3]
NAMES = {
    "Cluster": "cluster",
    "TaskDefinition": "worker",
    "X86TaskDefinition": "worker-x86",
    "Subnets": "subnet-a,subnet-b",
    "SecurityGroups": "sg-a",
    "AssignPublicIp": "ENABLED",
    "SchedulerFunctionArn": "arn:aws:states:::sqs:sendMessage",
}
GIVEN = {
    "dispatch": {"name": "n"},
    "definition": 0,
    "provider": "FARGATE_SPOT",
    "overrides": {"Cpu": "1024"},
    "attempt": 1,
    "pause": 10,
}
DONE = {"StopCode": "EssentialContainerExited", "Containers": [{"ExitCode": 0}]}


class Ecs:
    """Answers each RunTask with the next of what it was given: a task as it stopped, or an error and its cause."""

    def __init__(self, error: type[Exception], answers: list[Any]) -> None:
        self.error = error
        self.answers = answers
        self.asked: list[dict[str, Any]] = []

    def __call__(self, resource: str, asked: dict[str, Any]) -> dict[str, Any]:
        assert resource.endswith("runTask.sync")
        self.asked.append(asked)
        match self.answers.pop(0):
            case dict(task):
                return task
            case name, cause:
                raise self.error(name, cause)
        raise AssertionError


class Machine:
    def __init__(self, stepfunctions: Any) -> None:
        self._stepfunctions = stepfunctions
        definition = (ROOT / "statemachines/fargate_task.asl.json").read_text()
        for name, value in NAMES.items():
            definition = definition.replace(f"${{{name}}}", value)
        made = stepfunctions._create_state_machine(
            {"name": f"fargate-{time.monotonic_ns()}", "definition": definition, "roleArn": "arn:aws:iam::0:role/r"}
        )
        self._arn = json.loads(made[2])["stateMachineArn"]
        self.told: list[dict[str, Any]] = []

    def run(self, *answers: Any, **given: Any) -> Ecs:
        """To its end; `told` is then what the scheduler was told."""
        ecs = Ecs(self._stepfunctions._ExecutionError, list(answers))
        self._stepfunctions._SERVICE_DISPATCH["arn:aws:states:::ecs:runTask"] = ecs
        self._stepfunctions._SERVICE_DISPATCH["arn:aws:states:::sqs:sendMessage"] = lambda _, told: (
            self.told.append(told) or {}
        )
        started = self._stepfunctions._start_execution(
            {"stateMachineArn": self._arn, "input": json.dumps(GIVEN | given)}
        )
        execution = {"executionArn": json.loads(started[2])["executionArn"]}
        deadline = time.monotonic() + 30
        while (seen := json.loads(self._stepfunctions._describe_execution(execution)[2]))["status"] == "RUNNING":
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert seen["status"] == "SUCCEEDED", seen
        return ecs


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    from ministack.services import stepfunctions

    dispatch = dict(stepfunctions._SERVICE_DISPATCH)
    monkeypatch.setattr(stepfunctions, "_SFN_WAIT_SCALE", 0)
    yield Machine(stepfunctions)
    stepfunctions._SERVICE_DISPATCH.clear()
    stepfunctions._SERVICE_DISPATCH.update(dispatch)


def failed(**task: Any) -> tuple[str, str]:
    return "States.TaskFailed", json.dumps(task)


NO_ROOM = failed(StopCode="TaskFailedToStart", StoppedReason="Capacity is unavailable at this time")


def test_the_scheduler_is_told_of_a_container_that_ended(machine: Machine) -> None:
    ecs = machine.run(DONE)
    (asked,) = ecs.asked
    assert asked["NetworkConfiguration"]["AwsvpcConfiguration"] == {
        "Subnets": ["subnet-a", "subnet-b"],
        "SecurityGroups": ["sg-a"],
        "AssignPublicIp": "ENABLED",
    }
    assert asked["Overrides"] == GIVEN["overrides"]
    (told,) = machine.told
    assert told["container"]["dispatch"] == GIVEN["dispatch"]
    assert told["container"]["ended"] == DONE


@pytest.mark.parametrize(("number", "definition"), [(0, "worker"), (1, "worker-x86")])
def test_the_container_is_of_the_architecture_that_the_scheduler_names_also_when_it_asks_again(
    machine: Machine, number: int, definition: str
) -> None:
    ecs = machine.run(("AmazonECS.Unknown", "[]"), DONE, definition=number)
    assert [asked["TaskDefinition"] for asked in ecs.asked] == [definition] * 2


def test_a_container_that_has_run_is_not_started_again(machine: Machine) -> None:
    ecs = machine.run(failed(StopCode="EssentialContainerExited", Containers=[{"ExitCode": 137}]))
    assert len(ecs.asked) == 1
    (told,) = machine.told
    assert json.loads(told["container"]["error"]["Cause"])["Containers"] == [{"ExitCode": 137}]


def test_no_text_of_a_task_makes_it_ask_again(machine: Machine) -> None:
    """The cause holds the task's overrides, and with them variables that a DAG author names."""
    said = [{"Environment": [{"Name": "SAID", "Value": f'"ExitCode":{NO_GUST}, "ExitCode": {NO_GUST}'}]}]
    ecs = machine.run(failed(Containers=[{"ExitCode": 1}], Overrides={"ContainerOverrides": said}))
    assert len(ecs.asked) == 1


@pytest.mark.parametrize("cause", ["", "{not JSON", "Task was stopped", '["a list"]', '{"Containers": []}'])
def test_a_cause_that_is_no_task_is_told_as_it_is(machine: Machine, cause: str) -> None:
    ecs = machine.run(("States.TaskFailed", cause))
    assert len(ecs.asked) == 1
    (told,) = machine.told
    assert told["container"]["error"]["Cause"] == cause


@pytest.mark.parametrize(
    "no_room",
    [
        ("AmazonECS.Unknown", "[]"),
        ("ECS.ThrottlingException", "slow down"),
        NO_ROOM,
        ("States.TaskFailed", '{"StopCode":"TaskFailedToStart"}'),
    ],
)
def test_where_there_is_no_room_it_asks_again_but_not_of_spot(machine: Machine, no_room: tuple[str, str]) -> None:
    ecs = machine.run(no_room, no_room, DONE)
    providers = [asked["CapacityProviderStrategy"][0]["CapacityProvider"] for asked in ecs.asked]
    assert providers == ["FARGATE_SPOT", "FARGATE", "FARGATE"]
    (told,) = machine.told
    assert told["container"]["ended"] == DONE
    assert told["container"]["pause"] == 40


WITHOUT_GUST = failed(StopCode="EssentialContainerExited", Containers=[{"ExitCode": NO_GUST}])


@pytest.mark.parametrize(
    "no_gust",
    [WITHOUT_GUST, ("States.TaskFailed", f'{{"Containers":[{{"Cpu":"0","ExitCode":{NO_GUST},"Name":"w"}}]}}')],
)
def test_after_a_container_without_gust_it_asks_for_another_one(machine: Machine, no_gust: tuple[str, str]) -> None:
    ecs = machine.run(NO_ROOM, no_gust, NO_ROOM, DONE)
    providers = [asked["CapacityProviderStrategy"][0]["CapacityProvider"] for asked in ecs.asked]
    assert providers == ["FARGATE_SPOT", "FARGATE", "FARGATE", "FARGATE"]
    assert all(asked["Overrides"] == GIVEN["overrides"] for asked in ecs.asked)
    (told,) = machine.told
    assert told["container"]["dispatch"] == GIVEN["dispatch"]
    assert told["container"]["ended"] == DONE
    assert told["container"]["pause"] == 80


@pytest.mark.parametrize(
    "answers",
    [
        [WITHOUT_GUST] * 2,
        [WITHOUT_GUST, NO_ROOM, WITHOUT_GUST],
        [WITHOUT_GUST, NO_ROOM, NO_ROOM, WITHOUT_GUST],
        [NO_ROOM, NO_ROOM, NO_ROOM, WITHOUT_GUST],
        [*[NO_ROOM] * 5, WITHOUT_GUST],
    ],
)
def test_where_no_container_gets_gust_it_gives_up_while_its_dispatch_counts(
    machine: Machine, answers: list[Any]
) -> None:
    """tests/template/test_container.py has the times."""
    ecs = machine.run(*answers)
    assert len(ecs.asked) == len(answers)
    (told,) = machine.told
    report = told["container"]
    assert report["dispatch"] == GIVEN["dispatch"]
    assert "could not fetch Gust's layers" in why_gone(report, json.loads(report["error"]["Cause"]))


def test_it_gives_up_in_the_end_and_says_why(machine: Machine) -> None:
    ecs = machine.run(*[NO_ROOM] * 6)
    assert len(ecs.asked) == 6
    (told,) = machine.told
    assert "Capacity is unavailable" in told["container"]["error"]["Cause"]
