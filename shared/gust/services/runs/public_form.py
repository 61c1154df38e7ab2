"""A run and a version with the fields of Airflow's public API. The execution API passes the same fields to callbacks."""

from __future__ import annotations

from typing import Any, Final

from gust.model.dag import DagVersion
from gust.model.dag_run import DagRun
from gust.model.field_values import values_of


def dag_run_fields(run: DagRun, version: DagVersion | None) -> dict[str, Any]:
    return {
        "dag_run_id": run.run_id,
        "dag_id": run.dag_id,
        "logical_date": run.logical_date,
        "queued_at": run.queued_at,
        "start_date": run.start_date,
        "end_date": run.end_date,
        "duration": duration(run),
        "data_interval_start": run.data_interval_start,
        "data_interval_end": run.data_interval_end,
        "run_after": run.run_after,
        "last_scheduling_decision": run.last_scheduling_decision,
        "run_type": run.run_type.value,
        "state": run.state.value,
        "triggered_by": run.triggered_by.value if run.triggered_by else None,
        "triggering_user_name": run.triggering_user_name,
        "conf": run.conf,
        "note": run.note,
        "dag_versions": [] if version is None else [dag_version_fields(version)],
        "bundle_version": run.bundle_version,
        "dag_display_name": (version.dag_display_name if version else "") or run.dag_id,
        "partition_key": run.partition_key,
        "partition_date": run.partition_date,
    }


def duration(run: DagRun) -> float | None:
    """Seconds. `None` until the run has ended."""
    if run.start_date is None or run.end_date is None:
        return None
    return (run.end_date - run.start_date).total_seconds()


_plain_of_version: Final = values_of(
    DagVersion, "id", "version_number", "dag_id", "bundle_name", "bundle_version", "created_at"
)


def dag_version_fields(version: DagVersion) -> dict[str, Any]:
    return {
        **_plain_of_version(version),
        "dag_display_name": version.dag_display_name or version.dag_id,
        "bundle_url": None,
    }
