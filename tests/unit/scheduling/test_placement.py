"""Where a try runs, as a table; and what holds of every size that a DAG author may write."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gust.model.dag_spec import TaskSpec
from gust.model.environment import room
from gust.model.place import LAMBDA_ALONE, InGroup, Limit, OnFargate, OnLambda, Refused, Workers, describe
from gust.model.worker_group import WorkerGroup
from gust.scheduling.placement import MEMORY_OF, place

FARGATE = Workers(has_fargate=True, memory=1769)
LARGE = WorkerGroup(name="large", queue_url="https://sqs/large", memory=4096)
GROUPS = Workers(
    has_fargate=True,
    groups={
        "large": LARGE,
        "onprem": WorkerGroup(name="onprem", queue_url="https://sqs/onprem", heard_at=datetime(2026, 3, 2, tzinfo=UTC)),
        "new": WorkerGroup(name="new", queue_url="https://sqs/new"),
        "intel": WorkerGroup(name="intel", queue_url="https://sqs/intel", memory=2048, architecture="x86_64"),
        "payroll": WorkerGroup(name="payroll", queue_url="https://sqs/payroll", memory=2048),
    },
    closed={"payroll": "The access document says no."},
)
ECS = "airflow.providers.amazon.aws.executors.ecs.ecs_executor.AwsEcsExecutor"
LAMBDA = "airflow.providers.amazon.aws.executors.aws_lambda.lambda_executor.AwsLambdaExecutor"


def task(**fields):
    return TaskSpec(task_id="t", **fields)


def of_gust(**wish):
    return {"executor_config": {"gust": wish}}


def of_ecs(**overrides):
    return {"executor_config": {"overrides": overrides}}


DEFAULT_GROUP = [
    {},
    {"queue": "default"},
    {"queue": ""},
    {"executor": "LocalExecutor"},
    {"executor_config": {"KubernetesExecutor": {"image": "mine"}}},
    {"executor_config": {"pod_override": "V1Pod"}},
    {"execution_timeout": 885.0},
    of_gust(memory=1024),
    of_gust(memory="1 GB", architecture="arm64", ephemeral_storage=2),
]

ON_LAMBDA = [
    ({"executor": "AwsLambdaExecutor"}, "executor='AwsLambdaExecutor' asks for it"),
    ({"executor": LAMBDA}, f"executor='{LAMBDA}' asks for it"),
    ({"executor": "AwsLambdaExecutor", "execution_timeout": 7200.0}, "executor='AwsLambdaExecutor' asks for it"),
    ({"execution_timeout": 7200.0, **of_gust(compute="lambda")}, "its executor_config asks for it"),
]

ON_FARGATE = [
    ({"queue": "fargate"}, 1024, 2048, "queue='fargate'"),
    ({"executor": "AwsEcsExecutor"}, 1024, 2048, "executor='AwsEcsExecutor'"),
    ({"executor": ECS}, 1024, 2048, f"executor='{ECS}'"),
    (of_gust(compute="fargate"), 1024, 2048, "its executor_config asks for it"),
    (of_gust(cpu=1024, memory=4096), 1024, 4096, "its executor_config asks for 1024 units of CPU"),
    (of_gust(cpu=256), 256, 2048, "its executor_config asks for 256 units of CPU"),
    (of_gust(cpu=4096), 4096, 8192, "its executor_config asks for 4096 units of CPU"),
    (of_gust(cpu=256, memory=300), 256, 512, "its executor_config asks for 256 units of CPU"),
    (of_gust(cpu=8192, memory=9000), 8192, 16384, "its executor_config asks for 8192 units of CPU"),
    (
        of_gust(memory=4000),
        1024,
        4096,
        "its executor_config asks for 4000 MB of memory, and Lambda workers have 1769 MB",
    ),
    (
        of_gust(memory="12 GB"),
        2048,
        12288,
        "its executor_config asks for 12288 MB of memory, and Lambda has 10240 MB at most",
    ),
    (of_ecs(cpu="1 vCPU", memory="3 GB"), 1024, 3072, "its executor_config has overrides of an ECS task"),
    (of_ecs(cpu=".5 vCPU", memory="2 GB"), 512, 2048, "its executor_config has overrides of an ECS task"),
    (
        {
            "executor_config": {
                "launchType": "FARGATE",
                "tags": [{"key": "team", "value": "a"}],
                "platformVersion": "1.4.0",
            }
        },
        1024,
        2048,
        "its executor_config has overrides of an ECS task",
    ),
    (
        of_ecs(containerOverrides=[{"name": "x", "memory": 5000}]),
        1024,
        5120,
        "its executor_config has overrides of an ECS task",
    ),
    ({"execution_timeout": 7200.0}, 1024, 2048, "its execution_timeout of 2:00:00 is longer than Lambda can give"),
]

REFUSED = [
    (
        {"queue": "spark"},
        "No worker takes tasks of the queue 'spark'. Write one of 'default', 'fargate', or leave it out.",
    ),
    ({"executor": "CeleryExecutor"}, "the executor 'CeleryExecutor', which Gust does not have"),
    (of_gust(memory=200_000), "Fargate has 122880 MB at most"),
    (of_gust(cpu=20_000), "Fargate has 16384 at most"),
    (of_gust(cpu=256, memory=8192), "with that CPU it has 2048 MB at most. Write cpu=1024"),
    (of_gust(ephemeral_storage=300), "Fargate has 200 GB at most"),
    (of_gust(architecture="x86_64"), "workers are arm64. Write the queue of a worker group that has it"),
    ({"queue": "fargate", **of_gust(architecture="x86_64")}, "./gust workers add NAME --architecture x86_64"),
    ({"queue": "fargate", **of_gust(architecture="x86_64")}, "or deploy the stack with FargateX86Image."),
    (of_gust(architecture="x86_64", compute="lambda"), "the stack's own Lambda workers are arm64"),
    (of_gust(architecture="sparc"), "is 'sparc'. Write one of 'arm64', 'x86_64'."),
    (of_gust(cpus=2), "has 'cpus', which Gust does not know. It takes architecture, compute, cpu"),
    (of_gust(cpu="much"), "cpu='much', which is no size"),
    (of_gust(memory=-1), "memory=-1, which is no size"),
    (of_gust(cpu=True), "cpu=True, which is no size"),
    (of_gust(memory=0), "Write a number above 0"),
    (of_gust(spot="yes"), "Write True or False"),
    (of_gust(compute=["lambda"]), 'Write "lambda" or "fargate"'),
    (of_gust(architecture=["arm64"]), "Write one of 'arm64', 'x86_64'."),
    (of_gust(compute="mainframe"), 'Write "lambda" or "fargate"'),
    ({"executor_config": {"gust": "fargate"}}, "Write a dict"),
    ({"queue": "fargate", "executor": "AwsLambdaExecutor"}, "Write one of the two"),
    ({"executor": "AwsLambdaExecutor", **of_gust(memory=5000)}, "WorkerMemory=5000"),
    ({"executor": "AwsLambdaExecutor", **of_gust(memory=20000)}, "write queue='fargate'"),
    (
        of_gust(compute="lambda", cpu=4096),
        "asks for Lambda, and its executor_config asks for 4096 units of CPU. Leave it out",
    ),
    (of_gust(compute="lambda", ephemeral_storage=50), "and its executor_config asks for 50 GB of disk"),
    ({"executor": "AwsLambdaExecutor", **of_gust(spot=True)}, "and its executor_config asks for Spot"),
    ({"executor_config": {"launchType": "EC2"}}, "the launch type 'EC2'. Write 'FARGATE', or leave it out."),
    (
        {"executor_config": {"launchType": "FARGATE", "taskDefinition": "mine"}},
        "has 'taskDefinition', which Gust does not",
    ),
    (of_ecs(taskRoleArn="arn"), "has 'taskRoleArn', which Gust does not know"),
    (of_ecs(containerOverrides=[{"command": ["x"]}]), "has 'command', which Gust does not know"),
    (of_ecs(containerOverrides=[{"environment": [{"name": "GUST_X", "value": "1"}]}]), "GUST_X are Gust's own"),
    (of_ecs(containerOverrides=[{"environment": [{"name": "X", "value": "1" * 8000}]}]), "variables take 8,0"),
    (of_ecs(containerOverrides=[{"environment": [{"name": "A=B", "value": "1"}]}]), "'A=B' are no names of variables"),
    (of_ecs(containerOverrides=[{"environment": [{"name": "X", "value": "\0"}]}]), "hold the character U+0000"),
    ({"executor_config": {"capacityProviderStrategy": [{"capacityProvider": "mine"}]}}, "'mine'"),
]


@pytest.mark.parametrize("fields", DEFAULT_GROUP)
def test_what_needs_nothing_special_runs_in_the_default_group_and_says_nothing(fields):
    for workers in (Workers(), FARGATE):
        assert place(task(**fields), workers) == OnLambda()
        assert describe(place(task(**fields), workers)) == ""


@pytest.mark.parametrize(("fields", "why"), ON_LAMBDA)
def test_what_asks_for_lambda_stays_there(fields, why):
    assert place(task(**fields), FARGATE) == OnLambda(why=why)


@pytest.mark.parametrize(("fields", "cpu", "memory", "why"), ON_FARGATE)
def test_what_asks_for_fargate_or_needs_it_gets_the_smallest_container_that_will_do(fields, cpu, memory, why):
    where = place(task(**fields), FARGATE)
    assert isinstance(where, OnFargate)
    assert (where.cpu, where.memory, where.why) == (cpu, memory, why)


@pytest.mark.parametrize(("fields", "sentence"), REFUSED)
def test_what_cannot_be_is_refused_with_what_to_write(fields, sentence):
    where = place(task(**fields), FARGATE)
    assert isinstance(where, Refused)
    assert sentence in where.why


def test_a_refusal_that_quotes_much_of_the_dag_file_fits_into_the_items_that_hold_it():
    where = place(task(**of_gust(compute="x" * 2_000_000)), FARGATE)
    assert isinstance(where, Refused)
    assert where.why.endswith('Write "lambda" or "fargate".')
    assert len(where.why) < 5_000


@pytest.mark.parametrize("fields", [fields for fields, *_ in ON_FARGATE[:-1]])
def test_without_fargate_a_task_that_needs_it_is_refused_with_what_to_deploy(fields):
    where = place(task(**fields), Workers())
    assert isinstance(where, Refused)
    assert "Deploy the stack with the parameter Fargate=Enabled" in where.why


def test_without_fargate_a_long_execution_timeout_is_no_reason_to_refuse():
    assert place(task(execution_timeout=7200.0), Workers()) == OnLambda()


def test_what_outgrew_lambda_goes_to_fargate_with_more_memory_where_that_was_too_little():
    by_time = place(task(), FARGATE, Limit.TIME)
    assert isinstance(by_time, OnFargate)
    assert (by_time.cpu, by_time.memory, by_time.why) == (1024, 2048, "an earlier try took longer than Lambda can give")
    by_memory = place(task(), Workers(has_fargate=True, memory=4096), Limit.MEMORY)
    assert isinstance(by_memory, OnFargate)
    assert (by_memory.cpu, by_memory.memory) == (1024, 8192)
    assert by_memory.why == "an earlier try used the 4096 MB of a Lambda worker"


def test_what_outgrew_lambda_stays_there_where_it_asks_to_or_there_is_nothing_else():
    assert place(task(), Workers(), Limit.TIME) == OnLambda()
    assert isinstance(place(task(executor="AwsLambdaExecutor"), FARGATE, Limit.TIME), OnLambda)


def test_a_queue_of_a_worker_group_selects_it():
    where = place(task(queue="large"), GROUPS)
    assert where == InGroup(group=LARGE, why="queue='large'")
    assert describe(where) == "Runs in the worker group 'large' (Lambda, 4096 MB): queue='large'."
    assert "'default', 'fargate', 'intel', 'large', 'new', 'onprem', or leave" in place(task(queue="huge"), GROUPS).why


def test_a_container_of_x86_64_runs_where_the_stack_has_an_image_for_it():
    has_them = Workers(has_fargate=True, has_x86_containers=True)
    where = place(task(**of_gust(architecture="x86_64", memory=1024)), has_them)
    assert describe(where) == (
        "Runs on Fargate (1 vCPU, 2 GB, x86_64): its executor_config asks for the architecture 'x86_64'."
    )
    assert place(task(queue="fargate"), has_them).architecture == "arm64"
    assert "with Fargate=Enabled and FargateX86Image." in place(task(**of_gust(architecture="x86_64")), Workers()).why


def test_a_group_of_another_architecture_says_so():
    assert describe(place(task(queue="intel"), GROUPS)) == (
        "Runs in the worker group 'intel' (Lambda, x86_64, 2048 MB): queue='intel'."
    )


def test_a_queue_that_is_not_for_the_dag_is_refused_with_the_reason():
    assert place(task(queue="payroll"), GROUPS) == Refused(why="The access document says no.")


def test_a_queue_of_workers_elsewhere_selects_them_once_one_has_come():
    assert describe(place(task(queue="onprem"), GROUPS)) == "Runs on a worker elsewhere: queue='onprem'."
    assert place(task(queue="new"), GROUPS).why == (
        "No worker has ever taken tasks of the queue 'new'. Start one: ./gust worker --queue new."
    )


@pytest.mark.parametrize(
    ("fields", "goes"),
    [
        ({"queue": "large", "executor": "AwsLambdaExecutor"}, True),
        ({"queue": "large", "execution_timeout": 7200.0}, True),
        ({"queue": "large", **of_gust(memory=4096)}, True),
        ({"queue": "large", **of_gust(memory=1024, compute="lambda")}, True),
        ({"queue": "large", **of_gust(memory=4097)}, False),
        ({"queue": "large", **of_gust(cpu=512)}, False),
        ({"queue": "large", **of_gust(compute="fargate")}, False),
        ({"queue": "large", "executor": "AwsEcsExecutor"}, False),
        ({"queue": "onprem", "execution_timeout": 72000.0}, True),
        ({"queue": "onprem", "executor": "AwsLambdaExecutor"}, False),
        ({"queue": "onprem", **of_gust(memory=1)}, False),
        ({"queue": "intel", **of_gust(architecture="x86_64", memory=2048)}, True),
        ({"queue": "intel", **of_gust(architecture="arm64")}, False),
        ({"queue": "large", **of_gust(architecture="arm64")}, True),
        ({"queue": "large", **of_gust(architecture="x86_64")}, False),
    ],
)
def test_what_a_task_asks_for_beside_a_group_is_given_or_refused_by_name(fields, goes):
    where = place(task(**fields), GROUPS)
    if goes:
        assert isinstance(where, InGroup)
    else:
        assert isinstance(where, Refused)
        assert f"queue {fields['queue']!r}" in where.why


def test_a_group_that_names_no_architecture_has_the_stacks_own():
    """A local stack has this machine's."""
    local = replace(GROUPS, architecture="x86_64")
    assert isinstance(place(task(queue="large", **of_gust(architecture="x86_64")), local), InGroup)
    assert "are x86_64" in place(task(queue="large", **of_gust(architecture="arm64")), local).why


