"""ECS's own role in an account that has never used ECS."""

from __future__ import annotations

from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from gust.cli import ecs_role
from tests.unit.cli.cloud import refusal

ROOT = Path(__file__).parents[3]
TAKEN = refusal("InvalidInput", "Service role name AWSServiceRoleForECS has been taken in this account")
DENIED = refusal("AccessDenied", "not allowed")
COMMAND = "aws iam create-service-linked-role --aws-service-name ecs.amazonaws.com"


class Iam:
    def __init__(self, refused: ClientError | None) -> None:
        self.refused = refused

    def create_service_linked_role(self, *, AWSServiceName: str) -> None:  # noqa: N803 - boto3's
        assert AWSServiceName == "ecs.amazonaws.com"
        if self.refused:
            raise self.refused


@pytest.mark.parametrize(
    ("refused", "paused", "told"),
    [
        (None, [15], ["Created the role with which ECS works in this account, AWSServiceRoleForECS."]),
        (TAKEN, [], []),
        (
            DENIED,
            [],
            [
                "ECS needs a role in this account, and AWS does not create it for you: you may not do this: not allowed",
                "If the account has never used ECS, FargateCluster fails. A user with the right runs, once for the account:",
                f"  {COMMAND}",
            ],
        ),
    ],
    ids=["created", "is there", "denied"],
)
def test_it_is_created_unless_it_is_there(refused: ClientError | None, paused: list[float], told: list[str]) -> None:
    """IAM knows a new role some seconds later."""
    said: list[str] = []
    waited: list[float] = []
    ecs_role.have_role({"iam": Iam(refused)}.__getitem__, said.append, pause=waited.append)
    assert (waited, said) == (paused, told)


def test_the_page_has_the_command_for_users_of_sam() -> None:
    assert COMMAND in (ROOT / "docs" / "workers.md").read_text()
