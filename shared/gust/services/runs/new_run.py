"""Fields of every new run, however it is made: its version, and the moment after which the tick finds it."""

from datetime import timedelta
from typing import Any, Final

from gust.model.dag import Dag
from gust.model.dag_spec import DagSpec
from gust.scheduling.timetable import NextRun

NOTICED_WITHIN: Final = timedelta(seconds=60)
"""The stream announces a new run to the scheduler at once. If that record is lost, the tick finds the run after this time.
A running task is found lost after the same time at the earliest, so the run's first decision need not change `due_at`."""


def version_of(dag: Dag, spec: DagSpec) -> dict[str, Any]:
    """The fields of a run that pin it to the DAG's newest version."""
    return {
        "version_number": dag.version_number,
        "spec_key": dag.spec_key,
        "bundle_version": None if spec.disable_bundle_versioning else dag.bundle_version,
    }


def described_by(info: NextRun) -> dict[str, Any]:
    """The fields of a run that say when it is made and what it covers."""
    covered = info.data_interval
    return {
        "run_after": info.run_after,
        "logical_date": info.logical_date,
        "data_interval_start": covered.start if covered else None,
        "data_interval_end": covered.end if covered else None,
        "partition_key": info.partition_key,
        "partition_date": info.partition_date,
    }
