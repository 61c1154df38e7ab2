"""What the commands for a stack share: `--stack`, `--profile` and `--region`, or `--local`, clients, the stack itself, and
errors of AWS in one line each."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gust.cli import ROOT
from gust.errors import GustError

DEFAULT_STACK: Final = "gust"

LOCAL_DATA: Final = ROOT / ".gust"
"""Where the local stack keeps its state, unless it is told."""

Clients = Callable[[str], Any]
"""Service name → boto3 client."""


class AwsError(GustError):
    """A command cannot go on; the message is one line for the terminal."""


class Outputs(dict[str, str]):
    """Raises AwsError for an output that the stack lacks: a checkout may be newer than what is deployed."""

    def __init__(self, stack: str, status: str, outputs: Mapping[str, str]) -> None:
        super().__init__(outputs)
        self._stack, self._status = stack, status

    def __missing__(self, name: str) -> str:
        raise AwsError(
            f"stack {self._stack} ({self._status}) has no output {name}: it runs another version of Gust than this "
            "checkout, or is no complete stack of Gust. Run ./gust deploy first."
        )


@dataclass(frozen=True, slots=True)
class Stack:
    name: str
    status: str
    outputs: Mapping[str, str]
    """Raises AwsError for one that is not there."""
    parameters: Mapping[str, str]
    tags: Mapping[str, str]


def add_arguments(parser: argparse.ArgumentParser, *, has_stack: bool = True) -> None:
    if has_stack:
        parser.add_argument(
            "--stack", default=DEFAULT_STACK, help="name of the CloudFormation stack (%(default)s)", metavar="NAME"
        )
    parser.add_argument("--profile", help="profile of ~/.aws to use (else AWS_PROFILE, or default)")
    parser.add_argument("--region", help="region of the stack (else AWS_REGION, or the profile's)")


def add_arguments_or_local(parser: argparse.ArgumentParser) -> None:
    """Those of a command that also serves the local stack; see `clients_or_local`."""
    add_arguments(parser)
    parser.add_argument("--local", action="store_true", help="of the local stack that runs on this machine")
    parser.add_argument("--data", type=Path, default=LOCAL_DATA, help="where that one's state is kept (%(default)s)")


def session(options: argparse.Namespace) -> Any:
    """boto3's session of the given profile and region, or of the environment's. boto3 itself does not read AWS_REGION, as
    AWS's other SDKs do."""
    import boto3

    region = options.region or os.environ.get("AWS_REGION")
    return boto3.Session(profile_name=options.profile, region_name=region)


def clients(options: argparse.Namespace) -> Clients:
    """Makes clients that give up soon: a person waits."""
    from botocore.config import Config

    patience = Config(connect_timeout=5, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 4})
    here = session(options)
    return lambda service: here.client(service, config=patience)


def clients_or_local(options: argparse.Namespace) -> Clients:
    """Of the account, or of the local stack. Raises SignInError where that does not run."""
    if not options.local:
        return clients(options)
    from gust.local import sign_in
    from gust.local.stack import emulator_client

    endpoint, _ = sign_in.running(options.data.resolve())
    return lambda service: emulator_client(service, endpoint)


def find_stack(aws: Clients, name: str) -> Stack | None:
    from botocore.exceptions import ClientError

    try:
        described = aws("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except ClientError as refused:
        # The only reason for which CloudFormation refuses a well-formed name.
        if refused.response["Error"]["Code"] == "ValidationError":
            return None
        raise
    alive = next((each for each in described if each.get("StackStatus") != "DELETE_COMPLETE"), None)
    if alive is None:
        return None
    name, status = alive["StackName"], alive.get("StackStatus", "")
    outputs = {each["OutputKey"]: each["OutputValue"] for each in alive.get("Outputs", [])}
    return Stack(
        name=name,
        status=status,
        outputs=Outputs(name, status, outputs),
        parameters={each["ParameterKey"]: each.get("ParameterValue", "") for each in alive.get("Parameters", [])},
        tags={each["Key"]: each["Value"] for each in alive.get("Tags", [])},
    )


def require_stack(aws: Clients, name: str) -> Stack:
    """Raises AwsError where there is no such stack."""
    found = find_stack(aws, name)
    if found is None:
        where = region_of(aws("cloudformation"))
        raise AwsError(f"there is no stack {name} in {where}; --stack and --region say which one you mean.")
    return found


def region_of(client: Any) -> str:
    meta = getattr(client, "meta", None)
    return str(getattr(meta, "region_name", None) or "this region")


def in_one_line(error: Exception) -> str | None:
    """What a person can do about an error of ours or of the AWS SDK; `None` for any other error."""
    if isinstance(error, GustError):
        return str(error)
    if "botocore" not in sys.modules:
        return None
    import botocore.session
    from botocore import exceptions as aws

    match error:
        case aws.NoRegionError():
            return "no AWS region is set: give --region, or set AWS_REGION."
        case aws.ProfileNotFound():
            others = ", ".join(sorted(botocore.session.Session().available_profiles)) or "none"
            return f"~/.aws has no profile {error.kwargs['profile']}; its profiles: {others}."
        case aws.UnauthorizedSSOTokenError() | aws.SSOTokenLoadError() | aws.TokenRetrievalError():
            return "your AWS sign-in has expired: `aws sso login`, with --profile if you use one."
        case aws.NoCredentialsError() | aws.PartialCredentialsError() | aws.CredentialRetrievalError():
            return "no AWS credentials were found: sign in (`aws sso login`, `aws configure`), or give --profile."
        case (
            aws.EndpointConnectionError()
            | aws.ConnectTimeoutError()
            | aws.ReadTimeoutError()
            | aws.ProxyConnectionError()
        ):
            return f"AWS does not answer ({error}). Is the region's name right, and is there a network?"
        case aws.ParamValidationError():
            return str(error)
        case aws.ClientError():
            return _refused(error)
        case aws.BotoCoreError():
            return str(error)
    return None


def _refused(error: Any) -> str:
    code, message = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
    if code in ("ExpiredToken", "ExpiredTokenException", "RequestExpired"):
        return "your AWS session has expired: sign in again (`aws sso login`), or take new credentials."
    if code in ("InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "AuthFailure"):
        return f"AWS does not accept these credentials ({code})."
    if code in ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation"):
        return f"you may not do this: {message}"
    return f"{error.operation_name} failed: {message or code}"
