"""A worker on a host of the operator's: `python -m gust.host_worker` takes tasks off one queue, one after the other.

`./gust worker` starts as many as tasks shall run at the same time (`gust.cli.worker_host`). A worker runs the code of the
Lambda worker without Lambda's time limit. It ends once its standard input has ended and its task, if it has one, too. So a
host that is told to stop finishes its tasks, also where the process that started the workers was killed. SIGTERM ends the
task at once; its try is reported as lost.
"""

from gust import collector
from gust.airflow_bridge import own_credentials, warm

collector.disable_gc()
credentials = own_credentials.hide()
bundles_root = warm.set_environment()

import logging  # noqa: E402
import os  # noqa: E402
import select  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from dataclasses import replace  # noqa: E402
from typing import Any, Final  # noqa: E402

from botocore.config import Config  # noqa: E402
from botocore.exceptions import BotoCoreError, ClientError  # noqa: E402

from gust import wiring  # noqa: E402
from gust.airflow_bridge import surroundings  # noqa: E402
from gust.airflow_bridge.execute import run_try  # noqa: E402
from gust.airflow_bridge.nursery import Nursery  # noqa: E402
from gust.airflow_bridge.packages_of_host import PackagesOfHost  # noqa: E402
from gust.airflow_bridge.preparers import Preparers  # noqa: E402
from gust.airflow_bridge.task_log import stream_name  # noqa: E402
from gust.airflow_bridge.worker_ports import WorkerPorts  # noqa: E402
from gust.aws import clients  # noqa: E402
from gust.aws.logs import LogShipper  # noqa: E402
from gust.aws.queues import HIDDEN_FOR, Receipt, is_outdated  # noqa: E402
from gust.errors import StaleTaskInstance  # noqa: E402
from gust.model.workload import TaskWorkload  # noqa: E402

POLL: Final = 20
"""Seconds of one request for a message, SQS's most: an idle worker costs 130,000 requests a month, five cents."""

PATIENCE: Final = clients.CONFIG.merge(Config(read_timeout=POLL + 10))

TRIES_AGAIN_AFTER: Final = 5.0
"""Seconds after SQS has refused to answer."""

log = logging.getLogger("gust.host_worker")


def main() -> int:
    queue_url = os.environ["GUST_TASK_QUEUE_URL"]
    warm.warm_up_for_tasks(bundles_root)
    children = Nursery(surroundings.look_at_modules)
    credentials.restore()
    objects = wiring.bucket()
    ports = WorkerPorts(
        invoke=wiring.execution_api(),
        objects=objects,
        bundles=PackagesOfHost(objects, bundles_root, architecture=os.environ.get("GUST_ARCHITECTURE", "")),
        sink=LogShipper(clients.client("logs"), os.environ["GUST_LOG_GROUP"], stream_name()),
        children=children,
        preparers=Preparers(children, say=log.info),
    )
    sqs = clients.client("sqs", PATIENCE)
    while not is_told_to_end():
        for message in receive(sqs, queue_url):
            receipt = Receipt(wiring.receipts(), queue_url, message["ReceiptHandle"], received(message))
            if is_told_to_end():
                receipt.hide(0)  # for another worker, at once
            elif is_outdated(message, time.time()) or work(message["Body"], replace(ports, hide=receipt.hide)):
                sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
            else:
                receipt.give_back()
    return 0


def is_told_to_end(*, within: float = 0) -> bool:
    """Whether standard input has ended; waits for that for some seconds at most."""
    readable, _, _ = select.select([sys.stdin], [], [], within)
    return bool(readable) and not os.read(sys.stdin.fileno(), 1)


def receive(sqs: Any, queue_url: str) -> list[dict[str, Any]]:
    """One message, or none where none came in `POLL` seconds or SQS does not answer."""
    try:
        answer = sqs.receive_message(
            QueueUrl=queue_url,
            MaxNumberOfMessages=1,
            WaitTimeSeconds=POLL,
            VisibilityTimeout=HIDDEN_FOR,
            AttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
        )
    except (ClientError, BotoCoreError) as error:
        log.warning("SQS gives no message: %s", error)
        is_told_to_end(within=TRIES_AGAIN_AFTER)
        return []
    return list(answer.get("Messages", ()))


def received(message: dict[str, Any]) -> int:
    return int(message.get("Attributes", {}).get("ApproximateReceiveCount", 1))


def work(body: str, ports: WorkerPorts) -> bool:
    """Run the task of a message. Returns whether the message has been worked off."""
    try:
        workload = TaskWorkload.model_validate_json(body)
        exit_code = run_try(workload, ports)
    except StaleTaskInstance as stale:
        log.warning("stale: %s", stale)
    except Exception:
        log.exception("A task's message could not be worked off")
        return False
    else:
        log.warning("ran %s: exit code %d, correlation id %s", workload.key, exit_code, workload.correlation_id)
    return True


if __name__ == "__main__":
    sys.exit(main())
