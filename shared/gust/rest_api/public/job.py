"""`/api/v2/jobs`: Airflow's scheduler, triggerer and dag-processor processes. Gust has none: the list is empty.

Gust's functions run only while there is work; `monitor/health` shows whether they do it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from gust.http.answer import Json
from gust.rest_api.http.request import Request
from gust.rest_api.http.routing import operation
from gust.rest_api.lists.filters import Filters, ListQuery, between, equal, query_of
from gust.rest_api.lists.listing import Ordering, filtered_page
from gust.services.context import Services

FILTERS: Final = Filters[Any](
    equal("is_alive", bool, lambda _: None),
    *(equal(name, str, lambda _: None) for name in ("job_state", "job_type", "hostname", "executor_class")),
    *(between(name, datetime, lambda _: None) for name in ("start_date", "end_date")),
)
JobsQuery: Final = query_of(ListQuery, FILTERS)
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
    return filtered_page([], request.query(JobsQuery), ORDERING, FILTERS).answer("jobs", dict)
