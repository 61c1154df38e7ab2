"""The receiver's door: messages of EventBridge's rules, by way of SQS, and what the queues and streams that operators watch
hold."""

from gust import collector

collector.disable_gc()

import os
from datetime import UTC, datetime
from typing import Any, Final

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from gust import bootstrap
from gust.model.watched_queue import QueueMessage
from gust.model.watched_stream import StreamRecord
from gust.services.events.receive_events import receive_events
from gust.services.events.take_messages import take_messages, unwatch_queue, watch_queue
from gust.services.events.take_records import take_records, unwatch_stream, watch_stream

log = Logger(service="events")
services = bootstrap.from_environment()

OWN_QUEUE: Final = os.environ["GUST_EVENTS_QUEUE_ARN"]
"""Only messages of this queue are believed to be EventBridge's: other programs write into watched queues."""
collector.freeze_gc()


@bootstrap.metrics().flushes
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    match event:
        case {"watch_queue": str(arn)}:
            watch_queue(services, arn)
            return {}
        case {"unwatch_queue": str(arn)}:
            unwatch_queue(services, arn)
            return {}
        case {"watch_stream": str(arn)}:
            watch_stream(services, arn)
            return {}
        case {"unwatch_stream": str(arn)}:
            unwatch_stream(services, arn)
            return {}
    records = event["Records"]
    arn = records[0]["eventSourceARN"]
    if arn.split(":")[2] == "kinesis":
        take_records(services, arn, [_record(record) for record in records])
        log.info("received", stream=arn, records=len(records))
        return {}
    if arn == OWN_QUEUE:
        messages = {record["messageId"]: record["body"] for record in records}
        failed = receive_events(services, messages, delivery=max(map(_delivery, records)))
    else:
        failed = take_messages(services, arn, [_message(record) for record in records])
    log.info("received", queue=arn, messages=len(records), failed=len(failed))
    return {"batchItemFailures": [{"itemIdentifier": name} for name in failed]}


def _delivery(record: dict[str, Any]) -> int:
    return int(record.get("attributes", {}).get("ApproximateReceiveCount", 1))


def _message(record: dict[str, Any]) -> QueueMessage:
    return QueueMessage(
        message_id=record["messageId"],
        receipt_handle=record["receiptHandle"],
        body=record["body"],
        md5_of_body=record["md5OfBody"],
    )


def _record(record: dict[str, Any]) -> StreamRecord:
    about = record["kinesis"]
    return StreamRecord(
        shard_id=record["eventID"].partition(":")[0],
        sequence_number=about["sequenceNumber"],
        partition_key=about["partitionKey"],
        data=about["data"],
        arrived_at=datetime.fromtimestamp(about["approximateArrivalTimestamp"], UTC),
    )
