"""`/api/v2/dags/{dag_id}/dagRuns`: triggering, reading and listing runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Annotated, Any, Final

from pydantic import AwareDatetime, Field, NonNegativeInt, model_validator

from gust.model.dag import DagVersion
from gust.model.dag_run import DagRun
from gust.model.keys import DagRunKey
from gust.model.state import DagRunState, DagRunTriggeredByType, DagRunType
from gust.rest_api.http.request import ALL_PAGES, Body, Json, Problem, Request, bad_request, not_found
from gust.rest_api.http.routing import operation
from gust.rest_api.lists.history import RunSelection, page_of_runs
from gust.rest_api.lists.listing import (
    MAXIMUM_BATCH,
    Ordering,
    Page,
    Paging,
    asked_beside,
    contains,
    holds,
    starts_with,
    with_ranges,
    within,
)
from gust.rest_api.public.dag_versions import dag_version_response
from gust.rest_api.public.dags import existing_dag
from gust.scheduling.timetable import DataInterval
from gust.services.assets.consumed_events import consumed_by
from gust.services.context import Services
from gust.services.runs.create_dag_run import create_dag_run
from gust.services.runs.partition_runs import PartitionWindow
from gust.services.specs import load_spec

# --- answers ----------------------------------------------------------------------------------------------------------


def dag_run_response(run: DagRun, version: DagVersion | None) -> Json:
    return {
        "dag_run_id": run.run_id,
        "dag_id": run.dag_id,
        "logical_date": run.logical_date,
        "queued_at": run.queued_at,
        "start_date": run.start_date,
        "end_date": run.end_date,
        "duration": _duration(run),
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
        "dag_versions": [] if version is None else [dag_version_response(version)],
        "bundle_version": run.bundle_version,
        "dag_display_name": (version.dag_display_name if version else "") or run.dag_id,
        "partition_key": run.partition_key,
        "partition_date": run.partition_date,
    }


def _duration(run: DagRun) -> float | None:
    """Seconds. `None` until the run has ended."""
    if run.start_date is None or run.end_date is None:
        return None
    return (run.end_date - run.start_date).total_seconds()


def versions_reader(services: Services) -> Callable[[str, int], DagVersion | None]:
    """Reads versions for one request, each once: a page of runs shares a few."""
    return lru_cache(maxsize=None)(services.store.get_version)


# --- one run ----------------------------------------------------------------------------------------------------------


class TriggerBody(Body):
    dag_run_id: str | None = None
    data_interval_start: AwareDatetime | None = None
    data_interval_end: AwareDatetime | None = None
    logical_date: AwareDatetime | None
    run_after: datetime | None = None
    conf: dict[str, Any] | None = None
    note: Annotated[str, Field(max_length=1000)] | None = None
    partition_key: str | None = None

    @model_validator(mode="after")
    def both_ends_or_none(self) -> TriggerBody:
        if (self.data_interval_start is None) != (self.data_interval_end is None):
            raise ValueError(
                "Either both data_interval_start and data_interval_end must be provided or both must be None"
            )
        return self

    @property
    def data_interval(self) -> DataInterval | None:
        if self.data_interval_start is None or self.data_interval_end is None:
            return None
        return DataInterval(self.data_interval_start.astimezone(UTC), self.data_interval_end.astimezone(UTC))


@operation("trigger_dag_run")
def trigger_dag_run(services: Services, request: Request) -> Json:
    body = request.body(TriggerBody)
    by_ui = bool(request.headers.get("referer"))
    run = create_dag_run(
        services,
        request.path["dag_id"],
        run_id=body.dag_run_id,
        logical_date=_utc(body.logical_date),
        run_after=_utc(body.run_after),
        data_interval=body.data_interval,
        conf=body.conf,
        note=body.note or None,
        triggered_by=DagRunTriggeredByType.UI if by_ui else DagRunTriggeredByType.REST_API,
        triggering_user_name=request.user.name,
        partition_key=body.partition_key,
    )
    return dag_run_response(run, services.store.get_version(run.dag_id, run.version_number))


@operation("get_dag_run")
def get_dag_run(services: Services, request: Request) -> Json:
    dag_id, run_id = request.path["dag_id"], request.path["dag_run_id"]
    run = services.store.get_run(DagRunKey(dag_id, run_id))
    if run is None:
        raise not_found(f"The DagRun with dag_id: `{dag_id}` and run_id: `{run_id}` was not found")
    return dag_run_response(run, services.store.get_version(dag_id, run.version_number))


# --- lists ------------------------------------------------------------------------------------------------------------


class _DagRunsQuery(Paging):
    conf_contains: str | None = None
    run_type: list[str] = []
    state: list[str] = []
    dag_version: list[int] = []
    bundle_version: str | None = None
    order_by: list[str] = ["id"]
    run_id_pattern: str | None = None
    run_id_prefix_pattern: str | None = None
    triggering_user_name_pattern: str | None = None
    triggering_user_name_prefix_pattern: str | None = None
    dag_id_pattern: str | None = None
    dag_id_prefix_pattern: str | None = None
    partition_key_pattern: str | None = None
    partition_key_prefix_pattern: str | None = None
    consuming_asset_pattern: str | None = None
    partition_date_gte: date | None = None
    partition_date_lte: date | None = None
    cursor: str | None = None


DagRunsQuery = with_ranges(
    with_ranges(_DagRunsQuery, datetime, "run_after", "logical_date", "start_date", "end_date", "updated_at"),
    float,
    "duration",
)


class _DagRunsBatchBody(Body):
    order_by: str | None = None
    page_offset: NonNegativeInt = 0
    page_limit: NonNegativeInt = 100
    dag_ids: list[str] | None = None
    states: list[DagRunState | None] | None = None
    conf_contains: str | None = None


DagRunsBatchBody = with_ranges(
    with_ranges(_DagRunsBatchBody, AwareDatetime, "run_after", "logical_date", "start_date", "end_date"),
    float,
    "duration",
)


def last_change(run: DagRun) -> datetime:
    """Stands in for Airflow's `updated_at`, which Gust does not keep: the latest moment that is known of the run."""
    known = (run.queued_at, run.start_date, run.last_scheduling_decision, run.end_date)
    return max(moment for moment in known if moment is not None)


