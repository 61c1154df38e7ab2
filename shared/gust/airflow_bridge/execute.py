"""Run one dispatch of one try, so that its end is reported once however it ends: start, run under `supervisor`, report."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from airflow.dag_processing.bundles.base import BaseDagBundle, BundleVersion
from airflow.sdk.exceptions import TaskAlreadyRunningError

from gust.airflow_bridge.supervisor import (
    TaskInstance,
    TaskInstanceState,
    TryClient,
    detail_of,
    stale_if_gone,
    supervise_try,
)
from gust.airflow_bridge.task_log import try_logger
from gust.airflow_bridge.worker_ports import WorkerPorts
from gust.aws.queues import HIDDEN_FOR
from gust.errors import StaleTaskInstance, Unopenable
from gust.model.keys import TASK_INSTANCE_NAMESPACE
from gust.model.workload import TaskWorkload


def run_try(workload: TaskWorkload, ports: WorkerPorts) -> int:
    """Run the dispatch to its end and report it; returns the exit code of the task's process.

    Raises StaleTaskInstance where the dispatch is no longer wanted (nothing was run). Any other error comes from before the
    try was started, or its end could not be reported: the message may come again, and finds out."""
    client = TryClient(ports, workload, ports.sink.of_stream(workload.log_stream))
    try:
        with stale_if_gone(lambda error: StaleTaskInstance(f"{workload.key}: {detail_of(error)}", None)):
            return _run(workload, client)
    except TaskAlreadyRunningError as error:
        raise StaleTaskInstance(str(error), None) from error
    finally:
        client.transport.send_held()
        ports.sink.flush()


def _run(workload: TaskWorkload, client: TryClient) -> int:
    ti = _task_instance(workload)
    if workload.refused:
        return _fail(client, ti, workload.refused)
    try:
        _fetch(workload, client)
        if client.ports.leave(client.environment, (str(client.bundle), workload.relative_fileloc)):
            _fetch(workload, client)
    except Unopenable as error:
        return _fail(client, ti, str(error))
    return supervise_try(client, ti)


def _fetch(workload: TaskWorkload, client: TryClient) -> None:
    """Raises Unopenable."""
    bundles = client.ports.bundles
    if not bundles.has(str(workload.bundle_version)):
        client.ports.hide(HIDDEN_FOR)  # fetching takes a while
    client.bundle = bundles.fetch(str(workload.bundle_version))
    if not bundles.has_environment(client.bundle, workload.relative_fileloc):
        client.ports.hide(HIDDEN_FOR)
    client.environment = bundles.fetch_environment(client.bundle, workload.relative_fileloc)


def _task_instance(workload: TaskWorkload) -> TaskInstance:
    return TaskInstance(**workload.names_of_try, dag_version_id=_dag_version_id(workload), queue=workload.queue)


def _dag_version_id(workload: TaskWorkload) -> UUID:
    return uuid5(TASK_INSTANCE_NAMESPACE, f"{workload.dag_id}\x1f{workload.version_number}")


def _fail(client: TryClient, ti: TaskInstance, reason: str) -> int:
    """Start the try and fail it, with the reason in its log."""
    context = client.task_instances.start(ti.id, os.getpid(), datetime.now(tz=UTC))
    client.sink.let_go()
    try_logger(client.sink, str(ti.id)).error(reason)
    client.mark_end_of_log()
    now = datetime.now(tz=UTC)
    if context.should_retry:
        client.task_instances.retry(id=ti.id, end_date=now, rendered_map_index=None)
    else:
        client.task_instances.finish(id=ti.id, state=TaskInstanceState.FAILED, when=now, rendered_map_index=None)
    return 1


class UnpackedBundle(BaseDagBundle):  # type: ignore[misc]  # untyped to us
    """A bundle as `BundleFolder` left it below `root`. Airflow asks for it by version; it never changes."""

    supports_versioning = True

    def __init__(self, *, root: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._root = Path(root)

    @property
    def path(self) -> Path:
        return (self._root / str(self.version)).resolve()  # a link, where a person's own folder is the bundle

    def get_current_version(self) -> BundleVersion:
        return BundleVersion(version=str(self.version))

    def refresh(self) -> None:
        """Nothing to do: a version is immutable."""
