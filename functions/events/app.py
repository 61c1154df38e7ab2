"""The receiver's door: messages of EventBridge's rules, by way of SQS."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from gust import bootstrap
from gust.services.events.receive_events import receive_events

log = Logger(service="events")
services = bootstrap.from_environment()


@bootstrap.metrics().flushes
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    failed = receive_events(services, {record["messageId"]: record["body"] for record in event["Records"]})
    log.info("received", messages=len(event["Records"]), failed=len(failed))
    return {"batchItemFailures": [{"itemIdentifier": name} for name in failed]}
