"""Deploys worker groups: each is a small CloudFormation stack beside that of the deployment whose tasks it runs.

A group runs the code of the deployment's own worker, with the same layers: both are read from the deployed function. So a
group needs no build, and a person with another checkout deploys no other version.
"""

from __future__ import annotations

import base64
import json
import re
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError, WaiterError

from gust.aws.queues import NO_QUEUE
from gust.errors import GustError
from gust.model import bucket_keys
from gust.model.architecture import ARM64
from gust.model.worker_group import WorkerGroup
from gust.scheduling.placement import OWN_QUEUES

Clients = Callable[[str], Any]
"""Service name → boto3 client."""

Template = Callable[[Mapping[str, str]], str]
"""The parameters' values → worker_group.yaml as JSON."""

NO_STACK: Final = frozenset({"ValidationError", "ResourceNotFoundException"})
"""What CloudFormation and Lambda answer about a stack or a function that does not exist."""

DELETED_WITHIN: Final = {"Delay": 2, "MaxAttempts": 1500}
"""50 minutes: Lambda takes up to 40 to give back the network interfaces of a function in a VPC."""

LONGEST_NAME: Final = 64
"""Characters of a function's name, which is the group's stack's too."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_HELD: Final = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")


class WorkerGroupError(GustError):
    """The group cannot be deployed; the message is for the person at the terminal."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a group takes from the stack whose tasks it runs."""

    stack: str
    table: str
    bucket: str
    parameters: Mapping[str, str]
    """The second group of the parameters of worker_group.yaml."""
    storage: str
    """MB of /tmp of the stack's worker."""
    architecture: str
    """Of the stack's own functions."""
    deployments: str
    """ARN of the state machine deploy_bundle."""
    code_url: str
    code_hash: str


def stack_name(stack: str, queue: str) -> str:
    """Of the group's stack. Raises WorkerGroupError for a queue that no group can have."""
    if queue in OWN_QUEUES:
        raise WorkerGroupError(f"The queue {queue!r} is the stack's own. Give the group another name.")
    if not _NAME.fullmatch(queue):
        raise WorkerGroupError(f"{queue!r} is no name of a queue: use letters, digits, hyphens, underscores and dots.")
    name = f"{stack}-workers-{re.sub('[^A-Za-z0-9]', '-', queue)}"
    if len(name) > LONGEST_NAME:
        raise WorkerGroupError(
            f"The name {name!r} is longer than {LONGEST_NAME} characters. Give the queue a shorter one."
        )
    return name


