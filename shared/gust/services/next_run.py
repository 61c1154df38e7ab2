"""When a timetable's next run is due, and what a person's run covers.

Airflow's own timetables are computed here. One that a plugin brought is asked where its code may run: in the function that
parses DAG files. That takes its time, but only when such a DAG is activated, makes a run or is triggered.
"""

from dataclasses import replace
from datetime import datetime

from gust.model.dag import Dag
from gust.model.dag_spec import DagSpec
from gust.scheduling import timetable
from gust.scheduling.timetable import DataInterval, NextRun
from gust.services.context import Services


def with_next_run(services: Services, dag: Dag, spec: DagSpec, *, last: DataInterval | None, now: datetime) -> Dag:
    """The DAG with the next-run fields its timetable gives after the automated interval `last` (`None`: had none)."""
    info = next_run(services, dag, spec, last=last, now=now)
    return replace(
        dag,
        next_logical_date=info.logical_date if info else None,
        next_data_interval_start=info.data_interval.start if info else None,
        next_data_interval_end=info.data_interval.end if info else None,
        next_run_after=info.run_after if info else None,
    )


def next_run(
    services: Services, dag: Dag, spec: DagSpec, *, last: DataInterval | None, now: datetime
) -> NextRun | None:
    if not spec.timetable.can_be_scheduled:
        return None
    allowed = timetable.restriction_of(spec)
    if not timetable.can_be_computed(spec.timetable):
        return services.timetables.next_run(spec.timetable, dag.bundle_version, last=last, allowed=allowed)
    return timetable.next_dagrun(
        spec.timetable,
        last_automated_interval=last,
        earliest=allowed.earliest,
        latest=allowed.latest,
        catchup=allowed.catchup,
        now=now,
    )


def manual_interval(services: Services, dag: Dag, spec: DagSpec, *, run_after: datetime) -> DataInterval:
    """The data interval of a run that a person asks for at that logical date."""
    if timetable.can_be_computed(spec.timetable):
        return timetable.infer_manual_data_interval(spec.timetable, run_after=run_after)
    return services.timetables.manual_interval(spec.timetable, dag.bundle_version, run_after=run_after)
