"""`…/dagRuns/{dag_run_id}/taskInstances`: instances, mapped ones, and their tries."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Final, TypeVar

from pydantic import AwareDatetime, NonNegativeInt

from gust.http.answer import Json, Problem, bad_request, not_found
from gust.http.check import Query
from gust.model.dag import DagVersion
from gust.model.dag_spec import DagSpec, TaskSpec
from gust.model.keys import UNMAPPED, DagRunKey
from gust.model.place import InGroup, OnFargate, describe
from gust.model.state import TaskInstanceState
from gust.model.task_instance import TaskInstance
from gust.model.worker_group import AWAY_AFTER
from gust.rest_api.http.request import ALL_PAGES, Body, Request
from gust.rest_api.http.routing import operation
from gust.rest_api.lists.filters import (
    RUN_KEYS,
    Elsewhere,
    Filter,
    Filters,
    ListQuery,
    between,
    equal,
    member_of,
    one_of,
    query_of,
    search,
)
from gust.rest_api.lists.history import Direction, RunSelection, page_of_instances
from gust.rest_api.lists.listing import MAXIMUM_BATCH, Order, Ordering, Page, filtered_page, page
from gust.rest_api.lists.shown_run import InstanceView, ShownRun, load_view, view_of
from gust.rest_api.public.dag_run import check_is_all, last_change, versions_reader
from gust.rest_api.public.dags import existing_dag
from gust.scheduling.dependency import Dependency
from gust.scheduling.placement import place
from gust.services.context import Services
from gust.services.runs.public_form import dag_version_fields
from gust.services.scheduler.explain import explain
from gust.services.specs import load_spec
from gust.services.workers_of import workers_for_tasks

RowT = TypeVar("RowT")

FEW_RUNS: Final = 200
"""Runs that are read by key."""
FEW: Final = 20
"""Instances of one run whose rendered fields are read by key."""

# --- answers ----------------------------------------------------------------------------------------------------------


def task_instance_response(view: InstanceView, version: DagVersion | None, rendered_fields: Json) -> Json:
    instance = view.instance
    return (
        {"id": instance.key.uuid(instance.try_number)}
        | task_instance_history_response(view, version)
        | {
            "logical_date": view.run.logical_date,
            "run_after": view.run.run_after,
            "note": instance.note,
            "rendered_map_index": view.rendered_map_index,
            "rendered_fields": rendered_fields,
            "trigger": _trigger(view),
            "triggerer_job": None,
        }
    )


def task_instance_history_response(view: InstanceView, version: DagVersion | None) -> Json:
    """The fields that Airflow stores of each try."""
    instance, task = view.instance, view.task
    return {
        "task_id": instance.task_id,
        "dag_id": instance.dag_id,
        "dag_run_id": instance.run_id,
        "map_index": instance.map_index,
        "start_date": instance.start_date,
        "end_date": instance.end_date,
        "duration": instance.duration,
        "state": instance.state.value if instance.state else None,
        "try_number": instance.try_number,
        "max_tries": view.max_tries,
        "task_display_name": view.display_name,
        "dag_display_name": (version.dag_display_name if version else "") or instance.dag_id,
        "hostname": instance.hostname or "",
        "unixname": None,
        "pool": view.pool,
        "pool_slots": task.pool_slots if task else 1,
        "queue": view.queue,
        "priority_weight": task.priority_weight if task else None,
        "operator": view.operator,
        "operator_name": view.operator_name,
        "queued_when": instance.queued_at,
        "scheduled_when": instance.scheduled_at,
        "pid": instance.pid,
        "executor": _executor(view),
        "executor_config": str(task.executor_config if task else {}),
        "dag_version": dag_version_fields(version) if version else None,
    }


def _trigger(view: InstanceView) -> Json | None:
    """A parked trigger. Its arguments are not shown, since they may hold secrets. It has no number and no time of
    creation here: a checksum replaces the number, the task's last heartbeat before it deferred the time."""
    trigger, instance = view.instance.trigger, view.instance
    if trigger is None:
        return None
    return {
        "id": zlib.crc32(str(instance.key.uuid(instance.try_number)).encode()) & 0x7FFFFFFF,
        "classpath": trigger.classpath,
        "kwargs": "{}",
        "created_date": instance.heartbeat_at or instance.start_date or view.run.queued_at,
        "queue": trigger.queue,
        "triggerer_id": None,
    }


def task_instance_responses(services: Services, views: list[InstanceView]) -> list[Json]:
    versions = services.store.get_versions({(view.run.dag_id, view.version_number) for view in views})
    fields_of = fields_reader(services, views)
    return [
        task_instance_response(view, versions.get((view.run.dag_id, view.version_number)), fields_of(view.instance))
        for view in views
    ]


