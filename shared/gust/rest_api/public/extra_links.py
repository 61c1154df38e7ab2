"""`…/taskInstances/{task_id}/links`: an operator's links to other systems.

The Task SDK pushes each link of an operator as an XCom when the try ends; Airflow's serialized DAG has the key. Links
of plugins are code that only Airflow's webserver runs: they are listed without a URL.
"""

from __future__ import annotations

import json

from gust.http.answer import Json, not_found
from gust.http.check import Query
from gust.model.keys import UNMAPPED, DagRunKey
from gust.rest_api.http.request import Request
from gust.rest_api.http.routing import operation
from gust.rest_api.lists.shown_run import InstanceView, load_view
from gust.rest_api.public.task_instances import find_try
from gust.rest_api.public.xcom import readable
from gust.services.context import Services


class LinksQuery(Query):
    map_index: int = UNMAPPED
    try_number: int | None = None


@operation("get_extra_links")
def get_extra_links(services: Services, request: Request) -> Json:
    query, names = request.query(LinksQuery), request.path
    view = load_view(services, DagRunKey(names["dag_id"], names["dag_run_id"]))
    found = view.instance(names["task_id"], query.map_index) if view else None
    if found is None:
        raise not_found("TaskInstance not found")
    if found.task is None:
        raise not_found(f"Task with ID = {names['task_id']} not found")
    if query.try_number is not None and find_try(services, found, query.try_number) is None:
        raise not_found(f"TaskInstanceHistory not found for try_number={query.try_number}")
    keys = _xcom_keys(services, found) if found.task.extra_links else {}
    links = {name: _link(services, found, keys.get(name)) for name in sorted({*found.task.extra_links, *keys})}
    return {"extra_links": links, "total_entries": len(links)}


def _xcom_keys(services: Services, view: InstanceView) -> dict[str, str]:
    """XCom keys by name of the link."""
    version = services.store.get_version(view.run.dag_id, view.run.version_number)
    if version is None:
        return {}
    serialized = json.loads(services.objects.get(version.serialized_key))
    tasks = (task["__var"] for task in serialized["dag"]["tasks"])
    return next(
        (dict(t.get("_operator_extra_links") or {}) for t in tasks if t["task_id"] == view.instance.task_id), {}
    )


def _link(services: Services, view: InstanceView, key: str | None) -> str | None:
    """`None`: no link was pushed."""
    xcom = services.store.get_xcom(view.instance.key, key) if key else None
    return None if xcom is None or xcom.value is None else str(readable(xcom.value)) or None
