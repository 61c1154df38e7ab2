"""`/api/v2/backfills`: creating, listing, pausing and cancelling backfills, and dry runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import NonNegativeInt

from gust.http.answer import Json, bad_request, not_found
from gust.model.backfill import Backfill
from gust.model.dag import Dag
from gust.model.field_values import values_of
from gust.rest_api.http.request import Body, Request, Whole
from gust.rest_api.http.routing import operation
from gust.rest_api.lists.filters import Elsewhere, ListQuery
from gust.rest_api.lists.listing import Ordering, Page, filtered_page
from gust.services.backfills.create_backfill import BackfillRequest, create_backfill, dry_run
from gust.services.backfills.pause_backfill import NOT_FOUND, cancel_backfill, pause_backfill
from gust.services.context import Services

# --- answers ----------------------------------------------------------------------------------------------------------


def backfill_response(services: Services, backfill: Backfill) -> Json:
    return backfill_responses(services, [backfill])[0]


def backfill_responses(services: Services, backfills: Sequence[Backfill]) -> list[Json]:
    dags = {dag.dag_id: dag for dag in services.store.get_dags(sorted({backfill.dag_id for backfill in backfills}))}
    return [_response(backfill, dags.get(backfill.dag_id)) for backfill in backfills]


_plain_values: Final = values_of(
    Backfill,
    "dag_id",
    "from_date",
    "to_date",
    "dag_run_conf",
    "is_paused",
    "max_active_runs",
    "created_at",
    "completed_at",
    "updated_at",
)


def _response(backfill: Backfill, dag: Dag | None) -> Json:
    return {
        **_plain_values(backfill),
        "id": backfill.backfill_id,
        "reprocess_behavior": backfill.reprocess_behavior.value,
        "dag_display_name": (dag.dag_display_name if dag else "") or backfill.dag_id,
    }


# --- creating ---------------------------------------------------------------------------------------------------------


class BackfillBody(Body, BackfillRequest):
    max_active_runs: Whole = 10

    def requested(self) -> BackfillRequest:
        return self.model_copy(update={"from_date": _aware(self.from_date), "to_date": _aware(self.to_date)})


@operation("create_backfill")
def create(services: Services, request: Request) -> Json:
    requested = _requested(request)
    made = backfill_response(services, create_backfill(services, requested, user=request.user.name))
    # Airflow repeats both dates as the request has them; later answers have them in UTC.
    return made | {"from_date": _as_said(requested.from_date), "to_date": _as_said(requested.to_date)}


@operation("create_backfill_dry_run")
def try_out(services: Services, request: Request) -> Json:
    runs = dry_run(services, _requested(request))
    return {
        "backfills": [
            {
                "logical_date": run.logical_date,
                "partition_key": run.partition_key,
                "partition_date": run.partition_date,
            }
            for run in runs
        ],
        "total_entries": len(runs),
    }


def _requested(request: Request) -> BackfillRequest:
    """The body. Problem 400 if `dag_id` is no text: Airflow authorizes the user before it validates the body."""
    with suppress(ValueError):
        given = json.loads(request.raw_body)
        if isinstance(given, dict) and not isinstance(given.get("dag_id"), str | None):
            raise bad_request("'dag_id' must be a string")
    return request.body(BackfillBody).requested()


def _aware(moment: datetime) -> datetime:
    """The moment in its own zone, on which partitions depend."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _as_said(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


# --- reading ----------------------------------------------------------------------------------------------------------


class BackfillsQuery(ListQuery):
    dag_id: Annotated[str, Elsewhere("the store reads one DAG's backfills")]


ORDERING: Final = Ordering[Backfill](attributes={"id": lambda b: b.backfill_id}, key=lambda b: (b.backfill_id,))


@operation("list_backfills")
def list_backfills(services: Services, request: Request) -> Json:
    query = request.query(BackfillsQuery)
    stored = services.store.list_backfills(query.dag_id)
    return backfills_answer(services, filtered_page(stored, query, ORDERING))


def backfills_answer(services: Services, found: Page[Backfill]) -> Json:
    return {"backfills": backfill_responses(services, found.rows), "total_entries": found.total_entries}


@operation("get_backfill")
def get_backfill(services: Services, request: Request) -> Json:
    backfill = services.store.get_backfill(_backfill_id(request))
    if backfill is None:
        raise not_found(NOT_FOUND)
    return backfill_response(services, backfill)


# --- changing ---------------------------------------------------------------------------------------------------------


@operation("pause_backfill")
def pause(services: Services, request: Request) -> Json:
    return backfill_response(services, pause_backfill(services, _backfill_id(request), True))


@operation("unpause_backfill")
def unpause(services: Services, request: Request) -> Json:
    return backfill_response(services, pause_backfill(services, _backfill_id(request), False))


@operation("cancel_backfill")
def cancel(services: Services, request: Request) -> Json:
    return backfill_response(services, cancel_backfill(services, _backfill_id(request)))


def _backfill_id(request: Request) -> int:
    return request.path_value("backfill_id", NonNegativeInt)
