"""`./gust workers`: what it refuses before it asks AWS anything, and how it removes a group."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from gust.aws.memory import MemoryObjects
from gust.aws.worker_groups import (
    Deployment,
    WorkerGroupError,
    deploy,
    find_deployment,
    find_group,
    messages,
    stack_name,
)
from gust.cli.__main__ import _parser
from gust.cli.aws import AwsError
from gust.cli.workers import (
    BUILDS_FOR,
    Worker,
    add,
    before_its_deployment,
    have_packages_built,
    how_to_start,
    let_go,
    template,
    update_each,
)
from gust.model.architecture import MACHINES, this_architecture
from gust.model.worker_group import WorkerGroup
from gust.ports.clock import ManualClock
from gust.services.deployments.deployment_turn import give_up_turn
from gust.store.memory import MemoryStore
from tests.unit.cli.cloud import refusal
from tests.unit.deploy.stack import NOON, Stack


def no_aws(service: str) -> Any:
    raise AssertionError(f"AWS was asked for {service}")


def test_a_size_of_workers_elsewhere_is_refused_and_an_architecture_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["workers", "add", "onprem", "--elsewhere", "--architecture", "x86_64", "--policies", "arn:1,arn:2"]
    with pytest.raises(AssertionError, match="AWS was asked"):
        add(no_aws, _parser().parse_args(words))
    options = _parser().parse_args([*words, "--memory", "4096"])
    assert add(no_aws, options) == 2
    assert "workers elsewhere have the size of their host" in capsys.readouterr().err


def test_a_person_reads_how_to_start_workers_elsewhere() -> None:
    words = ["workers", "add", "onprem", "--elsewhere"]
    on_aws = how_to_start(_parser().parse_args([*words, "--stack", "etl"]), "arn:p")
    assert on_aws.splitlines() == [
        "Attach arn:p to each host's role, and start there:",
        "    ./gust worker --stack etl --queue onprem --at-once 4",
    ]
    local = how_to_start(_parser().parse_args([*words, "--local"]), "arn:p")
    assert local.splitlines() == ["Start them:", "    ./gust worker --queue onprem --local"]
    elsewhere = how_to_start(_parser().parse_args([*words, "--local", "--data", "/my state"]), "arn:p")
    assert elsewhere.endswith("--queue onprem --local --data '/my state'")


@pytest.mark.parametrize("queue", ["default", "fargate", "", "two words", "-x", "ü", "q" * 60])
def test_a_queue_that_no_group_can_have_is_refused(queue: str) -> None:
    with pytest.raises(WorkerGroupError):
        stack_name("gust", queue)


@pytest.mark.parametrize(
    ("queue", "name"), [("large", "gust-workers-large"), ("high_mem.v2", "gust-workers-high-mem-v2")]
)
def test_a_groups_stack_is_named_after_its_queue(queue: str, name: str) -> None:
    assert stack_name("gust", queue) == name


def test_without_a_stack_there_are_no_groups() -> None:
    class NoFunctions:
        def get_function(self, **_: Any) -> Any:
            raise refusal("ResourceNotFoundException")

    with pytest.raises(WorkerGroupError, match="There is no stack 'gust' of Gust here"):
        find_deployment(lambda _: NoFunctions(), "gust")


class DeployedStack:
    """What a group's deployment reads of it; it plays each service."""

    def __init__(self, *, parameters: dict[str, str] | None = None, **outputs: str) -> None:
        self.parameters, self.outputs = parameters or {}, outputs

    def __call__(self, service: str) -> Any:
        return self

    def get_function(self, FunctionName: str) -> Any:  # noqa: N803 - boto3's
        configuration = self.get_function_configuration(FunctionName)
        return {"Configuration": configuration | {"CodeSha256": "AAAA"}, "Code": {"Location": "https://code"}}

    def get_function_configuration(self, FunctionName: str) -> Any:  # noqa: N803
        return {"Role": f"arn:aws:iam::1:role/{FunctionName}", "Environment": {"Variables": defaultdict(str)}}

    def describe_stacks(self, **_: Any) -> Any:
        told = [{"OutputKey": key, "OutputValue": value} for key, value in self.outputs.items()]
        given = [{"ParameterKey": key, "ParameterValue": value} for key, value in self.parameters.items()]
        return {"Stacks": [{"Outputs": told, "Parameters": given}]}


