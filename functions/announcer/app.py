"""The announcer's door: records of the table's stream, each a transition that the world may hear of."""

from gust import collector

collector.disable_gc()

import os
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from gust import bootstrap
from gust.services.events.announce import Announcer, Told
from gust.store.announcements import announcement_in

log = Logger(service="announcer")
announcer = Announcer(
    bootstrap.from_environment(),
    told=Told(os.environ["GUST_TELL_EVENTS"]),
    alerts=os.environ["GUST_HAS_ALERTS"] == "true",
    stack=os.environ["GUST_STACK"],
    base_url=os.environ["AIRFLOW__API__BASE_URL"],
)
collector.freeze_gc()


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Raises where EventBridge refuses an event: the stream delivers the batch again, and readers know its events by their
    ids."""
    found = []
    for record in event["Records"]:
        try:
            announcement = announcement_in(record)
        except (ValueError, LookupError, TypeError):
            log.exception("A record could not be read; it is dropped", keys=record.get("dynamodb", {}).get("Keys"))
            continue
        if announcement is not None:
            found.append(announcement)
    log.info("announced", records=len(event["Records"]), events=announcer.announce(found))
    return {"batchItemFailures": []}
