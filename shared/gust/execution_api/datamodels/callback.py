"""Requests and answers of a worker that runs a callback; Gust's own. See `routes/callbacks.py`."""

from datetime import datetime
from typing import Any
from uuid import UUID

from gust.execution_api.datamodels.base import Strict, moment
from gust.execution_api.datamodels.dagrun import dag_run_response
from gust.model.callback import CallbackKind
from gust.model.dag import DagVersion
from gust.model.dag_run import DagRun
from gust.model.task_instance import TaskInstance
from gust.services.runs.public_form import dag_run_fields, dag_version_fields
from gust.services.worker.run_callback import Claimed


class CallbackRunPayload(Strict):
    hostname: str


class CallbackEndPayload(Strict):
    output: str | None = None
    """Why the callback failed; `None` if it succeeded."""


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
        # Airflow's context of a deadline's callable.
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
    versions = [] if version is None else [_plain(dag_version_fields(version))]
    return _plain(dag_run_fields(run, version) | {"partition_date": None, "dag_versions": versions})


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields, with text for moments and UUIDs."""

    def plain(value: Any) -> Any:
        match value:
            case datetime():
                return moment(value)
            case UUID():
                return str(value)
            case _:
                return value

    return {name: plain(value) for name, value in fields.items()}
