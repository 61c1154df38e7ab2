"""`/api/v2/eventLogs`: calls and their users, kept for a year.

Events of deleted and unknown DAGs are listed too: API users look for the deletion of a DAG. A list in order of time
reads the events of its page and counts the others. With filters of more than DAG, run and time it reads until its page
is full. Any other order is made among the newest events.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from operator import attrgetter
from typing import Annotated, Final

from gust.http.answer import Json, Problem, bad_request, not_found
from gust.model.field_values import values_of
from gust.model.history_query import LoggedEventQuery
from gust.model.logged_event import LoggedEvent
from gust.model.window import Window
from gust.rest_api.http.request import Request
from gust.rest_api.http.routing import operation
from gust.rest_api.lists.filters import MAXIMUM_LIMIT, Elsewhere, Filters, ListQuery, equal, query_of, search, where
from gust.rest_api.lists.history import COUNTED, page_of_walk
from gust.rest_api.lists.listing import LOOKED_THROUGH, Ordering, Page, named, page
from gust.services.context import Services

IN_ORDER_OF_TIME: Final = {"id", "event_log_id", "dttm", "when"}
SORTED_EVENTS: Final = 2000
"""The newest events, among which a page is sorted if its order is not by time."""
SORTED_BY: Final = ("dag_id", "task_id", "run_id", "event", "logical_date", "owner", "extra")
BY_STORE: Final = Elsewhere("walk_logged_events and count_logged_events apply it")


class _EventLogsQuery(ListQuery):
    dag_id: Annotated[str | None, BY_STORE] = None
    run_id: Annotated[str | None, BY_STORE] = None
    before: Annotated[datetime | None, BY_STORE] = None
    after: Annotated[datetime | None, BY_STORE] = None

    @property
    def window(self) -> Window:
        """Oldest first."""
        return Window.between(_utc(self.after), _utc(self.before), ascending=True)


FILTERS: Final = Filters[LoggedEvent](
    equal("task_id", str, lambda e: e.task_id),
    equal("map_index", int, lambda e: e.map_index),
    equal("try_number", int, lambda e: e.try_number),
    equal("owner", str, lambda e: e.owner),
    equal("event", str, lambda e: e.event),
    where("included_events", list[str], lambda e, included: e.event in included),
    where("excluded_events", list[str], lambda e, excluded: e.event not in excluded),
    *(search(name, attrgetter(name)) for name in ("dag_id", "task_id", "run_id", "owner", "event")),
)
EventLogsQuery: Final = query_of(_EventLogsQuery, FILTERS)
ORDERING: Final = Ordering[LoggedEvent](
    attributes={
        **dict.fromkeys(sorted(IN_ORDER_OF_TIME), lambda event: event.when),
        **named(*SORTED_BY),
    },
    key=lambda event: (event.when,),
)


_plain_values: Final = values_of(
    LoggedEvent,
    "event_log_id",
    "when",
    "dag_id",
    "task_id",
    "run_id",
    "map_index",
    "try_number",
    "event",
    "logical_date",
    "owner",
    "extra",
)


def event_response(event: LoggedEvent, display_name: str | None) -> Json:
    return {
        **_plain_values(event),
        "dag_display_name": display_name,
        # Airflow has one for events of a task instance; events of calls have none.
        "task_display_name": None,
    }


@operation("get_event_logs")
def get_event_logs(services: Services, request: Request) -> Json:
    query = request.query(EventLogsQuery)
    order = ORDERING.resolve(query.order_by)
    first = query.order_by[0]
    by_time = first.lstrip("-") in IN_ORDER_OF_TIME
    matches = FILTERS.predicate(query)
    if by_time and matches is None:
        found = _in_order_of_time(services, query, ascending=not first.startswith("-"))
    elif by_time:
        events = services.store.walk_logged_events(_asked(query, ascending=not first.startswith("-")))
        found = page_of_walk(events, FILTERS.matches(query), order, limit=query.limit, offset=query.offset)
    else:
        newest = islice(services.store.walk_logged_events(_asked(query, ascending=False)), SORTED_EVENTS)
        found = page(filter(matches, newest), order, limit=query.limit, offset=query.offset)
    names = _display_names(services, found.rows)
    return {
        "event_logs": [event_response(event, names.get(event.dag_id)) for event in found.rows],
        "total_entries": found.total_entries,
    }


@operation("get_event_log")
def get_event_log(services: Services, request: Request) -> Json:
    event_log_id = _id(request.path["event_log_id"])
    event = services.store.get_logged_event(event_log_id)
    if event is None:
        raise not_found(f"The Event Log with id: `{event_log_id}` not found")
    return event_response(event, _display_names(services, [event]).get(event.dag_id))


def _in_order_of_time(services: Services, query: _EventLogsQuery, *, ascending: bool) -> Page[LoggedEvent]:
    limit = min(query.limit, MAXIMUM_LIMIT)
    if query.offset > LOOKED_THROUGH:
        raise bad_request(f"offset exceeds the maximum of {LOOKED_THROUGH}; narrow the time range")
    asked = _asked(query, ascending=ascending)
    total = services.store.count_logged_events(asked, limit=query.offset + COUNTED)
    if not limit or total <= query.offset:
        return Page([], total)
    read = services.store.logged_events(asked, limit=query.offset + limit)
    return Page(read[query.offset :], total)


def _asked(query: _EventLogsQuery, *, ascending: bool) -> LoggedEventQuery:
    return LoggedEventQuery(query.dag_id, query.window.read(ascending=ascending), run_id=query.run_id)


def _display_names(services: Services, events: list[LoggedEvent]) -> dict[str | None, str]:
    dags = services.store.get_dags(sorted({event.dag_id for event in events if event.dag_id}))
    return {dag.dag_id: dag.dag_display_name or dag.dag_id for dag in dags}


def _id(text: str) -> int:
    try:
        found = int(text)
    except ValueError as error:
        raise Problem(400, "'event_log_id' must be an integer") from error
    if not 0 <= found < 10**16:
        raise not_found(f"The Event Log with id: `{found}` not found")
    return found


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment and not moment.tzinfo else moment
