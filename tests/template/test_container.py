"""What a container on Fargate runs and may do. No image is pulled here; what would run in it is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from heapq import heapify, heappop, heappush
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gust.aws.containers import CONTAINER, DEFINITIONS, FIRST_PAUSE
from gust.model.architecture import ARM64, X86_64
from gust.model.bucket_keys import WORKLOADS
from gust.model.place import NO_GUST
from gust.scheduling.placement import DEFAULT_CPU, DEFAULT_MEMORY
from gust.scheduling.timers import DEFAULTS
from tests.template.rights import statements

ROOT = Path(__file__).parents[2]
Resources = dict[str, dict[str, Any]]

OF_ECS = "arn:${AWS::Partition}:ecs:${AWS::Region}:${AWS::AccountId}"
OF_IMAGE = {"GUST_LAYERS", "GUST_OPT", "GUST_ARCHITECTURE"}

ATTEMPTS = 20
"""Of a container to learn where a layer is."""

START = 60
"""Seconds, assumed, that a container takes beside waiting for Lambda: for its image, its layers and its end."""

NO_ROOM = 20
"""Seconds, assumed: until ECS says that a container finds no room."""

FAKE_BOTO3 = """
import os

class Client:
    def __init__(self, config):
        self.attempts = config.retries["total_max_attempts"]

    def get_layer_version_by_arn(self, Arn):
        if int(os.environ["THROTTLED"]) >= self.attempts:
            raise RuntimeError("TooManyRequestsException")
        return {"Content": {"Location": "file://" + Arn}}

def client(name, config):
    return Client(config)
"""
"""Its calls are throttled as often as the environment says."""

FAKE_CONFIG = """
class Config:
    def __init__(self, retries, connect_timeout, read_timeout):
        self.retries = retries
