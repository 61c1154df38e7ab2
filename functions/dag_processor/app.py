"""The DAG processor's doors. `lambda_handler` (uploads, snapshot, activate) never runs a DAG file; `parse` does nothing else.

They are two functions in `template.yaml`, because who runs strangers' code gets no table.
"""

from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from gust import bootstrap
from gust.services.context import Services
from gust.services.deploy_bundle import Activation, Snapshot, activate, snapshot

log = Logger(service="dag_processor")
services = cache(bootstrap.from_environment)


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """SQS's batch of bucket events, or one step of the state machine: `{"step": "snapshot" | "activate", …}`."""
    if "Records" in event:
        return on_upload(event)
    match event["step"]:
        case "snapshot":
            result: Snapshot | Activation = snapshot(services())
        case "activate":
            result = activate(services(), event["plan"])
        case step:
            raise ValueError(f"deploy_bundle has no step {step!r}")
    log.info(event["step"], **result.to_event())
    return result.to_event()


def on_upload(event: dict[str, Any]) -> dict[str, Any]:
    """Files came, changed or went: deploy. One deployment covers all that the batch tells of, whatever it tells.

    The name is the first message's, so that a batch delivered twice deploys once.
    """
    name = f"upload-{event['Records'][0]['messageId']}"
    bootstrap.deployments().start(name)
    log.info("deploying", deployment=name, messages=len(event["Records"]))
    return {}


def parse(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """One batch of a plan: `{"plan": key, "batch": number, "give_up": whether earlier tries died too often}`."""
    from gust.airflow_bridge.parse import parse_batch

    done = parse_batch(bootstrap.bucket(), event["plan"], event["batch"], give_up=event.get("give_up", False))
    log.info("parsed", plan=event["plan"], batch=event["batch"], files=done)
    return {"files": done}
