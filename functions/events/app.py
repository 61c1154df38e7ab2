"""The receiver's door: messages of EventBridge's rules, by way of SQS."""

from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from gust import bootstrap
from gust.services.events.receive_events import receive_events

log = Logger(service="events")
services = bootstrap.from_environment()


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    received = receive_events(services, {record["messageId"]: record["body"] for record in event["Records"]})
    log.info("received", messages=len(event["Records"]), failed=len(received.failed), refused=received.refused)
    if received.refused:
        count_refused(received.refused)
    return {"batchItemFailures": [{"itemIdentifier": name} for name in received.failed]}


def count_refused(number: int) -> None:
    """The metric EventsRefused, as a line of the log, which CloudWatch reads: it costs nothing where nothing is refused."""
    metrics = Metrics(namespace="Gust", service="events")
    metrics.add_metric(name="EventsRefused", unit=MetricUnit.Count, value=number)
    metrics.flush_metrics()
