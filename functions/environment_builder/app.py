"""The builder's door: one step of the state machine deploy_bundle, one recipe."""

from gust import collector

collector.disable_gc()

import os
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from gust import wiring
from gust.environment_builder.build import build, give_up, refuse
from gust.environment_builder.index_variables import index_variables
from gust.environment_builder.uv import Refused, Uv
from gust.model.environment import Build, room

log = Logger(service="environment_builder")

LARGEST = room(int(os.environ["GUST_STORAGE"])) * 1_000_000
"""Bytes, unpacked. The storage is that of the largest worker: TaskStorage, or in a stack with Fargate the most that this
function and the parser have."""

STORES_FOR = 60.0
"""Seconds of the function's time that are kept for the steps after uv."""
collector.freeze_gc()


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """`{"build": …}`; with `error`, the error that Step Functions caught, if the builder died during the build."""
    order = Build.model_validate(event["build"])
    if "error" in event:
        built = give_up(wiring.bucket(), order, event["error"].get("Cause") or event["error"]["Error"])
    else:
        patience = context.get_remaining_time_in_millis() / 1000 - STORES_FOR
        try:
            variables = index_variables(wiring.package_index_secret(), os.environ)
        except Refused as refused:
            built = refuse(wiring.bucket(), order, str(refused))
        else:
            built = build(wiring.bucket(), order, Uv(patience=patience, variables=variables), largest=LARGEST)
    log.info("built", recipe=order.recipe, built=built.model_dump(exclude={"lock"}))
    return {"archive": built.archive, "problem": built.problem}
