"""The triggerer's door: one message, one life of one trigger.

A function runs one trigger at a time, because a trigger may block its event loop: it then delays no other. Waiting costs
nothing, because a trigger that sleeps is parked.
"""

from typing import Any

from gust import collector
from gust.airflow_bridge import leftovers, own_credentials, warm

collector.disable_gc()
credentials = own_credentials.hide()
if leftovers.is_on_lambda():
    leftovers.clear()
bundles_root = warm.set_environment()

import logging
import os
import sys
from dataclasses import replace

from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import TypeAdapter

from gust import wiring
from gust.airflow_bridge import surroundings
from gust.airflow_bridge.bundle import SealedBundleFolder
from gust.airflow_bridge.nursery import Nursery
from gust.airflow_bridge.task_log import stream_name
from gust.airflow_bridge.trigger import End, run_trigger
from gust.airflow_bridge.worker_ports import WorkerPorts, do_nothing
from gust.aws import clients
from gust.aws.logs import LogShipper
from gust.aws.queues import Receipt
from gust.errors import StaleTaskInstance, StaleWatcher
from gust.function_log import function_log
from gust.model.workload import ForTriggerer, TriggerWorkload, WatcherWorkload

warm.import_once(warm.TRIGGER_MODULES)
collector.freeze_gc()
children = Nursery(surroundings.look_at_modules)
credentials.restore()

log = function_log("triggerer", sys.stderr)
logging.getLogger("triggerer").propagate = False  # Airflow's handler would write it a second time
objects = wiring.bucket()
bundles = SealedBundleFolder(objects, bundles_root)
wired = WorkerPorts(
    invoke=wiring.execution_api(),
    objects=objects,
    bundles=bundles,
    sink=LogShipper(clients.client("logs"), os.environ["GUST_LOG_GROUP"], stream_name()),
    children=children,
    tidy=leftovers.Leftovers(kept=bundles.folders).remove if leftovers.is_on_lambda() else do_nothing,
)
for_triggerer: TypeAdapter[ForTriggerer] = TypeAdapter(ForTriggerer)


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    failed = []
    for record in event["Records"]:
        receipt = Receipt.of(record, wiring.receipts(), os.environ["GUST_TRIGGER_QUEUE_URL"])
        receipt.hide()
        ports = replace(wired, remaining=context.get_remaining_time_in_millis() / 1000, hide=receipt.hide)
        try:
            if work(for_triggerer.validate_json(record["body"]), ports) is End.EARLY:
                failed.append({"itemIdentifier": record["messageId"]})
        except Exception:
            log.exception("A trigger's message could not be worked off", message_id=record["messageId"])
            receipt.give_back()
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}


def work(workload: ForTriggerer, ports: WorkerPorts) -> End | None:
    match workload:
        case TriggerWorkload():
            return run(workload, ports)
        case WatcherWorkload():
            watch(workload, ports)
            return None


def watch(workload: WatcherWorkload, ports: WorkerPorts) -> None:
    from gust.airflow_bridge.watcher import run_watcher  # few stacks have any

    names = workload.model_dump(include={"watcher_id", "life"})
    try:
        end = run_watcher(workload, ports)
    except StaleWatcher as stale:
        log.info("stale", reason=str(stale), **names)
    else:
        log.info(end, **names)


def run(workload: TriggerWorkload, ports: WorkerPorts) -> End | None:
    names = workload.names
    try:
        end = run_trigger(workload, ports)
    except StaleTaskInstance as stale:
        log.info("stale", reason=str(stale), **names)
        return None
    log.info(end, **names)
    return end
