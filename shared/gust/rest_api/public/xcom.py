"""`…/taskInstances/{task_id}/xcomEntries`: XComs of tasks.

A value is stored as the Task SDK sends it: JSON, in which objects of Python classes have `__classname__`, `__version__`
and `__data__`. The answer has that form, or with `deserialize=true` the form of Airflow's `stringify`, which turns such
objects into text; it refuses a value with an object of one of Airflow's own classes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field

from gust.errors import AlreadyExists
from gust.http.answer import Answer, Json, Problem, bad_request, not_found
from gust.http.check import Query
from gust.model.dag_run import DagRun
from gust.model.keys import UNMAPPED, DagRunKey, TaskInstanceKey
from gust.model.xcom import XCom
from gust.rest_api.http.request import ALL_PAGES, Body, Request
from gust.rest_api.http.routing import operation
from gust.rest_api.lists.filters import Elsewhere, Filters, ListQuery, between, equal, query_of, search
from gust.rest_api.lists.history import RunSelection
from gust.rest_api.lists.listing import Ordering, filtered_page
from gust.rest_api.lists.many import many
from gust.rest_api.lists.shown_run import InstanceView, ShownRun, find_spec, load_view
from gust.rest_api.public.dags import existing_dag
from gust.rest_api.public.task_instances import no_instance
from gust.services.context import Services
from gust.services.people.edit_xcom import create_xcom, delete_xcom, update_xcom
from gust.services.specs import load_spec


@dataclass(frozen=True, slots=True)
class XComRow:
    """An XCom with its run and the names of its task and DAG."""

    xcom: XCom
    run: DagRun
    dag_display_name: str
    task_display_name: str


def xcom_response(row: XComRow) -> Json:
    key = row.xcom.key
    return {
        "key": row.xcom.name,
        "timestamp": row.xcom.timestamp,
        "logical_date": row.run.logical_date,
        "map_index": key.map_index,
        "task_id": key.task_id,
        "dag_id": key.dag_id,
        "run_id": key.run_id,
        "dag_display_name": row.dag_display_name,
        "task_display_name": row.task_display_name,
        "run_after": row.run.run_after,
    }


class XComQuery(Query):
    map_index: Annotated[int, Field(ge=-1)] = UNMAPPED
    deserialize: bool = False
    stringify: bool = False


@operation("get_xcom_entry")
def get_xcom_entry(services: Services, request: Request) -> Json:
    query = request.query(XComQuery)
    key = DagRunKey(request.path["dag_id"], request.path["dag_run_id"])
    name = request.path["xcom_key"]
    xcom = services.store.get_xcom(key.task_instance(request.path["task_id"], query.map_index), name)
    run = services.store.get_run(key)
    if xcom is None or run is None:
        raise not_found(f"XCom entry with key: `{name}` not found")
    value = readable(xcom.value) if query.deserialize else xcom.value
    if query.stringify and value is not None:
        value = str(value)
    [row] = _rows(services, run, [xcom])
    return xcom_response(row) | {"value": value}


class _XComsQuery(ListQuery):
    order_by: list[str] = ["dag_id", "task_id", "run_id", "map_index", "key"]
    xcom_key: Annotated[str | None, Elsewhere("the store reads the XComs of one key")] = None
    map_index: Annotated[
        Annotated[int, Field(ge=-1)] | None, Elsewhere("the store reads the XComs of one map index")
    ] = None


KEY_FILTERS: Final = Filters[DagRunKey](search("run_id", lambda key: key.run_id))
FILTERS: Final = Filters[XComRow](
    equal("map_index_filter", int, lambda r: r.xcom.key.map_index),
    search("xcom_key", lambda r: r.xcom.name),
    search("dag_display_name", lambda r: r.dag_display_name),
    search("task_id", lambda r: r.xcom.key.task_id),
    between("logical_date", datetime, lambda r: r.run.logical_date),
    between("run_after", datetime, lambda r: r.run.run_after),
)
XComsQuery: Final = query_of(_XComsQuery, KEY_FILTERS, FILTERS)
ORDERING: Final = Ordering[XComRow](
    attributes={
        "key": lambda r: r.xcom.name,
        "dag_id": lambda r: r.xcom.key.dag_id,
        "run_id": lambda r: r.xcom.key.run_id,
        "task_id": lambda r: r.xcom.key.task_id,
        "map_index": lambda r: r.xcom.key.map_index,
        "timestamp": lambda r: r.xcom.timestamp,
        "run_after": lambda r: r.run.run_after,
    },
    key=lambda r: (r.run.queued_at, *_identity(r.xcom.key), r.xcom.name),
)


def _identity(key: TaskInstanceKey) -> tuple[str, str, str, int]:
    return key.dag_id, key.run_id, key.task_id, key.map_index


@operation("get_xcom_entries")
def get_xcom_entries(services: Services, request: Request) -> Json:
    """`~` for the DAG, the run or the task means all of them. The list is empty for a run or task that does not
    exist."""
    query = request.query(XComsQuery)
    task_id = None if request.path["task_id"] == ALL_PAGES else request.path["task_id"]

    def xcoms_of(run: DagRun) -> list[XCom]:
        return services.store.list_xcoms(run.key, task_id=task_id, map_index=query.map_index, name=query.xcom_key)

    runs = _runs(services, query, request.path["dag_id"], request.path["dag_run_id"])
    listed = zip(runs, many.map(xcoms_of, runs), strict=True)
    rows = [row for run, xcoms in listed for row in _rows(services, run, xcoms)]
    return filtered_page(rows, query, ORDERING, FILTERS).answer("xcom_entries", xcom_response)


LOOKED_AT: Final = 50
"""The newest runs, whose XComs are listed if the request names no run."""


def _runs(services: Services, query: Any, dag_id: str, run_id: str) -> list[DagRun]:
    matches = KEY_FILTERS.matches(query)
    if ALL_PAGES not in (dag_id, run_id):
        return services.store.get_runs(list(filter(matches, [DagRunKey(dag_id, run_id)])))
    scope = RunSelection.of(
        query,
        None if dag_id == ALL_PAGES else dag_id,
        lambda key: run_id in (ALL_PAGES, key.run_id) and matches(key),
    )
    return services.store.get_runs(list(islice(scope.keys(services, ascending=False), LOOKED_AT)))


def _rows(services: Services, run: DagRun, xcoms: Iterable[XCom]) -> list[XComRow]:
    xcoms = list(xcoms)
    if not xcoms:
        return []
    version = services.store.get_version(run.dag_id, run.version_number)
    spec = find_spec(services, run)
    dag_name = (version.dag_display_name if version else "") or run.dag_id
    rows = []
    for xcom in xcoms:
        task = spec.tasks.get(xcom.key.task_id) if spec else None
        rows.append(XComRow(xcom, run, dag_name, (task.task_display_name if task else "") or xcom.key.task_id))
    return rows


# --- what people may do -----------------------------------------------------------------------------------------------

RESERVED: Final = frozenset(
    {"__classname__", "__version__", "__data__", "__id__", "__cache__", "__type", "__source", "__var"}
)
"""Keys by which Airflow's serialization recognizes an encoded object: only a worker may choose the class of a value."""


