"""Make DagRuns: for API users and operators, and for timetables when they are due.

Making a run is one conditional write. Nothing is decided here: the stream carries the write to the scheduler, which starts
the run.
"""

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from gust.errors import AlreadyExists, BadRequest, NotFound, StaleDag
from gust.model.dag import Dag
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec
from gust.model.keys import DagRunKey
from gust.model.state import DagRunState, DagRunTriggeredByType, DagRunType
from gust.scheduling.timetable import (
    PARTITIONED_AT_RUNTIME,
    DataInterval,
    NextRun,
    can_be_computed,
    partition_date_of,
)
from gust.services.context import Services
from gust.services.runs.create_asset_runs import create_asset_runs
from gust.services.runs.deadlines import create_run_with_deadlines
from gust.services.runs.load_past import last_automated_run
from gust.services.runs.new_run import NOTICED_WITHIN, described_by, version_of
from gust.services.runs.next_run import described_run, manual_interval, run_id_of, with_next_run
from gust.services.runs.params import validated_params
from gust.services.specs import load_spec
from gust.services.wake import wake_timetable

RUN_ID_PATTERN: Final = re.compile(r"^[A-Za-z0-9_.~:+-]+$")
"""Airflow's `[scheduler] allowed_run_id_pattern`, at its default."""

MAX_RUN_ID_LENGTH: Final = 250

REPARSED_EVERY: Final = timedelta(seconds=30)
"""Airflow's `[dag_processor] min_file_process_interval`, at its default."""


def create_dag_run(
    services: Services,
    dag_id: str,
    *,
    run_id: str | None = None,
    logical_date: datetime | None = None,
    run_after: datetime | None = None,
    data_interval: DataInterval | None = None,
    conf: dict[str, Any] | None = None,
    note: str | None = None,
    run_type: DagRunType = DagRunType.MANUAL,
    triggered_by: DagRunTriggeredByType,
    triggering_user_name: str | None = None,
    partition_key: str | None = None,
) -> DagRun:
    """Make one run of the DAG's newest version, as Airflow's trigger does.

    Raises NotFound (no such DAG), BadRequest with the reason (import errors, a run type the DAG does not allow, an
    unacceptable run id or conf) and AlreadyExists (the run id, or the logical date, is taken).
    """
    now = services.clock.now()
    dag = services.store.get_dag(dag_id)
    if dag is None or dag.is_stale:
        raise NotFound(f"Dag with dag_id: '{dag_id}' not found")
    if dag.has_import_errors:
        raise BadRequest(f"Dag with dag_id: '{dag_id}' has import errors and cannot be triggered")
    if not allows(dag, run_type):
        raise BadRequest(f"Dag with dag_id: '{dag_id}' does not allow {run_type} runs")
    spec = load_spec(services.objects, dag.spec_key)

    run_after = run_after or now
    partition_date = checked_partition(spec, partition_key)
    if logical_date is None:
        data_interval = None
    elif data_interval is None:
        # Airflow computes the interval of an operator's run as of now, whatever its logical date.
        asked_about = run_after if run_type is DagRunType.OPERATOR_TRIGGERED else logical_date
        data_interval = manual_interval(services, dag, spec, run_after=asked_about)
    run_id = run_id or run_id_of(services, dag, spec, run_type, NextRun(run_after, data_interval))
    check_run_id(run_id, run_type)
    if run_type is DagRunType.OPERATOR_TRIGGERED:
        check_not_too_early(spec, logical_date)
    try:
        validated_params(spec, conf)
    except BadRequest as refused:
        # An existing run takes precedence for an operator: it may clear or skip it (Airflow's `trigger_dag`).
        if run_type is DagRunType.OPERATOR_TRIGGERED and services.store.get_run(DagRunKey(dag_id, run_id)):
            raise AlreadyExists(f"DAG {dag_id!r} has a run {run_id!r} already") from refused
        raise

    run = DagRun(
        dag_id=dag_id,
        run_id=run_id,
        run_type=run_type,
        state=DagRunState.QUEUED,
        run_after=run_after,
        queued_at=now,
        logical_date=logical_date,
        data_interval_start=data_interval.start if data_interval else None,
        data_interval_end=data_interval.end if data_interval else None,
        conf=conf or {},
        note=note,
        triggered_by=triggered_by,
        triggering_user_name=triggering_user_name,
        partition_key=partition_key,
        partition_date=partition_date,
        due_at=run_after if run_after > now else now + NOTICED_WITHIN,
        **version_of(dag, spec),
    )
    return create_run_with_deadlines(services, run, spec)


def create_due_runs(services: Services, dag_id: str) -> list[DagRun]:
    """Make the scheduled runs that are due by now, as many as `max_active_runs` has room for, and the asset-triggered ones.

    Each run is made in one transaction that also moves the DAG's next-run fields, so that a second scheduler, or the
    same message again, makes no run twice and misses none. A run without room waits for another to finish. After moving the
    next-run fields it sends the wake-up for the next run, which may be due before the next tick.
    """
    made: list[DagRun] = []
    has_moved = False
    now = services.clock.now()
    while (dag := services.store.get_dag(dag_id)) and is_due(dag, now):
        spec = load_spec(services.objects, dag.spec_key)
        if (newer := skipped_ahead(services, dag, spec, now)) is not None:
            with suppress(StaleDag):
                services.store.put_dag(dag, newer)
            continue
        # The index may not show the newest runs yet. A run that has started meanwhile then counts twice; the missing
        # ones are made when it ends.
        waiting = {run.key for run in made}.union(services.store.queued_runs(dag_id, limit=dag.max_active_runs))
        if dag.running_runs + len(waiting) >= dag.max_active_runs:
            break
        run = scheduled_run(services, dag, spec, now)
        try:
            moving = (dag, after_run(services, dag, spec, now))
            run = create_run_with_deadlines(services, run, spec, moving=moving)
        except AlreadyExists:
            # A manual run has this logical date or run id: the timetable continues behind it, as Airflow's does.
            services.store.put_dag(dag, after_run(services, dag, spec, now))
            has_moved = True
        except StaleDag:
            continue
        else:
            made.append(run)
            has_moved = True
    if has_moved and dag is not None and not is_due(dag, now):
        wake_timetable(services, dag, now=now)
    if dag is not None and dag.is_asset_triggered:
        made += create_asset_runs(services, dag)
    return made


