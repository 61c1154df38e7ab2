"""The key rotator's door: EventBridge calls once a month, and `./gust rotate-key` at any time."""

from gust import collector

collector.disable_gc()

import os
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from gust.aws import clients
from gust.aws.key_parameter import KeyParameter
from gust.aws.key_rotation import rotate
from gust.ports.clock import SystemClock

log = Logger(service="key_rotation")
clock = SystemClock()
parameter = KeyParameter(os.environ["GUST_SIGNING_KEYS"], clients.client("ssm"), os.environ.get("GUST_KMS_KEY", ""))
collector.freeze_gc()


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Raises if there could be no new key: Lambda calls again, twice."""
    is_new = rotate(parameter, clock.now())
    log.info("rotating the signing key", is_new=is_new)
    return {"is_new": is_new}
