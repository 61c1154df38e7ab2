"""The parser's door. It runs DAG files and plugins, so its role reaches the bucket and the execution API, but no table.

An event is one of three:

- a batch of a deployment's plan, from the state machine: `{"plan": key, "batch": number, "give_up": bool}`; `give_up` is
  true when earlier tries died too often;
- a question to a timetable that a plugin brings: `{"timetable": …}`, see `gust.aws.timetables`;
- a question about installed plugins and providers: `{"inventory": …}`, see `gust.aws.inventory`.
"""

from gust import collector

collector.disable_gc()

import os
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from gust import wiring
from gust.airflow_bridge.inventory import answer_about_installation
from gust.airflow_bridge.parse import parse_batch
from gust.airflow_bridge.timetable import answer_for_plugin
from gust.aws import clients
from gust.aws.invoke import LambdaInvoker

log = Logger(service="parser")
collector.freeze_gc()


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    if "inventory" in event:
        return answer_about_installation(wiring.bucket(), event)
    if "timetable" in event:
        return answer_for_plugin(wiring.bucket(), event)
    return parse(event, context)


def parse(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Parse a batch as far as time allows; the state machine invokes again while `finished` is false."""
    finished = parse_batch(
        wiring.bucket(),
        event["plan"],
        event["batch"],
        give_up=event.get("give_up", False),
        time_left=lambda: context.get_remaining_time_in_millis() / 1000,
        invoke=LambdaInvoker(os.environ["GUST_EXECUTION_API_FUNCTION"], clients.client("lambda")),
    )
    log.info("parsed", plan=event["plan"], batch=event["batch"], finished=finished)
    return {"plan": event["plan"], "batch": event["batch"], "finished": finished}
