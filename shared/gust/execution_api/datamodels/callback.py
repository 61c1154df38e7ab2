"""Ours, not Airflow's: what a worker that runs a callback gets and reports. See `routes/callbacks.py`."""

from typing import Any

from gust.execution_api.datamodels.base import Strict, moment
from gust.execution_api.datamodels.dagrun import dag_run_response
from gust.model.callback import CallbackKind
from gust.model.dag import DagVersion
from gust.model.dag_run import DagRun
from gust.model.task_instance import TaskInstance
from gust.services.worker.run_callback import Claimed


class CallbackRunPayload(Strict):
    hostname: str


class CallbackEndPayload(Strict):
    output: str | None = None
    """Why it failed; nothing where it did not."""


def callback_response(claimed: Claimed) -> dict[str, Any]:
    callback = claimed.callback
    return {
        "kind": callback.kind,
        "event": callback.event,
        "reason": callback.reason,
        "dag_run": dag_run_response(claimed.run, claimed.events, claimed.assets),
        "bundle_version": claimed.run.bundle_version,
        "ti": None if claimed.instance is None else _instance(claimed.instance),
        "definition": callback.definition,
        # What a deadline's callable is given, as Airflow gives it.
        "deadline": _deadline(claimed) if callback.kind is CallbackKind.DEADLINE else None,
    }


def _deadline(claimed: Claimed) -> dict[str, Any]:
    callback = claimed.callback
    return {
        "dag_run": public_dag_run(claimed.run, claimed.version),
        "deadline": {"id": str(callback.id), "deadline_time": moment(callback.due_at)},
    }


def _instance(instance: TaskInstance) -> dict[str, Any]:
    return {
        "id": str(instance.key.uuid(instance.try_number)),
        "task_id": instance.task_id,
        "map_index": instance.map_index,
        "try_number": instance.try_number,
        "max_tries": instance.max_tries,
        "hostname": instance.hostname,
        "log_stream": instance.log_stream or instance.hostname,
        "state": instance.state,
        "start_date": moment(instance.start_date),
        "end_date": moment(instance.end_date),
    }


def public_dag_run(run: DagRun, version: DagVersion | None) -> dict[str, Any]:
    """The run as Airflow's public API shows it: the context of a deadline's callable."""
    return {
        "dag_run_id": run.run_id,
        "dag_id": run.dag_id,
        "logical_date": moment(run.logical_date),
        "queued_at": moment(run.queued_at),
        "start_date": moment(run.start_date),
        "end_date": moment(run.end_date),
        "duration": (run.end_date - run.start_date).total_seconds() if run.end_date and run.start_date else None,
        "data_interval_start": moment(run.data_interval_start),
        "data_interval_end": moment(run.data_interval_end),
        "run_after": moment(run.run_after),
        "last_scheduling_decision": moment(run.last_scheduling_decision),
        "run_type": run.run_type.value,
        "state": run.state.value,
        "triggered_by": run.triggered_by.value if run.triggered_by else None,
        "triggering_user_name": run.triggering_user_name,
        "conf": run.conf,
        "note": run.note,
        "dag_versions": [] if version is None else [_version(version)],
        "bundle_version": run.bundle_version,
        "dag_display_name": (version.dag_display_name if version else "") or run.dag_id,
        "partition_key": run.partition_key,
        "partition_date": None,
    }


def _version(version: DagVersion) -> dict[str, Any]:
    return {
        "id": str(version.id),
        "version_number": version.version_number,
        "dag_id": version.dag_id,
        "bundle_name": version.bundle_name,
        "bundle_version": version.bundle_version,
        "created_at": moment(version.created_at),
        "dag_display_name": version.dag_display_name or version.dag_id,
        "bundle_url": None,
    }