def _without_reserved_keys(value: Any) -> Any:
    _check_keys(value, "value")
    return value


def _check_keys(value: Any, path: str) -> None:
    match value:
        case str():
            # `readable` parses text that is JSON.
            decoded = _decoded(value)
            if isinstance(decoded, dict | list):
                _check_keys(decoded, path)
        case dict():
            if found := RESERVED & value.keys():
                raise ValueError(
                    f"XCom {path} contains reserved serialization keys: {', '.join(sorted(found))}. "
                    "These keys are reserved for internal use."
                )
            for name, item in value.items():
                _check_keys(item, f"{path}.{name}")
        case list():
            for place, item in enumerate(value):
                _check_keys(item, f"{path}[{place}]")


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


XComValue = Annotated[Any, AfterValidator(_without_reserved_keys)]


class XComCreateBody(Body):
    key: str
    value: XComValue
    map_index: int = UNMAPPED


class XComUpdateBody(Body):
    value: XComValue
    map_index: int = UNMAPPED


class XComDeleteQuery(Query):
    map_index: Annotated[int, Field(ge=-1)] = UNMAPPED


@operation("create_xcom_entry")
def create_xcom_entry(services: Services, request: Request) -> Answer:
    names, body = request.path, request.body(XComCreateBody)
    dag_id, task_id = names["dag_id"], names["task_id"]
    view = load_view(services, DagRunKey(dag_id, names["dag_run_id"]))
    spec = view.spec if view else load_spec(services.objects, existing_dag(services, dag_id).spec_key)
    if spec is None:
        raise not_found(f"The Dag with ID: `{dag_id}` was not found")
    if task_id not in spec.tasks:
        raise not_found(f"Task with ID: `{task_id}` not found in dag: `{dag_id}`")
    if view is None:
        raise not_found(f"Dag Run with ID: `{names['dag_run_id']}` not found for dag: `{dag_id}`")
    if not body.key:
        raise bad_request(f"Couldn't serialise the XCom with key: `{body.key}`")
    taken = Problem(409, f"The XCom with key: `{body.key}` with mentioned task instance already exists.")
    found = view.instance(task_id, body.map_index)
    if found is None:
        raise no_instance(request, body.map_index, None)
    if services.store.get_xcom(found.instance.key, body.key) is not None:
        raise taken
    try:
        xcom = create_xcom(services, view.spec, found.instance, body.key, body.value)
    except AlreadyExists as problem:
        raise taken from problem
    [row] = _rows(services, view.run, [xcom])
    return Answer(201, xcom_response(row) | {"value": xcom.value})


