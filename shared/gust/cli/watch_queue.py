"""`./gust watch-queue`: have Lambda bring the messages of an SQS queue, so that no asset watcher polls it; `--remove`: have
the watchers poll again.

The mapping and the right to read the queue are no part of the template, because they exist for each queue.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

from gust.cli import aws, consent
from gust.cli.aws import Clients
from gust.cli.event_sources import (
    WatchChange,
    WatchError,
    has_right,
    have_mapping,
    key_of,
    mapping_onto,
    mappings_of,
    others,
    receiver_of,
)

HELP: Final = "have messages of an SQS queue be events of assets without polling"

READ: Final = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]

OF_FUNCTION_TIMEOUT: Final = 6
"""A queue's visibility timeout, as AWS advises. Lambda refuses one below the function's timeout."""

BATCH: Final = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("queue", help="its name, of the stack's account and region")
    parser.add_argument("--remove", action="store_true", help="no longer: its watchers poll again")
    aws.add_arguments_or_local(parser)
    parser.add_argument("--yes", action="store_true", help="change it without asking")


def run(options: argparse.Namespace, ask: Callable[[str], str] = input, clients: Clients | None = None) -> int:
    """Say what will change, ask, and change it. Returns the exit code. Raises WatchError."""
    clients = clients or aws.clients_or_local(options)
    stack = aws.DEFAULT_STACK if options.local else options.stack
    change = plan(clients, options.queue, stack, remove=options.remove)
    if not consent.is_given(change.lines, without_asking=options.yes, ask=ask):
        return 1
    make(clients, change)
    if options.remove:
        print(f"Watchers of {options.queue} poll it again.")
    else:
        print(f"Messages of {options.queue} are events of the assets whose watchers read it (docs/events.md).")
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(WatchChange):
    command: ClassVar = "watch-queue"
    url: str
    visibility: int | None
    """The visibility timeout that the queue gets; `None`: it keeps the one that it has."""

    @property
    def lines(self) -> list[str]:
        """What `make` will change, for a person who decides."""
        function, role = self.receiver.function, self.receiver.role
        if self.removes:
            return [
                f"Watchers of {self.name}: poll it again",
                f"Function {function}: no longer gets the messages of {self.name}",
                f"Role {role}: without the inline policy {self.policy}",
            ]
        found = []
        if self.visibility is not None:
            found.append(
                f"Queue {self.name}: visibility timeout {self.visibility} s (Lambda needs it; --remove leaves it)"
            )
        found.append(f"Role {role}: inline policy {self.policy}, to read and delete messages of this queue")
        if self.mapping is None:
            found.append(f"Function {function}: gets the messages of {self.name} (some $0.26 a month while none come)")
        elif self.mapping.is_disabled:
            found.append(f"Function {function}: its disabled mapping brings the messages of {self.name} again")
        return [*found, f"Watchers of {self.name} that neither filter nor leave messages there: no longer poll"]


def plan(clients: Clients, name: str, stack: str, *, remove: bool = False) -> Change:
    """Reads alone. Raises WatchError."""
    receiver, sqs = receiver_of(clients, stack), clients("sqs")
    try:
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    except sqs.exceptions.QueueDoesNotExist:
        if not remove or not has_right(clients, receiver, Change.policy_for(name)):
            raise WatchError(f"There is no queue {name} in the stack's account and region") from None
        url, attributes = "", {"QueueArn": f"{receiver.own_queue.rpartition(':')[0]}:{name}"}
    arn = attributes["QueueArn"]
    if arn == receiver.own_queue:
        raise WatchError(f"{name} is the stack's own queue")
    mappings = mappings_of(clients, arn)
    if readers := others(mappings, receiver):
        raise WatchError(
            f"Function {readers[0]} reads {name} already: of two readers, each would get a part of the messages"
        )
    is_short = int(attributes.get("VisibilityTimeout", 30)) < receiver.timeout
    return Change(
        name=name,
        url=url,
        arn=arn,
        receiver=receiver,
        mapping=mapping_onto(mappings, receiver),
        visibility=OF_FUNCTION_TIMEOUT * receiver.timeout if is_short else None,
        key=None if remove else key_of(clients, attributes.get("KmsMasterKeyId")),
        removes=remove,
    )


def make(clients: Clients, change: Change, *, pause: Callable[[float], None] = time.sleep) -> None:
    """At each moment of it, a watcher or Lambda reads the queue, or both do; each message goes to one of them."""
    if change.removes:
        change.tell(clients, "unwatch_queue")
        change.drop_mapping(clients)
        change.take_right(clients)
        return
    if change.visibility is not None:
        clients("sqs").set_queue_attributes(
            QueueUrl=change.url, Attributes={"VisibilityTimeout": str(change.visibility)}
        )
    change.give_right(clients, {"Effect": "Allow", "Action": READ, "Resource": change.arn})
    have_mapping(
        clients,
        change.mapping,
        pause,
        EventSourceArn=change.arn,
        FunctionName=change.receiver.function,
        BatchSize=BATCH,
        ScalingConfig={"MaximumConcurrency": 5},
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )
    change.tell(clients, "watch_queue")
