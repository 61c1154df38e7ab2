"""Wire the ports to AWS, once per cold start, from the environment that `template.yaml` sets.

A boto3 client takes some 40 ms to make, so its first call makes it: a function that never reads logs never pays for a
client of CloudWatch Logs.
"""

import json
import os
from collections.abc import Mapping
from functools import cache, cached_property
from typing import Any, Final, cast

import boto3
from botocore.config import Config

from gust.aws.cipher import FernetCipher
from gust.aws.containers import StepFunctionsContainers
from gust.aws.deployments import StepFunctionsDeployments
from gust.aws.event_bus import EventBridgeBus
from gust.aws.inventory import ParserInventory
from gust.aws.invoke import LambdaInvoker
from gust.aws.key_parameter import KeyParameter
from gust.aws.logs import CloudWatchLogReader
from gust.aws.metrics import Detail, EmfMetrics
from gust.aws.objects import S3Objects
from gust.aws.queues import SqsQueues
from gust.aws.secrets import AwsSecrets, SsmConfiguration
from gust.aws.task_roles import StsTaskRoles
from gust.aws.timetables import ParserTimetables
from gust.aws.tokens import JwtTokens
from gust.model.environment import SMALLEST_STORAGE, room, this_architecture
from gust.model.place import Workers
from gust.ports.clock import SystemClock
from gust.ports.containers import Containers, NoContainers
from gust.ports.event_bus import EventBus, NoEventBus
from gust.ports.identity_provider import IdentityProvider
from gust.services.context import Services
from gust.store.dynamodb import DynamoDBStore

CONNECTIONS: Final = 32
"""Kept open per client: as many as the store writes in parallel."""


def user_agent(function: str) -> str:
    """The calling function, as SDKs name an application: CloudTrail shows it, and the bench's meter sorts calls by it."""
    return f"gust app/{function}" if function else "gust"


def caller(environment: Mapping[str, str]) -> str:
    """The function that this process is, by its full name, or `container`; empty for any other process."""
    return environment.get("AWS_LAMBDA_FUNCTION_NAME") or ("container" if "GUST_WORKLOAD" in environment else "")


CONFIG: Final = Config(
    retries={"mode": "standard", "max_attempts": 5},
    connect_timeout=3,
    read_timeout=30,
    max_pool_connections=CONNECTIONS,
    # Each a tenth of a call's processor time: AWS checks its parameters, too, and boto makes its own name anew for each.
    parameter_validation=False,
    user_agent=user_agent(caller(os.environ)),
)


PATIENCE_WITH_PARSER: Final = CONFIG.merge(
    Config(retries={"mode": "standard", "total_max_attempts": 1}, read_timeout=25)
)
"""Shorter than the API's own time limit. No retry: a slow parser would do the same work twice at the same time."""

PATIENCE_WITH_EXECUTION_API: Final = CONFIG.merge(
    Config(retries={"mode": "standard", "total_max_attempts": 3}, read_timeout=35)
)
"""Longer than the execution API's function may run, so that a slow request is not processed twice at the same time. The
Task SDK's client retries on top."""

PATIENCE_WITH_STS: Final = CONFIG.merge(
    Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=2, read_timeout=5)
)
"""An SDK waits two seconds for its credentials, and asks three times."""

PATIENCE_WITH_RECEIPTS: Final = CONFIG.merge(
    Config(retries={"mode": "standard", "total_max_attempts": 2}, connect_timeout=2, read_timeout=3)
)
"""A try's start waits for the call, and continues without it when SQS does not answer."""


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


def execution_api() -> LambdaInvoker:
    return LambdaInvoker(os.environ["GUST_EXECUTION_API_FUNCTION"], client("lambda", PATIENCE_WITH_EXECUTION_API))


def receipts() -> Any:
    """The client of SQS for functions that hide the message they work on."""
    return client("sqs", PATIENCE_WITH_RECEIPTS)


def bucket() -> S3Objects:
    return S3Objects(os.environ["GUST_BUCKET"], client("s3"))


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


def package_index_variables() -> dict[str, str]:
    """The variables that a requirements file may name, from the secret that the stack names, if it names one. Raises
    ValueError where the secret is no JSON object of texts."""
    name = os.environ.get("GUST_PACKAGE_INDEX_SECRET", "")
    if not name:
        return {}
    found = json.loads(client("secretsmanager").get_secret_value(SecretId=name)["SecretString"])
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ValueError("The secret of package indexes is no JSON object of names and texts")
    return found


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


@cache
def client_in(service: str, region: str | None) -> Any:
    """The client of a service in a region; None: the function's own."""
    return client(service) if region is None else client(service, CONFIG.merge(Config(region_name=region)))


@cache
def client(service: str, config: Config = CONFIG) -> Any:
    """The process's only client of a service with that configuration. Safe to use from several threads."""
    return _MadeByFirstCall(service, config)


class _MadeByFirstCall:
    def __init__(self, service: str, config: Config) -> None:
        self._service = service
        self._config = config

    @cached_property
    def _made(self) -> Any:
        return cast("Any", boto3).client(self._service, config=self._config)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made, name)
