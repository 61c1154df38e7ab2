"""`/api/v2/dags/{dag_id}/dagRuns`: triggering, reading and listing runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Annotated, Any, Final

from pydantic import AwareDatetime, Field, NonNegativeInt, model_validator

from gust.http.answer import Json, Problem, bad_request, not_found
from gust.model.dag import DagVersion
from gust.model.dag_run import DagRun
from gust.model.keys import DagRunKey
from gust.model.state import DagRunState, DagRunTriggeredByType, DagRunType
from gust.rest_api.http.request import ALL_PAGES, Body, Request
from gust.rest_api.http.routing import operation
from gust.rest_api.lists.filters import (
    RUN_KEYS,
    Elsewhere,
    Filter,
    Filters,
    ListQuery,
    between,
    equal,
    holds,
    member_of,
    narrows,
    one_of,
    query_of,
    search,
    where,
)
from gust.rest_api.lists.history import RunSelection, page_of_runs
from gust.rest_api.lists.listing import MAXIMUM_BATCH, Ordering, Page, named
from gust.rest_api.public.dags import existing_dag
from gust.scheduling.timetable import DataInterval
from gust.services.assets.consumed_events import consumed_by
from gust.services.context import Services
from gust.services.runs.create_dag_run import create_dag_run
from gust.services.runs.partition_runs import PartitionWindow
from gust.services.runs.public_form import dag_run_fields, duration
from gust.services.specs import load_spec

# --- answers ----------------------------------------------------------------------------------------------------------


def versions_reader(services: Services) -> Callable[[str, int], DagVersion | None]:
    """A reader that reads each version once per request: a page of runs shares a few."""
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

    def asked(self) -> dict[str, Any]:
        """The arguments of `create_dag_run` that the body names."""
        return {
            "run_id": self.dag_run_id,
            "logical_date": _utc(self.logical_date),
            "run_after": _utc(self.run_after),
            "data_interval": self.data_interval,
            "conf": self.conf,
            "note": self.note or None,
            "partition_key": self.partition_key,
        }


@operation("trigger_dag_run")
def trigger_dag_run(services: Services, request: Request) -> Json:
    body = request.body(TriggerBody)
    by_ui = bool(request.headers.get("referer"))
    run = create_dag_run(
        services,
        request.path["dag_id"],
        **body.asked(),
        triggered_by=DagRunTriggeredByType.UI if by_ui else DagRunTriggeredByType.REST_API,
        triggering_user_name=request.user.name,
    )
    return dag_run_fields(run, services.store.get_version(run.dag_id, run.version_number))


@operation("get_dag_run")
def get_dag_run(services: Services, request: Request) -> Json:
    run = existing_run(services, DagRunKey(request.path["dag_id"], request.path["dag_run_id"]))
    return dag_run_fields(run, services.store.get_version(run.dag_id, run.version_number))


def existing_run(services: Services, key: DagRunKey) -> DagRun:
    """The run. Problem 404."""
    run = services.store.get_run(key)
    if run is None:
        raise not_found(f"The DagRun with dag_id: `{key.dag_id}` and run_id: `{key.run_id}` was not found")
    return run


# --- lists ------------------------------------------------------------------------------------------------------------


class _DagRunsQuery(ListQuery):
    cursor: str | None = None
    consuming_asset_pattern: Annotated[str | None, Elsewhere("read of the events that a run consumed")] = None
    partition_date_gte: Annotated[date | None, Elsewhere("a day in the timetable's zone, see _partition_window")] = None
    partition_date_lte: Annotated[date | None, Elsewhere("a day in the timetable's zone, see _partition_window")] = None


class _DagRunsBatchBody(Body):
    order_by: str | None = None
    page_offset: NonNegativeInt = 0
    page_limit: NonNegativeInt = 100


def last_change(run: DagRun) -> datetime:
    """The latest of the run's timestamps, in place of Airflow's `updated_at`, which Gust does not store."""
    known = (run.queued_at, run.start_date, run.last_scheduling_decision, run.end_date)
    return max(moment for moment in known if moment is not None)


def _place(run: DagRun) -> datetime:
    """The run's position in the index; also in place of Airflow's id, which grows with time (`queued_at` changes with a
    clear)."""
    return run.run_after


def _conf_contains(run: DagRun, text: str) -> bool:
    """Substring of the conf's JSON text, as PostgreSQL writes it."""
    return not text or text in json.dumps(run.conf, ensure_ascii=False)


