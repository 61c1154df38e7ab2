"""`/api/v2/dagTags`: the tags that DAGs have."""

from __future__ import annotations

from typing import Final

from gust.http.answer import Json
from gust.rest_api.http.request import Request
from gust.rest_api.http.routing import operation
from gust.rest_api.lists.filters import Filters, ListQuery, query_of, search
from gust.rest_api.lists.listing import Ordering, filtered_page
from gust.services.context import Services


class _DagTagsQuery(ListQuery):
    order_by: list[str] = ["name"]


FILTERS: Final = Filters[str](search("tag_name", lambda tag: tag))
DagTagsQuery: Final = query_of(_DagTagsQuery, FILTERS)
ORDERING: Final = Ordering[str](attributes={"name": lambda tag: tag}, key=lambda tag: (tag,))


@operation("get_dag_tags")
def get_dag_tags(services: Services, request: Request) -> Json:
    query = request.query(DagTagsQuery)
    tags = {tag for dag in services.store.list_dags() if not dag.is_stale for tag in dag.tags}
    return filtered_page(tags, query, ORDERING, FILTERS).answer("tags", str)
