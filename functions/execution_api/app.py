"""The workers' door to the control plane: Airflow's Task Execution API. See `gust.execution_api.app`."""

import sys
from typing import Any

from aws_lambda_powertools.logging import Logger

from gust import bootstrap
from gust.execution_api.app import ExecutionApi

log = Logger(service="execution_api", location=None, stream=sys.stderr)
api = ExecutionApi(bootstrap.from_environment(), log=log)


@bootstrap.metrics().flushes
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return api(event, context)
