"""`./gust watch-bucket`: have a bucket send its events to EventBridge, and the stack listen to them.

S3 replaces a bucket's notifications as a whole: what is there is read and sent back with the one addition.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from gust.cli import aws, consent
from gust.cli.aws import Clients
from gust.cli.counted import counted
from gust.cli.event_rules import have_rules_made
from gust.errors import GustError

EVENT_BRIDGE: Final = "EventBridgeConfiguration"
WATCHED: Final = "WatchedBuckets"
EVENTS: Final = "Events"


HELP: Final = "have new objects of a bucket be events of assets"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bucket", help="its name")
    aws.add_arguments_or_local(parser)
    parser.add_argument("--yes", action="store_true", help="change it without asking")


def run(options: argparse.Namespace, ask: Callable[[str], str] = input, clients: Clients | None = None) -> int:
    """Say what will change, ask, and change it. Returns the exit code. Raises WatchBucketError."""
    clients = clients or aws.clients_or_local(options)
    change = plan(clients, options.bucket, options.stack, follows_parameters=not options.local)
    if not change.lines:
        print(f"Bucket {options.bucket} is watched already.")
        return 0
    if not consent.is_given(change.lines, without_asking=options.yes, ask=ask):
        return 1
    make(clients, change)
    print(f"New objects of {options.bucket} are events of the assets that they lie under (docs/events.md).")
    return 0


class WatchBucketError(GustError):
    """The bucket or the stack cannot be changed so; the message is for the terminal."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is missing until objects of the bucket are events."""

    bucket: str
    stack: str
    notifications: dict[str, Any] | None
    """The bucket's notifications with EventBridge among them; `None`: they have it."""
    parameters: dict[str, str]
    """Parameters of the stack to change."""

    @property
    def lines(self) -> list[str]:
        """What `make` will change, for a person who decides."""
        found = []
        if self.notifications is not None:
            others = sum(len(each) for each in self.notifications.values() if isinstance(each, list))
            keeps = f"keeps {counted(others, 'other notification')}"
            found.append(f"Bucket {self.bucket}: send all events to EventBridge ($1 per million; {keeps})")
        found += [f"Stack {self.stack}: {name} = {value}" for name, value in self.parameters.items()]
        return found


def plan(clients: Clients, bucket: str, stack: str, *, follows_parameters: bool = True) -> Change:
    """Reads alone. `follows_parameters`: false for the local stack, which watches every bucket. Raises WatchBucketError;
    AwsError where there is no such stack."""
    from botocore.exceptions import ClientError

    present = aws.require_stack(clients, stack) if follows_parameters else None
    try:
        found = clients("s3").get_bucket_notification_configuration(Bucket=bucket)
    except ClientError as error:
        why = aws.in_one_line(error)
        raise WatchBucketError(f"The notifications of bucket {bucket} cannot be read: {why}") from error
    found.pop("ResponseMetadata", None)
    notifications = None if EVENT_BRIDGE in found else {**found, EVENT_BRIDGE: {}}
    if present is None:
        return Change(bucket, stack, notifications, {})
    if present.outputs.get("BucketName") == bucket:
        raise WatchBucketError(
            f"{bucket} is the stack's own bucket: Gust writes into it with every deployment and every large XCom"
        )
    current = present.parameters
    if WATCHED not in current:
        raise WatchBucketError(f"Stack {stack} is of an older Gust: run ./gust deploy first")
    watched = [name for name in current[WATCHED].split(",") if name]
    parameters = {}
    if current[EVENTS] != "Enabled":
        parameters[EVENTS] = "Enabled"
    if bucket not in watched and watched != ["*"]:
        parameters[WATCHED] = ",".join([*watched, bucket])
    return Change(bucket, stack, notifications, parameters)


def make(clients: Clients, change: Change) -> None:
    """The stack first: an event that comes before its rule exists is lost. Repeating it changes nothing."""
    if change.parameters:
        cloudformation = clients("cloudformation")
        described = cloudformation.describe_stacks(StackName=change.stack)["Stacks"][0]
        kept = [
            each["ParameterKey"] for each in described["Parameters"] if each["ParameterKey"] not in change.parameters
        ]
        cloudformation.update_stack(
            StackName=change.stack,
            UsePreviousTemplate=True,
            Parameters=[
                *({"ParameterKey": name, "UsePreviousValue": True} for name in kept),
                *({"ParameterKey": name, "ParameterValue": value} for name, value in change.parameters.items()),
            ],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        )
        cloudformation.get_waiter("stack_update_complete").wait(StackName=change.stack)
    if change.notifications is not None:
        clients("s3").put_bucket_notification_configuration(
            Bucket=change.bucket, NotificationConfiguration=change.notifications
        )
    if EVENTS in change.parameters:
        have_rules_made(clients, aws.require_stack(clients, change.stack).outputs, print)
