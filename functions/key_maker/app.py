"""The key maker's door: CloudFormation asks for the stack's keys when it creates, changes or deletes the stack."""

from gust import collector

collector.disable_gc()

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.config import Config

from gust.aws import clients
from gust.aws.key_maker import KeyMaker, answered

log = Logger(service="key_maker")
PATIENCE = clients.CONFIG.merge(Config(connect_timeout=3, read_timeout=5))
"""All calls together end before the function's time does: CloudFormation must get its answer."""

maker = KeyMaker(lambda service: clients.client(service, PATIENCE))
collector.freeze_gc()


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> None:
    if "ResponseURL" not in event:
        raise ValueError("Only CloudFormation asks for keys")
    log.info("keys", request=event["RequestType"], stack=event["StackId"], status=answered(event, maker.handle))
