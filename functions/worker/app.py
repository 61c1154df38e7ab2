"""The worker's door: one message is one dispatch of a try, one callback, or one test of a connection.

A message that fails comes again after seconds; a message whose function dies while it prepares for long, after a minute
(`Receipt`).
"""

from typing import Any

from gust import collector
from gust.airflow_bridge import leftovers, own_credentials, warm

collector.disable_gc()
credentials = own_credentials.hide()
if leftovers.is_on_lambda():
    leftovers.clear()
bundles_root = warm.set_environment()

import itertools
import logging
import os
import sys
from dataclasses import replace

from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import TypeAdapter

from gust import wiring
from gust.airflow_bridge import immortal, surroundings
from gust.airflow_bridge.bundle import SealedBundleFolder
from gust.airflow_bridge.execute import run_try
from gust.airflow_bridge.nursery import Nursery
from gust.airflow_bridge.preparers import Preparers
from gust.airflow_bridge.task_log import stream_name
from gust.airflow_bridge.worker_ports import WorkerPorts, do_nothing
from gust.aws import clients
from gust.aws.logs import LogShipper
from gust.aws.queues import Receipt
from gust.errors import Stale, StaleCallback, StaleTaskInstance
from gust.function_log import function_log
from gust.model.workload import CallbackWorkload, ConnectionTestWorkload, ForWorker, TaskWorkload

warm.warm_up_for_tasks(bundles_root)
children = Nursery(surroundings.look_at_modules)
credentials.restore()

log = function_log("worker", sys.stderr)
logging.getLogger("worker").propagate = False  # Airflow's handler would write it a second time
objects = wiring.bucket()
megabytes = int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "0")) or None
bundles = SealedBundleFolder(objects, bundles_root, architecture=os.environ.get("GUST_ARCHITECTURE", ""))
wired = WorkerPorts(
    invoke=wiring.execution_api(),
    objects=objects,
    bundles=bundles,
    sink=LogShipper(clients.client("logs"), os.environ["GUST_LOG_GROUP"], stream_name()),
    children=children,
    preparers=Preparers(children, megabytes, say=log.info),
    tidy=leftovers.Leftovers(kept=bundles.folders).remove if leftovers.is_on_lambda() else do_nothing,
    megabytes=megabytes,
)
tasks = itertools.count(1)
for_worker: TypeAdapter[ForWorker] = TypeAdapter(ForWorker)


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    failed = []
    for record in event["Records"]:
        receipt = Receipt.of(record, wiring.receipts(), os.environ["GUST_TASK_QUEUE_URL"])
        ports = replace(wired, remaining=context.get_remaining_time_in_millis() / 1000, hide=receipt.hide)
        try:
            work(for_worker.validate_json(record["body"]), ports)
        except Exception:
            log.exception("A task's message could not be worked off", message_id=record["messageId"])
            receipt.give_back()
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}


def work(workload: ForWorker, ports: WorkerPorts) -> None:
    match workload:
        case TaskWorkload():
            run(workload, ports)
        case CallbackWorkload():
            call(workload, ports)
        case ConnectionTestWorkload():
            test(workload, ports)


def run(workload: TaskWorkload, ports: WorkerPorts) -> None:
    names = workload.names
    try:
        exit_code = run_try(workload, ports)
    except StaleTaskInstance as stale:
        log.info("stale", reason=str(stale), **names)
    else:
        # The execution API's line about the report of a success has the same names.
        tell = log.info if exit_code else log.debug
        tell("ran", exit_code=exit_code, **names)
        if next(tasks) == immortal.IMMORTALIZE_AFTER_TASKS and ports.preparers is not None:
            ports.preparers.mark()


def call(workload: CallbackWorkload, ports: WorkerPorts) -> None:
    from gust.airflow_bridge.callback import run_callback  # most workers never need it

    names = workload.model_dump(include={"dag_id", "run_id", "callback_id", "correlation_id"})
    try:
        output = run_callback(workload, ports)
    except StaleCallback as stale:
        log.info("stale", reason=str(stale), **names)
    else:
        log.info("called", output=output, **names)


def test(workload: ConnectionTestWorkload, ports: WorkerPorts) -> None:
    from gust.airflow_bridge.connection_test import run_connection_test  # most workers never need it

    names = workload.model_dump(include={"test_id", "connection_id"})
    try:
        state = run_connection_test(workload, ports)
    except Stale as stale:
        log.info("stale", reason=str(stale), **names)
    else:
        log.info("tested", state=state, **names)