def fields_reader(services: Services, views: Collection[InstanceView]) -> Callable[[TaskInstance], Json]:
    """A reader of rendered fields for one answer: by one batch of keys, or by one query for a run with many
    instances."""
    counts = Counter(view.run.key for view in views)
    of_run = {key: services.store.list_rendered_fields(key) for key, count in counts.items() if count > FEW}
    single = [v.instance.key for v in views if v.run.key not in of_run and _has_fields(v.instance)]
    known = services.store.get_many_rendered_fields(single) if single else {}

    def read(instance: TaskInstance) -> Json:
        if (its_run := of_run.get(instance.key.run)) is not None:
            return its_run.get((instance.task_id, instance.map_index), {})
        return known.get(instance.key) or {}

    return read


def _has_fields(instance: TaskInstance) -> bool:
    return instance.start_date is not None or instance.first_start_date is not None


# --- one instance -----------------------------------------------------------------------------------------------------


@operation("get_task_instance")
def get_task_instance(services: Services, request: Request) -> Json:
    key = _run_key(request)
    task_id = request.path["task_id"]
    view = load_view(services, key)
    found = view.instance(task_id) if view else None
    if found is None:
        if view and any(v.instance.task_id == task_id for v in view.instances):
            raise not_found("Task instance is mapped, add the map_index value to the URL")
        raise not_found(
            f"The Task Instance with dag_id: `{key.dag_id}`, run_id: `{key.run_id}` "
            f"and task_id: `{task_id}` was not found"
        )
    return task_instance_responses(services, [found])[0]


@operation("get_mapped_task_instance")
def get_mapped_task_instance(services: Services, request: Request) -> Json:
    key = _run_key(request)
    task_id, map_index = request.path["task_id"], request.path_value("map_index", int)
    view = load_view(services, key)
    found = view.instance(task_id, map_index) if view else None
    if found is None:
        raise not_found(
            f"The Mapped Task Instance with dag_id: `{key.dag_id}`, run_id: `{key.run_id}`, task_id: `{task_id}`, "
            f"and map_index: `{map_index}` was not found"
        )
    return task_instance_responses(services, [found])[0]


# --- dependencies -----------------------------------------------------------------------------------------------------


class MapIndex(Query):
    map_index: int = UNMAPPED


def _map_index(request: Request) -> int:
    """The map index in the path, as of the operations on mapped instances, else in the query."""
    if "map_index" in request.path:
        return request.path_value("map_index", int)
    return request.query(MapIndex).map_index


@operation("get_task_instance_dependencies")
@operation("get_task_instance_dependencies_by_map_index")
def get_task_instance_dependencies(services: Services, request: Request) -> Json:
    """The scheduler's reasons for an instance that does not move, from a decision that is not committed; of a queued one
    whose container starts, where it will run and why."""
    map_index = _map_index(request)
    view = load_view(services, _run_key(request))
    found = view.instance(request.path["task_id"], map_index) if view else None
    if view is None or found is None:
        raise no_instance(request, map_index, None)
    if found.instance.state is TaskInstanceState.QUEUED and found.task is not None and view.spec is not None:
        reason = _why_queued(services, view.spec, found.task, found.instance)
        return {"dependencies": [{"name": Dependency.STATE.value, "reason": reason}] if reason else []}
    if found.instance.state not in (None, TaskInstanceState.SCHEDULED):
        return {"dependencies": []}
    objections = explain(services, view.run.key, found.instance.task_id, map_index)
    return {"dependencies": [{"name": o.dependency.value, "reason": o.reason} for o in objections]}


def _why_queued(services: Services, spec: DagSpec, task: TaskSpec, instance: TaskInstance) -> str:
    """What a queued instance waits for, if that may take longer than a moment: a container, or workers elsewhere that are
    away."""
    where = place(task, workers_for_tasks(services, spec, [task]), instance.outgrew)
    if isinstance(where, OnFargate):
        return f"{describe(where)} Its container starts."
    if isinstance(where, InGroup) and (heard_at := where.group.heard_at) is not None:
        if services.clock.now() - heard_at <= AWAY_AFTER:
            return ""
        return (
            f"{describe(where)} It waits for one: the last of this queue was heard of at {heard_at:%Y-%m-%d %H:%M:%S} UTC. "
            f"Start one: ./gust worker --queue {where.group.name}."
        )
    return ""


# --- tries ------------------------------------------------------------------------------------------------------------


