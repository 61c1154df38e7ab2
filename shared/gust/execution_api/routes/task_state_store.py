from datetime import UTC

from gust.errors import NotFound
from gust.execution_api.datamodels.task_state_store import TaskStateStorePutBody
from gust.execution_api.routing import Access, Call, Fence, Routes
from gust.http.answer import NO_CONTENT, Answer
from gust.model.dispatch import OF_DAGS
from gust.model.state_entry import StateEntry

routes = Routes("/store/ti")

WITH_TRIGGERS = OF_DAGS


@routes.get("/{task_instance_id}/{key:path}", access=Access.OWN)
def get_task_state_store(call: Call[None, None]) -> Answer:
    key = call.path["key"]
    stored = call.services.store.get_task_state(call.caller.key, key)
    if stored is None:
        raise NotFound(f"Task state store key {key!r} not found")
    return Answer(body={"value": stored.value})


@routes.put(
    "/{task_instance_id}/{key:path}",
    access=Access.OWN,
    body=TaskStateStorePutBody,
    scopes=WITH_TRIGGERS,
    fence=Fence.LAST_WORDS,
)
def set_task_state_store(call: Call[TaskStateStorePutBody, None]) -> Answer:
    expires_at = call.body.expires_at
    if expires_at is not None and expires_at.tzinfo is None:
        expires_at = expires_at.replace(tzinfo=UTC)
    entry = StateEntry(
        key=call.path["key"], value=call.body.value, updated_at=call.services.clock.now(), expires_at=expires_at
    )
    call.services.store.put_task_state(call.caller.key, entry)
    return NO_CONTENT


@routes.delete("/{task_instance_id}/{key:path}", access=Access.OWN, scopes=WITH_TRIGGERS, fence=Fence.LAST_WORDS)
def delete_task_state_store(call: Call[None, None]) -> Answer:
    call.services.store.delete_task_state(call.caller.key, call.path["key"])
    return NO_CONTENT


@routes.delete("/{task_instance_id}", access=Access.OWN, scopes=WITH_TRIGGERS, fence=Fence.LAST_WORDS)
def clear_task_state_store(call: Call[None, None]) -> Answer:
    key = call.caller.key
    call.services.store.clear_task_state(key.run, key.task_id, key.map_index)
    return NO_CONTENT
