"""`/ui/backfills`: as the public list, of all DAGs if none is named."""

from __future__ import annotations

from gust.rest_api.backfills import ORDERING, backfill_response
from gust.rest_api.listing import Paging, page
from gust.rest_api.request import Json, Request
from gust.rest_api.routing import ui_operation
from gust.rest_api.ui.many import many
from gust.services.context import Services


class BackfillsQuery(Paging):
    dag_id: str | None = None
    active: bool | None = None
    order_by: list[str] = ["id"]


@ui_operation("list_backfills_ui")
def list_backfills_ui(services: Services, request: Request) -> Json:
    query = request.query(BackfillsQuery)
    dag_ids = [query.dag_id] if query.dag_id is not None else [dag.dag_id for dag in services.store.list_dags()]
    wanted = [
        backfill
        for backfills in many.map(services.store.list_backfills, dag_ids)
        for backfill in backfills
        if query.active in (None, backfill.completed_at is None)
    ]
    found = page(wanted, ORDERING.resolve(query.order_by), limit=query.limit, offset=query.offset)
    return {
        "backfills": [backfill_response(services, backfill) for backfill in found.rows],
        "total_entries": found.total_entries,
    }
