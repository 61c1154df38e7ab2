"""`./gust watch-stream`: have Lambda bring the records of a Kinesis stream, so that no asset watcher polls it; `--remove`:
have the watchers poll again.

The mapping and the right to read the stream are no part of the template, because they exist for each stream.
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
    receiver_of,
)

HELP: Final = "have records of a Kinesis stream be events of assets without polling"

READ: Final = [
    "kinesis:DescribeStream",
    "kinesis:DescribeStreamSummary",
    "kinesis:GetRecords",
    "kinesis:GetShardIterator",
    "kinesis:ListShards",
]

BATCH: Final = 500


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("stream", help="its name, of the stack's account and region")
    parser.add_argument("--remove", action="store_true", help="no longer: its watchers poll again")
    aws.add_arguments_or_local(parser)
    parser.add_argument("--yes", action="store_true", help="change it without asking")


def run(options: argparse.Namespace, ask: Callable[[str], str] = input, clients: Clients | None = None) -> int:
    """Say what will change, ask, and change it. Returns the exit code. Raises WatchError."""
    clients = clients or aws.clients_or_local(options)
    stack = aws.DEFAULT_STACK if options.local else options.stack
    change = plan(clients, options.stream, stack, remove=options.remove)
    if not consent.is_given(change.lines, without_asking=options.yes, ask=ask):
        return 1
    make(clients, change)
    if options.remove:
        print(f"Watchers of {options.stream} poll it again, from where Lambda has come to.")
    else:
        print(f"Records of {options.stream} are events of the assets whose watchers read it (docs/events.md).")
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(WatchChange):
    command: ClassVar = "watch-stream"

    @property
    def lines(self) -> list[str]:
        """What `make` will change, for a person who decides."""
        function, role = self.receiver.function, self.receiver.role
        if self.removes:
            return [
                f"Function {function}: no longer gets the records of {self.name}",
                f"Watchers of {self.name}: poll it again",
                f"Role {role}: without the inline policy {self.policy}",
            ]
        found = [f"Role {role}: inline policy {self.policy}, to read this stream and list streams"]
        if self.mapping is None:
            found.append(
                f"Function {function}: gets the records of {self.name}, from the oldest on; those that a watcher "
                "has seen, or that came before it, make no events"
            )
        elif self.mapping.is_disabled:
            found.append(f"Function {function}: its disabled mapping brings the records of {self.name} again")
        return [*found, f"Watchers of {self.name} with the default connection: no longer poll"]


def plan(clients: Clients, name: str, stack: str, *, remove: bool = False) -> Change:
    """Reads alone. Raises WatchError."""
    receiver, kinesis = receiver_of(clients, stack), clients("kinesis")
    try:
        about = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
    except kinesis.exceptions.ResourceNotFoundException:
        if not remove or not has_right(clients, receiver, Change.policy_for(name)):
            raise WatchError(f"There is no stream {name} in the stack's account and region") from None
        partition, _, region, account = receiver.own_queue.split(":")[1:5]
        about = {"StreamARN": f"arn:{partition}:kinesis:{region}:{account}:stream/{name}"}
    arn = about["StreamARN"]
    return Change(
        name=name,
        arn=arn,
        receiver=receiver,
        mapping=mapping_onto(mappings_of(clients, arn), receiver),
        key=None if remove else key_of(clients, about.get("KeyId")),
        removes=remove,
    )


def make(clients: Clients, change: Change, *, pause: Callable[[float], None] = time.sleep) -> None:
    """Watchers and Lambda keep their places in the same state store. While neither reads, records wait in the stream."""
    if change.removes:
        change.drop_mapping(clients)
        change.tell(clients, "unwatch_stream")
        change.take_right(clients)
        return
    change.give_right(
        clients,
        {"Effect": "Allow", "Action": READ, "Resource": change.arn},
        # Lambda asks for it. The action takes no ARN, and tells the names of all streams.
        {"Effect": "Allow", "Action": "kinesis:ListStreams", "Resource": "*"},
    )
    have_mapping(
        clients,
        change.mapping,
        pause,
        EventSourceArn=change.arn,
        FunctionName=change.receiver.function,
        StartingPosition="TRIM_HORIZON",
        BatchSize=BATCH,
        MaximumBatchingWindowInSeconds=1,
        # A batch that takes too long or too much memory comes again in halves.
        BisectBatchOnFunctionError=True,
    )
    change.tell(clients, "watch_stream")