def test_a_groups_alarm_goes_to_the_topic_of_the_stack_if_it_has_one() -> None:
    topic = "arn:aws:sns:eu-west-1:1:gust-AlertTopic"
    assert find_deployment(DeployedStack(AlertTopic=topic), "gust").parameters["AlertTopic"] == topic
    assert find_deployment(DeployedStack(), "gust").parameters["AlertTopic"] == ""


@pytest.mark.parametrize("parameters", [{"Tracing": "Enabled", "LambdaLogLevel": "INFO"}, {}])
def test_a_group_is_traced_as_the_stack_is(parameters: dict[str, str]) -> None:
    found = find_deployment(DeployedStack(parameters=parameters), "gust")
    assert found.parameters["Tracing"] == parameters.get("Tracing", "Disabled")
    assert found.parameters["LambdaLogLevel"] == parameters.get("LambdaLogLevel", "WARN")


OTHER = next(name for name in MACHINES if name != this_architecture())


class Site:
    """A stack whose deployments run while a person waits for them."""

    def __init__(self, *, deploys: bool = True) -> None:
        clock = ManualClock(NOON)
        self.stack = Stack(clock=clock, store=MemoryStore(clock=clock), objects=MemoryObjects())
        self.deploys = deploys
        self.said: list[str] = []
        self.started: list[str] = []
        self.time = 0.0

    def start(self, name: str) -> None:
        self.started.append(name)

    def wait(self, seconds: float) -> None:
        self.time += seconds
        if self.deploys:
            give_up_turn(self.stack.store, self.started[-1])
            self.stack.deploy()

    def have_packages_built(self, architecture: str) -> None:
        group = WorkerGroup(name="others", queue_url="https://q", memory=1, architecture=architecture)
        self.stack.store.register_worker_group(group)
        have_packages_built(
            self.stack.store,
            self.stack.objects,
            self,
            group,
            self.said.append,
            clock=lambda: self.time,
            wait=self.wait,
        )


def test_a_group_of_another_architecture_waits_for_its_packages_and_the_same_command_again_does_not() -> None:
    site = Site()
    site.stack.upload("requirements.txt", "cowsay\n")
    site.stack.deploy()
    site.have_packages_built("")
    assert site.started == []
    for _ in range(2):
        site.have_packages_built(OTHER)
        assert len(site.started) == 1
        assert site.said == [f"Packages of requirements.txt are built for {OTHER} …"]
    assert len(site.stack.built) == 2


def test_it_does_not_wait_where_there_are_no_packages() -> None:
    site = Site()
    site.have_packages_built(OTHER)
    site.stack.upload("a.py", "dag a")
    site.stack.deploy()
    site.have_packages_built(OTHER)
    assert site.started == []


def test_it_does_not_wait_for_ever() -> None:
    site = Site(deploys=False)
    site.stack.upload("requirements.txt", "cowsay\n")
    site.stack.deploy()
    site.have_packages_built(OTHER)
    assert site.time <= BUILDS_FOR + 10
    assert site.said[-1].endswith("tasks there that need packages fail.")


def test_a_queue_that_is_gone_holds_no_message() -> None:
    class NoQueue:
        def __init__(self, code: str) -> None:
            self.code = code

        def get_queue_attributes(self, **_: Any) -> Any:
            raise refusal(self.code)

    assert messages(lambda _: NoQueue("AWS.SimpleQueueService.NonExistentQueue"), "https://q") == 0
    with pytest.raises(ClientError):
        messages(lambda _: NoQueue("AccessDenied"), "https://q")