def find_deployment(clients: Clients, stack: str, architecture: str = "") -> Deployment:
    """`architecture`: of the machine, for the local stack, whose functions are its processes. Raises WorkerGroupError where
    there is no such stack."""
    functions = clients("lambda")
    try:
        worker = functions.get_function(FunctionName=f"{stack}-worker")
        scheduler = functions.get_function_configuration(FunctionName=f"{stack}-scheduler")
        execution_api = functions.get_function_configuration(FunctionName=f"{stack}-execution-api")
        described = clients("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as error:
        if error.response["Error"]["Code"] not in NO_STACK:
            raise
        raise WorkerGroupError(f"There is no stack {stack!r} of Gust here: {error}") from error
    try:
        return _deployment((stack, described), worker, scheduler, execution_api, architecture)
    except KeyError as missing:
        raise WorkerGroupError(
            f"The stack {stack!r} runs another version of Gust than this checkout: {missing} is missing. Run ./gust deploy "
            "first."
        ) from missing


def _deployment(
    of: tuple[str, Mapping[str, Any]],
    worker: Mapping[str, Any],
    scheduler: Mapping[str, Any],
    execution_api: Mapping[str, Any],
    architecture: str,
) -> Deployment:
    """`of`: the stack's name, and CloudFormation's description of it. Raises KeyError for a part that it lacks."""
    stack, described = of
    configuration = worker["Configuration"]
    variables = configuration["Environment"]["Variables"]
    given = {one["ParameterKey"]: one["ParameterValue"] for one in described.get("Parameters", ())}
    told = {one["OutputKey"]: one["OutputValue"] for one in described.get("Outputs", ())}
    code_hash = base64.b64decode(configuration["CodeSha256"]).hex()
    return Deployment(
        stack=stack,
        table=scheduler["Environment"]["Variables"]["GUST_TABLE"],
        bucket=variables["GUST_BUCKET"],
        parameters={
            "Stack": stack,
            "Bucket": variables["GUST_BUCKET"],
            "CodeKey": bucket_keys.function_code(code_hash),
            "Layers": ",".join(layer["Arn"] for layer in configuration.get("Layers", ())),
            "ExecutionApi": variables["GUST_EXECUTION_API_FUNCTION"],
            "ExecutionApiRoleArn": execution_api["Role"],
            "TaskExternalId": execution_api["Environment"]["Variables"]["GUST_TASK_EXTERNAL_ID"],
            "TaskLogGroup": variables["GUST_LOG_GROUP"],
            "BaseUrl": variables["AIRFLOW__API__BASE_URL"],
            "DefaultDeferrable": variables["AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE"],
            "LogRetentionDays": given.get("LogRetentionDays", "30"),
            "LambdaLogLevel": given.get("LambdaLogLevel", "WARN"),
            "Tracing": given.get("Tracing", "Disabled"),
            "AlertTopic": told.get("AlertTopic", ""),
            "KmsKeyArn": given.get("KmsKeyArn", ""),
            "PermissionsBoundaryArn": given.get("PermissionsBoundaryArn", ""),
        },
        storage=str(configuration.get("EphemeralStorage", {}).get("Size", "")),
        architecture=architecture or configuration.get("Architectures", [ARM64])[0],
        deployments=scheduler["Environment"]["Variables"]["GUST_DEPLOY_STATE_MACHINE"],
        code_url=worker["Code"]["Location"],
        code_hash=code_hash,
    )


def deploy(clients: Clients, of: Deployment, queue: str, template: Template, given: Mapping[str, str]) -> WorkerGroup:
    """Create the group's stack, or bring it to the deployment's present code and the given parameters; others stay.
    Returns the group as it is to be registered. Raises WorkerGroupError."""
    name = stack_name(of.stack, queue)
    _forget_stillborn(clients("cloudformation"), name)
    before = find_group(clients, of.stack, queue)
    _put_code(clients("s3"), of)
    values = {**of.parameters, "Queue": queue, **given}
    storage = values.get("Storage") or (before or {}).get("Storage")
    if of.storage and (not storage or _is_less(storage, of.storage)):
        values["Storage"] = of.storage
    text = template({**(before or {}), **values})
    parameters: list[dict[str, Any]] = [{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()]
    kept = ((before or {}).keys() - values.keys()) & json.loads(text)["Parameters"].keys()
    parameters += [{"ParameterKey": key, "UsePreviousValue": True} for key in sorted(kept)]
    _apply(clients("cloudformation"), name, text, parameters, exists=before is not None)
    outputs = outputs_of(clients, name)
    memory = int(outputs["Memory"]) if outputs["Place"] == "Lambda" else 0
    return WorkerGroup(
        name=queue,
        queue_url=outputs["QueueUrl"],
        memory=memory,
        architecture="" if outputs["Architecture"] == of.architecture else outputs["Architecture"],
        task_role=outputs.get("TaskRoleArn", ""),
    )


def _is_less(one: str, other: str) -> bool:
    """Of two numbers of megabytes. What is no number CloudFormation refuses."""
    return one.isdigit() and int(one) < int(other)


def remove(clients: Clients, stack: str, queue: str) -> None:
    """Delete the group's stack, with its queue and what still waits there. Deleting a stack that is gone changes nothing."""
    cloudformation, name = clients("cloudformation"), stack_name(stack, queue)
    try:
        cloudformation.delete_stack(StackName=name)
        cloudformation.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig=DELETED_WITHIN)
    except ClientError as error:
        raise WorkerGroupError(f"The stack {name} could not be deleted: {error}") from error
    except WaiterError as error:
        raise WorkerGroupError(
            f"The stack {name} is not deleted: {error}. The same command again goes on.\n{_failures(cloudformation, name)}"
        ) from error


def find_group(clients: Clients, stack: str, queue: str) -> dict[str, str] | None:
    """The parameters that the group's stack has; `None` if there is no such stack. Raises WorkerGroupError if the stack is
    that of another queue, whose name differs in what a stack's name cannot have."""
    name = stack_name(stack, queue)
    try:
        described = clients("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if error.response["Error"]["Code"] not in NO_STACK:
            raise
        return None
    for found in described:
        if found["StackStatus"] != "DELETE_COMPLETE":
            parameters = {one["ParameterKey"]: one["ParameterValue"] for one in found.get("Parameters", ())}
            if (other := parameters.get("Queue", queue)) != queue:
                raise WorkerGroupError(f"The stack {name} is that of the queue {other!r}. Give the queue another name.")
            return parameters
    return None


def outputs_of(clients: Clients, name: str) -> dict[str, str]:
    """Raises WorkerGroupError where there is no such stack."""
    try:
        described = clients("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        raise WorkerGroupError(f"There is no stack {name}: {error}") from error
    return {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", ())}


def messages(clients: Clients, queue_url: str) -> int:
    """Messages that wait for a worker of the group, or are with one. A queue that is gone has none."""
    try:
        attributes = clients("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=list(_HELD))["Attributes"]
    except ClientError as error:
        if error.response["Error"]["Code"] in NO_QUEUE:
            return 0
        raise
    return sum(int(attributes.get(name, 0)) for name in _HELD)


def _put_code(s3: Any, of: Deployment) -> None:
    """The worker's package into the bucket, where CloudFormation finds it."""
    with urllib.request.urlopen(of.code_url) as answer:  # noqa: S310  AWS's own address
        package = answer.read()
    s3.put_object(Bucket=of.bucket, Key=of.parameters["CodeKey"], Body=package)


def _apply(cloudformation: Any, name: str, template: str, parameters: list[dict[str, Any]], *, exists: bool) -> None:
    arguments = {
        "StackName": name,
        "TemplateBody": template,
        "Parameters": parameters,
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
    }
    try:
        (cloudformation.update_stack if exists else cloudformation.create_stack)(**arguments)
        waiter = cloudformation.get_waiter("stack_update_complete" if exists else "stack_create_complete")
        waiter.wait(StackName=name, WaiterConfig={"Delay": 2, "MaxAttempts": 300})
    except ClientError as error:
        if "No updates are to be performed" not in str(error):
            raise WorkerGroupError(f"The stack {name} could not be deployed: {error}") from error
    except WaiterError as error:
        raise WorkerGroupError(
            f"The stack {name} could not be deployed: {error}\n{_failures(cloudformation, name)}"
        ) from error


def _forget_stillborn(cloudformation: Any, name: str) -> None:
    """Delete a stack that could not be created: CloudFormation keeps it, and does not update it."""
    try:
        status = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
    except ClientError:
        return
    if status in {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED"}:
        cloudformation.delete_stack(StackName=name)
        try:
            cloudformation.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig=DELETED_WITHIN)
        except WaiterError as error:
            raise WorkerGroupError(f"The stack {name}, which could not be created, is not deleted: {error}") from error


def _failures(cloudformation: Any, name: str) -> str:
    events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    failed = [event for event in reversed(events) if event["ResourceStatus"].endswith("FAILED")]
    return "\n".join(f"  {event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}" for event in failed)
