"""`/api/v2/jobs`: processes that schedule, trigger or parse. Gust has none, so there are none to list.

What runs here runs for as long as there is something to do; whether it does its work is what `monitor/health` tells.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from gust.rest_api.http.request import Json, Request
from gust.rest_api.http.routing import operation
from gust.rest_api.lists.listing import Ordering, Paging, page, with_ranges
from gust.services.context import Services


class _JobsQuery(Paging):
    order_by: list[str] = ["id"]
    is_alive: bool | None = None
    job_state: str | None = None
    job_type: str | None = None
    hostname: str | None = None
    executor_class: str | None = None


JobsQuery = with_ranges(_JobsQuery, datetime, "start_date", "end_date")

ORDERING: Final = Ordering[Any](
    attributes=dict.fromkeys(
        (
            *("id", "dag_id", "state", "job_type", "start_date", "end_date", "latest_heartbeat"),
            *("executor_class", "hostname", "unixname"),
        ),
        lambda _: None,
    ),
    key=lambda _: (),
)


@operation("get_jobs")
def get_jobs(services: Services, request: Request) -> Json:  # noqa: ARG001 - a handler's signature
    query = request.query(JobsQuery)
    found = page([], ORDERING.resolve(query.order_by), limit=query.limit, offset=query.offset)
    return {"jobs": found.rows, "total_entries": found.total_entries}
