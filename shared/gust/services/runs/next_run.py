"""When a timetable's next run is due, and which data interval a manual run has.

Airflow's own timetables are computed here. A plugin's timetable is asked in the parser's function, where its code may run.
That takes longer, but only when such a DAG is activated, makes a run or is triggered.
"""

import secrets
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from string import ascii_letters, digits

from gust.errors import BadRequest
from gust.model.dag import Dag
from gust.model.dag_spec import DagSpec
from gust.model.state import DagRunType
from gust.scheduling import timetable
from gust.scheduling.timetable import DataInterval, NextRun, NoMoment
from gust.services.context import Services


def with_next_run(services: Services, dag: Dag, spec: DagSpec, *, last: NextRun | None, now: datetime) -> Dag:
    """The DAG with the next-run fields that its timetable gives after the automated run `last` (`None`: no run yet)."""
    info = next_run(services, dag, spec, last=last, now=now)
    covered = info.data_interval if info else None
    return replace(
        dag,
        next_logical_date=covered.start if covered else None,
        next_data_interval_start=covered.start if covered else None,
        next_data_interval_end=covered.end if covered else None,
        next_partition_date=info.partition_date if info else None,
        next_partition_key=info.partition_key if info else None,
        next_run_id=info.run_id if info else None,
        next_run_after=info.run_after if info else None,
    )


def described_run(dag: Dag) -> NextRun | None:
    """The run that the DAG's next-run fields describe."""
    if dag.next_run_after is None:
        return None
    start, end = dag.next_data_interval_start, dag.next_data_interval_end
    return NextRun(
        dag.next_run_after,
        DataInterval(start, end) if start and end else None,
        dag.next_partition_date,
        dag.next_partition_key,
        dag.next_run_id,
    )


def next_run(services: Services, dag: Dag, spec: DagSpec, *, last: NextRun | None, now: datetime) -> NextRun | None:
    """The timetable's next run; `None` if there is none. Raises BadRequest if it cannot be computed, e.g. for an interval of
    zero."""
    if not spec.timetable.can_be_scheduled:
        return None
    allowed = timetable.restriction_of(spec)
    if not timetable.can_be_computed(spec.timetable):
        return services.timetables.next_run(
            spec.timetable, dag.bundle_version, file=spec.relative_fileloc, last=last, allowed=allowed
        )
    try:
        return timetable.next_dagrun(
            spec.timetable,
            last=last,
            earliest=allowed.earliest,
            latest=allowed.latest,
            catchup=allowed.catchup,
            now=now,
        )
    except ArithmeticError as problem:
        raise BadRequest(f"The timetable of '{spec.dag_id}' cannot be computed: {problem}") from problem


def runs_between(
    services: Services, dag: Dag, spec: DagSpec, *, earliest: datetime, latest: datetime, now: datetime
) -> Iterator[NextRun]:
    """All runs that the timetable has in a stretch of time, whatever the DAG's own dates."""
    if timetable.can_be_computed(spec.timetable):
        return timetable.runs_between(spec.timetable, earliest, latest, now=now)
    answer = services.timetables.runs_between(
        spec.timetable, dag.bundle_version, file=spec.relative_fileloc, earliest=earliest, latest=latest
    )
    return iter(answer)


def manual_interval(services: Services, dag: Dag, spec: DagSpec, *, run_after: datetime) -> DataInterval:
    """The data interval of a manual run at that logical date."""
    if timetable.can_be_computed(spec.timetable):
        try:
            return timetable.infer_manual_data_interval(spec.timetable, run_after=run_after)
        except (NoMoment, ArithmeticError) as problem:
            raise BadRequest(f"The timetable of '{spec.dag_id}' has no data interval at {run_after}") from problem
    return services.timetables.manual_interval(
        spec.timetable, dag.bundle_version, file=spec.relative_fileloc, run_after=run_after
    )


def run_id_of(services: Services, dag: Dag, spec: DagSpec, run_type: DagRunType, info: NextRun) -> str:
    """The timetable's id for a run. Ids of partitions end in random characters, as Airflow's do: call it once per run."""
    if info.run_id is not None:
        return info.run_id
    if timetable.can_be_computed(spec.timetable) or not spec.timetable.own_run_ids:
        unique = random_part() if timetable.names_are_unique(spec.timetable) else None
        key = info.partition_key if unique else None
        return timetable.generate_run_id(run_type, run_after=info.run_after, partition_key=key, unique=unique)
    return services.timetables.run_id(
        spec.timetable, dag.bundle_version, file=spec.relative_fileloc, run_type=run_type, run=info
    )


def random_part() -> str:
    """Eight letters and digits, which Airflow puts into run ids that would otherwise be equal."""
    return "".join(secrets.choice(ascii_letters + digits) for _ in range(8))