"""


@pytest.fixture
def definition(resources: Resources) -> dict[str, Any]:
    properties: dict[str, Any] = resources["FargateTaskDefinition"]["Properties"]
    return properties


@pytest.mark.parametrize("throttled", [0, ATTEMPTS - 1])
def test_an_image_without_gust_fetches_the_layers_and_runs_its_entry(
    definition: dict[str, Any], tmp_path: Path, throttled: int
) -> None:
    """With AWS's own image: Python and boto3 are there, and nothing of ours."""
    runtime, airflow = tmp_path / "runtime.zip", tmp_path / "airflow.zip"
    with zipfile.ZipFile(runtime, "w") as layer:
        layer.writestr("python/lib/python3.12/site-packages/gust/__init__.py", "")
        entry = "import sys, airflow; print('runs', sys.path.index(airflow.__path__[0].rpartition('/')[0]) > 0)"
        layer.writestr("python/lib/python3.12/site-packages/gust/container.py", entry)
    with zipfile.ZipFile(airflow, "w") as layer:
        layer.writestr("python/airflow/__init__.py", "")
        command = zipfile.ZipInfo("bin/airflow")
        command.external_attr = 0o755 << 16
        layer.writestr(command, "#!/bin/sh\n")
    image = tmp_path / "image"
    image.mkdir()
    (image / "boto3.py").write_text(FAKE_BOTO3)
    (image / "botocore").mkdir()
    (image / "botocore" / "config.py").write_text(FAKE_CONFIG)
    (container,) = definition["ContainerDefinitions"]
    environment = {
        "GUST_LAYERS": f"{runtime},{airflow}",
        "GUST_OPT": str(tmp_path / "opt"),
        "PYTHONPATH": str(image),
        "THROTTLED": str(throttled),
    }
    ran = subprocess.run(  # noqa: S603 - the template's own words, with this interpreter for the image's
        [sys.executable, "-S", *container["EntryPoint"][1:], *container["Command"]],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout == "runs True\n", ran.stderr
    assert os.access(tmp_path / "opt" / "bin" / "airflow", os.X_OK)


@pytest.mark.parametrize(("containers", "answers_a_second"), [(300, 15), (1000, 15), (500, 7.5)])
def test_a_burst_of_starts_outlasts_the_quota_of_lambda(
    definition: dict[str, Any], containers: int, answers_a_second: float
) -> None:
    """A model of it: Fargate starts 20 containers a second, each makes two calls, and Lambda's control plane answers 15 a
    second, of which a deployment may take half. Calls that it throttles come again after botocore's standard pauses, and a
    container that has waited for too long is followed by another one."""
    random = Random(1)  # noqa: S311 - moments, no secret
    due = [(start / 20 + random.uniform(0, 15), start, 2, 1) for start in range(containers)]
    heapify(due)
    asked = {start: moment for moment, start, _, _ in due}
    began = dict(asked)
    room, last, took = answers_a_second, 0.0, dict[int, float]()
    waits = patience(definition)
    while due:
        now, start, calls, attempt = heappop(due)
        room, last = min(answers_a_second, room + (now - last) * answers_a_second), now
        if now - began[start] > waits or attempt > ATTEMPTS:
            assert began[start] == asked[start], "it is asked for once more, no oftener"
            began[start] = now + FIRST_PAUSE + START
            heappush(due, (began[start], start, 2, 1))
        elif room >= 1:
            room -= 1
            if calls > 1:
                heappush(due, (now + 0.1, start, calls - 1, 1))
            else:
                took[start] = now - asked[start]
        else:
            pause = random.random() * min(2 ** (attempt - 1), 20)
            heappush(due, (now + pause, start, calls, attempt + 1))
    assert len(took) == containers
    assert max(took.values()) < 300, "with Fargate's own start, well before a dispatch counts as stuck"


def patience(definition: dict[str, Any]) -> int:
    """Seconds for which a container waits for Lambda to say where the layers are."""
    (container,) = definition["ContainerDefinitions"]
    (seconds,) = re.findall(r"threading\.Timer\((\d+),", container["Command"][0])
    return int(seconds)


def test_a_container_to_which_lambda_does_not_answer_ends_in_time_and_says_so(
    definition: dict[str, Any], tmp_path: Path
) -> None:
    """No way to Lambda, for instance: each attempt waits for its connection."""
    (tmp_path / "boto3.py").write_text("import time\ndef client(*_, **__): time.sleep(60)")
    (tmp_path / "botocore").mkdir()
    (tmp_path / "botocore" / "config.py").write_text("class Config:\n    def __init__(self, **_): ...")
    (container,) = definition["ContainerDefinitions"]
    command = container["Command"][0].replace(f"Timer({patience(definition)},", "Timer(0.1,")
    ran = subprocess.run(  # noqa: S603 - as above
        [sys.executable, "-S", *container["EntryPoint"][1:], command],
        env={"GUST_LAYERS": "arn", "GUST_OPT": str(tmp_path), "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == NO_GUST
    assert "Lambda did not say within two minutes where Gust's layers are" in ran.stderr
    assert patience(definition) == 120


def test_a_container_whose_layers_are_gone_says_so_by_its_exit_code(definition: dict[str, Any], tmp_path: Path) -> None:
    """The state machine then asks for another one (tests/unit/local/test_fargate_task.py)."""
    (tmp_path / "boto3.py").write_text("def client(*_, **__): raise RuntimeError('no layer version 7')")
    (tmp_path / "botocore").mkdir()
    (tmp_path / "botocore" / "config.py").write_text("class Config:\n    def __init__(self, **_): ...")
    (container,) = definition["ContainerDefinitions"]
    ran = subprocess.run(  # noqa: S603 - as above
        [sys.executable, "-S", *container["EntryPoint"][1:], *container["Command"]],
        env={"GUST_LAYERS": "arn", "GUST_OPT": str(tmp_path), "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == NO_GUST
    assert "no layer version 7" in ran.stderr, "the container's own log says what was missing"


def test_the_container_is_told_what_the_lambda_worker_is_told(
    definition: dict[str, Any], source: dict[str, Any]
) -> None:
    """But for what comes from Lambda, and its message's queue."""
    (container,) = definition["ContainerDefinitions"]
    told = {variable["Name"] for variable in container["Environment"]}
    worker = source["Resources"]["WorkerFunction"]["Properties"]["Environment"]["Variables"]
    assert told >= set(worker) - {"GUST_TASK_QUEUE_URL"}
    assert not {"GUST_TABLE", "GUST_SIGNING_KEYS", "GUST_ENCRYPTION_KEYS"} & told


def test_the_definition_is_the_one_that_starts_are_made_for(definition: dict[str, Any]) -> None:
    (container,) = definition["ContainerDefinitions"]
    assert container["Name"] == CONTAINER
    assert (definition["Cpu"], definition["Memory"]) == (str(DEFAULT_CPU), str(DEFAULT_MEMORY))


def test_the_image_of_ones_own_is_made_of_what_is_there() -> None:
    dockerfile = (ROOT / "layers/container/Dockerfile").read_text()
    copied = [words.split()[:-1] for words in re.findall(r"^COPY (.*)$", dockerfile, re.MULTILINE)]
    assert copied
    for path in (path for paths in copied for path in paths):
        assert (ROOT / path).exists(), path
    assert 'ENTRYPOINT ["python3", "-m", "gust.container"]' in dockerfile
    assert (ROOT / "shared/gust/container.py").is_file()


def test_a_container_may_what_the_lambda_worker_may_but_reach_no_queue(resources: Resources) -> None:
    allowed = {
        action: json.dumps(statement["Resource"])
        for statement in statements(resources["ContainerRole"])
        for action in as_list(statement["Action"])
    }
    assert set(allowed) == {
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "s3:GetObject",
        "s3:PutObject",
        "lambda:GetLayerVersion",
        "lambda:InvokeFunction",
        "kms:Decrypt",
    }
    assert "ExecutionApiFunction" in allowed["lambda:InvokeFunction"]
    assert "transfers/*" in allowed["s3:PutObject"]
    assert read_by(resources["ContainerRole"]) == read_by(resources["WorkerRole"]) | {WORKLOADS}


def read_by(role: dict[str, Any]) -> set[str]:
    """Prefixes of the bucket."""
    return {
        resource["Fn::Sub"].removeprefix("${Bucket.Arn}/").removesuffix("*")
        for statement in statements(role)
        if "s3:GetObject" in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
    }


def test_the_scheduler_stops_executions_of_that_state_machine_only(resources: Resources) -> None:
    document = resources["SchedulerStartsContainers"]["Properties"]["PolicyDocument"]
    (stops,) = [s for s in document["Statement"] if "states:StopExecution" in as_list(s["Action"])]
    assert stops["Action"] == "states:StopExecution"
    assert stops["Resource"]["Fn::Sub"].endswith(":execution:${AWS::StackName}-fargate-task:*")


def test_who_starts_containers_passes_them_their_own_roles_only(resources: Resources) -> None:
    (policy,) = resources["FargateTaskRole"]["Properties"]["Policies"]
    allowed = {
        action: statement["Resource"]
        for statement in policy["PolicyDocument"]["Statement"]
        for action in as_list(statement["Action"])
    }
    assert allowed["ecs:RunTask"] == {"Fn::Sub": f"{OF_ECS}:task-definition/${{AWS::StackName}}-worker:*"}
    assert allowed["iam:PassRole"] == [
        {"Fn::GetAtt": ["ContainerRole", "Arn"]},
        {"Fn::GetAtt": ["ContainerExecutionRole", "Arn"]},
    ]
    assert allowed["lambda:InvokeFunction"] == {"Fn::GetAtt": ["SchedulerFunction", "Arn"]}


def test_the_container_for_x86_64_is_the_other_one_with_an_image_that_has_gust(
    definition: dict[str, Any], source: dict[str, Any]
) -> None:
    """The layers are for arm64: it fetches none."""
    theirs = source["Resources"]["FargateX86TaskDefinition"]["Properties"]
    same = definition.keys() - {"Family", "RuntimePlatform", "ContainerDefinitions"}
    assert {name: theirs[name] for name in same} == {name: definition[name] for name in same}
    assert theirs["RuntimePlatform"] == {"CpuArchitecture": "X86_64", "OperatingSystemFamily": "LINUX"}
    (ours,), (other,) = definition["ContainerDefinitions"], theirs["ContainerDefinitions"]
    differ = {"Image", "EntryPoint", "Command", "Environment"}
    assert {name: ours[name] for name in ours.keys() - differ} == {n: other[n] for n in other.keys() - differ}
    assert other["Image"] == {"Ref": "FargateX86Image"}
    assert other["EntryPoint"] == ["python3", "-m", "gust.container"]
    variables = [[v for v in one["Environment"] if v["Name"] not in OF_IMAGE] for one in (ours, other)]
    assert variables[0] == variables[1]
    assert {"Name": "GUST_ARCHITECTURE", "Value": "x86_64"} in other["Environment"]


def test_the_state_machine_takes_the_definition_of_the_architecture(source: dict[str, Any]) -> None:
    names = {ARM64: "TaskDefinition", X86_64: "X86TaskDefinition"}
    run = json.loads((ROOT / "statemachines/fargate_task.asl.json").read_text())["States"]["Run"]["Parameters"]
    listed = ", ".join(f"'${{{names[architecture]}}}'" for architecture in DEFINITIONS)
    assert run["TaskDefinition.$"] == f"States.ArrayGetItem(States.Array({listed}), $.definition)"
    policy = source["Resources"]["FargateTaskRunsX86"]
    assert policy["Condition"] == "HasX86Containers"
    (statement,) = policy["Properties"]["PolicyDocument"]["Statement"]
    family = "${AWS::StackName}-worker-x86"
    assert source["Resources"]["FargateX86TaskDefinition"]["Properties"]["Family"] == {"Fn::Sub": family}
    of_family = {"Fn::Sub": f"{OF_ECS}:task-definition/{family}:*"}
    assert statement == {"Effect": "Allow", "Action": "ecs:RunTask", "Resource": of_family}


def test_a_container_that_starts_while_the_stack_is_updated_starts_from_what_is_there(source: dict[str, Any]) -> None:
    """An execution keeps the text that its state machine had; CloudFormation removes the former revision and the layers
    that it names at an update's end."""
    all_of = source["Resources"]
    given = all_of["FargateTask"]["Properties"]["DefinitionSubstitutions"]
    for name, task in (("TaskDefinition", "FargateTaskDefinition"), ("X86TaskDefinition", "FargateX86TaskDefinition")):
        assert given[name] == all_of[task]["Properties"]["Family"], "ECS takes the family's newest revision"
    (fetches,) = [each for each in statements(all_of["ContainerRole"]) if "lambda:GetLayerVersion" in each["Action"]]
    # As SAM names a layer's versions: by the layer's logical id.
    assert [arn["Fn::Sub"].split(":layer:")[1] for arn in fetches["Resource"]] == ["RuntimeLayer:*", "AirflowLayer:*"]
    (container,) = all_of["FargateTaskDefinition"]["Properties"]["ContainerDefinitions"]
    fetched = {"Name": "GUST_LAYERS", "Value": {"Fn::Sub": "${RuntimeLayer},${AirflowLayer}"}}
    assert fetched in container["Environment"]


def test_no_stack_runs_a_task_definition_of_another_one(source: dict[str, Any]) -> None:
    """A stack may be named as another one with something after it."""
    families = [
        each["Properties"]["Family"]["Fn::Sub"].replace("${AWS::StackName}", "")
        for each in source["Resources"].values()
        if each["Type"] == "AWS::ECS::TaskDefinition"
    ]
    assert len(families) == 2
    assert not any(one != other and one.endswith(other) for one in families for other in families)


def test_a_stack_without_fargate_has_nothing_of_it(source: dict[str, Any]) -> None:
    assert source["Parameters"]["Fargate"]["Default"] == "Disabled"
    for name, resource in source["Resources"].items():
        if name.startswith(("Fargate", "Container")) or name == "SchedulerStartsContainers":
            assert resource["Condition"] in {"HasFargate", "HasOwnNetwork", "ContainersUseKey", "HasX86Containers"}, (
                name
            )
    assert {"Condition": "HasFargate"} in source["Conditions"]["HasX86Containers"]["Fn::And"]
    also = source["Conditions"]["ContainersUseKey"]["Fn::And"]
    assert {"Condition": "HasFargate"} in also


def test_workloads_are_dropped_once_they_are_read(source: dict[str, Any]) -> None:
    rules = source["Resources"]["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    assert {"Id": "DropWorkloads", "Prefix": WORKLOADS, "Status": "Enabled", "ExpirationInDays": 1} in rules


def test_an_execution_gives_up_before_its_dispatch_counts_as_stuck(
    source: dict[str, Any], definition: dict[str, Any]
) -> None:
    """Else the scheduler begins another dispatch, which forgets why the first one got no container. In whatever order
    containers find no room and no layers."""
    states = json.loads((ROOT / source["Resources"]["FargateTask"]["Properties"]["DefinitionUri"]).read_text())[
        "States"
    ]
    for_room = states["MayAskAgain"]["Choices"][0]["NumericLessThan"]
    for_layers = states["MayAskForGust"]["Choices"][0]["NumericLessThan"]
    assert states["AwaitRoom"]["SecondsPath"] == "$.pause"
    assert states["AskAgain"]["Parameters"]["pause.$"] == "States.MathAdd($.pause, $.pause)"
    adds_for_room, adds_for_layers = adds(states["AskAgain"]), adds(states["CountForThree"])

    def longest(attempt: int, pause: int, *, with_room: bool = False) -> int:
        """Seconds until the scheduler is told, where no container runs its task. `with_room`: each finds room."""
        without_layers = START + patience(definition)
        if attempt < for_layers:
            following = attempt + adds_for_layers + adds_for_room
            without_layers += pause + longest(following, 2 * pause, with_room=with_room)
        without_room = NO_ROOM
        if attempt < for_room:
            without_room += pause + longest(attempt + adds_for_room, 2 * pause)
        return without_layers if with_room else max(without_layers, without_room)

    assert longest(1, FIRST_PAUSE, with_room=True) == 2 * (START + 120) + FIRST_PAUSE == 370
    assert longest(1, FIRST_PAUSE) == 5 * NO_ROOM + (10 + 20 + 40 + 80 + 160) + START + 120 == 590
    assert DEFAULTS.queued_timeout.total_seconds() == 600


def adds(state: dict[str, Any]) -> int:
    """What the state adds to the number of attempts."""
    (number,) = re.findall(r"^States\.MathAdd\(\$\.attempt, (\d)\)$", state["Parameters"]["attempt.$"])
    return int(number)


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
