"""`/ui/backfills`: as the public list, of all DAGs if none is named."""

from __future__ import annotations

from gust.rest_api.http.request import Json, Request
from gust.rest_api.http.routing import ui_operation
from gust.rest_api.lists.listing import Paging, page
from gust.rest_api.public.backfills import ORDERING, backfill_responses
from gust.services.context import Services


class BackfillsQuery(Paging):
    dag_id: str | None = None
    active: bool | None = None
    order_by: list[str] = ["id"]


@ui_operation("list_backfills_ui")
def list_backfills_ui(services: Services, request: Request) -> Json:
    query = request.query(BackfillsQuery)
    store = services.store
    known = (
        store.all_backfills(active=bool(query.active)) if query.dag_id is None else store.list_backfills(query.dag_id)
    )
    wanted = [backfill for backfill in known if query.active in (None, backfill.completed_at is None)]
    found = page(wanted, ORDERING.resolve(query.order_by), limit=query.limit, offset=query.offset)
    return {"backfills": backfill_responses(services, found.rows), "total_entries": found.total_entries}