def _place(run: DagRun) -> datetime:
    """In the index. Stands in for Airflow's id, too, which grows with time: the moment of queueing changes with a clear."""
    return run.run_after


ORDERING: Final = Ordering[DagRun](
    attributes={
        "id": _place,
        "state": lambda r: r.state.value,
        "dag_id": lambda r: r.dag_id,
        "run_id": lambda r: r.run_id,
        "dag_run_id": lambda r: r.run_id,
        "logical_date": lambda r: r.logical_date,
        "partition_date": lambda r: r.partition_date,
        "run_after": _place,
        "start_date": lambda r: r.start_date,
        "end_date": lambda r: r.end_date,
        "updated_at": last_change,
        "conf": lambda r: r.conf,
        "duration": _duration,
    },
    key=lambda r: (r.run_after, r.dag_id, r.run_id),
)

BATCH_ORDERING: Final = ORDERING.limited_to(
    "id", "state", "dag_id", "run_id", "dag_run_id", "logical_date", "run_after", "start_date", "end_date",
    "updated_at", "conf",
)  # fmt: skip


@operation("get_dag_runs")
def get_dag_runs(services: Services, request: Request) -> Json:
    dag_id = request.path["dag_id"]
    query = request.query(DagRunsQuery)
    states, run_types = _states(query.state), _run_types(query.run_type)
    window = _partition_window(services, dag_id, query)
    of_dag = None if dag_id == ALL_PAGES else existing_dag(services, dag_id).dag_id

    def wants_key(key: DagRunKey) -> bool:
        return (
            contains(key.run_id, query.run_id_pattern)
            and starts_with(key.run_id, query.run_id_prefix_pattern)
            and contains(key.dag_id, query.dag_id_pattern)
            and starts_with(key.dag_id, query.dag_id_prefix_pattern)
        )

    def wants(run: DagRun) -> bool:
        return (
            (window is None or window.holds(run))
            and (not states or run.state in states)
            and (not run_types or run.run_type in run_types)
            and (not query.dag_version or run.version_number in query.dag_version)
            and query.bundle_version in (None, "", run.bundle_version)
            and _conf_contains(run, query.conf_contains)
            and contains(run.triggering_user_name, query.triggering_user_name_pattern)
            and starts_with(run.triggering_user_name, query.triggering_user_name_prefix_pattern)
            and contains(run.partition_key, query.partition_key_pattern, alternatives=False)
            and starts_with(run.partition_key, query.partition_key_prefix_pattern, alternatives=False)
            and _consumes(services, run, query.consuming_asset_pattern)
            and within(query, "run_after", run.run_after)
            and within(query, "logical_date", run.logical_date)
            and within(query, "start_date", run.start_date, missing_is=request.now)
            and within(query, "end_date", run.end_date, missing_is=request.now)
            and within(query, "updated_at", last_change(run))
            and within(query, "duration", _duration(run))
        )

    order = ORDERING.resolve(query.order_by)
    asked = asked_beside(query, "state", *_OF_KEYS)
    found = page_of_runs(
        services,
        RunSelection.of(
            query, of_dag, wants_key if asked_beside(query, *(set(type(query).model_fields) - _OF_KEYS)) else None
        ),
        wants,
        order,
        by_time=order.is_by(_place),
        limit=query.limit,
        offset=query.offset,
        cursor=query.cursor,
        states=states,
        wants_all_of_states=not asked,
    )
    return _collection(services, found)