@operation("get_task_instance_tries")
@operation("get_mapped_task_instance_tries")
def get_task_instance_tries(services: Services, request: Request) -> Json:
    view = _existing(services, request, _map_index(request))
    tries = [*(view.of_try(t) for t in services.store.list_tries(view.instance.key)), view.of_try(_as_listed(view))]
    version_of = versions_reader(services)
    rows = [task_instance_history_response(t, version_of(t.run.dag_id, t.version_number)) for t in tries]
    return {"task_instances": rows, "total_entries": len(rows)}


def _as_listed(view: InstanceView) -> TaskInstance:
    """The instance as a try: Airflow lists a try in `up_for_retry` as failed."""
    instance = view.instance
    if instance.state is TaskInstanceState.UP_FOR_RETRY:
        return replace(instance, state=TaskInstanceState.FAILED)
    return instance


@operation("get_task_instance_try_details")
@operation("get_mapped_task_instance_try_details")
def get_task_instance_try_details(services: Services, request: Request) -> Json:
    map_index, number = _map_index(request), request.path_value("task_try_number", int)
    view = _existing(services, request, map_index, try_number=number)
    found = find_try(services, view, number)
    if found is None:
        raise no_instance(request, map_index, number)
    version = services.store.get_version(found.run.dag_id, found.version_number)
    return task_instance_history_response(found, version)


def find_try(services: Services, view: InstanceView, try_number: int) -> InstanceView | None:
    """The current try, or the finished one of that number."""
    if view.instance.try_number == try_number:
        return view
    tries = services.store.list_tries(view.instance.key)
    # After a clear several finished tries may have the number; the newest counts.
    return next((view.of_try(t) for t in reversed(tries) if t.try_number == try_number), None)


def _existing(services: Services, request: Request, map_index: int, *, try_number: int | None = None) -> InstanceView:
    view = load_view(services, _run_key(request))
    found = view.instance(request.path["task_id"], map_index) if view else None
    if found is None:
        raise no_instance(request, map_index, try_number)
    return found


def no_instance(request: Request, map_index: int, try_number: int | None) -> Problem:
    names = request.path
    number = "" if try_number is None else f", try_number: `{try_number}`"
    return not_found(
        f"The Task Instance with dag_id: `{names['dag_id']}`, run_id: `{names['dag_run_id']}`, "
        f"task_id: `{names['task_id']}`{number} and map_index: `{map_index}` was not found"
    )


# --- lists ------------------------------------------------------------------------------------------------------------


class _MappedQuery(ListQuery):
    order_by: list[str] = ["map_index"]


class _TaskInstancesQuery(_MappedQuery):
    cursor: str | None = None
    task_group_id: Annotated[str | None, Elsewhere("looked up in the version of each run")] = None


class _TaskInstancesBatchBody(Body):
    page_offset: NonNegativeInt = 0
    page_limit: NonNegativeInt = 100
    order_by: str | None = None


def _place(view: InstanceView) -> datetime:
    """Also in place of Airflow's id, which grows with time: instances are made with their run, in topological order."""
    return view.run.run_after


def _index(view: InstanceView) -> int:
    return view.instance.map_index


def _last_change(view: InstanceView) -> datetime:
    """The latest of the instance's timestamps, in place of Airflow's `updated_at`, which Gust does not store."""
    ti = view.instance
    known = [m for m in (ti.scheduled_at, ti.queued_at, ti.start_date, ti.heartbeat_at, ti.end_date) if m is not None]
    return max(known) if known else last_change(view.run)


def _executor(view: InstanceView) -> str | None:
    """The one that its task names, as in Airflow: where the task names none, the default one, without a name."""
    return view.task.executor if view.task else None


def states_of_instances(get: Callable[[RowT], TaskInstanceState | None]) -> Filter[RowT]:
    return member_of("state", TaskInstanceState, get, no_value=("none", "no_status"))


