"""`/api/v2/dags`: DAGs, their details, and pausing them."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from datetime import datetime
from typing import Any, Final, Literal

from gust.model.dag import Dag
from gust.model.dag_spec import DagSpec
from gust.model.run_state import RunSummary
from gust.model.state import DagRunState, DagRunType
from gust.rest_api.access.favorites import FAVORITES, favorite_name
from gust.rest_api.access.file_tokens import file_token
from gust.rest_api.access.permissions import may_edit
from gust.rest_api.http.request import (
    Answer,
    Body,
    Json,
    Problem,
    Query,
    Request,
    bad_request,
    not_found,
    unique_constraint,
)
from gust.rest_api.http.routing import operation
from gust.rest_api.lists.listing import (
    Ordering,
    Paging,
    contains,
    has_range,
    holds,
    page,
    starts_with,
    with_ranges,
    within,
)
from gust.rest_api.public.asset_expression import asset_expression
from gust.rest_api.public.dag_versions import dag_version_response
from gust.rest_api.public.tasks import params_response
from gust.services.context import Services
from gust.services.people.delete_dag import delete_dag as delete_dag_and_history
from gust.services.people.pause_dag import set_paused
from gust.services.specs import load_spec
from gust.store.parallel import Parallel

_together: Final = Parallel()


# --- answers ----------------------------------------------------------------------------------------------------------


def dag_response(dag: Dag) -> Json:
    display_name = dag.dag_display_name or dag.dag_id
    return {
        "dag_id": dag.dag_id,
        "dag_display_name": display_name,
        "is_paused": dag.is_paused,
        "is_stale": dag.is_stale,
        "last_parsed_time": dag.last_parsed_time,
        "last_parse_duration": dag.last_parse_duration,
        "last_expired": None,
        "bundle_name": dag.bundle_name,
        "bundle_version": dag.bundle_version,
        "relative_fileloc": dag.relative_fileloc,
        "fileloc": dag.fileloc,
        "description": dag.description,
        "timetable_summary": dag.timetable_summary,
        "timetable_description": dag.timetable_description,
        "timetable_partitioned": dag.timetable_partitioned,
        "timetable_periodic": dag.timetable_periodic,
        "tags": [{"name": tag, "dag_id": dag.dag_id, "dag_display_name": display_name} for tag in sorted(dag.tags)],
        "max_active_tasks": dag.max_active_tasks,
        "max_active_runs": dag.max_active_runs,
        "max_consecutive_failed_dag_runs": dag.max_consecutive_failed_dag_runs,
        "has_task_concurrency_limits": dag.has_task_concurrency_limits,
        "has_import_errors": dag.has_import_errors,
        "next_dagrun_logical_date": dag.next_logical_date,
        "next_dagrun_data_interval_start": dag.next_data_interval_start,
        "next_dagrun_data_interval_end": dag.next_data_interval_end,
        "next_dagrun_run_after": dag.next_run_after,
        "allowed_run_types": None if dag.allowed_run_types is None else list(dag.allowed_run_types),
        "owners": list(dag.owners),
        "is_backfillable": _is_backfillable(dag),
        "file_token": file_token(dag),
    }


def _is_backfillable(dag: Dag) -> bool:
    allowed = dag.allowed_run_types
    return dag.timetable_periodic and (allowed is None or DagRunType.BACKFILL_JOB in allowed)


def dag_details_response(dag: Dag, spec: DagSpec, *, latest_version: Json | None, is_favorite: bool) -> Json:
    return dag_response(dag) | {
        "catchup": spec.catchup,
        "dag_run_timeout": _iso_duration(spec.dagrun_timeout),
        "asset_expression": asset_expression(spec),
        "doc_md": None if spec.doc_md is None else inspect.cleandoc(spec.doc_md),
        "start_date": spec.start_date,
        "end_date": spec.end_date,
        "is_paused_upon_creation": spec.is_paused_upon_creation,
        "params": params_response(spec.params),
        "render_template_as_native_obj": spec.render_template_as_native_obj,
        "template_search_path": None,
        "timezone": spec.timezone,
        "last_parsed": dag.last_parsed_time,
        "default_args": spec.default_args,
        "rerun_with_latest_version": spec.rerun_with_latest_version,
        "owner_links": spec.owner_links,
        "is_favorite": is_favorite,
        "active_runs_count": dag.running_runs,
        "concurrency": dag.max_active_tasks,
        "latest_dag_version": latest_version,
    }


def _iso_duration(seconds: float | None) -> str | None:
    """ISO 8601 as pydantic writes a timedelta, e.g. `P1DT2H30M`."""
    if seconds is None:
        return None
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, rest = divmod(rest, 60)
    whole, micros = divmod(round(rest * 1_000_000), 1_000_000)
    fraction = f".{micros:06d}".rstrip("0") if micros else ""
    clock = "".join(
        (
            f"{int(hours)}H" if hours else "",
            f"{int(minutes)}M" if minutes else "",
            f"{whole}{fraction}S" if whole or micros else "",
        )
    )
    text = f"P{f'{int(days)}D' if days else ''}{'T' + clock if clock else ''}"
    return text if text != "P" else "PT0S"


# --- operations -------------------------------------------------------------------------------------------------------


class DagFilters(Paging):
    tags: list[str] = []
    tags_match_mode: Literal["any", "all"] | None = None
    owners: list[str] = []
    dag_id_pattern: str | None = None
    dag_id_prefix_pattern: str | None = None
    exclude_stale: bool = True
    paused: bool | None = None


class MoreDagFilters(DagFilters):
    dag_display_name_pattern: str | None = None
    dag_display_name_prefix_pattern: str | None = None
    has_import_errors: bool | None = None
    last_dag_run_state: DagRunState | None = None
    bundle_name: str | None = None
    bundle_version: str | None = None
    has_asset_schedule: bool | None = None
    asset_dependency: str | None = None
    is_favorite: bool | None = None
    timetable_type: list[str] = []


class _DagsQuery(MoreDagFilters):
    dag_run_state: list[str] = []
    order_by: list[str] = ["dag_id"]


DagsQuery = with_ranges(_DagsQuery, datetime, "dag_run_start_date", "dag_run_end_date")


@operation("get_dags")
def get_dags(services: Services, request: Request) -> Json:
    query = request.query(DagsQuery)
    dags = [dag for dag in services.store.list_dags() if passes(dag, query) and passes_more(dag, query)]
    if query.is_favorite is not None:
        favorites = services.store.list_settings(FAVORITES, prefix=favorite_name(request.user.name, ""))
        dags = [d for d in dags if (favorite_name(request.user.name, d.dag_id) in favorites) == query.is_favorite]
    if query.timetable_type or query.has_asset_schedule is not None or query.asset_dependency is not None:
        dags = [dag for dag in dags if timetable_passes(load_spec(services.objects, dag.spec_key), query)]
    latest: dict[str, RunSummary] = {}
    if _asks_for_latest_run(query):
        latest = latest_runs(services, [dag.dag_id for dag in dags])
    if _filters_by_latest_run(query):
        states = _run_states(query.dag_run_state)
        dags = [dag for dag in dags if _run_passes(latest.get(dag.dag_id), query, states)]
    ordering = Ordering[Dag](
        attributes={
            "dag_id": lambda d: d.dag_id,
            "dag_display_name": lambda d: d.dag_display_name or d.dag_id,
            "next_dagrun": lambda d: d.next_logical_date,
            "last_run_state": lambda d: run.state if (run := latest.get(d.dag_id)) else None,
            "last_run_start_date": lambda d: run.start_date if (run := latest.get(d.dag_id)) else None,
        },
        key=lambda d: (d.dag_id,),
    )
    found = page(dags, ordering.resolve(query.order_by), limit=query.limit, offset=query.offset)
    return {"dags": [dag_response(dag) for dag in found.rows], "total_entries": found.total_entries}


def latest_runs(services: Services, dag_ids: Collection[str]) -> dict[str, RunSummary]:
    """The newest run of each DAG that has one, by `run_after`."""
    keys = services.store.latest_runs(dag_ids)
    return {run.key.dag_id: run for run in services.store.summaries_of_runs([key for _, key in keys.values()])}


@operation("get_dag")
def get_dag(services: Services, request: Request) -> Json:
    return dag_response(existing_dag(services, request.path["dag_id"]))


@operation("get_dag_details")
def get_dag_details(services: Services, request: Request) -> Json:
    dag = existing_dag(services, request.path["dag_id"])
    version = services.store.get_version(dag.dag_id, dag.version_number)
    return dag_details_response(
        dag,
        load_spec(services.objects, dag.spec_key),
        latest_version=dag_version_response(version) if version else None,
        is_favorite=bool(services.store.get_setting(FAVORITES, favorite_name(request.user.name, dag.dag_id))),
    )


class DagPatchBody(Body):
    is_paused: bool


class UpdateMask(Query):
    update_mask: list[str] | None = None


@operation("patch_dag")
def patch_dag(services: Services, request: Request) -> Json:
    body = request.body(DagPatchBody)
    dag_id = request.path["dag_id"]
    if services.store.get_dag(dag_id) is None:
        raise not_found(f"Dag with id: {dag_id} was not found")
    _check_mask(request)
    return dag_response(set_paused(services, dag_id, body.is_paused))


@operation("patch_dags")
def patch_dags(services: Services, request: Request) -> Json:
    """Pause or unpause every DAG the filters match, also those beyond the page that is answered; of who may edit some DAGs
    alone, those. As in Airflow they may ask at all where the query names one of them (`dag_id`).

    Without a pattern for the dag_id no DAG is matched, whatever the other filters say."""
    body = request.body(DagPatchBody)
    _check_mask(request)
    query = request.query(DagFilters)
    names_dags = query.dag_id_pattern is not None or query.dag_id_prefix_pattern is not None
    dags = services.store.list_dags() if names_dags else []
    matched = [dag for dag in dags if passes(dag, query) and may_edit(request.user, dag)]
    patched = _together.map(lambda dag: set_paused(services, dag.dag_id, body.is_paused), matched)
    shown = patched[query.offset : query.offset + query.page_size]
    return {"dags": [dag_response(dag) for dag in shown], "total_entries": len(patched)}


@operation("delete_dag")
def delete_dag(services: Services, request: Request) -> Answer:
    delete_dag_and_history(services, request.path["dag_id"])
    return Answer(204)


@operation("favorite_dag")
def favorite_dag(services: Services, request: Request) -> Answer:
    dag_id = _dag_to_mark(services, request)
    favorite = favorite_name(request.user.name, dag_id)
    if services.store.get_setting(FAVORITES, favorite):
        raise Problem(409, unique_constraint(f"DAG '{dag_id}' is marked as favorite already"))
    services.store.put_setting(FAVORITES, favorite, True)
    return Answer(204)


@operation("unfavorite_dag")
def unfavorite_dag(services: Services, request: Request) -> Answer:
    dag_id = _dag_to_mark(services, request)
    if not services.store.delete_setting(FAVORITES, favorite_name(request.user.name, dag_id)):
        raise Problem(409, "Dag is not marked as favorite")
    return Answer(204)


def existing_dag(services: Services, dag_id: str) -> Dag:
    """The DAG, stale ones too. Problem 404."""
    dag = services.store.get_dag(dag_id)
    if dag is None:
        raise not_found(f"The Dag with ID: `{dag_id}` was not found")
    return dag


# --- filters ----------------------------------------------------------------------------------------------------------


def passes(dag: Dag, query: DagFilters) -> bool:
    match_tags = all if query.tags_match_mode == "all" else any
    return (
        not (query.exclude_stale and dag.is_stale)
        and query.paused in (None, dag.is_paused)
        and contains(dag.dag_id, query.dag_id_pattern)
        and starts_with(dag.dag_id, query.dag_id_prefix_pattern)
        and (not query.tags or match_tags(tag in dag.tags for tag in query.tags))
        and (not query.owners or any(holds(", ".join(dag.owners), owner) for owner in query.owners))
    )


def passes_more(dag: Dag, query: MoreDagFilters) -> bool:
    display_name = dag.dag_display_name or dag.dag_id
    return (
        contains(display_name, query.dag_display_name_pattern)
        and starts_with(display_name, query.dag_display_name_prefix_pattern)
        and query.has_import_errors in (None, dag.has_import_errors)
        and query.bundle_name in (None, "", dag.bundle_name)
        and query.bundle_version in (None, "", dag.bundle_version)
    )


def timetable_passes(spec: DagSpec, query: MoreDagFilters) -> bool:
    assets = spec.timetable.asset_expression
    return (
        (not query.timetable_type or _type_name(spec.timetable.type) in query.timetable_type)
        and (query.has_asset_schedule is None or query.has_asset_schedule == bool(assets))
        and (query.asset_dependency is None or any(holds(text, query.asset_dependency) for text in _texts(assets)))
    )


AIRFLOWS_TIMETABLES: Final = ("airflow.timetables.", "airflow.sdk.definitions.timetables.")


def _type_name(path: str) -> str:
    """Airflow's own timetables go by the name of their class, a plugin's by where it is."""
    return path.rpartition(".")[2] if path.startswith(AIRFLOWS_TIMETABLES) else path


def _texts(expression: Any) -> list[str]:
    """Names and URIs in an asset expression."""
    if isinstance(expression, dict):
        own = [v for k, v in expression.items() if k in ("name", "uri") and isinstance(v, str)]
        return own + [text for value in expression.values() for text in _texts(value)]
    if isinstance(expression, list):
        return [text for value in expression for text in _texts(value)]
    return []


def _filters_by_latest_run(query: _DagsQuery) -> bool:
    return (
        bool(query.last_dag_run_state or query.dag_run_state)
        or has_range(query, "dag_run_start_date")
        or has_range(query, "dag_run_end_date")
    )


def _asks_for_latest_run(query: _DagsQuery) -> bool:
    ordered_by = {criterion.lstrip("-") for criterion in query.order_by}
    return _filters_by_latest_run(query) or bool(ordered_by & {"last_run_state", "last_run_start_date"})


def _run_passes(run: RunSummary | None, query: _DagsQuery, states: list[DagRunState]) -> bool:
    return (
        run is not None
        and query.last_dag_run_state in (None, run.state)
        and (not states or run.state in states)
        and within(query, "dag_run_start_date", run.start_date)
        and within(query, "dag_run_end_date", run.end_date)
    )


def _run_states(given: list[str]) -> list[DagRunState]:
    """Problem 422 for what is no state. `none` is one that no run has."""
    try:
        return [DagRunState(state) for state in given if state != "none"]
    except ValueError as unknown:
        raise Problem(422, f"Invalid value for state. Valid values are {', '.join(DagRunState)}") from unknown


def _check_mask(request: Request) -> None:
    if (mask := request.query(UpdateMask).update_mask) and mask != ["is_paused"]:
        raise bad_request("Only `is_paused` field can be updated through the REST API")


def _dag_to_mark(services: Services, request: Request) -> str:
    dag_id = request.path["dag_id"]
    if services.store.get_dag(dag_id) is None:
        raise not_found(f"Dag with id '{dag_id}' not found")
    return dag_id
