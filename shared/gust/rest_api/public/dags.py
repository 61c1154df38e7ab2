"""`/api/v2/dags`: DAGs, their details, and pausing them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from gust.http.answer import Answer, Json, Problem, bad_request, not_found
from gust.model.dag import Dag
from gust.model.dag_spec import DagSpec
from gust.model.run_state import RunSummary
from gust.model.state import DagRunState, DagRunType
from gust.rest_api.access.favorites import FAVORITES, favorite_name
from gust.rest_api.access.file_tokens import file_token
from gust.rest_api.access.permissions import may_edit
from gust.rest_api.http.request import Body, Request, UpdateMask, unique_constraint
from gust.rest_api.http.routing import operation
from gust.rest_api.lists.filters import (
    Elsewhere,
    Filter,
    Filters,
    ListQuery,
    Paging,
    between,
    equal,
    holds,
    member_of,
    one_of,
    query_of,
    search,
    where,
)
from gust.rest_api.lists.listing import Ordering, Page, filtered_page
from gust.rest_api.public.asset_expression import asset_expression
from gust.rest_api.public.tasks import params_response
from gust.services.context import Services
from gust.services.people.delete_dag import delete_dag as delete_dag_and_history
from gust.services.people.pause_dag import set_paused
from gust.services.runs.public_form import dag_version_fields
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


def _has_tags(query: Any, _: datetime | None) -> Callable[[Dag], bool] | None:
    match_tags = all if query.tags_match_mode == "all" else any
    return (lambda dag: match_tags(tag in dag.tags for tag in query.tags)) if query.tags else None


def _is_owned(dag: Dag, owners: Collection[str]) -> bool:
    return not owners or any(holds(", ".join(dag.owners), owner) for owner in owners)


_ID: Final[Filter[Dag]] = search("dag_id", lambda dag: dag.dag_id)
PATCH_FILTERS: Final = Filters[Dag](
    Filter({"tags": (list[str], []), "tags_match_mode": (Literal["any", "all"] | None, None)}, _has_tags),
    where("owners", list[str], _is_owned),
    _ID,
    where("exclude_stale", bool, lambda dag, excluded: not (excluded and dag.is_stale), default=True),
    equal("paused", bool, lambda dag: dag.is_paused),
)
"""For the lists, and for the operation that pauses many DAGs."""
_NAMED: Final = Filters[Dag](_ID)
PatchDagsQuery: Final = query_of(Paging, PATCH_FILTERS)

FILTERS: Final = Filters[Dag](
    *PATCH_FILTERS,
    search("dag_display_name", lambda dag: dag.dag_display_name or dag.dag_id),
    equal("has_import_errors", bool, lambda dag: dag.has_import_errors),
    equal("bundle_name", str, lambda dag: dag.bundle_name, blank_is_any=True),
    equal("bundle_version", str, lambda dag: dag.bundle_version, blank_is_any=True),
)
SPEC_FILTERS: Final = Filters[DagSpec](
    where("has_asset_schedule", bool, lambda spec, wanted: wanted == bool(spec.timetable.asset_expression)),
    where(
        "asset_dependency",
        str,
        lambda spec, text: any(holds(one, text) for one in _texts(spec.timetable.asset_expression)),
    ),
    one_of("timetable_type", str, lambda spec: _type_name(spec.timetable.type)),
)
"""Filters of the DagSpec, which is read for the DAGs that pass the others."""
LAST_RUN_FILTERS: Final = Filters[RunSummary](equal("last_dag_run_state", DagRunState, lambda run: run.state))
"""Filters of the latest run. A DAG without runs passes none of them."""
RUN_FILTERS: Final = Filters[RunSummary](
    member_of("dag_run_state", DagRunState, lambda run: run.state),
    between("dag_run_start_date", datetime, lambda run: run.start_date),
    between("dag_run_end_date", datetime, lambda run: run.end_date),
)


class _DagsQuery(ListQuery):
    order_by: list[str] = ["dag_id"]
    is_favorite: Annotated[bool | None, Elsewhere("read of the user's favorites")] = None


DagsQuery: Final = query_of(_DagsQuery, FILTERS, SPEC_FILTERS, LAST_RUN_FILTERS, RUN_FILTERS)


@operation("get_dags")
def get_dags(services: Services, request: Request) -> Json:
    query = request.query(DagsQuery)
    dags = list(filter(FILTERS.matches(query), services.store.list_dags()))
    if query.is_favorite is not None:
        favorites = services.store.list_settings(FAVORITES, prefix=favorite_name(request.user.name, ""))
        dags = [d for d in dags if (favorite_name(request.user.name, d.dag_id) in favorites) == query.is_favorite]
    if (matches := SPEC_FILTERS.predicate(query)) is not None:
        dags = [dag for dag in dags if matches(load_spec(services.objects, dag.spec_key))]
    of_latest = [passes for group in (LAST_RUN_FILTERS, RUN_FILTERS) if (passes := group.predicate(query)) is not None]
    latest = latest_runs(services, [dag.dag_id for dag in dags]) if of_latest or orders_by_runs(query) else {}
    if of_latest:
        dags = [d for d in dags if (run := latest.get(d.dag_id)) and all(passes(run) for passes in of_latest)]
    return filtered_page(dags, query, ordering(latest)).answer("dags", dag_response)


def orders_by_runs(query: ListQuery) -> bool:
    return bool({name.lstrip("-") for name in query.order_by} & {"last_run_state", "last_run_start_date"})


def ordering(latest: Mapping[str, RunSummary]) -> Ordering[Dag]:
    return Ordering[Dag](
        attributes={
            "dag_id": lambda d: d.dag_id,
            "dag_display_name": lambda d: d.dag_display_name or d.dag_id,
            "next_dagrun": lambda d: d.next_logical_date,
            "last_run_state": lambda d: run.state.value if (run := latest.get(d.dag_id)) else None,
            "last_run_start_date": lambda d: run.start_date if (run := latest.get(d.dag_id)) else None,
        },
        key=lambda d: (d.dag_id,),
    )


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
        latest_version=dag_version_fields(version) if version else None,
        is_favorite=bool(services.store.get_setting(FAVORITES, favorite_name(request.user.name, dag.dag_id))),
    )


class DagPatchBody(Body):
    is_paused: bool


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
    """Pauses or unpauses every DAG that passes the filters and that the user may edit, also beyond the page of the
    answer. A user with rights on some DAGs must name one in the query (`dag_id`), as in Airflow.

    Without a pattern for the dag_id no DAG matches."""
    body = request.body(DagPatchBody)
    _check_mask(request)
    query = request.query(PatchDagsQuery)
    dags = services.store.list_dags() if _NAMED.predicate(query) else []
    matches = PATCH_FILTERS.matches(query)
    matched = [dag for dag in dags if matches(dag) and may_edit(request.user, dag)]
    patched = _together.map(lambda dag: set_paused(services, dag.dag_id, body.is_paused), matched)
    return Page(query.part_of(patched), len(patched)).answer("dags", dag_response)


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
    """The DAG, also a stale one. Problem 404."""
    dag = services.store.get_dag(dag_id)
    if dag is None:
        raise not_found(f"The Dag with ID: `{dag_id}` was not found")
    return dag


# --- filters ----------------------------------------------------------------------------------------------------------

AIRFLOWS_TIMETABLES: Final = ("airflow.timetables.", "airflow.sdk.definitions.timetables.")


def _type_name(path: str) -> str:
    """The class name of Airflow's timetables, the whole path of a plugin's."""
    return path.rpartition(".")[2] if path.startswith(AIRFLOWS_TIMETABLES) else path


def _texts(expression: Any) -> list[str]:
    """Names and URIs in an asset expression."""
    if isinstance(expression, dict):
        own = [v for k, v in expression.items() if k in ("name", "uri") and isinstance(v, str)]
        return own + [text for value in expression.values() for text in _texts(value)]
    if isinstance(expression, list):
        return [text for value in expression for text in _texts(value)]
    return []


def _check_mask(request: Request) -> None:
    if (mask := request.query(UpdateMask).update_mask) and mask != ["is_paused"]:
        raise bad_request("Only `is_paused` field can be updated through the REST API")


def _dag_to_mark(services: Services, request: Request) -> str:
    dag_id = request.path["dag_id"]
    if services.store.get_dag(dag_id) is None:
        raise not_found(f"Dag with id '{dag_id}' not found")
    return dag_id
