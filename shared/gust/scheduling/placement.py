"""Where a try runs: a Lambda worker, a worker group, or a Fargate container of its own, and why.

A DAG author decides with Airflow's own arguments: `queue`, `executor`, `executor_config`, `execution_timeout`. If no
worker of the stack fits, the task fails before it is sent, with a sentence that says what to write or deploy instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from gust.model.architecture import ARM64, MACHINES, X86_64
from gust.model.bounds import cut
from gust.model.place import InGroup, Limit, OnFargate, OnLambda, Place, Refused, Workers
from gust.model.worker_group import WorkerGroup

if TYPE_CHECKING:
    from gust.model.dag_spec import TaskSpec  # a worker does without

DEFAULT_QUEUE: Final = "default"
FARGATE_QUEUE: Final = "fargate"

OWN_QUEUES: Final = frozenset({"", DEFAULT_QUEUE, FARGATE_QUEUE})
"""Queues that every stack knows. Of others, each is that of a worker group."""

ECS_EXECUTOR: Final = "AwsEcsExecutor"
LAMBDA_EXECUTOR: Final = "AwsLambdaExecutor"
LOCAL_EXECUTOR: Final = "LocalExecutor"
"""Airflow's default. A task that names it is placed as a task without an executor."""

LAMBDA_SECONDS: Final = 885
"""The part of Lambda's 15 minutes that a task gets; the rest is for the end of the try."""

LAMBDA_MEMORY: Final = 10240
"""MB of the largest Lambda function."""

LAMBDA_DISK: Final = 2
"""GB of a worker's /tmp."""

DEFAULT_CPU: Final = 1024
DEFAULT_MEMORY: Final = 2048
FREE_DISK: Final = 20
LARGEST_DISK: Final = 200

LARGEST_ENVIRONMENT: Final = 7500
"""Characters of JSON. RunTask takes 8,192 of all overrides, of which Gust's own are the rest."""

LONGEST_REASON: Final = 4000
"""Bytes of a refusal, which may quote the DAG file: the try's item and the message to its worker hold it."""

_VARIABLE: Final = re.compile(r"[^=\0]+")

GB: Final = 1024

