"""`./gust workers …` and `./gust worker`: further workers, for the tasks of a queue of their own (docs/workers.md)."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gust.cli import ROOT
from gust.cli import aws as cli_aws
from gust.cli.aws import Clients
from gust.model.architecture import ARM64, X86_64, this_architecture

if TYPE_CHECKING:
    from gust.aws.objects import S3Objects
    from gust.aws.worker_groups import Deployment
    from gust.model.worker_group import WorkerGroup
    from gust.ports.deployments import Deployments
    from gust.ports.objects import Objects
    from gust.ports.store import Store

LOOK_EVERY: Final = 2.0
"""Seconds between two looks at a queue that is to become empty, or at a deployment that is to end."""

BUILDS_FOR: Final = 900.0
"""Seconds that a new group waits at most for packages."""

SETTINGS: Final = {
    "memory": ("Memory", "MB of one worker (1769: one vCPU)"),
    "storage": ("Storage", "MB of /tmp (as the stack's workers)"),
    "concurrency": ("Concurrency", "how many tasks run at the same time (50)"),
    "subnets": ("Subnets", "subnets of your VPC, separated by commas"),
    "security_groups": ("SecurityGroups", "security groups in that VPC, separated by commas"),
    "layers": ("ExtraLayers", "ARNs of further Lambda layers, separated by commas"),
    "architecture": ("Architecture", "arm64 (default), as the stack's own workers, or x86_64"),
    "policies": ("TaskPolicyArns", "ARNs of managed policies of the role of its tasks, separated by commas"),
}
"""Option → parameter of worker_group.yaml, and the help."""

OF_ANY_PLACE: Final = frozenset({"architecture", "policies"})
"""Options that workers elsewhere have, too."""

PLATFORMS: Final = {ARM64: None, X86_64: "x86_64-manylinux_2_28"}
"""Architecture of Lambda → uv's name of the platform for which a group needs layers of its own."""

NUMBERS: Final = frozenset({"memory", "storage", "concurrency"})


class Workers:
    HELP = "further workers, for the tasks of a queue of their own"

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="verb")
        add = verbs.add_parser(
            "add", help="deploy workers for a queue; again: change what is given, and bring them up to date"
        )
        add.add_argument("queue", help="what a DAG file names: queue=…")
        for option, (_, text) in SETTINGS.items():
            choices = list(PLATFORMS) if option == "architecture" else None
            kind = int if option in NUMBERS else str
            add.add_argument(f"--{option.replace('_', '-')}", type=kind, choices=choices, help=text)
        add.add_argument("--elsewhere", action="store_true", help="the workers are hosts of yours, with ./gust worker")
        update = verbs.add_parser("update", help="bring all groups to the code of the deployed stack")
        listed = verbs.add_parser("list", help="the groups, and how many tasks each has")
        remove = verbs.add_parser("remove", help="let the workers finish the tasks that they have, and delete them")
        remove.add_argument("queue")
        remove.add_argument("--now", action="store_true", help="wait for no task; tasks that run are lost")
        for one in (add, update, listed, remove):
            cli_aws.add_arguments_or_local(one)

    @staticmethod
    def run(options: argparse.Namespace) -> int:
        clients = cli_aws.clients_or_local(options)
        match options.verb:
            case "add":
                return add(clients, options)
            case "update":
                return update(clients, options.stack, is_local=options.local)
            case "list":
                return show(clients, options.stack)
            case "remove":
                return remove(clients, options)
        raise AssertionError(options.verb)


class Worker:
    HELP = "run tasks of a queue on this machine"

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--queue", required=True, help="a queue of ./gust workers add QUEUE --elsewhere")
        parser.add_argument("--at-once", type=int, default=1, metavar="N", help="tasks at the same time (%(default)s)")
        cli_aws.add_arguments_or_local(parser)

    @staticmethod
    def run(options: argparse.Namespace) -> int:
        from gust.airflow_bridge.packages_of_host import WHY_NONE, Machine, why_no_packages
        from gust.aws import worker_groups
        from gust.cli import worker_host

        if options.at_once < 1:
            print("gust: --at-once is 1 or more.", file=sys.stderr)
            return 2
        clients = cli_aws.clients_or_local(options)
        outputs = worker_groups.outputs_of(clients, worker_groups.stack_name(options.stack, options.queue))
        if (place := outputs.get("Place", "Elsewhere")) != "Elsewhere":
            print(
                f"gust: the workers of {options.queue!r} run on {place}: no host may take their tasks.", file=sys.stderr
            )
            return 2
        variables = worker_host.around(options)
        if options.local:
            from gust.local import sign_in
            from gust.local.stack import emulator_variables

            variables |= emulator_variables(sign_in.running(options.data.resolve())[0])
        else:
            why = why_no_packages(outputs.get("Architecture", ARM64), Machine.this(), options.queue)
            if why:
                print(f"gust: {why}", file=sys.stderr)
            variables |= {WHY_NONE: why}
            # Tasks do not see ~/.aws, where it may stand.
            variables.setdefault("AWS_DEFAULT_REGION", clients("lambda").meta.region_name)
        return worker_host.run(clients, options.queue, options.at_once, outputs, variables)