STATE: Final[Filter[InstanceView]] = states_of_instances(lambda v: v.instance.state)
MAPPED_FILTERS: Final = Filters[InstanceView](
    STATE,
    one_of("pool", str, lambda v: v.pool),
    search("pool_name", lambda v: v.pool),
    one_of("queue", str, lambda v: v.queue),
    search("queue_name", lambda v: v.queue),
    one_of("executor", str, _executor),
    one_of("version_number", int, lambda v: v.version_number),
    one_of("try_number", int, lambda v: v.instance.try_number),
    one_of("operator", str, lambda v: v.operator),
    search("operator_name", lambda v: v.operator_name),
    one_of("map_index", int, _index),
    search("rendered_map_index", lambda v: v.rendered_map_index),
    between("run_after", datetime, _place),
    between("logical_date", datetime, lambda v: v.run.logical_date),
    between("start_date", datetime, lambda v: v.instance.start_date, missing_is_now=True),
    between("end_date", datetime, lambda v: v.instance.end_date, missing_is_now=True),
    between("updated_at", datetime, _last_change),
    between("duration", float, lambda v: v.instance.duration),
)
TASK_FILTERS: Final = Filters[InstanceView](
    equal("task_id", str, lambda v: v.instance.task_id, blank_is_any=True),
    search("task_display_name", lambda v: v.display_name),
)
MappedQuery: Final = query_of(_MappedQuery, MAPPED_FILTERS)
TaskInstancesQuery: Final = query_of(_TaskInstancesQuery, RUN_KEYS, TASK_FILTERS, MAPPED_FILTERS)

BATCH_DAGS: Final[Filter[DagRunKey]] = one_of("dag_ids", str, lambda key: key.dag_id)
BATCH_RUNS: Final[Filter[DagRunKey]] = one_of("dag_run_ids", str, lambda key: key.run_id)
BATCH_KEYS: Final = Filters[DagRunKey](BATCH_DAGS, BATCH_RUNS)
BATCH_STATE: Final[Filter[InstanceView]] = one_of("state", TaskInstanceState | None, lambda v: v.instance.state)
BATCH_FILTERS: Final = Filters[InstanceView](
    one_of("task_ids", str, lambda v: v.instance.task_id),
    BATCH_STATE,
    one_of("pool", str, lambda v: v.pool),
    one_of("queue", str, lambda v: v.queue),
    one_of("executor", str, _executor),
    between("run_after", AwareDatetime, _place),
    between("logical_date", AwareDatetime, lambda v: v.run.logical_date),
    between("start_date", AwareDatetime, lambda v: v.instance.start_date),
    between("end_date", AwareDatetime, lambda v: v.instance.end_date),
    between("duration", float, lambda v: v.instance.duration),
)
TaskInstancesBatchBody: Final = query_of(_TaskInstancesBatchBody, BATCH_KEYS, BATCH_FILTERS)

ORDERING: Final = Ordering[InstanceView](
    attributes={
        "id": _place,
        "state": lambda v: v.instance.state.value if v.instance.state else None,
        "duration": lambda v: v.instance.duration,
        "start_date": lambda v: v.instance.start_date,
        "end_date": lambda v: v.instance.end_date,
        "map_index": _index,
        "try_number": lambda v: v.instance.try_number,
        "logical_date": lambda v: v.run.logical_date,
        "run_after": _place,
        "data_interval_start": lambda v: v.run.data_interval_start,
        "data_interval_end": lambda v: v.run.data_interval_end,
        # Without a template all are equal here, and the map index decides.
        "rendered_map_index": lambda v: v.instance.rendered_map_index,
        "operator": lambda v: v.operator,
    },
    key=lambda v: (
        v.run.run_after, v.run.dag_id, v.run.run_id, v.place, v.instance.task_id, v.instance.map_index,
    ),
)  # fmt: skip

BATCH_ORDERING: Final = ORDERING.limited_to("id", "state", "duration", "start_date", "end_date", "map_index")


@operation("get_task_instances")
def get_task_instances(services: Services, request: Request) -> Json:
    key = _run_key(request)
    query = request.query(TaskInstancesQuery)
    groups: dict[str, frozenset[str]] = {}
    key_matches, task_matches = RUN_KEYS.matches(query), TASK_FILTERS.matches(query)
    matches = MAPPED_FILTERS.matches(query, request.now)

    def passes(v: InstanceView) -> bool:
        return (
            task_matches(v)
            and (query.task_group_id is None or v.instance.task_id in groups[v.run.spec_key])
            and key_matches(v.run.key)
            and matches(v)
        )

    def on_run(view: ShownRun) -> None:
        if query.task_group_id is not None:
            groups[view.run.spec_key] = _tasks_of_group(view, query.task_group_id)

    order = ORDERING.resolve(query.order_by)
    if key.run_id != ALL_PAGES:
        view = _view_of_run(services, key)
        on_run(view)
        wanted = [v for v in view.instances if passes(v)]
        return _collection(services, page(wanted, order, limit=query.limit, offset=query.offset, cursor=query.cursor))
    found = page_of_instances(
        services,
        RunSelection.of(query, _dag_or_all(services, key), RUN_KEYS.predicate(query)),
        passes,
        order,
        direction=_direction(order),
        limit=query.limit,
        offset=query.offset,
        cursor=query.cursor,
        states=STATE.value(query),
        # Each run's version must have the group: without it the answer is 404.
        on_run=on_run,
        by_failure=query.task_group_id is None,
    )
    return _collection(services, found)


