"""`/ui/backfills`: the public list, also across all DAGs."""

from __future__ import annotations

from typing import Annotated, Final

from gust.http.answer import Json
from gust.model.backfill import Backfill
from gust.rest_api.http.request import Request
from gust.rest_api.http.routing import ui_operation
from gust.rest_api.lists.filters import Elsewhere, Filter, Filters, ListQuery, equal, query_of
from gust.rest_api.lists.listing import filtered_page
from gust.rest_api.public.backfills import ORDERING, backfills_answer
from gust.services.context import Services


class _BackfillsQuery(ListQuery):
    dag_id: Annotated[str | None, Elsewhere("the store reads one DAG's backfills")] = None


ACTIVE: Final[Filter[Backfill]] = equal("active", bool, lambda backfill: backfill.completed_at is None)
FILTERS: Final = Filters[Backfill](ACTIVE)
BackfillsQuery: Final = query_of(_BackfillsQuery, FILTERS)


@ui_operation("list_backfills_ui")
def list_backfills_ui(services: Services, request: Request) -> Json:
    query = request.query(BackfillsQuery)
    if query.dag_id is None:
        known = services.store.all_backfills(active=bool(ACTIVE.value(query)))
    else:
        known = services.store.list_backfills(query.dag_id)
    return backfills_answer(services, filtered_page(known, query, ORDERING, FILTERS))
