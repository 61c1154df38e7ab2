"""`/ui/dags/{dag_id}/…`: deadlines of runs, and the DAG's alerts that set them; Airflow's web UI reads both."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from itertools import islice
from typing import Annotated, Any, Final

from gust.http.answer import Json, bad_request, not_found
from gust.model.callback import Callback, CallbackKind, CallbackState
from gust.model.dag import DagVersion
from gust.model.keys import DagRunKey
from gust.rest_api.http.request import ALL_PAGES, Request
from gust.rest_api.http.routing import ui_operation
from gust.rest_api.lists.filters import Elsewhere, Filters, ListQuery, between, equal, query_of
from gust.rest_api.lists.history import SORTED, page_of_walk, window_of
from gust.rest_api.lists.listing import Order, Ordering, Page, filtered_page, page
from gust.services.context import Services
from gust.services.runs.deadlines import alert_uuid, fixed_seconds
from gust.services.specs import load_spec

# --- of runs ----------------------------------------------------------------------------------------------------------


def is_missed(deadline: Callback) -> bool:
    return deadline.state is not CallbackState.SCHEDULED


class _DeadlinesQuery(ListQuery):
    order_by: list[str] = ["deadline_time"]


def _moment(deadline: Callback) -> datetime | None:
    return deadline.due_at


FILTERS: Final = Filters[Callback](
    equal("missed", bool, is_missed),
    between("deadline_time", datetime, _moment),
    between("last_updated_at", datetime, lambda d: d.updated_at),
)
DeadlinesQuery: Final = query_of(_DeadlinesQuery, FILTERS)
ORDERING: Final = Ordering[Callback](
    attributes={
        # Airflow's ids of deadlines grow with time.
        "id": lambda d: d.created_at,
        "deadline_time": _moment,
        "created_at": lambda d: d.created_at,
        "last_updated_at": lambda d: d.updated_at,
        "missed": is_missed,
        "dag_id": lambda d: d.dag_id,
        "dag_run_id": lambda d: d.run_id,
        "alert_name": lambda d: d.name,
    },
    key=lambda d: (d.dag_id, d.run_id, d.callback_id),
)


@ui_operation("get_deadlines")
def get_deadlines(services: Services, request: Request) -> Json:
    dag_id, run_id = request.path["dag_id"], request.path["dag_run_id"]
    query = request.query(DeadlinesQuery)
    if run_id != ALL_PAGES and dag_id == ALL_PAGES:
        raise bad_request("dag_id is required when dag_run_id is specified")
    order = ORDERING.resolve(query.order_by)
    matches = FILTERS.matches(query)
    if run_id != ALL_PAGES:
        wanted = list(filter(matches, _deadlines_of(services, DagRunKey(dag_id, run_id))))
        if not wanted and services.store.get_run(DagRunKey(dag_id, run_id)) is None:
            raise not_found(f"DagRun with dag_id: `{dag_id}` and run_id: `{run_id}` was not found")
        found = page(wanted, order, limit=query.limit, offset=query.offset)
    else:
        found = _page_of_many(services, None if dag_id == ALL_PAGES else dag_id, query, matches, order)
    return found.answer("deadlines", deadline_response)


def _page_of_many(
    services: Services,
    dag_id: str | None,
    query: ListQuery,
    matches: Callable[[Callback], bool],
    order: Order[Callback],
) -> Page[Callback]:
    """A page of the deadlines of one DAG or of all: in order of time until the page is full; another order is made
    among the latest."""
    newest_first = window_of(query, "deadline_time")
    if order.is_by(_moment):
        walk = services.store.walk_deadlines(dag_id, newest_first.read(ascending=not order.key_descends))
        return page_of_walk(walk, matches, order, limit=query.limit, offset=query.offset)
    latest = islice(services.store.walk_deadlines(dag_id, newest_first), SORTED)
    return page(filter(matches, latest), order, limit=query.limit, offset=query.offset)


def deadline_response(deadline: Callback) -> Json:
    return {
        "id": deadline.id,
        "deadline_time": deadline.due_at,
        "missed": is_missed(deadline),
        "created_at": deadline.created_at,
        "dag_id": deadline.dag_id,
        "dag_run_id": deadline.run_id,
        "alert_id": deadline.alert_id,
        "alert_name": deadline.name,
    }


def _deadlines_of(services: Services, run: DagRunKey) -> list[Callback]:
    return [callback for callback in services.store.list_callbacks(run) if callback.kind is CallbackKind.DEADLINE]


# --- of a DAG ---------------------------------------------------------------------------------------------------------


class AlertsQuery(ListQuery):
    order_by: list[str] = ["created_at"]
    version_number: Annotated[int | None, Elsewhere("chooses the version whose alerts are listed")] = None


ALERT_ORDERING: Final = Ordering[dict[str, Any]](
    attributes={
        "id": lambda alert: str(alert["id"]),
        "created_at": lambda alert: alert["created_at"],
        "name": lambda alert: alert["name"],
    },
    key=lambda alert: (alert["number"],),
)


@ui_operation("get_dag_deadline_alerts")
def get_dag_deadline_alerts(services: Services, request: Request) -> Json:
    dag_id = request.path["dag_id"]
    query = request.query(AlertsQuery)
    version = _version(services, dag_id, query.version_number)
    found = filtered_page(alerts_of(services, version), query, ALERT_ORDERING)
    return found.answer(
        "deadline_alerts", lambda alert: {name: value for name, value in alert.items() if name != "number"}
    )


def alerts_of(services: Services, version: DagVersion) -> list[dict[str, Any]]:
    alerts = load_spec(services.objects, version.spec_key).deadline or []
    return [
        {
            "id": alert_uuid(version.dag_id, version.version_number, number),
            "name": alert.get("name"),
            "reference_type": alert["reference"]["reference_type"],
            "interval": fixed_seconds(alert["interval"]),
            "created_at": version.created_at,
            "number": number,
        }
        for number, alert in enumerate(alerts)
    ]


def _version(services: Services, dag_id: str, number: int | None) -> DagVersion:
    if number is not None:
        if (version := services.store.get_version(dag_id, number)) is None:
            raise not_found(f"Dag with id {dag_id} and version number {number} was not found")
        return version
    dag = services.store.get_dag(dag_id)
    newest = services.store.get_version(dag_id, dag.version_number) if dag else None
    if newest is None:
        raise not_found(f"Dag with id {dag_id} was not found")
    return newest
