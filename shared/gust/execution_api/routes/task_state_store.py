from datetime import UTC
from typing import Any

from gust.errors import NotFound
from gust.execution_api.datamodels.task_state_store import TaskStateStorePutBody
from gust.execution_api.routing import NO_CONTENT, Access, Answer, Call, Routes
from gust.model.dispatch import OF_DAGS, Scope
from gust.model.state_entry import StateEntry
from gust.services.report_task_instance import present_dispatch

routes = Routes("/store/ti")

EVERYBODY = OF_DAGS


@routes.get("/{task_instance_id}/{key:path}", access=Access.OWN)
def get_task_state_store(call: Call[None, None]) -> Answer:
    key = call.path["key"]
    stored = call.services.store.get_task_state(call.caller.key, key)
    if stored is None:
        raise NotFound(f"Task state store key {key!r} not found")
    return Answer(body={"value": stored.value})


@routes.put("/{task_instance_id}/{key:path}", access=Access.OWN, body=TaskStateStorePutBody, scopes=EVERYBODY)
def set_task_state_store(call: Call[TaskStateStorePutBody, None]) -> Answer:
    expires_at = call.body.expires_at
    if expires_at is not None and expires_at.tzinfo is None:
        expires_at = expires_at.replace(tzinfo=UTC)
    entry = StateEntry(
        key=call.path["key"], value=call.body.value, updated_at=call.services.clock.now(), expires_at=expires_at
    )
    _check_is_present(call)
    call.services.store.put_task_state(call.caller.key, entry)
    return NO_CONTENT


@routes.delete("/{task_instance_id}/{key:path}", access=Access.OWN, scopes=EVERYBODY)
def delete_task_state_store(call: Call[None, None]) -> Answer:
    _check_is_present(call)
    call.services.store.delete_task_state(call.caller.key, call.path["key"])
    return NO_CONTENT


@routes.delete("/{task_instance_id}", access=Access.OWN, scopes=EVERYBODY)
def clear_task_state_store(call: Call[None, None]) -> Answer:
    _check_is_present(call)
    key = call.caller.key
    call.services.store.clear_task_state(key.run, key.task_id, key.map_index)
    return NO_CONTENT


def _check_is_present(call: Call[Any, None]) -> None:
    """A worker that was taken for lost must not change what its successor goes by. Raises as `present_dispatch` does."""
    if call.caller.scope is Scope.EXECUTION:
        present_dispatch(call.services, call.caller)
