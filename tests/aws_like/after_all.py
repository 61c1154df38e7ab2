"""What the roles allow and no test has used. `./gust test` runs it after all tiers, on the records of their stacks; its
name keeps it out of them."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import pytest

from tests.aws_like import calls, template_rights
from tests.aws_like.template_rights import Right

STORE: Final = "dynamodb:*"
"""The store is one library for all functions that have the table, and each service uses a part of it. Rights by function
would follow every change of a service; so a function's right counts as used if any function used it."""

UNUSED: Final[dict[str, str]] = {
    "ApiRole: ssm:GetParameter on *": "every caller of the local stack is administrator: the API reads no document",
    "ExecutionApiRole: kms:Decrypt on *": "SecretsBackendKeyArns, which no stack of the tests has",
    "ExecutionApiRole: sts:* on *TaskRoleArns*": "TaskRoleArns, which no stack of the tests has",
    "ExecutionApiRole: s3:GetObject on *serialized*": "templates of tasks that start in their trigger: golden/test_features",
    "FromDefaultBusRole: events:PutEvents on *": "EventSources, likewise",
    "DagProcessorRole: s3:GetObject on *xcom*": "a setting or a queue of asset events above 256 KB, read by other functions",
    "SchedulerRole: s3:GetObject on *xcom*": "likewise, and a backfill's plan",
    "EventsRole: lambda:InvokeFunction on *": "a plugin's timetable or mapper, which other functions ask in the tests",
    "*Role: kms:* on *KmsKeyArn*": "KmsKeyArn, which no stack of the tests has",
    "*Role: xray:* on *": "Tracing: Lambda sends traces itself, and the emulator sends none",
    "*Role: ec2:* on *": "NetworkSubnets, likewise",
    "EnvironmentBuilderRole: secretsmanager:GetSecretValue on *": "PackageIndexSecret, likewise",
    "SchedulerRole: sqs:GetQueueAttributes on *": "asked when a message has waited for half an hour",
    "KeyMakerRole: ssm:GetParameter on *": "updates and deletions, which tests/contract tries with the key maker alone",
    "KeyMakerRole: ssm:DeleteParameters on *": "likewise",
    "KeyMakerRole: cloudformation:DescribeStackResource on *": "likewise",
    "KeyMakerRole: secretsmanager:GetSecretValue on *": "likewise: a stack of an earlier template",
    "*Role: kms:* on *:key/*": "KmsKeyArn, which no stack of the tests has",
    "ContainerExecutionRole: ecr:* on *": "ECS pulls an image of the account; containers are processes here",
    "ContainerRole: lambda:GetLayerVersion on *": "a container fetches the layers; tests/template runs that script",
}
"""Rights that no test uses, as patterns → why they stay."""


def of_the_run() -> Path:
    folder = os.environ.get(calls.KEPT_IN)
    if not folder:
        pytest.skip("needs the records of a whole run, which `./gust test` keeps")
    return Path(folder)


def test_nothing_is_allowed_that_is_never_called() -> None:
    template = template_rights.resources()
    allowed = template_rights.rights(template)
    used = template_rights.of_aws(template)
    for file in of_the_run().glob("*.jsonl"):
        for line in calls.read(file):
            if (
                "grant" in line
                and (right := template_rights.of_grant(allowed, line["role"], line["grant"])) is not None
            ):
                used.add(right)
    print("Records by stack:", sorted(len(list(calls.read(file))) for file in of_the_run().glob("*.jsonl")))
    used_by_any = {(right.action, right.resource) for right in used if fnmatchcase(right.action, STORE)}

    unused = {
        right for right in allowed.values() if right not in used and (right.action, right.resource) not in used_by_any
    }

    assert sorted(str(right) for right in unused if not _is_excused(right)) == []


def test_no_excuse_is_needless() -> None:
    """An excuse that fits no right is out of date."""
    rights = template_rights.rights(template_rights.resources()).values()

    assert [pattern for pattern in UNUSED if not any(fnmatchcase(str(right), pattern) for right in rights)] == []


def _is_excused(right: Right) -> bool:
    return any(fnmatchcase(str(right), pattern) for pattern in UNUSED)