def test_a_group_is_marked_first_and_forgotten_last_also_where_its_removal_is_cut_off() -> None:
    """The execution API finds the role of tasks that still run in the entry."""
    store = MemoryStore()
    group = WorkerGroup(name="payroll", queue_url="https://q", memory=1, task_role="arn:aws:iam::123456789012:role/p")
    store.register_worker_group(group)
    seen: list[object] = []
    counts = iter([2, 1, 0, 0])

    def dies() -> None:
        seen.extend(store.list_worker_groups())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        let_go(store, "payroll", counts.__next__, dies, wait=lambda _: seen.extend(store.list_worker_groups()))
    assert seen == [replace(group, is_closing=True)] * 3
    assert store.list_worker_groups() == [replace(group, is_closing=True)]
    for _ in range(2):
        let_go(store, "payroll", lambda: 0, lambda: None)
        assert store.list_worker_groups() == []


# --- what is half done, or misspelled ---------------------------------------------------------------------------------


class Groups:
    """CloudFormation with the stack of one group; plays S3, too. `refuses`: the code of every answer."""

    def __init__(self, parameters: dict[str, str], *, refuses: str = "") -> None:
        self.parameters, self.refuses = parameters, refuses
        self.updated: list[dict[str, Any]] = []

    def __call__(self, service: str) -> Any:
        return self

    def describe_stacks(self, **_: Any) -> Any:
        if self.refuses:
            raise refusal(self.refuses)
        given = [{"ParameterKey": key, "ParameterValue": value} for key, value in self.parameters.items()]
        outputs = {"QueueUrl": "https://q", "Place": "Lambda", "Memory": "2048", "Architecture": "arm64"}
        told = [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()]
        return {"Stacks": [{"StackStatus": "UPDATE_COMPLETE", "Parameters": given, "Outputs": told}]}

    def get_function(self, **_: Any) -> Any:
        raise refusal(self.refuses)

    def update_stack(self, **asked: Any) -> None:
        self.updated.append({each.pop("ParameterKey"): each for each in asked["Parameters"]})

    def put_object(self, **_: Any) -> None:
        pass

    def get_waiter(self, _: str) -> Any:
        return self

    def wait(self, **_: Any) -> None:
        pass


@pytest.mark.parametrize("code", ["Throttling", "AccessDenied", "ExpiredToken"])
def test_a_group_that_cannot_be_looked_for_is_not_taken_for_gone(code: str) -> None:
    """A removal would delete the queue with the tasks in it; a deployment would make the group anew with other sizes."""
    with pytest.raises(ClientError):
        find_group(Groups({}, refuses=code), "gust", "large")
    with pytest.raises(ClientError):
        find_deployment(Groups({}, refuses=code), "gust")
    assert find_group(Groups({}, refuses="ValidationError"), "gust", "large") is None


def test_a_stack_is_not_removed_for_a_queue_of_nearly_its_name() -> None:
    """`./gust workers remove high-mem` where there is `high_mem`: both queues have the same name of a stack."""
    groups = Groups({"Queue": "high_mem"})
    assert find_group(groups, "gust", "high_mem") == {"Queue": "high_mem"}
    with pytest.raises(WorkerGroupError, match="is that of the queue 'high_mem'"):
        find_group(groups, "gust", "high-mem")


