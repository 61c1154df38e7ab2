"""The deployer's door: the steps of a deployment that run no DAG file (`functions/parser` runs them)."""

from gust import collector

collector.disable_gc()

import os
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from gust import bootstrap
from gust.services.deployments import deploy_bundle
from gust.services.deployments.activate_bundle import activate
from gust.services.deployments.deploy_bundle import snapshot
from gust.services.deployments.fail_deployment import fail_deployment

log = Logger(service="dag_processor")
services = cache(bootstrap.from_environment)

PAUSED_AT_CREATION = os.environ.get("GUST_DAGS_ARE_PAUSED_AT_CREATION", "True").lower() in ("true", "t", "1")
"""Whether a new DAG is paused unless it says so itself; Airflow's `[core] dags_are_paused_at_creation`."""

PARSERS = int(os.environ.get("GUST_PARSERS", str(deploy_bundle.PARSERS)))
collector.freeze_gc()


@bootstrap.metrics().flushes
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """One step of the state machine: `{"step": "snapshot" | "activate" | "fail", …}`."""
    match event["step"]:
        case "snapshot":
            answer = snapshot(services(), event["deployment"], parsers=PARSERS).to_event()
        case "activate":
            answer = activate(
                services(), event["plan"], event["deployment"], paused_at_creation=PAUSED_AT_CREATION
            ).to_event()
        case "fail":
            fail_deployment(services(), event["deployment"], event["error"])
            answer = {}
        case step:
            raise ValueError(f"deploy_bundle has no step {step!r}")
    log.info("deploying", step=event["step"], answer=answer)
    return answer