def skipped_ahead(services: Services, dag: Dag, spec: DagSpec, now: datetime) -> Dag | None:
    """The DAG with a later run as its next one, if it has no catchup and the present one found no room for so long that a
    newer one is due; else `None`. Airflow's parser computes the next run anew every half minute."""
    if spec.catchup or dag.next_run_after is None or dag.next_run_after > now - REPARSED_EVERY:
        return None
    last = last_automated_run(services, dag.dag_id, partitioned=spec.timetable.partitioned)
    newer = with_next_run(services, dag, spec, last=last, now=now)
    if newer.next_run_after is None or not dag.next_run_after < newer.next_run_after <= now:
        return None
    return newer


def is_due(dag: Dag, now: datetime) -> bool:
    """Whether the DAG's next run is due. A DAG that does not allow scheduled runs keeps its next-run fields, as in Airflow,
    and makes none."""
    may_be_made = not dag.is_paused and not dag.is_stale and allows(dag, DagRunType.SCHEDULED)
    return may_be_made and dag.next_run_after is not None and dag.next_run_after <= now


def allows(dag: Dag, run_type: DagRunType) -> bool:
    return dag.allowed_run_types is None or run_type in dag.allowed_run_types


def scheduled_run(services: Services, dag: Dag, spec: DagSpec, now: datetime) -> DagRun:
    """The run that the DAG's next-run fields describe."""
    info = described_run(dag)
    if info is None:
        raise ValueError(f"{dag.dag_id} has no next run")
    return DagRun(
        dag_id=dag.dag_id,
        run_id=run_id_of(services, dag, spec, DagRunType.SCHEDULED, info),
        run_type=DagRunType.SCHEDULED,
        state=DagRunState.QUEUED,
        queued_at=now,
        **described_by(info),
        triggered_by=DagRunTriggeredByType.TIMETABLE,
        due_at=now + NOTICED_WITHIN,
        **version_of(dag, spec),
    )


def after_run(services: Services, dag: Dag, spec: DagSpec, now: datetime) -> Dag:
    """The DAG with its next-run fields moved to the run after the one they describe now."""
    return with_next_run(services, dag, spec, last=described_run(dag), now=now)


def checked_partition(spec: DagSpec, partition_key: str | None) -> datetime | None:
    """The moment that the key stands for; `None` if the timetable's keys stand for none. Raises BadRequest in Airflow's
    words."""
    if partition_key is None:
        return None
    if not spec.timetable.partitioned and spec.timetable.type != PARTITIONED_AT_RUNTIME:
        raise BadRequest(f"Dag '{spec.dag_id}' is not a partitioned Dag and does not accept a partition_key.")
    if not partition_key.strip():
        raise BadRequest("partition_key must not be empty or whitespace-only.")
    if len(partition_key) > MAX_RUN_ID_LENGTH:
        raise BadRequest(f"partition_key must be at most {MAX_RUN_ID_LENGTH} characters; got {len(partition_key)}.")
    if not can_be_computed(spec.timetable):
        return None
    try:
        return partition_date_of(spec.timetable, partition_key)
    except ValueError as problem:
        key_format = spec.timetable.data.get("key_format")
        raise BadRequest(
            f"Partition key {partition_key!r} does not match the timetable's key_format {key_format!r}: {problem}"
        ) from problem


def check_not_too_early(spec: DagSpec, logical_date: datetime | None) -> None:
    """Raises BadRequest for a logical date before the start. Airflow checks this only for operators, and only the start date
    in `default_args`."""
    start = spec.default_args.get("start_date")
    if logical_date is not None and start and logical_date < _aware(datetime.fromisoformat(start)):
        raise BadRequest(
            f"Logical date [{logical_date.isoformat()}] should be >= start_date [{start}] from Dag's default_args"
        )


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def check_run_id(run_id: str, run_type: DagRunType) -> None:
    """Airflow's rules for run ids. Raises BadRequest in Airflow's words."""
    if ".." in run_id:
        raise BadRequest(f"The run_id '{run_id}' must not contain '..' to prevent path traversal")
    if len(run_id) > MAX_RUN_ID_LENGTH:
        raise BadRequest(f"The run_id is {len(run_id)} characters long; {MAX_RUN_ID_LENGTH} are allowed")
    if not RUN_ID_PATTERN.match(run_id):
        raise BadRequest(f"The run_id provided '{run_id}' does not match regex pattern '{RUN_ID_PATTERN.pattern}'")
    reserved = next((t for t in DagRunType if run_id.startswith(f"{t.value}__")), DagRunType.MANUAL)
    if run_type is DagRunType.MANUAL and reserved is not DagRunType.MANUAL:
        raise BadRequest(
            f"A {run_type.value} DAG run cannot use ID {run_id!r} since it is reserved for {reserved.value} runs"
        )
