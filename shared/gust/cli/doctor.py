"""`./gust doctor`: what stands in the way of a deployment, or of a stack. It changes nothing."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from gust import __version__
from gust.cli import aws as cli_aws
from gust.cli import concurrency
from gust.cli.aws import Clients, Stack
from gust.cli.counted import counted
from gust.cli.deploy import VERSION_TAG
from gust.cli.resources import depths, of_type, resources_of, store_of
from gust.errors import Invalid
from gust.model.worker_group import WorkerGroup

HELP: Final = "check quotas, rights, services and dead letters; changes nothing"

SERVICES: Final = (
    "lambda",
    "dynamodb",
    "sqs",
    "s3",
    "stepfunctions",
    "apigatewayv2",
    "events",
    "ssm",
    "logs",
)
"""Services that every stack uses, by boto3's names."""

DEPLOYER: Final = (
    "cloudformation:CreateChangeSet",
    "cloudformation:ExecuteChangeSet",
    "cloudformation:DescribeStacks",
    "s3:CreateBucket",
    "s3:PutObject",
    "iam:CreateRole",
    "iam:PutRolePolicy",
    "iam:PassRole",
    "lambda:CreateFunction",
    "lambda:PublishLayerVersion",
    "lambda:CreateEventSourceMapping",
    "lambda:InvokeFunction",
    "dynamodb:CreateTable",
    "sqs:CreateQueue",
    "states:CreateStateMachine",
    "apigateway:POST",
    "events:PutRule",
    "logs:CreateLogGroup",
)
"""Rights without which a deployment fails, one of each service. CloudFormation's role (--role-arn) may have them instead."""

MISSED: Final = timedelta(minutes=5)
"""After so long without a tick, the scheduler is not called."""


@dataclass(frozen=True, slots=True)
class Finding:
    level: str
    """ok, note, or bad."""
    text: str


def ok(text: str) -> Finding:
    return Finding("ok", text)


def note(text: str) -> Finding:
    return Finding("note", text)


