"""Wire the ports of the control plane to AWS, once per cold start, from the environment that `template.yaml` sets."""

import os
from functools import cache
from typing import cast

from gust.aws.cipher import FernetCipher
from gust.aws.clients import PATIENCE_WITH_PARSER, PATIENCE_WITH_STS, client, client_in
from gust.aws.containers import StepFunctionsContainers
from gust.aws.deployments import StepFunctionsDeployments
from gust.aws.event_bus import EventBridgeBus
from gust.aws.inventory import ParserInventory
from gust.aws.invoke import LambdaInvoker
from gust.aws.key_parameter import KeyParameter
from gust.aws.logs import CloudWatchLogReader
from gust.aws.metrics import Detail, EmfMetrics
from gust.aws.queues import SqsQueues
from gust.aws.secrets import AwsSecrets, SsmConfiguration
from gust.aws.task_roles import StsTaskRoles
from gust.aws.timetables import ParserTimetables
from gust.aws.tokens import JwtTokens
from gust.model.architecture import this_architecture
from gust.model.environment import SMALLEST_STORAGE, room
from gust.model.place import Workers
from gust.ports.clock import SystemClock
from gust.ports.containers import Containers, NoContainers
from gust.ports.event_bus import EventBus, NoEventBus
from gust.ports.identity_provider import IdentityProvider
from gust.services.context import Services
from gust.store.dynamodb import DynamoDBStore
from gust.wiring import bucket


def from_environment() -> Services:
    """For functions that have the table. AWS refuses the use of a resource that the environment does not name."""
    objects = bucket()
    parser = LambdaInvoker(os.environ.get("GUST_PARSE_FUNCTION", ""), client("lambda", PATIENCE_WITH_PARSER))
    return Services(
        store=DynamoDBStore(os.environ["GUST_TABLE"], client("dynamodb"), objects, metrics=metrics()),
        metrics=metrics(),
        objects=objects,
        queues=queues(),
        tokens=JwtTokens(signing_keys),
        clock=SystemClock(),
        logs=CloudWatchLogReader(os.environ.get("GUST_LOG_GROUP", ""), client("logs")),
        cipher=FernetCipher(encryption_keys),
        timetables=ParserTimetables(parser),
        inventory=ParserInventory(parser),
        deployments=deployments(),
        event_bus=event_bus(),
        configuration=SsmConfiguration(os.environ.get("GUST_CONFIGURATION_PARAMETER", ""), client("ssm")),
        secrets=AwsSecrets(client_in, hidden=own_keys()),
        workers=workers(),
        containers=containers(),
        task_roles=task_roles(),
        wakes_in=os.environ.get("AWS_REGION", "") if os.environ.get("GUST_WAKE_TRIGGERS") == "Enabled" else "",
    )


@cache
def metrics() -> EmfMetrics:
    """The process's only one: its door prints what the invocation added."""
    return EmfMetrics(os.environ.get("GUST_STACK", ""), cast("Detail", os.environ.get("GUST_METRICS", "None")))


def queues() -> SqsQueues:
    return SqsQueues(
        client("sqs"),
        task_queue_url=os.environ.get("GUST_TASK_QUEUE_URL", ""),
        trigger_queue_url=os.environ.get("GUST_TRIGGER_QUEUE_URL", ""),
        wake_queue_url=os.environ.get("GUST_WAKE_QUEUE_URL", ""),
    )


def deployments() -> StepFunctionsDeployments:
    return StepFunctionsDeployments(os.environ.get("GUST_DEPLOY_STATE_MACHINE", ""), client("stepfunctions"))


def event_bus() -> EventBus:
    """The stack's bus, for the functions that make its rules and that send to it."""
    bus = os.environ.get("GUST_EVENT_BUS", "")
    if not bus:
        return NoEventBus()
    return EventBridgeBus(
        client("events"),
        bus=bus,
        queue_arn=os.environ.get("GUST_EVENTS_QUEUE_ARN", ""),
        dead_letters_arn=os.environ.get("GUST_EVENTS_DEAD_LETTERS_ARN", ""),
    )


def workers() -> Workers:
    """The workers that the stack has."""
    return Workers(
        architecture=this_architecture(),  # this is one of the stack's functions
        has_fargate=bool(os.environ.get("GUST_FARGATE_STATE_MACHINE")),
        has_x86_containers=bool(os.environ.get("GUST_FARGATE_X86")),
        memory=int(os.environ.get("GUST_WORKER_MEMORY") or Workers().memory),
        room=room(int(os.environ.get("GUST_TASK_STORAGE") or SMALLEST_STORAGE)),
    )


def containers() -> Containers:
    arn = os.environ.get("GUST_FARGATE_STATE_MACHINE", "")
    return StepFunctionsContainers(arn, client("stepfunctions"), bucket()) if arn else NoContainers()


def task_roles() -> StsTaskRoles:
    return StsTaskRoles(
        client("sts", PATIENCE_WITH_STS),
        default=os.environ.get("GUST_TASK_ROLE", ""),
        external_id=os.environ.get("GUST_TASK_EXTERNAL_ID", ""),
        text=access_document,
    )


def signing_keys() -> str:
    """The keys that sign tokens. Not cached here: they may change while the process lives."""
    return KeyParameter(os.environ["GUST_SIGNING_KEYS"], client("ssm")).read().text


def encryption_keys() -> str:
    """The keys that encrypt settings. Not cached here: they may change while the process lives."""
    return KeyParameter(os.environ["GUST_ENCRYPTION_KEYS"], client("ssm")).read().text


def own_keys() -> frozenset[str]:
    """The parameters with the stack's keys, as far as this function may read them."""
    return frozenset(filter(None, (os.environ.get("GUST_SIGNING_KEYS"), os.environ.get("GUST_ENCRYPTION_KEYS"))))


def access_document() -> str:
    """The access document, from the SSM parameter that the stack names; empty if it names none."""
    name = os.environ.get("GUST_ACCESS_PARAMETER", "")
    if not name:
        return ""
    # An empty document is a mistake and not the same as none: it must admit no user.
    return str(client("ssm").get_parameter(Name=name)["Parameter"]["Value"]).strip() or "null"


def identity_provider() -> IdentityProvider | None:
    """The OpenID provider, if the stack has one."""
    issuer = os.environ.get("GUST_OIDC_ISSUER", "")
    if not issuer:
        return None
    from gust.aws.oidc import OidcProvider  # noqa: PLC0415 - few stacks have one, and no function but the API

    return OidcProvider(issuer, os.environ["GUST_OIDC_CLIENT_ID"], os.environ["GUST_OIDC_GROUPS_CLAIM"])