def test_a_group_keeps_its_task_whatever_limit_ended_an_earlier_try():
    assert isinstance(place(task(queue="large"), GROUPS, Limit.MEMORY), InGroup)


def test_the_whole_shape_of_the_ecs_executor():
    where = place(
        task(
            executor=ECS,
            executor_config={
                "capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT", "weight": 1}],
                "overrides": {
                    "cpu": "512",
                    "memory": "1024",
                    "ephemeralStorage": {"sizeInGiB": 50},
                    "containerOverrides": [
                        {"name": "worker", "memoryReservation": 1500, "environment": [{"name": "A", "value": "b"}]}
                    ],
                },
            },
        ),
        FARGATE,
    )
    assert where == OnFargate(
        cpu=512,
        memory=2048,
        ephemeral_storage=50,
        spot=True,
        environment=(("A", "b"),),
        why=f"executor='{ECS}'",
    )
    assert describe(where) == f"Runs on Fargate (0.5 vCPU, 2 GB, 50 GB disk, Spot): executor='{ECS}'."


sizes = st.one_of(st.none(), st.integers(1, 20_000), st.integers(1, 130_000))


@given(cpu=sizes, memory=sizes)
def test_every_size_is_a_pair_that_fargate_has_and_no_less_than_was_asked_for(cpu, memory):
    where = place(task(queue="fargate", **of_gust(cpu=cpu, memory=memory)), FARGATE)
    if isinstance(where, Refused):
        # A pair that would do, with the CPU that was asked for, does not exist.
        assert memory is not None or cpu is not None
        assert not any(c == smallest(cpu) and (memory or 0) <= m for c, ms in MEMORY_OF.items() for m in ms)
        return
    assert isinstance(where, OnFargate)
    assert where.memory in MEMORY_OF[where.cpu]
    assert where.cpu >= (cpu or 0)
    assert where.memory >= (memory or 0)


