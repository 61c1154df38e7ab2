"""`/ui/dags`: the list of DAGs, each with its last runs.

A page costs one query and one batch of reads per DAG on it, in parallel. Filters and orders by runs cost the same for
every DAG.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import NonNegativeInt

from gust.http.answer import Answer, Json, bad_request
from gust.model.dag import Dag
from gust.model.state import FINISHED_RUN, DagRunState
from gust.rest_api.access.favorites import FAVORITES, favorite_name
from gust.rest_api.http.request import ALL_PAGES, Request
from gust.rest_api.http.routing import ui_operation
from gust.rest_api.lists.filters import MAXIMUM_LIMIT, Elsewhere, Filters, ListQuery, one_of, query_of
from gust.rest_api.lists.listing import filtered_page
from gust.rest_api.lists.many import many
from gust.rest_api.public.asset_expression import asset_expression
from gust.rest_api.public.dags import (
    FILTERS,
    LAST_RUN_FILTERS,
    SPEC_FILTERS,
    dag_response,
    latest_runs,
    ordering,
    orders_by_runs,
)
from gust.rest_api.public.hitl import HITLRow, hitl_row_responses, pending_questions
from gust.rest_api.ui.dag_runs import light_run_response
from gust.services.context import Services
from gust.services.specs import load_spec

EVER: Final = datetime.max.replace(tzinfo=UTC)


class _DagsUiQuery(ListQuery):
    order_by: list[str] = ["dag_id"]
    dag_runs_limit: Annotated[NonNegativeInt, Elsewhere("how many runs each DAG is shown with")] = 10
    dag_run_state: Annotated[DagRunState | None, Elsewhere("read of the DAG's counters and the unfinished runs")] = None
    is_favorite: Annotated[bool | None, Elsewhere("read of the user's favorites")] = None
    has_pending_actions: Annotated[bool | None, Elsewhere("read of the open questions of all DAGs")] = None


UI_FILTERS: Final = Filters[Dag](*FILTERS, one_of("dag_ids", str, lambda dag: dag.dag_id))
DagsUiQuery: Final = query_of(_DagsUiQuery, UI_FILTERS, SPEC_FILTERS, LAST_RUN_FILTERS)


@ui_operation("get_dags_ui")
def get_dags_ui(services: Services, request: Request) -> Json:
    query = request.query(DagsUiQuery)
    favorites = set(services.store.list_settings(FAVORITES, prefix=favorite_name(request.user.name, "")))

    def is_favorite(dag: Dag) -> bool:
        return favorite_name(request.user.name, dag.dag_id) in favorites

    dags = [
        dag
        for dag in filter(UI_FILTERS.matches(query), services.store.list_dags())
        if query.is_favorite in (None, is_favorite(dag))
    ]
    if (matches := SPEC_FILTERS.predicate(query)) is not None:
        specs = many.map(lambda dag: load_spec(services.objects, dag.spec_key), dags)
        dags = [dag for dag, spec in zip(dags, specs, strict=True) if matches(spec)]
    if query.dag_run_state is not None:
        having = _with_runs(services, query.dag_run_state, dags)
        dags = [dag for dag in dags if dag.dag_id in having]
    questions: dict[str, list[HITLRow]] = {}
    if query.has_pending_actions is not None:
        for row in pending_questions(services):
            questions.setdefault(row.view.run.dag_id, []).append(row)
        dags = [dag for dag in dags if (dag.dag_id in questions) == query.has_pending_actions]
    of_latest = LAST_RUN_FILTERS.predicate(query)
    latest = latest_runs(services, [dag.dag_id for dag in dags]) if of_latest or orders_by_runs(query) else {}
    if of_latest is not None:
        dags = [d for d in dags if (run := latest.get(d.dag_id)) and of_latest(run)]
    found = filtered_page(dags, query, ordering(latest))
    shown = many.map(
        lambda dag: without_nulls(
            dag_response(dag)
            | {
                "asset_expression": _asset_expression(services, dag),
                "latest_dag_runs": _last_runs(services, dag, query.dag_runs_limit),
                "pending_actions": deep_without_nulls(hitl_row_responses(services, questions.get(dag.dag_id, []))),
                "is_favorite": is_favorite(dag),
            }
        ),
        found.rows,
    )
    return {"total_entries": found.total_entries, "dags": shown}


def _with_runs(services: Services, state: DagRunState, dags: list[Dag]) -> set[str]:
    """Ids of the DAGs with a run in the state: a DAG counts its ended and its running runs; an index holds the
    unfinished ones."""
    counted = {
        DagRunState.SUCCESS: lambda dag: dag.success_runs,
        DagRunState.FAILED: lambda dag: dag.failed_runs,
        DagRunState.RUNNING: lambda dag: dag.running_runs,
    }
    found = {dag.dag_id for dag in dags if state in counted and counted[state](dag)}
    if state in FINISHED_RUN:
        return found
    unfinished = services.store.get_runs([key for key, _ in services.store.due_runs(EVER)])
    return found | {run.dag_id for run in unfinished if run.state is state}


def _last_runs(services: Services, dag: Dag, limit: int) -> list[Json]:
    if not limit:
        return []
    newest = services.store.list_runs(dag.dag_id, limit=min(limit, MAXIMUM_LIMIT))
    return [without_nulls(light_run_response(run)) for run in newest]


def _asset_expression(services: Services, dag: Dag) -> Json | None:
    return asset_expression(load_spec(services.objects, dag.spec_key)) if dag.is_asset_triggered else None


def without_nulls(row: Json) -> Json:
    """The fields that have a value: the UI's lists leave out nulls."""
    return {name: value for name, value in row.items() if value is not None}


def deep_without_nulls(rows: Iterable[Json]) -> list[Json]:
    """Rows without nulls, also in their objects; nulls in dicts that tasks made stay."""
    return [
        {
            name: without_nulls(value) if name in ("task_instance", "responded_by_user") else value
            for name, value in without_nulls(row).items()
        }
        for row in rows
    ]


@ui_operation("get_latest_run_info")
def get_latest_run_info(services: Services, request: Request) -> Answer:
    dag_id = request.path["dag_id"]
    if dag_id == ALL_PAGES:
        raise bad_request("`~` was supplied as dag_id, but querying multiple dags is not supported.")
    latest = next(iter(services.store.list_runs(dag_id, limit=1)), None)
    return Answer(body=light_run_response(latest) if latest else None)
