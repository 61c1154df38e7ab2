"""`/api/v2/dagWarnings`: warnings about DAGs that were parsed."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from gust.http.answer import Json
from gust.model.bundle import DagWarning
from gust.rest_api.http.request import Request
from gust.rest_api.http.routing import operation
from gust.rest_api.lists.filters import Elsewhere, Filters, ListQuery, equal, query_of
from gust.rest_api.lists.listing import Ordering, filtered_page, named
from gust.services.context import Services

WarningType = Literal["asset conflict", "non-existent pool", "runtime varying value", "duplicate dag id"]


class _DagWarningsQuery(ListQuery):
    order_by: list[str] = ["dag_id"]
    dag_id: Annotated[str | None, Elsewhere("the store reads one DAG's warnings")] = None


FILTERS: Final = Filters[DagWarning](equal("warning_type", WarningType, lambda w: w.warning_type))
DagWarningsQuery: Final = query_of(_DagWarningsQuery, FILTERS)
ORDERING: Final = Ordering[DagWarning](
    attributes={
        **named("dag_id", "warning_type", "message", "timestamp"),
    },
    key=lambda w: (w.dag_id, w.warning_type, w.message),
)


@operation("list_dag_warnings")
def list_dag_warnings(services: Services, request: Request) -> Json:
    query = request.query(DagWarningsQuery)
    found = filtered_page(services.store.list_warnings(query.dag_id), query, ORDERING, FILTERS)
    dags = services.store.get_dags(sorted({warning.dag_id for warning in found.rows}))
    names = {dag.dag_id: dag.dag_display_name for dag in dags}
    return found.answer(
        "dag_warnings",
        lambda warning: {
            "dag_id": warning.dag_id,
            "warning_type": warning.warning_type,
            "message": warning.message,
            "timestamp": warning.timestamp,
            "dag_display_name": names.get(warning.dag_id) or warning.dag_id,
        },
    )