STATE: Final[Filter[DagRun]] = member_of("state", DagRunState, lambda r: r.state)
FILTERS: Final = Filters[DagRun](
    STATE,
    member_of("run_type", DagRunType, lambda r: r.run_type, called="run type"),
    one_of("dag_version", int, lambda r: r.version_number),
    equal("bundle_version", str, lambda r: r.bundle_version, blank_is_any=True),
    where("conf_contains", str, _conf_contains),
    search("triggering_user_name", lambda r: r.triggering_user_name),
    search("partition_key", lambda r: r.partition_key, alternatives=False),
    between("run_after", datetime, _place),
    between("logical_date", datetime, lambda r: r.logical_date),
    between("start_date", datetime, lambda r: r.start_date, missing_is_now=True),
    between("end_date", datetime, lambda r: r.end_date, missing_is_now=True),
    between("updated_at", datetime, last_change),
    between("duration", float, duration),
)
DagRunsQuery: Final = query_of(_DagRunsQuery, FILTERS, RUN_KEYS)

BATCH_DAGS: Final[Filter[DagRunKey]] = one_of("dag_ids", str, lambda key: key.dag_id)
BATCH_STATES: Final[Filter[DagRun]] = one_of("states", DagRunState | None, lambda r: r.state)
BATCH_KEYS: Final = Filters[DagRunKey](BATCH_DAGS)
BATCH_FILTERS: Final = Filters[DagRun](
    BATCH_STATES,
    where("conf_contains", str, _conf_contains),
    between("run_after", AwareDatetime, _place),
    between("logical_date", AwareDatetime, lambda r: r.logical_date),
    between("start_date", AwareDatetime, lambda r: r.start_date),
    between("end_date", AwareDatetime, lambda r: r.end_date),
    between("duration", float, duration),
)
DagRunsBatchBody: Final = query_of(_DagRunsBatchBody, BATCH_KEYS, BATCH_FILTERS)

ORDERING: Final = Ordering[DagRun](
    attributes={
        "id": _place,
        "state": lambda r: r.state.value,
        "dag_id": lambda r: r.dag_id,
        "run_id": lambda r: r.run_id,
        "dag_run_id": lambda r: r.run_id,
        **named("logical_date", "partition_date"),
        "run_after": _place,
        **named("start_date", "end_date"),
        "updated_at": last_change,
        "conf": lambda r: r.conf,
        "duration": duration,
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
    window = _partition_window(services, dag_id, query)
    of_dag = None if dag_id == ALL_PAGES else existing_dag(services, dag_id).dag_id
    matches, order = FILTERS.matches(query, request.now), ORDERING.resolve(query.order_by)

    def passes(run: DagRun) -> bool:
        return (
            (window is None or window.holds(run))
            and matches(run)
            and _consumes(services, run, query.consuming_asset_pattern)
        )

    found = page_of_runs(
        services,
        RunSelection.of(query, of_dag, RUN_KEYS.predicate(query)),
        passes,
        order,
        by_time=order.is_by(_place),
        limit=query.limit,
        offset=query.offset,
        cursor=query.cursor,
        states=STATE.value(query),
        filters_states_only=not narrows(query, except_={"state", *RUN_KEYS.fields}),
    )
    return _collection(services, found)


def _collection(services: Services, found: Page[DagRun]) -> Json:
    versions = services.store.get_versions({(run.dag_id, run.version_number) for run in found.rows})
    rows = [dag_run_fields(run, versions.get((run.dag_id, run.version_number))) for run in found.rows]
    return {"dag_runs": rows, **found.with_cursors()}


@operation("get_list_dag_runs_batch")
def get_list_dag_runs_batch(services: Services, request: Request) -> Json:
    check_is_all(request, "dag_id")
    body = request.body(DagRunsBatchBody)
    dag_ids = frozenset(BATCH_DAGS.value(body))
    order = BATCH_ORDERING.resolve([body.order_by or "id"])
    only = next(iter(dag_ids)) if len(dag_ids) == 1 else None
    found = page_of_runs(
        services,
        RunSelection.of(body, only, BATCH_KEYS.predicate(body) if len(dag_ids) > 1 else None),
        BATCH_FILTERS.matches(body),
        order,
        by_time=order.is_by(_place),
        limit=body.page_limit,
        offset=body.page_offset,
        maximum=MAXIMUM_BATCH,
        states=BATCH_STATES.value(body),
        filters_states_only=not narrows(body, except_={"states", "dag_ids"}),
    )
    return _collection(services, found)


def check_is_all(request: Request, *names: str) -> None:
    """Problem 422 if one of the path parameters is not `~`, which batch lists require."""
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


def _partition_window(services: Services, dag_id: str, query: _DagRunsQuery) -> PartitionWindow | None:
    """Whole days in the timetable's zone; `None` without a filter. Problem 400 if the DAG is not partitioned."""
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
    return PartitionWindow.between(
        spec.timetable,
        datetime.combine(first, time.min) if first else None,
        datetime.combine(last + timedelta(days=1), time.min) if last else None,
        excludes_end=True,
    )


def _consumes(services: Services, run: DagRun, text: str | None) -> bool:
    """Whether the run consumed an event of an asset whose name or URI contains the text."""
    return not text or any(holds(e.name, text) or holds(e.uri, text) for e in consumed_by(services, run))


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