def bad(text: str) -> Finding:
    return Finding("bad", text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    cli_aws.add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    session, is_well = cli_aws.session(options), True
    for found in examine(cli_aws.clients(options), options.stack, session=session, now=datetime.now(UTC)):
        print(f"{found.level:5} {found.text}", flush=True)
        is_well = is_well and found.level != "bad"
    return 0 if is_well else 1


def examine(aws: Clients, name: str, *, session: Any, now: datetime) -> Iterator[Finding]:
    """The account and the region; then the stack, if there is one. `session`: boto3's, which knows regions."""
    identity = aws("sts").get_caller_identity()
    region = cli_aws.region_of(aws("sts"))
    yield ok(f"you are {identity['Arn']}, in {region}")
    yield from _services(session, region)
    stack = cli_aws.find_stack(aws, name)
    yield from _quota(aws, stack)
    yield from _rights(aws, identity["Arn"], bad if stack is None else note)
    if stack is None:
        yield note(f"there is no stack {name} in {region} yet: ./gust deploy")
        return
    yield from _stack(aws, stack, now)


def _services(session: Any, region: str) -> Iterator[Finding]:
    missing = [service for service in SERVICES if region not in _regions(session, service)]
    if missing:
        yield bad(f"{region} does not have {', '.join(missing)}, as far as this version of boto3 knows")
    else:
        yield ok("the region has every service that a stack uses")


def _regions(session: Any, service: str) -> set[str]:
    partitions = session.get_available_partitions()
    return {region for partition in partitions for region in session.get_available_regions(service, partition)}


def _quota(aws: Clients, stack: Stack | None) -> Iterator[Finding]:
    limit = concurrency.limit_of(aws)
    if limit is None:
        yield note("Lambda does not tell you the account's concurrency (lambda:GetAccountSettings)")
        return
    parameters = stack.parameters if stack else {}
    wanted = int(parameters.get("WorkerConcurrency", concurrency.FOR_TASKS)) + int(
        parameters.get("TriggererConcurrency", concurrency.FOR_TRIGGERS)
    )
    if wanted >= limit:
        fewer = concurrency.fitting(limit) or {"WorkerConcurrency": str(limit // 2)}
        words = " ".join(f"{name}={value}" for name, value in fewer.items())
        yield bad(
            f"the account runs {limit} functions at once in this region, and tasks and triggers may take {wanted}: the "
            f"others would wait. ./gust deploy --set {words}, and ask AWS for more (Service Quotas, AWS Lambda, Concurrent "
            "executions)"
        )
    else:
        yield ok(f"the account runs {limit} functions at once in this region; tasks and triggers may take {wanted}")


def _rights(aws: Clients, arn: str, where_denied: Callable[[str], Finding]) -> Iterator[Finding]:
    """By IAM's own simulation. It considers no boundary of the organization, and needs rights of its own. It asks for any
    resource: a policy for some of them may do. Who looks at a stack that is there need not deploy it."""
    from botocore.exceptions import ClientError

    if arn.endswith(":root"):
        yield note("you are the account's root user, who may do everything; a role is safer")
        return
    try:
        answers = aws("iam").simulate_principal_policy(
            PolicySourceArn=_principal(aws, arn), ActionNames=list(DEPLOYER)
        )["EvaluationResults"]
    except ClientError as refused:
        yield note(f"your rights could not be simulated ({refused.response['Error']['Code']}); a deployment will tell")
        return
    denied = sorted(each["EvalActionName"] for each in answers if each["EvalDecision"] != "allowed")
    if denied:
        yield where_denied(f"to deploy without --role-arn, you lack {', '.join(denied)} (for resources of any name)")
    else:
        yield ok("you may deploy, as far as IAM's simulation knows")


def _principal(aws: Clients, arn: str) -> str:
    """A session's role: IAM simulates roles and users."""
    if ":assumed-role/" not in arn:
        return arn
    return str(aws("iam").get_role(RoleName=arn.split("/")[1])["Role"]["Arn"])


def _stack(aws: Clients, stack: Stack, now: datetime) -> Iterator[Finding]:
    settled = stack.status in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")
    yield (ok if settled else bad)(f"the stack {stack.name} is {stack.status}")
    version = stack.tags.get(VERSION_TAG)
    if version != __version__:
        yield note(
            f"the stack has Gust {version or 'of unknown version'}, this checkout is {__version__}: ./gust deploy"
        )
    resources = resources_of(aws, stack)
    for function in of_type(resources, "AWS::Lambda::Function"):
        found = aws("lambda").get_function_configuration(FunctionName=function.id)
        if "Failed" in (found.get("State"), found.get("LastUpdateStatus")):
            reason = found.get("StateReason") or found.get("LastUpdateStatusReason") or "no reason"
            yield bad(f"{function.logical_id} failed: {reason}")
    for mapping in of_type(resources, "AWS::Lambda::EventSourceMapping"):
        state = aws("lambda").get_event_source_mapping(UUID=mapping.id)["State"]
        if state in ("Disabled", "Disabling"):
            yield bad(f"{mapping.logical_id} is {state}: nothing reads what it should read")
    dead = [depth for depth in depths(aws, resources) if depth.is_of_dead_letters and depth.waiting]
    for depth in dead:
        messages = counted(depth.waiting, "given-up message")
        yield bad(f"{depth.queue} holds {messages}: docs/runbooks.md#dead-letters")
    if not dead:
        yield ok("no dead letters")
    yield from _private_api(aws, stack)
    store = store_of(aws, stack)
    beat = store.last_alive().get("scheduler")
    if beat is None or now - beat > MISSED:
        yield bad(f"the scheduler's last tick: {beat or 'never'}; docs/runbooks.md#no-tick")
    else:
        seconds = max(0.0, (now - beat).total_seconds())  # it may tick while this looks
        yield ok(f"the scheduler ticked {seconds:.0f} s ago")
    yield from _worker_groups(aws, stack, store.list_worker_groups())
    problems = store.list_import_problems()
    yield (note if problems else ok)(
        f"import errors: {len(problems)}" + (" (./gust status lists them)" if problems else "")
    )


def _private_api(aws: Clients, stack: Stack) -> Iterator[Finding]:
    """The endpoints through which a private API is reached: the stack names them and does not own them."""
    from botocore.exceptions import ClientError

    for endpoint in filter(None, stack.parameters.get("ApiVpcEndpoints", "").split(",")):
        try:
            (found,) = aws("ec2").describe_vpc_endpoints(VpcEndpointIds=[endpoint])["VpcEndpoints"]
        except ClientError as refused:
            yield bad(f"the private API's endpoint {endpoint}: {refused.response['Error']['Message']}")
            continue
        if not found["ServiceName"].endswith(".execute-api"):
            yield bad(f"{endpoint} is an endpoint for {found['ServiceName']}: a private API needs one for execute-api")
        elif found["State"].lower() != "available":
            yield bad(f"the private API's endpoint {endpoint} is {found['State']}")
        else:
            yield ok(f"the private API's endpoint {endpoint} is there, in {found['VpcId']}")


def _worker_groups(aws: Clients, stack: Stack, groups: Sequence[WorkerGroup]) -> Iterator[Finding]:
    from gust.aws import worker_groups

    document = _access_document(aws, stack) if any(group.task_role for group in groups) else ""
    for group in groups:
        if group.is_closing:
            yield note(f"the workers of {group.name!r} are being removed; ./gust workers remove {group.name} goes on")
        elif worker_groups.find_group(aws, stack.name, group.name) is None:
            yield bad(
                f"the workers of {group.name!r} are registered and have no stack: ./gust workers remove {group.name}"
            )
        elif group.task_role and document is not None:
            yield from _openness(document, group)


def _openness(document: str, group: WorkerGroup) -> Iterator[Finding]:
    from gust.model.queue_access import is_open_to_all

    try:
        if is_open_to_all(document, group.name):
            yield note(
                f"every DAG may name the queue {group.name!r}, and its task then has the role {group.task_role}: "
                "`queues` in the access document says which DAGs may (docs/security.md)"
            )
    except Invalid as invalid:
        yield bad(f"no DAG may use the queue {group.name!r}: {invalid}")


def _access_document(aws: Clients, stack: Stack) -> str | None:
    """Empty: the stack has none. `None`: you may not read it."""
    from botocore.exceptions import ClientError

    name = stack.parameters.get("AccessParameter", "")
    if not name:
        return ""
    try:
        return str(aws("ssm").get_parameter(Name=name)["Parameter"]["Value"])
    except ClientError:
        return None