def test_an_update_brings_the_disk_to_the_stacks_and_forgets_parameters_of_another_version(tmp_path: Path) -> None:
    """Packages are built for the stack's disk. CloudFormation refuses a parameter that the template does not have."""
    package = tmp_path / "code.zip"
    package.write_bytes(b"")
    groups = Groups({"Queue": "large", "Storage": "2048", "Memory": "2048", "OfTomorrow": "x"})
    of = Deployment(
        stack="gust",
        table="t",
        bucket="b",
        parameters={"CodeKey": "k"},
        storage="5000",
        architecture="arm64",
        deployments="arn",
        code_url=package.as_uri(),
        code_hash="",
    )
    deploy(groups, of, "large", template, {})
    groups.parameters["Storage"] = "9000"
    deploy(groups, of, "large", template, {})
    first, second = groups.updated
    assert first["Storage"] == {"ParameterValue": "5000"}
    assert second["Storage"] == first["Memory"] == {"UsePreviousValue": True}
    assert "OfTomorrow" not in first


def test_a_group_that_cannot_be_updated_leaves_no_other_behind(capsys: pytest.CaptureFixture[str]) -> None:
    groups = [WorkerGroup(name=name, queue_url="https://q", memory=1, is_closing=name == "b") for name in "abcd"]
    brought: list[str] = []

    def bring(group: WorkerGroup) -> None:
        if group.name == "a":
            raise WorkerGroupError("its stack is gone")
        if group.name == "c":
            raise refusal("Throttling", "Rate exceeded", operation="UpdateStack")
        brought.append(group.name)

    said: list[str] = []
    assert update_each(groups, bring, said.append) == 1
    assert brought == ["d"]
    assert said == [
        "The workers of 'b' are being removed: ./gust workers remove b",
        "The workers of 'd' are up to date.",
    ]
    assert capsys.readouterr().err == (
        "gust: the workers of 'a' are not up to date: its stack is gone\n"
        "gust: the workers of 'c' are not up to date: UpdateStack failed: Rate exceeded\n"
    )


def test_a_stack_of_another_version_is_to_be_deployed_first() -> None:
    stack = DeployedStack()
    stack.get_function_configuration = lambda *_, **__: {"Role": "r", "Environment": {"Variables": {}}}  # type: ignore[method-assign]
    with pytest.raises(WorkerGroupError, match=r"another version of Gust .* Run ./gust deploy first"):
        find_deployment(stack, "gust")


def test_a_removal_tells_of_waiting_tasks_when_their_number_changes(capsys: pytest.CaptureFixture[str]) -> None:
    counts = iter([2, 2, 2, 1, 0])
    let_go(MemoryStore(), "large", counts.__next__, lambda: None, wait=lambda _: None)
    assert [line[:7] for line in capsys.readouterr().out.splitlines()] == ["2 tasks", "1 task "]


def test_before_a_groups_stack_changes_its_packages_are_built_and_a_role_that_goes_is_forgotten() -> None:
    """A task that starts meanwhile, or after a command that was cut off, must not be given a role that is gone."""
    group = WorkerGroup(name="large", queue_url="https://q", memory=1, task_role="arn:role")
    assert before_its_deployment(group, {"Memory": "2"}, "") == group
    assert before_its_deployment(group, {"TaskPolicyArns": "arn:policy"}, "") == group
    assert before_its_deployment(group, {"TaskPolicyArns": ""}, "") == replace(group, task_role="")
    assert before_its_deployment(group, {}, "x86_64") == replace(group, architecture="x86_64")


def test_a_group_that_is_added_again_while_it_is_removed_stays() -> None:
    store = MemoryStore()
    group = WorkerGroup(name="large", queue_url="https://q", memory=1)
    store.register_worker_group(group)
    counts = iter([1, 0])

    def never() -> None:
        raise AssertionError("the stack was deleted")

    with pytest.raises(AwsError, match="were added again meanwhile"):
        let_go(store, "large", counts.__next__, never, wait=lambda _: store.register_worker_group(group))
    assert store.list_worker_groups() == [group]


@pytest.mark.parametrize("at_once", ["0", "-1"])
def test_a_host_takes_a_task_at_a_time_or_more(at_once: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert Worker.run(_parser().parse_args(["worker", "--queue", "onprem", "--at-once", at_once])) == 2
    assert capsys.readouterr().err == "gust: --at-once is 1 or more.\n"
