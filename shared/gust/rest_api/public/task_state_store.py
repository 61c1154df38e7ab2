"""`…/taskInstances/{task_id}/state-store`: entries that a task stores for its next try, and a trigger for its next
invocation."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, Field

from gust.http.answer import Answer, Json, bad_request, not_found
from gust.http.check import Query
from gust.model.field_values import values_of
from gust.model.keys import UNMAPPED, DagRunKey, TaskInstanceKey
from gust.model.state_entry import StateEntry
from gust.rest_api.http.request import Body, Request
from gust.rest_api.http.routing import operation
from gust.rest_api.lists.filters import Elsewhere, Paging
from gust.rest_api.lists.listing import Page
from gust.rest_api.lists.shown_run import load_view
from gust.rest_api.public.state_store import StoredValue
from gust.services.context import Services

RETENTION_DAYS: Final = "AIRFLOW__STATE_STORE__DEFAULT_RETENTION_DAYS"
"""Airflow's `[state_store] default_retention_days`. 0: no expiry."""

MapIndex = Annotated[int, Field(ge=-1)]


class MapIndexQuery(Query):
    map_index: MapIndex = UNMAPPED


class ListQuery(Paging):
    map_index: Annotated[MapIndex, Elsewhere("names the task instance")] = UNMAPPED


class ClearQuery(MapIndexQuery):
    all_map_indices: bool = False


class TaskStateStoreBody(Body):
    value: StoredValue
    expires_at: AwareDatetime | Literal["default"] | None = "default"


class TaskStateStorePatchBody(Body):
    value: StoredValue


task_state_store_response: Final = values_of(StateEntry, "key", "value", "updated_at", "expires_at")


@operation("list_task_state_store")
def list_task_state_store(services: Services, request: Request) -> Json:
    """The list is empty for a task instance that does not exist."""
    query = request.query(ListQuery)
    entries = services.store.list_task_state(_key(request, query.map_index))
    return Page(query.part_of(entries), len(entries)).answer("task_state_store", task_state_store_response)


@operation("get_task_state_store")
def get_task_state_store(services: Services, request: Request) -> Json:
    return task_state_store_response(_existing(services, request, request.query(MapIndexQuery).map_index))


@operation("set_task_state_store")
def set_task_state_store(services: Services, request: Request) -> Answer:
    key = _checked_key(services, request)
    body = request.body(TaskStateStoreBody)
    entry = StateEntry(
        key=request.path["key"],
        value=body.value,
        updated_at=request.now,
        expires_at=_expiry(body.expires_at, request.now),
    )
    services.store.put_task_state(key, entry)
    return Answer(204)


@operation("patch_task_state_store")
def patch_task_state_store(services: Services, request: Request) -> Answer:
    """Changes the value; the expiry stays."""
    key = _checked_key(services, request)
    body = request.body(TaskStateStorePatchBody)
    before = _existing(services, request, key.map_index)
    entry = StateEntry(key=before.key, value=body.value, updated_at=request.now, expires_at=before.expires_at)
    services.store.put_task_state(key, entry)
    return Answer(200)


@operation("delete_task_state_store")
def delete_task_state_store(services: Services, request: Request) -> Answer:
    services.store.delete_task_state(_checked_key(services, request), request.path["key"])
    return Answer(204)


@operation("clear_task_state_store")
def clear_task_state_store(services: Services, request: Request) -> Answer:
    query = request.query(ClearQuery)
    map_index = None if query.all_map_indices else query.map_index
    _check_instance(services, request, map_index)
    key = _key(request, UNMAPPED)
    services.store.clear_task_state(key.run, key.task_id, map_index)
    return Answer(204)


def _key(request: Request, map_index: int) -> TaskInstanceKey:
    run = DagRunKey(request.path["dag_id"], request.path["dag_run_id"])
    return run.task_instance(request.path["task_id"], map_index)


def _existing(services: Services, request: Request, map_index: int) -> StateEntry:
    name = request.path["key"]
    entry = services.store.get_task_state(_key(request, map_index), name)
    if entry is None:
        raise not_found(f"Task state store key {name!r} not found")
    return entry


def _checked_key(services: Services, request: Request) -> TaskInstanceKey:
    """The instance that the request names. Raises a Problem if there is none."""
    map_index = request.query(MapIndexQuery).map_index
    _check_instance(services, request, map_index)
    return _key(request, map_index)


def _check_instance(services: Services, request: Request, map_index: int | None) -> None:
    """Problem 404. `None` as map index: any instance of the task."""
    key = _key(request, UNMAPPED)
    view = load_view(services, key.run)
    of_task = [v.instance for v in view.instances if v.instance.task_id == key.task_id] if view else []
    if not any(map_index in (None, instance.map_index) for instance in of_task):
        addressed_by = "all_map_indices=True" if map_index is None else f"map_index={map_index}"
        raise not_found(
            f"Task instance not found for dag_id={key.dag_id!r}, run_id={key.run_id!r}, "
            f"task_id={key.task_id!r}, {addressed_by}"
        )


def _expiry(given: datetime | Literal["default"] | None, now: datetime) -> datetime | None:
    if not isinstance(given, str):
        return given
    days = int(os.environ.get(RETENTION_DAYS, "30"))
    if days < 0:
        raise bad_request(f"[state_store] default_retention_days must be >= 0, got {days}. Set to 0 to disable expiry.")
    return now + timedelta(days=days) if days else None