MEMORY_OF: Final[Mapping[int, tuple[int, ...]]] = {
    256: (GB // 2, GB, 2 * GB),
    512: tuple(range(1 * GB, 4 * GB + 1, GB)),
    1024: tuple(range(2 * GB, 8 * GB + 1, GB)),
    2048: tuple(range(4 * GB, 16 * GB + 1, GB)),
    4096: tuple(range(8 * GB, 30 * GB + 1, GB)),
    8192: tuple(range(16 * GB, 60 * GB + 1, 4 * GB)),
    16384: tuple(range(32 * GB, 120 * GB + 1, 8 * GB)),
}
"""CPU units → the MB of memory that Fargate has with them, for Linux.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-cpu-memory-error.html"""

LARGEST_MEMORY: Final = max(MEMORY_OF[16384])

DEPLOY_FARGATE: Final = "Deploy the stack with the parameter Fargate=Enabled"


class _RefusedError(Exception):
    """The message is the sentence for the DAG author."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """The resources that a task's `executor_config` asks for."""

    compute: str | None = None
    cpu: int | None = None
    memory: int | None = None
    disk: int | None = None
    architecture: str | None = None
    spot: bool = False
    is_for_ecs: bool = False
    """Whether the config has the form that the ECS executor reads."""
    environment: tuple[tuple[str, str], ...] = ()


def place(task: TaskSpec, workers: Workers, outgrew: Limit | None = None) -> Place:
    """Where a try of the task runs. The same arguments always give the same place. `outgrew`: the limit of Lambda that
    ended an earlier try."""
    try:
        return _place(task, workers, outgrew)
    except _RefusedError as refused:
        return Refused(why=cut(str(refused), LONGEST_REASON))


def _place(task: TaskSpec, workers: Workers, outgrew: Limit | None) -> Place:
    wish = _wish(task.executor_config)
    executor = _executor(task.executor)
    queue = task.queue or DEFAULT_QUEUE
    if (group := workers.groups.get(queue)) is not None:
        if (why := workers.closed.get(queue)) is not None:
            raise _RefusedError(why)
        return _in_group(group, executor, wish, workers.architecture)
    if queue not in OWN_QUEUES:
        raise _RefusedError(_unknown_queue(queue, workers.groups.keys() - workers.closed.keys()))
    if executor == LAMBDA_EXECUTOR or wish.compute == "lambda":
        return _on_lambda(task, queue, wish, workers)
    if (why := _why_fargate(task, queue, executor, wish)) is not None:
        if wish.architecture == X86_64 and not workers.has_x86_containers:
            raise _RefusedError(_no_x86_containers(workers))
        if not workers.has_fargate:
            raise _RefusedError(f"The task needs Fargate ({why}), and this stack has none. {DEPLOY_FARGATE}.")
        return _on_fargate(wish, why)
    if wish.memory is not None and wish.memory > workers.memory:
        why = f"its executor_config asks for {wish.memory} MB of memory, and Lambda workers have {workers.memory} MB"
        if not workers.has_fargate:
            raise _RefusedError(
                f"No worker is large enough: {why}. {DEPLOY_FARGATE}, or with WorkerMemory={wish.memory}."
            )
        return _on_fargate(wish, why)
    if (why := _why_no_room(task, workers)) is not None:
        if not workers.has_fargate:
            raise _RefusedError(f"No worker is large enough: {why}. {DEPLOY_FARGATE}, or with more TaskStorage.")
        return _on_fargate(wish, why)
    if workers.has_fargate and _outlives_lambda(task):
        seconds = timedelta(seconds=task.execution_timeout or 0)
        return _on_fargate(wish, f"its execution_timeout of {seconds} is longer than Lambda can give")
    if workers.has_fargate and outgrew is not None:
        return _promoted(wish, workers, outgrew)
    return OnLambda()


def _no_x86_containers(workers: Workers) -> str:
    also = "" if workers.has_fargate else "Fargate=Enabled and "
    return (
        f"The task asks for the architecture {X86_64!r}, and the stack's own workers are {ARM64}. Write the queue of a "
        f"worker group that has it (./gust workers add NAME --architecture {X86_64}), or deploy the stack with "
        f"{also}FargateX86Image."
    )


def _promoted(wish: _Wish, workers: Workers, outgrew: Limit) -> OnFargate:
    """A container with at least the worker's memory; with twice that, if the worker's was too little."""
    match outgrew:
        case Limit.TIME:
            least, why = workers.memory, "an earlier try took longer than Lambda can give"
        case Limit.MEMORY:
            least, why = 2 * workers.memory, f"an earlier try used the {workers.memory} MB of a Lambda worker"
    return _on_fargate(replace(wish, memory=max(wish.memory or 0, least)), why)


def _executor(name: str | None) -> str | None:
    """The executor that a task names, by class path or class name; `None` for the default one."""
    short = (name or "").rpartition(".")[2].rpartition(":")[2]
    if short in {"", LOCAL_EXECUTOR}:
        return None
    if short not in {ECS_EXECUTOR, LAMBDA_EXECUTOR}:
        raise _RefusedError(
            f"The task asks for the executor {name!r}, which Gust does not have. Write {LAMBDA_EXECUTOR!r}, "
            f"{ECS_EXECUTOR!r} (Fargate), or leave it out."
        )
    return short


def is_known_executor(name: str) -> bool:
    """Whether a DAG file may name this executor although Airflow's configuration does not list it."""
    return name.rpartition(".")[2].rpartition(":")[2] in {ECS_EXECUTOR, LAMBDA_EXECUTOR}


def _unknown_queue(queue: str, groups: Iterable[str]) -> str:
    known = ", ".join(repr(name) for name in (DEFAULT_QUEUE, FARGATE_QUEUE, *sorted(groups)))
    return f"No worker takes tasks of the queue {queue!r}. Write one of {known}, or leave it out."


def _in_group(group: WorkerGroup, executor: str | None, wish: _Wish, own_architecture: str) -> InGroup:
    """The task names the group's queue. Refused if it asks for another place or size as well, or no worker has ever come."""
    queue = group.name
    asks_for_lambda = executor == LAMBDA_EXECUTOR or wish.compute == "lambda"
    if executor == ECS_EXECUTOR or wish.compute == "fargate" or (asks_for_lambda and group.is_elsewhere):
        what = "run elsewhere" if group.is_elsewhere else "are Lambda functions"
        raise _RefusedError(
            f"The task asks for the queue {queue!r}, whose workers {what}, and for another place. Write one of the two."
        )
    architecture = group.architecture or own_architecture
    if wish.architecture not in {None, architecture}:
        raise _RefusedError(
            f"The workers of the queue {queue!r} are {architecture}, and the task asks for the architecture "
            f"{wish.architecture!r}. Leave it out, or write the queue of a worker group that has it."
        )
    wish = replace(wish, architecture=None)
    if wish not in (_Wish(), _Wish(compute="lambda")) and not _fits(wish, group):
        size = "the size of their host" if group.is_elsewhere else f"{group.memory} MB of memory"
        raise _RefusedError(
            f"The workers of the queue {queue!r} have {size}, and the task asks for another size. Leave the size out of "
            f"executor_config, or write queue={FARGATE_QUEUE!r}."
        )
    if group.is_elsewhere and group.heard_at is None:
        raise _RefusedError(
            f"No worker has ever taken tasks of the queue {queue!r}. Start one: ./gust worker --queue {queue}."
        )
    return InGroup(group=group, why=f"queue={queue!r}")


def _fits(wish: _Wish, group: WorkerGroup) -> bool:
    """The task asks for memory alone, and for no more than the group's workers have."""
    return (
        wish.memory is not None and wish.memory <= group.memory and replace(wish, memory=None, compute=None) == _Wish()
    )


def _on_lambda(task: TaskSpec, queue: str, wish: _Wish, workers: Workers) -> OnLambda:
    """The task asks for Lambda. Refused if Lambda cannot give the resources that it asks for."""
    if queue == FARGATE_QUEUE:
        raise _RefusedError(f"The task asks for Lambda and for queue={FARGATE_QUEUE!r}. Write one of the two.")
    if wish.architecture == X86_64:
        raise _RefusedError(
            f"The task asks for Lambda and for {X86_64}, and the stack's own Lambda workers are {ARM64}. Write the queue of "
            "a worker group that has it, or leave Lambda out."
        )
    if wish.memory is not None and wish.memory > workers.memory:
        raise _RefusedError(
            f"The task asks for Lambda with {wish.memory} MB of memory, and workers have {workers.memory} MB. "
            + (
                f"Deploy the stack with WorkerMemory={wish.memory}, or leave Lambda out."
                if wish.memory <= LAMBDA_MEMORY
                else f"Lambda has {LAMBDA_MEMORY} MB at most: write queue={FARGATE_QUEUE!r}."
            )
        )
    if (what := _beyond_lambda(wish)) is not None:
        raise _RefusedError(f"The task asks for Lambda, and {what}. Leave it out, or leave Lambda out.")
    if (why := _why_no_room(task, workers)) is not None:
        raise _RefusedError(
            f"The task asks for Lambda, and {why}. Deploy the stack with more TaskStorage, or leave Lambda out."
        )
    cause = f"executor={task.executor!r}" if _executor(task.executor) == LAMBDA_EXECUTOR else "its executor_config"
    return OnLambda(why=f"{cause} asks for it")


def _why_fargate(task: TaskSpec, queue: str, executor: str | None, wish: _Wish) -> str | None:
    """The part of the task that only Fargate can give, as the reason in a sentence."""
    if queue == FARGATE_QUEUE:
        return f"queue={queue!r}"
    if executor == ECS_EXECUTOR:
        return f"executor={task.executor!r}"
    if wish.compute == "fargate":
        return "its executor_config asks for it"
    if wish.is_for_ecs:
        return "its executor_config has overrides of an ECS task"
    if wish.memory is not None and wish.memory > LAMBDA_MEMORY:
        return f"its executor_config asks for {wish.memory} MB of memory, and Lambda has {LAMBDA_MEMORY} MB at most"
    if (what := _beyond_lambda(wish)) is not None:
        return what
    if wish.architecture == X86_64:
        return f"its executor_config asks for the architecture {X86_64!r}"
    return None


def _beyond_lambda(wish: _Wish) -> str | None:
    """What of the wish Lambda has under no parameter of the stack."""
    if wish.cpu is not None:
        return f"its executor_config asks for {wish.cpu} units of CPU"
    if wish.disk is not None and wish.disk > LAMBDA_DISK:
        return f"its executor_config asks for {wish.disk} GB of disk"
    if wish.spot:
        return "its executor_config asks for Spot"
    return None


def _why_no_room(task: TaskSpec, workers: Workers) -> str | None:
    """`None` where a Lambda worker of the default group has room for the task's packages."""
    if task.environment_size <= workers.room:
        return None
    return (
        f"the packages of its requirements.txt take {task.environment_size} MB, and Lambda workers have room for "
        f"{workers.room} MB"
    )


def _outlives_lambda(task: TaskSpec) -> bool:
    return task.execution_timeout is not None and task.execution_timeout > LAMBDA_SECONDS


# --- the size of a container ------------------------------------------------------------------------------------------


def _on_fargate(wish: _Wish, why: str) -> OnFargate:
    cpu, memory = fargate_pair(wish.cpu, wish.memory)
    disk = wish.disk if wish.disk is not None and wish.disk > FREE_DISK else None
    if disk is not None and disk > LARGEST_DISK:
        raise _RefusedError(f"The task asks for {disk} GB of disk; Fargate has {LARGEST_DISK} GB at most.")
    return OnFargate(
        cpu=cpu,
        memory=memory,
        ephemeral_storage=disk,
        spot=wish.spot,
        architecture=wish.architecture or ARM64,
        environment=wish.environment,
        why=why,
    )


def fargate_pair(cpu: int | None, memory: int | None) -> tuple[int, int]:
    """The smallest of Fargate's pairs of CPU units and MB that covers the request. Without memory in the request, 2 GB
    or more; without CPU, one vCPU or more. Refuses sizes that are too large, and memory that does not go with the
    CPU."""
    if memory is not None and memory > LARGEST_MEMORY:
        raise _RefusedError(f"The task asks for {memory} MB of memory; Fargate has {LARGEST_MEMORY} MB at most.")
    least = DEFAULT_MEMORY if memory is None else memory
    if cpu is None:
        for units in MEMORY_OF:
            if units >= DEFAULT_CPU and least <= max(MEMORY_OF[units]):
                return units, _at_least(least, MEMORY_OF[units])
    if cpu is None or cpu > max(MEMORY_OF):
        raise _RefusedError(f"The task asks for {cpu} units of CPU; Fargate has {max(MEMORY_OF)} at most (16 vCPU).")
    units = next(units for units in MEMORY_OF if units >= cpu)
    if memory is not None and memory > max(MEMORY_OF[units]):
        enough = next(more for more in MEMORY_OF if memory <= max(MEMORY_OF[more]))
        raise _RefusedError(
            f"Fargate has no container with cpu={units} and {memory} MB of memory: with that CPU it has "
            f"{max(MEMORY_OF[units])} MB at most. Write cpu={enough}, or leave the CPU out."
        )
    return units, _at_least(least, MEMORY_OF[units])


def _at_least(wanted: int, sizes: tuple[int, ...]) -> int:
    return next((size for size in sizes if size >= wanted), sizes[-1])


# --- executor_config --------------------------------------------------------------------------------------------------

_OURS: Final = frozenset({"compute", "cpu", "memory", "ephemeral_storage", "spot", "architecture"})
_OVERRIDES: Final = frozenset({"cpu", "memory", "ephemeralStorage", "containerOverrides"})
_CONTAINER: Final = frozenset({"name", "cpu", "memory", "memoryReservation", "environment"})
_RUN_TASK: Final = frozenset({"overrides", "capacityProviderStrategy", "launchType"})
_WITHOUT_EFFECT: Final = frozenset(
    {
        *("enableECSManagedTags", "enableExecuteCommand", "group", "platformVersion", "propagateTags"),
        *("referenceId", "startedBy", "tags"),
    }
)
"""Arguments of RunTask by which a task runs neither elsewhere nor otherwise. Gust starts the container with its own."""
_NUMBER: Final = re.compile(r"\s*(\d*\.?\d+)\s*(vcpu|gib|gb|mib|mb)?\s*", re.IGNORECASE)


def _wish(config: Mapping[str, Any]) -> _Wish:
    """Reads `gust` and the arguments of the ECS executor. The parts for other executors (`KubernetesExecutor`,
    `pod_override`) are ignored, as Airflow's executors ignore them."""
    ours = config.get("gust")
    if ours is not None:
        return _our_wish(_mapping(ours, "gust"))
    return _wish_of_ecs(config) if config.keys() & _RUN_TASK else _Wish()


def _our_wish(gust: Mapping[str, Any]) -> _Wish:
    _refuse_unknown(gust, _OURS, 'executor_config["gust"]')
    compute, architecture = gust.get("compute"), gust.get("architecture")
    if compute not in (None, "lambda", "fargate"):
        raise _RefusedError(f'executor_config["gust"]["compute"] is {compute!r}. Write "lambda" or "fargate".')
    if architecture not in (None, *MACHINES):
        raise _RefusedError(
            f'executor_config["gust"]["architecture"] is {architecture!r}. Write one of {", ".join(map(repr, MACHINES))}.'
        )
    spot = gust.get("spot", False)
    if not isinstance(spot, bool):
        raise _RefusedError(f'executor_config["gust"]["spot"] is {spot!r}. Write True or False.')
    return _Wish(
        compute=compute,
        cpu=_units(gust.get("cpu"), "cpu"),
        memory=_megabytes(gust.get("memory"), "memory"),
        disk=_gigabytes(gust.get("ephemeral_storage"), "ephemeral_storage"),
        architecture=architecture,
        spot=spot,
    )


def _wish_of_ecs(config: Mapping[str, Any]) -> _Wish:
    """The arguments of RunTask in a file written for the ECS executor."""
    _refuse_unknown({name: config[name] for name in config.keys() - _WITHOUT_EFFECT}, _RUN_TASK, "executor_config")
    if (launch := config.get("launchType")) not in (None, "FARGATE"):
        raise _RefusedError(f"The task asks for the launch type {launch!r}. Write 'FARGATE', or leave it out.")
    overrides = _mapping(config.get("overrides") or {}, "overrides")
    _refuse_unknown(overrides, _OVERRIDES, 'executor_config["overrides"]')
    cpu, memory = _units(overrides.get("cpu"), "cpu"), _megabytes(overrides.get("memory"), "memory")
    environment: dict[str, str] = {}
    for given in _list(overrides.get("containerOverrides") or [], "containerOverrides"):
        container = _mapping(given, "containerOverrides")
        _refuse_unknown(container, _CONTAINER, "containerOverrides")
        for name in ("memory", "memoryReservation"):
            memory = max(filter(None, (memory, _megabytes(container.get(name), name))), default=None)
        cpu = max(filter(None, (cpu, _units(container.get("cpu"), "cpu"))), default=None)
        for variable in _list(container.get("environment") or [], "environment"):
            pair = _mapping(variable, "environment")
            environment[str(pair.get("name"))] = str(pair.get("value"))
    if reserved := sorted(name for name in environment if name.startswith("GUST_")):
        raise _RefusedError(f"The container's variables {', '.join(reserved)} are Gust's own. Give them another name.")
    if impossible := sorted(repr(name) for name in environment if not _VARIABLE.fullmatch(name)):
        raise _RefusedError(f"The container's variables {', '.join(impossible)} are no names of variables.")
    if any("\0" in value for value in environment.values()):
        raise _RefusedError("The container's variables hold the character U+0000.")
    size = len(json.dumps(json.dumps(environment)))
    if size > LARGEST_ENVIRONMENT:
        raise _RefusedError(
            f"The container's variables take {size:,} characters; ECS takes {LARGEST_ENVIRONMENT:,} of them. Put large "
            "values into an Airflow variable or a file of the DAG folder."
        )
    disk = _mapping(overrides.get("ephemeralStorage") or {}, "ephemeralStorage").get("sizeInGiB")
    return _Wish(
        cpu=cpu,
        memory=memory,
        disk=_gigabytes(disk, "sizeInGiB"),
        spot=_is_spot(config.get("capacityProviderStrategy") or []),
        is_for_ecs=True,
        environment=tuple(environment.items()),
    )


def _is_spot(strategy: Any) -> bool:
    names = [_mapping(part, "capacityProviderStrategy").get("capacityProvider") for part in _list(strategy, "strategy")]
    if others := sorted({str(name) for name in names} - {"FARGATE", "FARGATE_SPOT"}):
        raise _RefusedError(f"The task asks for the capacity provider {others[0]!r}. Write FARGATE or FARGATE_SPOT.")
    return "FARGATE_SPOT" in names


def _units(value: Any, name: str) -> int | None:
    number, unit = _parsed(value, name, {"", "vcpu"})
    return None if number is None else _positive(number * 1024 if unit == "vcpu" else number, name)


def _megabytes(value: Any, name: str) -> int | None:
    number, unit = _parsed(value, name, {"", "mb", "mib", "gb", "gib"})
    return None if number is None else _positive(number * GB if unit.startswith("g") else number, name)


def _gigabytes(value: Any, name: str) -> int | None:
    number, _ = _parsed(value, name, {"", "gb", "gib"})
    return None if number is None else _positive(number, name)


def _parsed(value: Any, name: str, units: set[str]) -> tuple[float | None, str]:
    """A number, or a string in ECS's format: `"1024"`, `"1 vCPU"`, `"4 GB"`."""
    if value is None:
        return None, ""
    match = None if isinstance(value, bool) else _NUMBER.fullmatch(str(value))
    unit = (match[2] or "").lower() if match else ""
    if match is None or unit not in units:
        raise _RefusedError(f"The task's executor_config has {name}={value!r}, which is no size. Write a number.")
    return float(match[1]), unit


def _positive(number: float, name: str) -> int:
    whole = -int(-number // 1)
    if whole <= 0:
        raise _RefusedError(f"The task's executor_config has {name}={number:g}. Write a number above 0.")
    return whole


def _refuse_unknown(given: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    if unknown := sorted(str(name) for name in given if name not in known):
        raise _RefusedError(
            f"{where} has {', '.join(map(repr, unknown))}, which Gust does not know. It takes {', '.join(sorted(known))}."
        )


def _mapping(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _RefusedError(f"The task's executor_config has {name}={value!r}. Write a dict.")
    return value


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise _RefusedError(f"The task's executor_config has {name}={value!r}. Write a list.")
    return list(value)
