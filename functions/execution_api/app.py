"""The workers' door to the control plane: Airflow's Task Execution API. See `gust.execution_api.app`."""

from gust import collector

collector.disable_gc()

import sys
from typing import Any

from gust import bootstrap
from gust.execution_api.app import ExecutionApi
from gust.function_log import function_log

log = function_log("execution_api", sys.stderr)
api = ExecutionApi(bootstrap.from_environment(), log=log)
collector.freeze_gc()


@bootstrap.metrics().flushes
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return api(event, context)
