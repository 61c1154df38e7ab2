"""`/api/v2/dagTags`: the tags that DAGs have."""

from __future__ import annotations

from typing import Final

from gust.rest_api.http.request import Json, Request
from gust.rest_api.http.routing import operation
from gust.rest_api.lists.listing import Ordering, Paging, contains, page, starts_with
from gust.services.context import Services


class DagTagsQuery(Paging):
    tag_name_pattern: str | None = None
    tag_name_prefix_pattern: str | None = None
    order_by: list[str] = ["name"]


ORDERING: Final = Ordering[str](attributes={"name": lambda tag: tag}, key=lambda tag: (tag,))


@operation("get_dag_tags")
def get_dag_tags(services: Services, request: Request) -> Json:
    query = request.query(DagTagsQuery)
    tags = {tag for dag in services.store.list_dags() if not dag.is_stale for tag in dag.tags}
    wanted = [
        tag for tag in tags if contains(tag, query.tag_name_pattern) and starts_with(tag, query.tag_name_prefix_pattern)
    ]
    found = page(wanted, ORDERING.resolve(query.order_by), limit=query.limit, offset=query.offset)
    return {"tags": found.rows, "total_entries": found.total_entries}
