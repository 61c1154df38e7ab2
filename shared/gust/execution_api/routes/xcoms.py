"""XComs. A task may read every XCom, and write and delete only its own.

Airflow lets a task write any. Here a token is for one try, so that a lost worker cannot overwrite the XComs of the try
that replaced it.
"""

from typing import Any, Final

from gust.errors import Forbidden, NotFound, StaleTaskInstance
from gust.execution_api.datamodels.xcom import DeleteXCom, GetXCom, GetXComSlice, HeadXCom, SetXCom
from gust.execution_api.routing import Call, Fence, Routes
from gust.http.answer import Answer, wrong_value
from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.model.xcom import XCom
from gust.services.settings.options import current_options
from gust.services.worker.find_task_instances import runs_of
from gust.services.worker.push_xcom import push_xcom
from gust.services.worker.report_task_instance import not_running, present_dispatch

routes = Routes("/xcoms")

OF_TASK: Final = "/{dag_id}/{run_id}/{task_id}/{key:path}"

MAX_MAP_LENGTH: Final = 1024
"""Airflow's `[core] max_map_length`, unless the stack's options say otherwise."""


@routes.get(f"{OF_TASK}/item/{{offset}}")
def get_mapped_xcom_by_index(call: Call[None, None]) -> Answer:
    offset = _integer("offset", call.path["offset"])
    pushed = _pushed(call)
    if not -len(pushed) <= offset < len(pushed):
        raise _missing(call, f"offset={offset}")
    return Answer(body=pushed[offset].value)


@routes.get(f"{OF_TASK}/slice", query=GetXComSlice)
def get_mapped_xcom_by_slice(call: Call[None, GetXComSlice]) -> Answer:
    query = call.query
    pushed = _pushed(call, include_prior_dates=query.include_prior_dates)
    # Airflow takes a step of 0 for 1.
    return Answer(body=[xcom.value for xcom in pushed[query.start : query.stop : query.step or 1]])


@routes.head(OF_TASK, query=HeadXCom)
def head_xcom(call: Call[None, HeadXCom]) -> Answer:
    """Counts the task's instances that pushed the key."""
    if call.query.map_index is not None:
        return Answer(
            400, {"detail": {"reason": "invalid_request", "message": "Cannot specify map_index in a HEAD request"}}
        )
    return Answer(headers={"Content-Range": f"map_indexes {len(_pushed(call))}"})


@routes.get(OF_TASK, query=GetXCom)
def get_xcom(call: Call[None, GetXCom]) -> Answer:
    query = call.query
    if query.offset is not None:
        pushed = [
            xcom for xcom in _pushed(call, include_prior_dates=query.include_prior_dates) if xcom.value is not None
        ]
        if not -len(pushed) <= query.offset < len(pushed):
            raise _missing(call, f"offset={query.offset}")
        found: XCom | None = pushed[query.offset]
    else:
        store, key = call.services.store, _task_instance(call, query.map_index)
        found = store.get_xcom(key, call.path["key"])
        if found is None and query.include_prior_dates:
            earlier = (run.task_instance(key.task_id, key.map_index) for run in _runs_until(call))
            found = next((x for prior in earlier if (x := store.get_xcom(prior, call.path["key"]))), None)
    if found is None:
        raise _missing(call, f"map_index={query.map_index}")
    return Answer(body={"key": call.path["key"], "value": found.value})


def _max_map_length(call: Call[Any, Any]) -> int:
    return int(current_options(call.services).get("core.max_map_length", MAX_MAP_LENGTH))


@routes.post(OF_TASK, query=SetXCom, body=Any, needs_body=False, fence=Fence.ITSELF)
def set_xcom(call: Call[Any, SetXCom]) -> Answer:
    query = call.query
    _require_own(call, query.map_index)
    if query.mapped_length is not None and query.mapped_length > _max_map_length(call):
        message = "pushed value is too large to map as a downstream's dependency"
        return Answer(400, {"detail": {"reason": "unmappable_return_value_length", "message": message}})
    push_xcom(
        call.services,
        call.caller,
        name=call.path["key"],
        value=call.body,
        mapped_length=query.mapped_length,
        dag_result=query.dag_result,
    )
    return Answer(201, {"message": "XCom successfully set"})


@routes.delete(OF_TASK, query=DeleteXCom, fence=Fence.ITSELF)
def delete_xcom(call: Call[None, DeleteXCom]) -> Answer:
    _require_own(call, call.query.map_index)
    present_dispatch(call.services, call.caller)
    try:
        call.services.store.delete_xcom(call.caller.key, call.path["key"], dispatch_count=call.caller.dispatch_count)
    except StaleTaskInstance as stale:
        raise not_running(stale.current) from stale
    return Answer(body={"message": f"XCom with key: {call.path['key']} successfully deleted."})


def _pushed(call: Call[Any, Any], *, include_prior_dates: bool = False) -> list[XCom]:
    """XComs of the task's instances under the key, by map index; those of older runs first, as Airflow's database
    returns them."""
    store = call.services.store
    runs = reversed(_runs_until(call)) if include_prior_dates else [_run_key(call)]
    found = [x for run in runs for x in store.list_xcoms(run, task_id=call.path["task_id"], name=call.path["key"])]
    return sorted(found, key=lambda xcom: xcom.key.map_index)


def _runs_until(call: Call[Any, Any]) -> list[DagRunKey]:
    """The run of the path and earlier runs, the latest first."""
    this = call.services.store.get_run(_run_key(call))
    if this is None:
        return []
    until = this.logical_date or this.run_after
    runs = runs_of(call.services, this.dag_id, wanted=lambda run: (run.logical_date or run.run_after) <= until)
    return [run.key for run in sorted(runs, key=lambda run: run.logical_date or run.run_after, reverse=True)]


def _require_own(call: Call[Any, Any], map_index: int) -> None:
    if _task_instance(call, map_index) != call.caller.key:
        raise Forbidden("A task can change only its own XComs")


def _task_instance(call: Call[Any, Any], map_index: int) -> TaskInstanceKey:
    return _run_key(call).task_instance(call.path["task_id"], map_index)


def _run_key(call: Call[Any, Any]) -> DagRunKey:
    return DagRunKey(call.path["dag_id"], call.path["run_id"])


def _integer(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError as problem:
        message = "Input should be a valid integer, unable to parse string as an integer"
        raise wrong_value("int_parsing", ("path", name), message, text) from problem


def _missing(call: Call[Any, Any], which: str) -> NotFound:
    path = call.path
    return NotFound(
        f"XCom with key={path['key']!r} {which} not found for task {path['task_id']!r} "
        f"in DAG run {path['run_id']!r} of {path['dag_id']!r}"
    )