def smallest(cpu):
    """The CPU that Fargate has for what was asked for; with none asked for, any."""
    return next((c for c in MEMORY_OF if c >= cpu), None) if cpu else max(MEMORY_OF)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["gust", "overrides", "cpu", "memory", "containerOverrides"]), inner)
    ),
)


@given(
    queue=st.text(max_size=8),
    executor=st.none() | st.text(max_size=12),
    config=st.dictionaries(st.sampled_from(["gust", "overrides", "launchType", "else"]), anything),
    timeout=st.none() | st.floats(0, 1e9),
)
def test_whatever_a_file_says_is_placed_or_refused_in_words(queue, executor, config, timeout):
    for workers in (Workers(), FARGATE):
        where = place(task(queue=queue, executor=executor, executor_config=config, execution_timeout=timeout), workers)
        if isinstance(where, Refused):
            assert where.why.endswith(".")
        assert where == place(
            task(queue=queue, executor=executor, executor_config=config, execution_timeout=timeout), workers
        )


def test_packages_that_no_lambda_worker_has_room_for_take_the_task_to_fargate():
    assert place(task(environment_size=800), FARGATE) == OnLambda()
    where = place(task(environment_size=2100), FARGATE)
    assert isinstance(where, OnFargate)
    assert describe(where) == (
        "Runs on Fargate (1 vCPU, 2 GB): the packages of its requirements.txt take 2100 MB, and Lambda workers have room "
        "for 819 MB."
    )
    assert place(task(environment_size=2100), Workers(room=room(10240))) == OnLambda()


def test_packages_that_no_worker_has_room_for_fail_the_task_with_what_to_deploy():
    assert place(task(environment_size=2100), LAMBDA_ALONE) == Refused(
        why="No worker is large enough: the packages of its requirements.txt take 2100 MB, and Lambda workers have room for "
        "819 MB. Deploy the stack with the parameter Fargate=Enabled, or with more TaskStorage."
    )
    refused = place(task(environment_size=2100, **of_gust(compute="lambda")), FARGATE)
    assert isinstance(refused, Refused)
    assert "The task asks for Lambda, and the packages of its requirements.txt take 2100 MB" in refused.why
