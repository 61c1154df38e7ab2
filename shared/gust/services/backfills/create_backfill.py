"""Create a backfill: plan its runs, once, and store it; `advance_backfill` makes the runs.

Rules and words: `airflow/models/backfill.py`.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from gust.errors import AlreadyExists, BadRequest, Conflict, NotFound, Rejected, StaleBackfill
from gust.model.backfill import Backfill, ReprocessBehavior
from gust.model.dag import Dag
from gust.model.dag_spec import DagSpec
from gust.model.state import DagRunType
from gust.model.workload import WakeBackfill
from gust.scheduling import timetable
from gust.scheduling.timetable import NextRun
from gust.services.backfills.advance_backfill import make_runs
from gust.services.backfills.backfill_plan import date_of, existing_runs, is_made, planned_runs, written
from gust.services.context import Services
from gust.services.runs.create_dag_run import allows
from gust.services.runs.params import validated_params
from gust.services.specs import load_spec

LOOKED_AFTER_WITHIN: Final = timedelta(seconds=60)
"""The request that makes the first runs may die; the tick continues after this time."""

LONGEST_PLAN: Final = 100_000


class Unacceptable(Rejected, status=422):
    """The backfill is refused with a message that names no field, as in Airflow."""


class BackfillRequest(BaseModel):
    """The request. Both dates are aware and included; their time zones matter to partitions."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    dag_id: str
    from_date: datetime
    to_date: datetime
    run_backwards: bool = False
    dag_run_conf: dict[str, Any] | None = None
    reprocess_behavior: ReprocessBehavior = ReprocessBehavior.NONE
    max_active_runs: int = 10
    run_on_latest_version: bool | None = None


def create_backfill(services: Services, request: BackfillRequest, *, user: str | None) -> Backfill:
    """Store the backfill and make its first runs; wake-ups make the others.

    Raises NotFound, BadRequest (backfills are no run type of the DAG), Conflict (it has an active one) and Unacceptable.
    """
    now = services.clock.now()
    dag, spec = backfillable(services, request.dag_id)
    if any(backfill.is_active for backfill in services.store.list_backfills(request.dag_id)):
        raise already_running(request.dag_id)
    check(spec, request, now=now)
    plan = plan_of(services, dag, spec, request, now=now)
    if not plan:
        dates = f"[{request.from_date}, {request.to_date}]"
        raise Unacceptable(f"No runs to create for Dag {request.dag_id} in the range {dates}")
    backfill = Backfill(
        backfill_id=services.store.next_backfill_id(),
        dag_id=request.dag_id,
        from_date=request.from_date.astimezone(UTC),
        to_date=request.to_date.astimezone(UTC),
        dag_run_conf=request.dag_run_conf,
        reprocess_behavior=request.reprocess_behavior,
        max_active_runs=request.max_active_runs,
        run_on_latest_version=runs_on_latest_version(spec, request),
        triggering_user_name=user,
        correlation_id=services.correlation_id or None,
        created_at=now,
        updated_at=now,
        version_number=dag.version_number,
        spec_key=dag.spec_key,
        bundle_version=None if spec.disable_bundle_versioning else dag.bundle_version,
        planned=len(plan),
        due_at=now + LOOKED_AFTER_WITHIN,
    )
    try:
        services.store.create_backfill(backfill, [written(run) for run in plan])
    except AlreadyExists as other:
        raise already_running(request.dag_id) from other
    with suppress(StaleBackfill):
        backfill = make_runs(services, backfill)
    if not backfill.is_made or backfill.unfinished_runs == 0:
        services.queues.wake(WakeBackfill(backfill_id=backfill.backfill_id, at=now))
    return backfill


def dry_run(services: Services, request: BackfillRequest) -> list[NextRun]:
    """The runs that the backfill would make, or run again. Raises as `create_backfill` does, but for Conflict."""
    now = services.clock.now()
    dag, spec = backfillable(services, request.dag_id)
    check(spec, request, now=now)
    plan = plan_of(services, dag, spec, request, now=now)
    existing = existing_runs(services, request.dag_id, plan)
    return [run for run in plan if is_made(existing.get(date_of(run)), request.reprocess_behavior)]


# --- what may be asked ------------------------------------------------------------------------------------------------


def backfillable(services: Services, dag_id: str) -> tuple[Dag, DagSpec]:
    dag = services.store.get_dag(dag_id)
    if dag is None:
        raise NotFound(f"Could not find dag {dag_id}")
    spec = load_spec(services.objects, dag.spec_key)
    if not allows(dag, DagRunType.BACKFILL_JOB):
        raise BadRequest(f"Dag with dag_id: '{dag_id}' does not allow backfill runs")
    if not spec.timetable.periodic:
        raise Unacceptable(f"{dag_id} has a non-periodic schedule that does not support backfills")
    return dag, spec


def already_running(dag_id: str) -> Conflict:
    return Conflict(f"There is already a running backfill for dag {dag_id}")


def check(spec: DagSpec, request: BackfillRequest, *, now: datetime) -> None:
    if request.from_date > request.to_date:
        dates = request.from_date.isoformat(), request.to_date.isoformat()
        raise Unacceptable(f"from_date ({dates[0]}) must not be after to_date ({dates[1]}).")
    if request.from_date >= now:
        raise Unacceptable("Backfill cannot be executed for future dates.")
    if any(task.depends_on_past for task in spec.tasks.values()):
        if request.run_backwards:
            raise Unacceptable("Backfill cannot be run in reverse when the Dag has tasks where depends_on_past=True.")
        if request.reprocess_behavior is ReprocessBehavior.NONE:
            raise Unacceptable(
                "Dag has tasks for which depends_on_past=True. "
                "You must set reprocess behavior to reprocess completed or reprocess failed."
            )
    try:
        validated_params(spec, request.dag_run_conf)
    except BadRequest as problem:
        raise Unacceptable(str(problem)) from problem


def runs_on_latest_version(spec: DagSpec, request: BackfillRequest) -> bool:
    """The request's choice, else the DAG's, else True: backfills' default."""
    choices = (request.run_on_latest_version, spec.rerun_with_latest_version, True)
    return next(answer for answer in choices if answer is not None)


def plan_of(services: Services, dag: Dag, spec: DagSpec, request: BackfillRequest, *, now: datetime) -> list[NextRun]:
    plan: list[NextRun] = []
    # One run beyond the end may be planned: the last one, whose interval may not be over yet.
    is_too_long = (
        timetable.fewest_between(spec.timetable, request.from_date, min(request.to_date, now)) > LONGEST_PLAN + 1
    )
    if not is_too_long:
        all_runs = planned_runs(services, dag, spec, request.from_date, request.to_date, now=now)
        plan = list(islice(all_runs, LONGEST_PLAN + 1))
    if is_too_long or len(plan) > LONGEST_PLAN:
        raise Unacceptable(f"The range has more than {LONGEST_PLAN} runs: choose a shorter range")
    return plan[::-1] if request.run_backwards else plan
