"""The role with which ECS works in an account (service-linked: AWS owns its policy).

ECS creates it with the account's first cluster, and refuses that very cluster, because IAM does not know the role yet. A
resource of the template would fail in every account that has the role.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from gust.cli.aws import Clients, in_one_line
from gust.cli.changes import ChangeSet
from gust.cli.containers import CLUSTER

COMMAND: Final = "aws iam create-service-linked-role --aws-service-name ecs.amazonaws.com"

KNOWN_AFTER: Final = 15.0
"""Seconds until ECS can assume a role that was just created."""

_IS_THERE: Final = "InvalidInput"
"""IAM's answer where the account has the role; its message says that the name has been taken."""


def needs_role(change: ChangeSet) -> bool:
    """True if CloudFormation is to create the cluster."""
    return change.has("Add", CLUSTER)


def have_role(aws: Clients, say: Callable[[str], None], *, pause: Callable[[float], None] = time.sleep) -> None:
    """Create the role unless the account has it. Where AWS refuses that, says what to run: most accounts have the role."""
    from botocore.exceptions import ClientError

    try:
        aws("iam").create_service_linked_role(AWSServiceName="ecs.amazonaws.com")
    except ClientError as refused:
        if refused.response["Error"]["Code"] != _IS_THERE:
            say(f"ECS needs a role in this account, and AWS does not create it for you: {in_one_line(refused)}")
            say(
                f"If the account has never used ECS, {CLUSTER} fails. A user with the right runs, once for the account:"
            )
            say(f"  {COMMAND}")
        return
    say("Created the role with which ECS works in this account, AWSServiceRoleForECS.")
    pause(KNOWN_AFTER)