def add(clients: Clients, options: argparse.Namespace) -> int:
    from gust.aws import worker_groups

    given = {
        name: str(value) for option, (name, _) in SETTINGS.items() if (value := getattr(options, option)) is not None
    }
    if options.elsewhere and given.keys() - {SETTINGS[option][0] for option in OF_ANY_PLACE}:
        print("gust: workers elsewhere have the size of their host: leave its options out.", file=sys.stderr)
        return 2
    of = worker_groups.find_deployment(clients, options.stack, this_architecture() if options.local else "")
    before = worker_groups.find_group(clients, options.stack, options.queue)
    place = "Elsewhere" if options.elsewhere else "Lambda"
    if before is not None and before.get("Place", place) != place:
        print(f"gust: the workers of {options.queue!r} run {before['Place']}: remove them first.", file=sys.stderr)
        return 2
    if options.storage is not None and of.storage and options.storage < int(of.storage):
        print(f"gust: --storage is below the stack's TaskStorage, {of.storage} MB.", file=sys.stderr)
        return 2
    if before is None:
        given.setdefault("Architecture", of.architecture)
    architecture = given.get("Architecture") or (before or {}).get("Architecture", of.architecture)
    if not options.local and not options.elsewhere:
        given |= layers_for(clients, options.stack, architecture, print)
    store = store_of(clients, of)
    have_packages = partial(have_packages_built, store, bucket_of(clients, of), deployments_of(clients, of), say=print)
    for group in store.list_worker_groups():
        if group.name == options.queue and not group.is_closing:
            newer = before_its_deployment(group, given, "" if architecture == of.architecture else architecture)
            if newer != group:
                store.register_worker_group(newer)
                have_packages(newer)
    group = worker_groups.deploy(
        clients, of, options.queue, partial(template, is_local=options.local), {**given, "Place": place}
    )
    store.register_worker_group(group)
    have_packages(group)
    print(f"Tasks with queue={options.queue!r} run there now.")
    if options.elsewhere:
        outputs = worker_groups.outputs_of(clients, worker_groups.stack_name(options.stack, options.queue))
        print(how_to_start(options, outputs["HostPolicyArn"]))
    return 0


def how_to_start(options: argparse.Namespace, policy: str) -> str:
    """What to do on a host that is to run the queue's tasks; `policy` is the one that its role needs."""
    if options.local:
        data = "" if options.data == cli_aws.LOCAL_DATA else f" --data {shlex.quote(str(options.data))}"
        return f"Start them:\n    ./gust worker --queue {options.queue} --local{data}"
    start = f"./gust worker --stack {options.stack} --queue {options.queue} --at-once 4"
    return f"Attach {policy} to each host's role, and start there:\n    {start}"


def before_its_deployment(group: WorkerGroup, given: Mapping[str, str], architecture: str) -> WorkerGroup:
    """The entry that a group must have before its stack changes. Workers with new processors (`architecture`; empty: the
    stack's own) find their packages built. A role that the change deletes is named no longer: a task would be refused it."""
    task_role = "" if given.get("TaskPolicyArns") == "" else group.task_role
    return replace(group, architecture=architecture or group.architecture, task_role=task_role)


def have_packages_built(
    store: Store,
    objects: Objects,
    deployments: Deployments,
    group: WorkerGroup,
    say: Callable[[str], None],
    *,
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[float], object] = time.sleep,
) -> None:
    """For a group of another architecture than the stack's own: request a deployment, and wait until the active bundle
    names packages for it, where it names any. Twice, it builds nothing twice."""
    from gust.services.deployments.deploy_bundle import manifest_of
    from gust.services.deployments.deployment_turn import request_deployment

    def has_them() -> bool:
        active = store.active_bundle()
        manifest = manifest_of(objects, active.version) if active else None
        return manifest is None or not manifest.environments.of or group.architecture in manifest.environments.on

    if not group.architecture or has_them():
        return
    request_deployment(store, deployments, f"workers-{uuid.uuid4().hex}", datetime.now(UTC))
    say(f"Packages of requirements.txt are built for {group.architecture} …")
    began = clock()
    while not has_them():
        if clock() > began + BUILDS_FOR:
            say("… which takes long. Until it is done, tasks there that need packages fail.")
            return
        wait(LOOK_EVERY)