_OF_KEYS: Final = frozenset({"run_id_pattern", "run_id_prefix_pattern", "dag_id_pattern", "dag_id_prefix_pattern"})
"""What filters by a run's key alone."""


def _collection(services: Services, found: Page[DagRun]) -> Json:
    versions = services.store.get_versions({(run.dag_id, run.version_number) for run in found.rows})
    rows = [dag_run_response(run, versions.get((run.dag_id, run.version_number))) for run in found.rows]
    return {"dag_runs": rows, **found.with_cursors()}


@operation("get_list_dag_runs_batch")
def get_list_dag_runs_batch(services: Services, request: Request) -> Json:
    check_is_all(request, "dag_id")
    body = request.body(DagRunsBatchBody)
    dag_ids = frozenset(body.dag_ids or ())

    def wants(run: DagRun) -> bool:
        return (
            (not dag_ids or run.dag_id in dag_ids)
            and (not body.states or run.state in body.states)
            and _conf_contains(run, body.conf_contains)
            and within(body, "run_after", run.run_after)
            and within(body, "logical_date", run.logical_date)
            and within(body, "start_date", run.start_date)
            and within(body, "end_date", run.end_date)
            and within(body, "duration", _duration(run))
        )

    order = BATCH_ORDERING.resolve([body.order_by or "id"])
    only = next(iter(dag_ids)) if len(dag_ids) == 1 else None
    found = page_of_runs(
        services,
        RunSelection.of(body, only, (lambda key: key.dag_id in dag_ids) if len(dag_ids) > 1 else None),
        wants,
        order,
        by_time=order.is_by(_place),
        limit=body.page_limit,
        offset=body.page_offset,
        most=MAXIMUM_BATCH,
        states=body.states or (),
        wants_all_of_states=not asked_beside(body, "states", "dag_ids", "order_by"),
    )
    return _collection(services, found)


def check_is_all(request: Request, *names: str) -> None:
    """Problem 422 where a path parameter is not `~`: operations over everything allow nothing else."""
    for name in names:
        if request.path[name] != ALL_PAGES:
            problem = {
                "type": "literal_error",
                "loc": ["path", name],
                "msg": "Input should be '~'",
                "input": request.path[name],
                "ctx": {"expected": "'~'"},
            }
            raise Problem(422, [problem])


# --- filters ----------------------------------------------------------------------------------------------------------


def _states(given: list[str]) -> list[DagRunState | None]:
    try:
        return [None if state == "none" else DagRunState(state) for state in given]
    except ValueError as unknown:
        raise Problem(422, f"Invalid value for state. Valid values are {', '.join(DagRunState)}") from unknown


def _run_types(given: list[str]) -> list[DagRunType | None]:
    try:
        return [None if run_type == "none" else DagRunType(run_type) for run_type in given]
    except ValueError as unknown:
        raise Problem(422, f"Invalid value for run type. Valid values are {', '.join(DagRunType)}") from unknown


def _partition_window(services: Services, dag_id: str, query: _DagRunsQuery) -> PartitionWindow | None:
    """Whole days on the clock of the timetable's zone; `None` where none are asked for. Problem 400 where the DAG's runs
    are of no partitions."""
    first, last = query.partition_date_gte, query.partition_date_lte
    if first is None and last is None:
        return None
    if dag_id == ALL_PAGES:
        raise bad_request("partition_date_gte and partition_date_lte require a specific dag_id.")
    spec = load_spec(services.objects, existing_dag(services, dag_id).spec_key)
    if not spec.timetable.partitioned:
        raise bad_request(
            f"Dag with dag_id: '{dag_id}' is not partitioned; "
            "partition_date_gte and partition_date_lte are not supported."
        )
    return PartitionWindow.asked(
        spec.timetable,
        datetime.combine(first, time.min) if first else None,
        datetime.combine(last + timedelta(days=1), time.min) if last else None,
        excludes_end=True,
    )


def _conf_contains(run: DagRun, text: str | None) -> bool:
    """Substring of the conf's JSON text, as PostgreSQL writes it."""
    return not text or text in json.dumps(run.conf, ensure_ascii=False)


def _consumes(services: Services, run: DagRun, text: str | None) -> bool:
    """Whether an event of an asset whose name or URI holds the text is among those that the run was made of."""
    return not text or any(holds(e.name, text) or holds(e.uri, text) for e in consumed_by(services, run))


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