@operation("update_xcom_entry")
def update_xcom_entry(services: Services, request: Request) -> Json:
    body = request.body(XComUpdateBody)
    view, found = _existing(services, request, body.map_index)
    xcom = update_xcom(services, view.spec, found.instance, request.path["xcom_key"], body.value)
    [row] = _rows(services, view.run, [xcom])
    return xcom_response(row) | {"value": xcom.value}


@operation("delete_xcom_entry")
def delete_xcom_entry(services: Services, request: Request) -> Answer:
    view, found = _existing(services, request, request.query(XComDeleteQuery).map_index)
    delete_xcom(services, view.spec, found.instance, request.path["xcom_key"])
    return Answer(204)


def _existing(services: Services, request: Request, map_index: int) -> tuple[ShownRun, InstanceView]:
    """The XCom's key. Problem 404."""
    name, view = (
        request.path["xcom_key"],
        load_view(services, DagRunKey(request.path["dag_id"], request.path["dag_run_id"])),
    )
    found = view.instance(request.path["task_id"], map_index) if view else None
    if view is None or found is None or services.store.get_xcom(found.instance.key, name) is None:
        raise not_found(f"The XCom with key: `{name}` with mentioned task instance doesn't exist.")
    return view, found


# --- values that people can read --------------------------------------------------------------------------------------

_BUNDLE_PREFIX: Final = re.compile(r"unusual_prefix_[a-f0-9]{40}_")
"""Airflow puts this before the module of a class that a DAG file defines."""

_SEQUENCES: Final = frozenset({"builtins.tuple", "builtins.set", "builtins.frozenset"})


def readable(value: Any) -> Any:
    """The value as Airflow shows it with `deserialize=true`.

    A string that is JSON is parsed first, as in Airflow. A value with an object of one of Airflow's own classes is
    returned as stored: Airflow makes no text of it."""
    parsed = value
    if isinstance(value, str):
        try:
            parsed = json.loads(value, parse_constant=_no_constant)
        except ValueError:
            return value
    try:
        return _readable(parsed)
    except _OfAirflow:
        return value


class _OfAirflow(Exception):
    """The value has an object of one of Airflow's own classes."""


def _readable(value: Any) -> Any:
    match value:
        case list():
            return [_readable(item) for item in value]
        case {"__type": "dict", "__var": wrapped}:
            return _readable(wrapped)
        case {"__type": str(kind), "__var": wrapped}:
            return _as_text(kind, 0, wrapped)
        case {"__classname__": str(classname), "__version__": int(version), **rest}:
            return _as_text(classname, version, rest.get("__data__"))
        case dict():
            return {str(name): _readable(item) for name, item in value.items()}
        case _:
            return value


def _as_text(classname: str, version: int, data: Any) -> str:
    """Raises _OfAirflow."""
    if classname.startswith("airflow."):
        raise _OfAirflow(classname)
    if classname in _SEQUENCES and isinstance(data, list):
        return f"({','.join(str(_readable(item)) for item in data)})"
    match data:
        case bool() | int() | float() | str():
            inner = str(data)
        case list():
            inner = ",".join(str(_readable(item)) for item in data)
        case dict():
            inner = ", ".join(
                f"{name}={item!r}" if isinstance(item, str) else f"{name}={_readable(item)}"
                for name, item in data.items()
            )
        case _:
            inner = ""
    return f"{_BUNDLE_PREFIX.sub('', classname)}@version={version}({inner})"


def _no_constant(name: str) -> Any:
    """Refuses `NaN` and `Infinity`, which are no JSON: such a string stays a string."""
    raise ValueError(name)