def layers_for(
    clients: Clients, stack: str, architecture: str, say: Callable[[str], None], *, root: Path = ROOT
) -> dict[str, str]:
    """Parameters of worker_group.yaml: the layers of workers on another architecture than the stack's, built from this
    checkout and uploaded where they are not there yet. Raises AwsError if the stack runs another version."""
    platform = PLATFORMS[architecture]
    if platform is None:
        return {"LayersBucket": "", "RuntimeLayerKey": "", "AirflowLayerKey": ""}
    from gust.cli import artifacts

    deployed = _layer_keys(clients, stack)
    here = {layer.resource: layer.key for layer in artifacts.layers_of_a_worker(root, "")}
    if deployed and deployed != here:
        raise cli_aws.AwsError(
            f"stack {stack} runs another version of Gust than this checkout, from which layers for {architecture} would be "
            "built: run ./gust deploy first, or the checkout of that version."
        )
    account = clients("sts").get_caller_identity()["Account"]
    bucket = artifacts.bucket_name(account, cli_aws.region_of(clients("sts")))
    artifacts.require_bucket(clients, bucket, account)
    packages = artifacts.layers_of_a_worker(root, platform)
    artifacts.upload(clients, bucket, account, packages, say)
    return {"LayersBucket": bucket, **{f"{package.resource}Key": package.key for package in packages}}


def _layer_keys(clients: Clients, stack: str) -> dict[str, str]:
    """Logical id → key of the worker's layers in the deployed template; empty if `sam` has deployed the stack."""
    body = clients("cloudformation").get_template(StackName=stack, TemplateStage="Original")["TemplateBody"]
    try:
        resources = (json.loads(body) if isinstance(body, str) else body)["Resources"]
        return {name: resources[name]["Properties"]["ContentUri"]["Key"] for name in ("RuntimeLayer", "AirflowLayer")}
    except (ValueError, LookupError, TypeError):
        return {}


def named(clients: Clients, stack: cli_aws.Stack) -> list[str]:
    """The queues of the stack's worker groups."""
    from gust.cli.resources import store_of as store_of_stack

    return [group.name for group in store_of_stack(clients, stack).list_worker_groups()]


def update(clients: Clients, stack: str, *, is_local: bool = False, say: Callable[[str], None] = print) -> int:
    """Bring all groups of the stack to its deployed worker's code, layers and settings."""
    from gust.aws import worker_groups

    of = worker_groups.find_deployment(clients, stack, this_architecture() if is_local else "")
    store = store_of(clients, of)

    def bring(group: WorkerGroup) -> None:
        before = worker_groups.find_group(clients, stack, group.name)
        if before is None:
            raise worker_groups.WorkerGroupError(
                f"its stack is gone: ./gust workers remove {group.name}, or add it again"
            )
        given: dict[str, str] = {}
        if not is_local and not group.is_elsewhere:
            given = layers_for(clients, stack, before.get("Architecture", "arm64"), say)
        newer = worker_groups.deploy(clients, of, group.name, partial(template, is_local=is_local), given)
        store.register_worker_group(newer)
        have_packages_built(store, bucket_of(clients, of), deployments_of(clients, of), newer, say)

    return update_each(store.list_worker_groups(), bring, say)


def update_each(groups: Sequence[WorkerGroup], bring: Callable[[WorkerGroup], None], say: Callable[[str], None]) -> int:
    """Bring each group up to date, also after one that cannot be or that AWS refuses. Returns the exit code."""
    failed = 0
    for group in groups:
        if group.is_closing:
            say(f"The workers of {group.name!r} are being removed: ./gust workers remove {group.name}")
            continue
        try:
            bring(group)
        except Exception as problem:
            if (line := cli_aws.in_one_line(problem)) is None:
                raise
            failed = 1
            print(f"gust: the workers of {group.name!r} are not up to date: {line}", file=sys.stderr)
        else:
            say(f"The workers of {group.name!r} are up to date.")
    return failed