def _direction(order: Order[InstanceView]) -> Direction:
    if order.is_by(_place):
        return Direction.BACKWARD if order.key_descends else Direction.FORWARD
    is_by_index = order.is_by(_index) and not order.key_descends
    return Direction.UNMAPPED_FIRST if is_by_index else Direction.NONE


def _dag_or_all(services: Services, key: DagRunKey) -> str | None:
    return None if key.dag_id == ALL_PAGES else existing_dag(services, key.dag_id).dag_id


@operation("get_mapped_task_instances")
def get_mapped_task_instances(services: Services, request: Request) -> Json:
    key, task_id = _run_key(request), request.path["task_id"]
    query = request.query(MappedQuery)
    view = load_view(services, key)
    mapped = [v for v in view.instances if v.instance.task_id == task_id and v.instance.map_index >= 0] if view else []
    if not mapped:
        _check_is_mapped(services, key.dag_id, task_id, view)
    return _collection(services, filtered_page(mapped, query, ORDERING, MAPPED_FILTERS, request.now))


@operation("get_task_instances_batch")
def get_task_instances_batch(services: Services, request: Request) -> Json:
    check_is_all(request, "dag_id", "dag_run_id")
    body = request.body(TaskInstancesBatchBody)
    dag_ids, run_ids = frozenset(BATCH_DAGS.value(body)), frozenset(BATCH_RUNS.value(body))
    matches = BATCH_FILTERS.matches(body)

    order = BATCH_ORDERING.resolve([body.order_by or "id"])
    # Airflow's batch lists have no maximum page.
    if dag_ids and run_ids and len(dag_ids) * len(run_ids) <= FEW_RUNS:
        named = [DagRunKey(dag_id, run_id) for dag_id in dag_ids for run_id in run_ids]
        wanted = [
            v for state in services.store.load_runs(named) for v in view_of(services, state).instances if matches(v)
        ]
        return _collection(
            services, page(wanted, order, limit=body.page_limit, offset=body.page_offset, maximum=MAXIMUM_BATCH)
        )
    only = next(iter(dag_ids)) if len(dag_ids) == 1 else None
    found = page_of_instances(
        services,
        RunSelection.of(body, only, BATCH_KEYS.predicate(body)),
        matches,
        order,
        direction=_direction(order),
        limit=body.page_limit,
        offset=body.page_offset,
        maximum=MAXIMUM_BATCH,
        states=BATCH_STATE.value(body),
    )
    return _collection(services, found)


def _collection(services: Services, found: Page[InstanceView]) -> Json:
    return {"task_instances": task_instance_responses(services, found.rows), **found.with_cursors()}


def _view_of_run(services: Services, key: DagRunKey) -> ShownRun:
    """The run's view. Problem 400 for `~` as its DAG, 404."""
    if key.dag_id == ALL_PAGES:
        raise bad_request("dag_id is required when dag_run_id is specified")
    view = load_view(services, key)
    if view is None:
        raise not_found(f"DagRun with dag_id: `{key.dag_id}` and run_id: `{key.run_id}` was not found")
    return view


def _tasks_of_group(view: ShownRun, group_id: str) -> frozenset[str]:
    """The group's tasks, including those of nested groups. Problem 404."""
    groups = view.spec.task_groups if view.spec else {}
    if group_id not in groups:
        raise Problem(404, {"reason": "not_found", "message": f"Task group {group_id} not found"})
    tasks: set[str] = set()
    waiting = [group_id]
    while waiting:
        for child in groups[waiting.pop()].children:
            if child in groups:
                waiting.append(child)
            else:
                tasks.add(child)
    return frozenset(tasks)


def _check_is_mapped(services: Services, dag_id: str, task_id: str, view: ShownRun | None) -> None:
    """Problem 404 for a task that is not mapped; a mapped task without instances has an empty list.

    Without the run the DAG's newest version decides, as in Airflow."""
    spec = view.spec if view else load_spec(services.objects, existing_dag(services, dag_id).spec_key)
    task = spec.tasks.get(task_id) if spec else None
    if task is None:
        raise not_found(f"Task id {task_id} not found")
    if not task.is_mapped:
        raise not_found(f"Task id {task_id} is not mapped")


def _run_key(request: Request) -> DagRunKey:
    return DagRunKey(request.path["dag_id"], request.path["dag_run_id"])
