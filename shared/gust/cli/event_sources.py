"""What `watch-queue` and `watch-stream` share: Lambda's event source mappings onto the stack's receiver."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from gust.cli.aws import Clients, Stack, require_stack
from gust.cli.resources import of_type, resources_of, store_of
from gust.errors import GustError

PATIENCE: Final = 60
"""Seconds until Lambda knows of a role's new right."""

LACKS_RIGHT: Final = ("permissions", "ensure the role can perform")
"""Words of Lambda's refusals while it does not know of the right, for a queue and for a stream."""

SOURCES: Final = {"watch-queue": ("sqs", ""), "watch-stream": ("kinesis", "stream/")}
"""Commands that watch; the service in the ARN of what they watch, and what stands before its name there."""


class WatchError(GustError):
    """The queue or stream cannot be watched so; the message is for the terminal."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """The function that makes events of assets."""

    function: str
    role: str
    timeout: int
    """Seconds."""
    own_queue: str
    """ARN of the queue to which EventBridge's rules deliver."""


def receiver_of(clients: Clients, stack: str) -> Receiver:
    """Raises WatchError; AwsError where there is no such stack."""
    require_stack(clients, stack)
    function, functions = f"{stack}-events", clients("lambda")
    try:
        about = functions.get_function_configuration(FunctionName=function)
    except functions.exceptions.ResourceNotFoundException:
        raise WatchError(
            f"Stack {stack} takes no events: ./gust deploy --stack {stack} --set Events=Enabled first"
        ) from None
    own = about["Environment"]["Variables"].get("GUST_EVENTS_QUEUE_ARN")
    if own is None:
        raise WatchError(f"Stack {stack} is of an older Gust: run ./gust deploy first")
    return Receiver(function, about["Role"].rpartition("/")[2], about["Timeout"], own)


@dataclass(frozen=True, slots=True)
class Mapping:
    """Of the queue or stream onto a function."""

    id: str
    is_disabled: bool
    """It is there and brings nothing: a person has switched it off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchChange:
    """What makes a queue or stream watched, or takes that back. All of it may be repeated."""

    command: ClassVar[str]
    """Its name is the beginning of the policy's."""
    name: str
    arn: str
    receiver: Receiver
    mapping: Mapping | None
    """The one that is there."""
    key: str | None
    """ARN of the KMS key that encrypts what is read."""
    removes: bool

    @classmethod
    def policy_for(cls, name: str) -> str:
        return f"{cls.command}-{name}"

    @property
    def policy(self) -> str:
        return self.policy_for(self.name)

    def give_right(self, clients: Clients, *statements: dict[str, Any]) -> None:
        """Let the receiver do what the statements allow, and decrypt."""
        decrypt = {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": self.key}
        allowed = [*statements, decrypt] if self.key else list(statements)
        document = {"Version": "2012-10-17", "Statement": allowed}
        clients("iam").put_role_policy(
            RoleName=self.receiver.role, PolicyName=self.policy, PolicyDocument=json.dumps(document)
        )

    def take_right(self, clients: Clients) -> None:
        if has_right(clients, self.receiver, self.policy):
            clients("iam").delete_role_policy(RoleName=self.receiver.role, PolicyName=self.policy)

    def drop_mapping(self, clients: Clients) -> None:
        if self.mapping is not None:
            clients("lambda").delete_event_source_mapping(UUID=self.mapping.id)

    def tell(self, clients: Clients, what: str) -> None:
        """Have the stack note it. Raises WatchError."""
        function = self.receiver.function
        answer = clients("lambda").invoke(FunctionName=function, Payload=json.dumps({what: self.arn}).encode())
        if "FunctionError" in answer:
            told = json.loads(answer["Payload"].read())
            raise WatchError(f"{function} did not note it: {told.get('errorMessage', told)}. Try again.")


def key_of(clients: Clients, key: str | None) -> str | None:
    """The ARN of a key that may be named by its alias."""
    return clients("kms").describe_key(KeyId=key)["KeyMetadata"]["Arn"] if key else None


def mappings_of(clients: Clients, arn: str) -> dict[str, Mapping]:
    """ARNs of the functions that read the queue or stream → their mappings, without those that are being deleted."""
    pages = clients("lambda").get_paginator("list_event_source_mappings").paginate(EventSourceArn=arn)
    return {
        each["FunctionArn"]: Mapping(each["UUID"], each.get("State") in {"Disabled", "Disabling"})
        for page in pages
        for each in page["EventSourceMappings"]
        if each.get("State") != "Deleting"
    }


def mapping_onto(mappings: dict[str, Mapping], receiver: Receiver) -> Mapping | None:
    return next((found for arn, found in mappings.items() if _is(arn, receiver)), None)


def others(mappings: dict[str, Mapping], receiver: Receiver) -> list[str]:
    """ARNs of other functions with a mapping."""
    return [arn for arn in mappings if not _is(arn, receiver)]


def _is(arn: str, receiver: Receiver) -> bool:
    return arn.rpartition(":function:")[2] == receiver.function


def has_right(clients: Clients, receiver: Receiver, policy: str) -> bool:
    return policy in clients("iam").list_role_policies(RoleName=receiver.role)["PolicyNames"]


def why_receiver_stays(clients: Clients, stack: Stack) -> str | None:
    """A sentence, if CloudFormation could not delete the receiver's role: it does not know of the policies that the commands
    give. A command that was cut off has given the policy alone; the stack itself knows nothing of it."""
    roles = of_type(resources_of(clients, stack), "AWS::IAM::Role")
    role = next((each.id for each in roles if each.logical_id == "EventsRole"), None)
    if role is None:
        return None
    policies, arns = (
        clients("iam").list_role_policies(RoleName=role)["PolicyNames"],
        store_of(clients, stack).watched_sources(),
    )
    names, commands = set[str](), []
    for command, (service, prefix) in SOURCES.items():
        given = {policy.removeprefix(f"{command}-") for policy in policies if policy.startswith(f"{command}-")}
        noted = {arn.rpartition(":")[2].removeprefix(prefix) for arn in arns if arn.split(":")[2] == service}
        if given | noted:
            names |= given | noted
            commands.append(f"`./gust {command} NAME --remove --stack {stack.name}`")
    if not names:
        return None
    return (
        "its receiver has rights that CloudFormation does not know and would stumble over, to read "
        f"{', '.join(sorted(names))}. {' and '.join(commands)} first."
    )


def have_mapping(
    clients: Clients, present: Mapping | None, pause: Callable[[float], None] = time.sleep, **asked: Any
) -> None:
    """Create the mapping, or enable the one that is there."""
    functions = clients("lambda")
    if present is not None and not present.is_disabled:
        return
    for second in range(0, PATIENCE, 5):
        try:
            if present is None:
                functions.create_event_source_mapping(**asked)
            else:
                functions.update_event_source_mapping(UUID=present.id, Enabled=True)
        except functions.exceptions.ResourceInUseException:
            # It is being disabled at the moment.
            if second + 5 >= PATIENCE:
                raise
            pause(5)
        except functions.exceptions.InvalidParameterValueException as refused:
            # A right that was given a moment ago; other reasons stay what they are.
            if second + 5 >= PATIENCE or not any(words in str(refused) for words in LACKS_RIGHT):
                raise
            pause(5)
        else:
            return
