from datetime import UTC

from gust.errors import NotFound
from gust.execution_api.datamodels.task_state_store import TaskStateStorePutBody
from gust.execution_api.routing import NO_CONTENT, Access, Answer, Call, Routes
from gust.model.dispatch import Dispatch, Scope

routes = Routes("/store/ti")

EVERYBODY = frozenset(Scope)


@routes.get("/{task_instance_id}/{key:path}", access=Access.OWN)
def get_task_state_store(call: Call[None, None]) -> Answer:
    key = call.path["key"]
    stored = call.services.store.get_setting(_namespace(call.caller), key)
    if stored is None:
        raise NotFound(f"Task state store key {key!r} not found")
    return Answer(body={"value": stored["value"]})


@routes.put("/{task_instance_id}/{key:path}", access=Access.OWN, body=TaskStateStorePutBody, scopes=EVERYBODY)
def set_task_state_store(call: Call[TaskStateStorePutBody, None]) -> Answer:
    expires_at = call.body.expires_at
    if expires_at is not None and expires_at.tzinfo is None:
        expires_at = expires_at.replace(tzinfo=UTC)
    call.services.store.put_setting(
        _namespace(call.caller), call.path["key"], {"value": call.body.value}, expires_at=expires_at
    )
    return NO_CONTENT


@routes.delete("/{task_instance_id}/{key:path}", access=Access.OWN, scopes=EVERYBODY)
def delete_task_state_store(call: Call[None, None]) -> Answer:
    call.services.store.delete_setting(_namespace(call.caller), call.path["key"])
    return NO_CONTENT


@routes.delete("/{task_instance_id}", access=Access.OWN, scopes=EVERYBODY)
def clear_task_state_store(call: Call[None, None]) -> Answer:
    namespace = _namespace(call.caller)
    for key in call.services.store.list_settings(namespace):
        call.services.store.delete_setting(namespace, key)
    return NO_CONTENT


def _namespace(caller: Dispatch) -> str:
    """One per task instance, all its tries alike: what one try leaves, the next one finds."""
    key = caller.key
    return "/".join(("task_state", key.dag_id, key.run_id, key.task_id, str(key.map_index)))