def show(clients: Clients, stack: str) -> int:
    from gust.aws import worker_groups

    of = worker_groups.find_deployment(clients, stack)
    rows = [("QUEUE", "WORKERS", "AT ONCE", "TASKS", "ROLE OF TASKS", "CODE")]
    for group in store_of(clients, of).list_worker_groups():
        parameters = worker_groups.find_group(clients, stack, group.name)
        if parameters is None:
            rows.append((group.name, "its stack is gone: ./gust workers remove", "", "", "", ""))
            continue
        is_new = all(parameters.get(name) == of.parameters[name] for name in ("CodeKey", "Layers"))
        code = "of the host" if group.is_elsewhere else "as the stack's" if is_new else "older: ./gust workers update"
        if group.is_closing:
            code = "is being removed: ./gust workers remove"
        rows.append(
            (
                group.name,
                _workers(group),
                "" if group.is_elsewhere else parameters["Concurrency"],
                str(worker_groups.messages(clients, group.queue_url)),
                group.task_role.rpartition("/")[2] or "as elsewhere",
                code,
            )
        )
    _print_table(rows)
    return 0


def _workers(group: WorkerGroup) -> str:
    heard = "never heard of" if group.heard_at is None else f"heard of at {group.heard_at:%Y-%m-%d %H:%M:%S} UTC"
    of_another = f", {group.architecture}" if group.architecture else ""
    return f"elsewhere{of_another}, {heard}" if group.is_elsewhere else f"Lambda{of_another}, {group.memory} MB"


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def remove(clients: Clients, options: argparse.Namespace) -> int:
    from gust.aws import worker_groups

    of = worker_groups.find_deployment(clients, options.stack)
    store = store_of(clients, of)
    groups = store.list_worker_groups()
    found = next((group for group in groups if group.name == options.queue), None)
    has_stack = worker_groups.find_group(clients, options.stack, options.queue) is not None
    if found is None and not has_stack:
        there = ", ".join(group.name for group in groups) or "none"
        print(f"gust: there are no workers of {options.queue!r}; the stack's worker groups: {there}", file=sys.stderr)
        return 1

    def left() -> int:
        return worker_groups.messages(clients, found.queue_url) if found and has_stack and not options.now else 0

    let_go(store, options.queue, left, lambda: worker_groups.remove(clients, options.stack, options.queue))
    print(f"The workers of {options.queue!r} are gone. Tasks that name the queue fail.")
    return 0


def let_go(
    store: Store,
    queue: str,
    left: Callable[[], int],
    delete_stack: Callable[[], None],
    *,
    wait: Callable[[float], object] = time.sleep,
) -> None:
    """No task is sent to the group from here on; then its queue becomes empty, then its stack goes, then its entry. Tasks
    that it still has keep their AWS role meanwhile. A removal that was cut off goes on when it is repeated. Raises
    AwsError if another operator has added the group again."""
    store.close_worker_group(queue)
    told = 0
    while count := left():
        if count != told:
            what = (
                "1 task is with the workers or waits" if count == 1 else f"{count} tasks are with the workers or wait"
            )
            print(f"{what} for one … (--now waits for none)", flush=True)
        told = count
        wait(LOOK_EVERY)
    if any(group.name == queue and not group.is_closing for group in store.list_worker_groups()):
        raise cli_aws.AwsError(f"the workers of {queue!r} were added again meanwhile; they stay.")
    delete_stack()
    store.delete_worker_group(queue)


def store_of(clients: Clients, of: Deployment) -> Store:
    from gust.store.dynamodb import DynamoDBStore

    return DynamoDBStore(of.table, clients("dynamodb"), bucket_of(clients, of))


def bucket_of(clients: Clients, of: Deployment) -> S3Objects:
    from gust.aws.objects import S3Objects

    return S3Objects(of.bucket, clients("s3"))


def deployments_of(clients: Clients, of: Deployment) -> Deployments:
    from gust.aws.deployments import StepFunctionsDeployments

    return StepFunctionsDeployments(of.deployments, clients("stepfunctions"))


def template(values: Mapping[str, str], *, is_local: bool = False) -> str:
    """worker_group.yaml as JSON: CloudFormation reads no aliases of YAML. `is_local`: for the emulator."""
    from samtranslator.yaml_helper import yaml_parse

    if is_local:
        from gust.local.deployment import worker_group_template

        return worker_group_template(ROOT, values)
    return json.dumps(yaml_parse((ROOT / "worker_group.yaml").read_text()))
