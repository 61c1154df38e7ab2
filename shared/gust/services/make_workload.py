"""Makes the messages to worker and triggerer about an instance: what to run, and a token for this dispatch."""

from datetime import datetime
from typing import Any

from gust.model.callback import Callback
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec
from gust.model.place import Place, Refused, describe
from gust.model.task_instance import TaskInstance
from gust.model.workload import CallbackWorkload, TaskWorkload, TriggerWorkload
from gust.services.context import Services


def bundle_version(services: Services, run: DagRun) -> str | None:
    """The bundle that the run's tasks and triggers load; the newest one if the DAG turned bundle versioning off."""
    if run.bundle_version is not None:
        return run.bundle_version
    dag = services.store.get_dag(run.dag_id)
    return dag.bundle_version if dag else None


def task_workload(
    services: Services,
    spec: DagSpec,
    run: DagRun,
    instance: TaskInstance,
    where: Place,
    *,
    bundle: str | None,
    now: datetime,
) -> TaskWorkload:
    task = spec.tasks[instance.task_id]
    return TaskWorkload(
        **_dispatch(services, run, instance, now),
        max_tries=instance.max_tries,
        version_number=run.version_number,
        **_file_of(spec, bundle),
        queue=task.queue,
        pool=task.pool,
        pool_slots=task.pool_slots,
        priority_weight=task.priority_weight,
        place=describe(where),
        modules=spec.modules,
        same_parse=spec.same_parse,
        refused=where.why if isinstance(where, Refused) else "",
    )


def trigger_workload(
    services: Services,
    run: DagRun,
    instance: TaskInstance,
    *,
    bundle: str | None,
    relative_fileloc: str,
    now: datetime,
    wake_at: datetime | None = None,
    sleeps_passed: int = 0,
    is_poller: bool = False,
    looks: int = 0,
    place: str = "",
    woken: int = 0,
) -> TriggerWorkload:
    """The arguments from `wake_at` on say where a parked trigger continues. Without that it continues where its last long
    sleep left it, or starts."""
    if wake_at is None and instance.trigger is not None:
        at_rest = instance.trigger
        sleeps_passed, is_poller = at_rest.sleeps_passed, at_rest.is_poller
        looks, place = at_rest.looks, at_rest.place
    return TriggerWorkload(
        **_dispatch(services, run, instance, now),
        bundle_version=bundle,
        relative_fileloc=relative_fileloc,
        wake_at=wake_at,
        sleeps_passed=sleeps_passed,
        is_poller=is_poller,
        looks=looks,
        place=place,
        woken=woken,
    )


def callback_workload(
    services: Services, spec: DagSpec, run: DagRun, callback: Callback, *, bundle: str | None, now: datetime
) -> CallbackWorkload:
    return CallbackWorkload(
        dag_id=callback.dag_id,
        run_id=callback.run_id,
        callback_id=callback.callback_id,
        dispatch_count=callback.dispatch_count,
        **_file_of(spec, bundle),
        token=services.tokens.for_callback(callback, now=now),
        correlation_id=run.correlation_id or "",
    )


def _file_of(spec: DagSpec, bundle: str | None) -> dict[str, Any]:
    return {"bundle_name": spec.bundle_name, "bundle_version": bundle, "relative_fileloc": spec.relative_fileloc}


def _dispatch(services: Services, run: DagRun, instance: TaskInstance, now: datetime) -> dict[str, Any]:
    return {
        "dag_id": instance.dag_id,
        "run_id": instance.run_id,
        "task_id": instance.task_id,
        "map_index": instance.map_index,
        "try_number": instance.try_number,
        "dispatch_count": instance.dispatch_count,
        "token": services.tokens.for_dispatch(instance, now=now, run=run),
        "log_stream": instance.log_stream,
        "correlation_id": run.correlation_id or "",
    }
