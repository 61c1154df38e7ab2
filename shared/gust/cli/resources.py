"""A stack's resources and its state, for commands that look at it with your own AWS credentials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from gust.cli.aws import Clients, Stack

DEAD_LETTERS: Final = "DeadLetters"
"""How the logical ids of dead-letter queues end."""


@dataclass(frozen=True, slots=True)
class Resource:
    logical_id: str
    type: str
    id: str
    """Its name, ARN or URL, as CloudFormation calls it."""


def resources_of(aws: Clients, stack: Stack) -> list[Resource]:
    found = []
    for page in aws("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack.name):
        for each in page["StackResourceSummaries"]:
            if each.get("PhysicalResourceId") and each.get("ResourceStatus") != "DELETE_COMPLETE":
                found.append(Resource(each["LogicalResourceId"], each["ResourceType"], each["PhysicalResourceId"]))
    return found


def of_type(resources: Sequence[Resource], type_: str) -> list[Resource]:
    return sorted((each for each in resources if each.type == type_), key=lambda each: each.logical_id)


@dataclass(frozen=True, slots=True)
class Depth:
    """Messages of a queue, about."""

    queue: str
    waiting: int
    in_flight: int
    delayed: int

    @property
    def is_of_dead_letters(self) -> bool:
        return self.queue.endswith(DEAD_LETTERS)


def depths(aws: Clients, resources: Sequence[Resource]) -> list[Depth]:
    sqs = aws("sqs")
    names = [f"ApproximateNumberOfMessages{which}" for which in ("", "NotVisible", "Delayed")]
    found = []
    for queue in of_type(resources, "AWS::SQS::Queue"):
        counts = sqs.get_queue_attributes(QueueUrl=queue.id, AttributeNames=names)["Attributes"]
        found.append(Depth(queue.logical_id, *(int(counts.get(name, 0)) for name in names)))
    return found


def store_of(aws: Clients, stack: Stack) -> Any:
    """The stack's store, over its table. The caller only reads."""
    from gust.aws.objects import S3Objects
    from gust.store.dynamodb import DynamoDBStore

    objects = S3Objects(stack.outputs["BucketName"], aws("s3"))
    return DynamoDBStore(stack.outputs["TableName"], aws("dynamodb"), objects)
