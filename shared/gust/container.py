"""The worker as a container: `python -m gust.container` runs one dispatch of one try, and exits.

It runs the same code as the Lambda worker, without Lambda's time limit. Its workload lies in the bucket, under the key
that `GUST_WORKLOAD` names. When the container gets SIGTERM (a Spot interruption, or StopTask), Airflow's supervisor
ends the task and reports the try as lost. Exit codes: 0 after the end of the try was reported, 75 (`NOT_ITS_TASK`) if
another container runs the dispatch, or a user has cleared or marked it. The state machine tells the scheduler of every end.
"""

from gust import collector
from gust.airflow_bridge import own_credentials, warm

collector.disable_gc()
credentials = own_credentials.hide()
bundles_root = warm.set_environment()

import logging  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from typing import Final  # noqa: E402

from gust import wiring  # noqa: E402
from gust.airflow_bridge.bundle import SealedBundleFolder  # noqa: E402
from gust.airflow_bridge.execute import run_try  # noqa: E402
from gust.airflow_bridge.nursery import Nursery  # noqa: E402
from gust.airflow_bridge.task_log import stream_name  # noqa: E402
from gust.airflow_bridge.worker_ports import WorkerPorts  # noqa: E402
from gust.aws import clients  # noqa: E402
from gust.aws.logs import LogShipper  # noqa: E402
from gust.errors import StaleTaskInstance  # noqa: E402
from gust.model.container_start import host  # noqa: E402
from gust.model.place import NOT_ITS_TASK  # noqa: E402
from gust.model.workload import TaskWorkload  # noqa: E402

TERMINATED: Final = 128 + signal.SIGTERM
"""Exit code of a container that is told to stop before its task runs."""

log = logging.getLogger("gust.container")


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(TERMINATED))  # it is process 1, for which the default is to go on
    key = os.environ.pop("GUST_WORKLOAD")
    os.environ["GUST_LOG_STREAM"] = host(key, os.environ)
    warm.import_once(warm.TASK_MODULES)
    children = Nursery()
    credentials.restore()
    objects = wiring.bucket()
    workload = TaskWorkload.model_validate_json(objects.get(key))
    ports = WorkerPorts(
        invoke=wiring.execution_api(),
        objects=objects,
        bundles=SealedBundleFolder(objects, bundles_root, architecture=os.environ.get("GUST_ARCHITECTURE", "")),
        sink=LogShipper(clients.client("logs"), os.environ["GUST_LOG_GROUP"], stream_name()),
        children=children,
    )
    try:
        exit_code = run_try(workload, ports)
    except StaleTaskInstance as stale:
        log.warning("stale: %s", stale)
        return NOT_ITS_TASK
    log.warning("ran %s: exit code %d, correlation id %s", workload.key, exit_code, workload.correlation_id)
    return 0


if __name__ == "__main__":
    sys.exit(main())
