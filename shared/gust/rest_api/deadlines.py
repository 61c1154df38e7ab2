"""`/ui/dags/{dag_id}/…`: deadlines of runs, and the alerts of a DAG that they come from. Airflow has them for its web UI."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Final

from gust.model.callback import Callback, CallbackKind, CallbackState
from gust.model.dag import DagVersion
from gust.model.keys import DagRunKey
from gust.rest_api.listing import Ordering, Paging, page, with_ranges, within
from gust.rest_api.request import ALL_PAGES, Json, Request, bad_request, not_found
from gust.rest_api.routing import ui_operation
from gust.services.context import Services
from gust.services.deadlines import alert_uuid, fixed_seconds
from gust.services.specs import load_spec

# --- of runs ----------------------------------------------------------------------------------------------------------


def is_missed(deadline: Callback) -> bool:
    return deadline.state is not CallbackState.SCHEDULED


class _DeadlinesQuery(Paging):
    missed: bool | None = None
    order_by: list[str] = ["deadline_time"]


DeadlinesQuery: Final = with_ranges(_DeadlinesQuery, datetime, "deadline_time", "last_updated_at")

ORDERING: Final = Ordering[Callback](
    attributes={
        # Airflow's ids of deadlines grow with time.
        "id": lambda d: d.created_at,
        "deadline_time": lambda d: d.due_at,
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
    wanted = [
        deadline
        for deadline in _deadlines(services, _runs(services, dag_id, run_id))
        if query.missed in (None, is_missed(deadline))
        and within(query, "deadline_time", deadline.due_at)
        and within(query, "last_updated_at", deadline.updated_at)
    ]
    if run_id != ALL_PAGES and not wanted and services.store.get_run(DagRunKey(dag_id, run_id)) is None:
        raise not_found(f"DagRun with dag_id: `{dag_id}` and run_id: `{run_id}` was not found")
    found = page(wanted, ORDERING.resolve(query.order_by), limit=query.limit, offset=query.offset)
    return {"deadlines": [deadline_response(d) for d in found.rows], "total_entries": found.total_entries}


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


def _runs(services: Services, dag_id: str, run_id: str) -> Iterator[DagRunKey]:
    """Of all DAGs: those whose newest version has alerts, since no other has runs with deadlines, but for older ones."""
    if run_id != ALL_PAGES:
        yield DagRunKey(dag_id, run_id)
        return
    dags = services.store.list_dags() if dag_id == ALL_PAGES else [services.store.get_dag(dag_id)]
    for dag in dags:
        if dag is not None and (dag_id != ALL_PAGES or load_spec(services.objects, dag.spec_key).deadline):
            yield from (run.key for run in services.store.list_runs(dag.dag_id))


def _deadlines(services: Services, runs: Iterable[DagRunKey]) -> Iterator[Callback]:
    for run in runs:
        yield from (c for c in services.store.list_callbacks(run) if c.kind is CallbackKind.DEADLINE)


# --- of a DAG ---------------------------------------------------------------------------------------------------------


class AlertsQuery(Paging):
    version_number: int | None = None
    order_by: list[str] = ["created_at"]


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
    found = page(
        alerts_of(services, version), ALERT_ORDERING.resolve(query.order_by), limit=query.limit, offset=query.offset
    )
    rows = [{name: value for name, value in alert.items() if name != "number"} for alert in found.rows]
    return {"deadline_alerts": rows, "total_entries": found.total_entries}


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
