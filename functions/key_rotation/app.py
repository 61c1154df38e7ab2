"""The key rotator's door: Secrets Manager asks for one step after the other, each with the rotation's token."""

import os
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from gust import bootstrap
from gust.aws.key_rotation import KeyRotation
from gust.ports.clock import SystemClock

log = Logger(service="key_rotation")
clock = SystemClock()
secret = os.environ["GUST_SIGNING_SECRET"]
rotation = KeyRotation(secret, bootstrap.client("secretsmanager"))


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Raises if the step failed: Secrets Manager repeats it."""
    if event["SecretId"] != secret:
        raise ValueError(f"{event['SecretId']} is not the secret that tokens are signed with")
    rotation.step(event["Step"], event["ClientRequestToken"], clock.now())
    log.info("rotating the signing key", step=event["Step"], token=event["ClientRequestToken"])
