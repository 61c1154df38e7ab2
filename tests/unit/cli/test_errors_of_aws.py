"""What a person reads when AWS refuses, or cannot be asked: a line each, and no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from botocore import exceptions as aws

from gust.cli.aws import AwsError, in_one_line, require_stack
from tests.environment import of_a_user
from tests.unit.cli.cloud import CloudFormation, refusal

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (aws.NoRegionError(), "no AWS region is set: give --region, or set AWS_REGION."),
        (aws.NoCredentialsError(), "no AWS credentials were found: sign in"),
        (aws.ProfileNotFound(profile="prod"), "~/.aws has no profile prod; its profiles: "),
        (aws.UnauthorizedSSOTokenError(), "your AWS sign-in has expired: `aws sso login`"),
        (aws.EndpointConnectionError(endpoint_url="https://x"), "AWS does not answer (Could not connect"),
        (refusal("ExpiredToken"), "your AWS session has expired: sign in again"),
        (refusal("InvalidClientTokenId"), "AWS does not accept these credentials (InvalidClientTokenId)."),
        (refusal("AccessDenied", "not authorized to perform x"), "you may not do this: not authorized to perform x"),
        (refusal("Odd", "because", operation="DoIt"), "DoIt failed: because"),
    ],
)
def test_each_has_its_line(error: Exception, told: str) -> None:
    line = in_one_line(error)
    assert line is not None
    assert line.startswith(told)
    assert "\n" not in line


def test_an_error_of_ours_stays_a_traceback() -> None:
    assert in_one_line(KeyError("ours")) is None


def test_a_stack_that_is_not_there_is_named_with_its_region() -> None:
    clients = {"cloudformation": CloudFormation()}
    with pytest.raises(
        AwsError, match="there is no stack gust in eu-west-1; --stack and --region say which one you mean"
    ):
        require_stack(clients.__getitem__, "gust")


def test_a_stack_that_is_older_than_the_checkout_is_to_be_deployed_first() -> None:
    clients = {"cloudformation": CloudFormation(status="UPDATE_COMPLETE")}
    outputs = require_stack(clients.__getitem__, "gust").outputs
    assert outputs.get("KeysOfTomorrow") is None
    with pytest.raises(
        AwsError, match=r"stack gust \(UPDATE_COMPLETE\) has no output KeysOfTomorrow: .* Run ./gust deploy"
    ):
        outputs["KeysOfTomorrow"]


@pytest.mark.parametrize("command", ["status", "reencrypt", "login"])
def test_a_shell_without_credentials_reads_one_line(command: str, tmp_path: Path) -> None:
    environment = of_a_user(
        PYTHONPATH=str(ROOT / "shared"),
        AWS_CONFIG_FILE=str(tmp_path / "none"),
        AWS_SHARED_CREDENTIALS_FILE=str(tmp_path / "none"),
        AWS_EC2_METADATA_DISABLED="true",
        AWS_REGION="eu-west-1",
    )
    ended = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "gust.cli", command], env=environment, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("gust: no AWS credentials were found")
    assert ended.stderr.count("\n") == 1
