"""The permissions that each operation needs, and their check: Airflow's resources, methods and roles.

Airflow has four roles; each has the rights of the ones before it. A DAG's `access_control` gives further rights on that
DAG to roles by name, and takes none away. A user with none of the four roles, but with a name in some `access_control`,
sees only those DAGs (see `readable`).

A test compares every route and role with Airflow's routes and its simple auth manager.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, Literal, NamedTuple, cast
from urllib.parse import parse_qs

from gust.http.answer import Problem, not_found
from gust.model.access import AccessControl, Role
from gust.model.dag import Dag
from gust.model.user import User
from gust.rest_api.access.file_tokens import dags_of_token
from gust.rest_api.http.request import ALL_PAGES, Request
from gust.services.context import Services

Method = Literal["GET", "POST", "PUT", "DELETE"]


class Resource(StrEnum):
    ASSET = "asset"
    ASSET_ALIAS = "asset alias"
    CONFIGURATION = "configuration"
    CONNECTION = "connection"
    DAG = "dag"
    POOL = "pool"
    VARIABLE = "variable"
    VIEW = "view"


class Entity(StrEnum):
    """The part of a DAG that a permission is for; without one, the DAG itself."""

    AUDIT_LOG = "AUDIT_LOG"
    CODE = "CODE"
    DEPENDENCIES = "DEPENDENCIES"
    HITL_DETAIL = "HITL_DETAIL"
    RUN = "RUN"
    TASK = "TASK"
    TASK_INSTANCE = "TASK_INSTANCE"
    TASK_LOGS = "TASK_LOGS"
    VERSION = "VERSION"
    WARNING = "WARNING"
    XCOM = "XCOM"


class _Least(NamedTuple):
    reads: Role
    changes: Role


LEAST: Final[Mapping[Resource, _Least]] = {
    Resource.ASSET: _Least(Role.VIEWER, Role.OP),
    Resource.ASSET_ALIAS: _Least(Role.VIEWER, Role.OP),
    Resource.CONFIGURATION: _Least(Role.VIEWER, Role.OP),
    Resource.CONNECTION: _Least(Role.OP, Role.OP),
    Resource.DAG: _Least(Role.VIEWER, Role.USER),
    Resource.POOL: _Least(Role.VIEWER, Role.OP),
    Resource.VARIABLE: _Least(Role.OP, Role.OP),
    Resource.VIEW: _Least(Role.VIEWER, Role.VIEWER),
}
"""The lowest role that may read a resource, and the lowest that may change it."""

Named = Callable[[Services, Request], "Iterable[tuple[str | None, Method | None]]"]
"""The DAGs that a request names, `None` for all, each optionally with its own method."""


@dataclass(frozen=True, slots=True)
class Permission:
    resource: Resource
    method: Method
    entity: Entity | None = None
    dags: Named | None = None
    """Finds the DAGs of a request that names them neither in the path nor in a query parameter."""

    def allows(self, role: Role | None) -> bool:
        """Whether the role has the permission on every DAG."""
        least = LEAST[self.resource]
        return role is not None and role >= (least.reads if self.method == "GET" else least.changes)


def authorize(services: Services, user: User, needed: Iterable[Permission], request: Request) -> None:
    """Returns if the user has all the permissions. Problem 403 otherwise, without a reason."""
    if not user.names:
        raise forbidden()
    for permission in needed:
        if permission.allows(user.role):
            continue
        if permission.resource is not Resource.DAG:
            raise forbidden()
        named = list((permission.dags or of_path)(services, request)) or [(None, None)]
        for dag_id, method in named:
            requested = replace(permission, method=method or permission.method)
            if not requested.allows(user.role) and not _is_given(services, user, requested, dag_id):
                raise forbidden()


def may_list(user: User, needed: Iterable[Permission]) -> bool:
    """Whether the user may call a list with these permissions."""
    return all(
        permission.allows(user.role) or (permission.resource is Resource.DAG and bool(user.dag_roles))
        for permission in needed
    )


def may_edit(user: User, dag: Dag) -> bool:
    return Permission(Resource.DAG, "PUT").allows(user.role) or gives(dag.access_control, user, "PUT")


def forbidden() -> Problem:
    return Problem(403, "Forbidden")


def _is_given(services: Services, user: User, requested: Permission, dag_id: str | None) -> bool:
    """Whether the DAG's `access_control` gives the permission. A read of all DAGs is allowed: it shows the readable
    ones."""
    if dag_id is None:
        return requested.method == "GET"
    dag = services.store.get_dag(dag_id)
    return dag is not None and gives(dag.access_control, user, requested.method, requested.entity)


def gives(access_control: AccessControl | None, user: User, method: Method, entity: Entity | None = None) -> bool:
    """The right to read a DAG covers all its parts, and so does the right to edit it; deleting the DAG is a separate
    right. Rights on its runs only extend the right to read it."""
    for name in user.names & (access_control or {}).keys():
        given = cast("AccessControl", access_control)[name]
        dag, runs = set(given.get("DAGs", ())), set(given.get("DAG Runs", ()))
        if method == "GET":
            allowed = "can_read" in dag
        elif entity is None and method == "DELETE":
            allowed = "can_delete" in dag
        else:
            of_runs = {"POST": "can_create", "PUT": "can_edit", "DELETE": "can_delete"}[method]
            allowed = "can_edit" in dag or (entity is Entity.RUN and "can_read" in dag and of_runs in runs)
        if allowed:
            return True
    return False


# --- how requests name their DAGs -------------------------------------------------------------------------------------


def of_path(services: Services, request: Request) -> Iterable[tuple[str | None, Method | None]]:  # noqa: ARG001
    named = request.path.get("dag_id") or parse_qs(request.query_string).get("dag_id", [None])[-1]
    yield (None if named == ALL_PAGES else named), None


def of_backfill(services: Services, request: Request) -> Iterable[tuple[str | None, Method | None]]:
    """The DAG of a backfill: by the backfill's id, or by the body of a new one. Problem 404 if the user may not read
    the DAG."""
    if "backfill_id" not in request.path:
        body = _json(request)
        dag_id = body.get("dag_id") if isinstance(body, dict) else None
        yield from [(dag_id, None)] if isinstance(dag_id, str) else of_path(services, request)
        return
    number = request.path["backfill_id"]
    backfill = services.store.get_backfill(int(number)) if number.isascii() and number.isdigit() else None
    dag = services.store.get_dag(backfill.dag_id) if backfill else None
    if dag is None or not (request.user.role is not None or gives(dag.access_control, request.user, "GET", Entity.RUN)):
        raise not_found("Backfill not found")
    yield dag.dag_id, None


def of_logged_event(services: Services, request: Request) -> Iterable[tuple[str | None, Method | None]]:
    number = request.path.get("event_log_id", "")
    event = services.store.get_logged_event(int(number)) if number.isascii() and number.isdigit() else None
    yield from [(event.dag_id, None)] if event else of_path(services, request)


def of_file(services: Services, request: Request) -> Iterable[tuple[str | None, Method | None]]:
    """All DAGs of the token's file."""
    found = dags_of_token(services, request.path["file_token"])
    if not found:
        raise not_found("File not found")
    for dag in found:
        yield dag.dag_id, None


def of_bulk(services: Services, request: Request) -> Iterable[tuple[str | None, Method | None]]:  # noqa: ARG001
    """The DAGs that the actions' entities name; an entity without one has the path's."""
    methods: dict[str, Method] = {"create": "POST", "update": "PUT", "delete": "DELETE"}
    for action in _objects(_json(request), "actions"):
        method = methods.get(str(action.get("action")), "PUT")
        entities = action.get("entities")
        for entity in entities if isinstance(entities, list) else ():
            dag_id = (entity.get("dag_id") if isinstance(entity, dict) else None) or request.path["dag_id"]
            named = None if dag_id == ALL_PAGES else str(dag_id)
            yield named, method
            if action.get("action_on_existence") == "overwrite":
                yield named, "PUT"


def of_cleared_runs(services: Services, request: Request) -> Iterable[tuple[str | None, Method | None]]:  # noqa: ARG001
    runs = _objects(_json(request), "dag_runs")
    named = {str(run.get("dag_id") or request.path["dag_id"]) for run in runs} or {request.path["dag_id"]}
    for dag_id in sorted(named):
        yield (None if dag_id == ALL_PAGES else dag_id), None


def _json(request: Request) -> Any:
    """The JSON body; `None` if it is none: the handler refuses it."""
    try:
        return json.loads(request.raw_body or "null")
    except (ValueError, RecursionError):
        return None


def _objects(body: Any, name: str) -> list[dict[str, Any]]:
    found = body.get(name) if isinstance(body, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


# --- what each operation needs ----------------------------------------------------------------------------------------


def _dag(method: Method, entity: Entity | None = None, dags: Named | None = None) -> Permission:
    return Permission(Resource.DAG, method, entity, dags)


def _run(method: Method, dags: Named | None = None) -> Permission:
    return _dag(method, Entity.RUN, dags)


def _ti(method: Method) -> Permission:
    return _dag(method, Entity.TASK_INSTANCE)


def _asset(method: Method) -> Permission:
    return Permission(Resource.ASSET, method)


_ALIAS: Final = Permission(Resource.ASSET_ALIAS, "GET")
_CONFIGURATION: Final = Permission(Resource.CONFIGURATION, "GET")
_VIEW: Final = Permission(Resource.VIEW, "GET")


def _connection(method: Method) -> Permission:
    return Permission(Resource.CONNECTION, method)


def _pool(method: Method) -> Permission:
    return Permission(Resource.POOL, method)


def _variable(method: Method) -> Permission:
    return Permission(Resource.VARIABLE, method)


PUBLIC: Final = frozenset({"get_health", "get_version", "login", "logout"})
"""Operations that need no token, as in Airflow; the operator chooses whether health and version do."""

AUTHENTICATED: Final = ()
"""Needs any role, or a name in some DAG's `access_control`."""

PERMISSIONS: Final[Mapping[str, tuple[Permission, ...]]] = {
    "get_health": AUTHENTICATED,
    "get_version": AUTHENTICATED,
    "get_openapi": AUTHENTICATED,
    "get_assets": (_asset("GET"), _ALIAS),
    "get_asset_aliases": (_ALIAS,),
    "get_asset_alias": (_ALIAS,),
    "get_asset_events": (_asset("GET"),),
    "create_asset_event": (_asset("POST"),),
    "materialize_asset": (_asset("POST"), _run("POST")),
    "get_asset_queued_events": (_asset("GET"),),
    "delete_asset_queued_events": (_asset("DELETE"), _dag("PUT")),
    "get_asset": (_asset("GET"), _ALIAS),
    "get_dag_asset_queued_events": (_asset("GET"), _dag("GET")),
    "delete_dag_asset_queued_events": (_asset("DELETE"), _dag("PUT")),
    "get_dag_asset_queued_event": (_asset("GET"), _dag("GET")),
    "delete_dag_asset_queued_event": (_asset("DELETE"), _dag("PUT")),
    "list_asset_state_store": (_asset("GET"),),
    "clear_asset_state_store": (_asset("DELETE"),),
    "get_asset_state_store": (_asset("GET"),),
    "set_asset_state_store": (_asset("PUT"),),
    "delete_asset_state_store": (_asset("DELETE"),),
    "list_backfills": (_run("GET", of_backfill),),
    "create_backfill": (_run("POST", of_backfill),),
    "get_backfill": (_run("GET", of_backfill),),
    "pause_backfill": (_run("PUT", of_backfill),),
    "unpause_backfill": (_run("PUT", of_backfill),),
    "cancel_backfill": (_run("PUT", of_backfill),),
    "create_backfill_dry_run": (_run("POST", of_backfill),),
    "delete_connection": (_connection("DELETE"),),
    "get_connection": (_connection("GET"),),
    "patch_connection": (_connection("PUT"),),
    "get_connection_test": (_connection("GET"),),
    "enqueue_connection_test": (_connection("POST"),),
    "get_connections": (_connection("GET"),),
    "post_connection": (_connection("POST"),),
    "bulk_connections": (_connection("PUT"),),
    "test_connection": (_connection("POST"),),
    "create_default_connections": (_connection("POST"),),
    "get_dag_run": (_run("GET"),),
    "delete_dag_run": (_run("DELETE"),),
    "patch_dag_run": (_run("PUT"),),
    "bulk_dag_runs": (_run("PUT", of_bulk),),
    "get_dag_runs": (_run("GET"),),
    "trigger_dag_run": (_run("POST"),),
    "get_upstream_asset_events": (_asset("GET"), _run("GET")),
    "clear_dag_run": (_run("PUT"),),
    "wait_dag_run_until_finished": (_run("GET"),),
    "get_list_dag_runs_batch": (_run("GET"),),
    "clear_dag_runs": (_run("PUT", of_cleared_runs),),
    "clear_dag_run_partitions": (_run("PUT"),),
    "get_dag_source": (_dag("GET", Entity.CODE),),
    "get_dag_stats": (_run("GET"),),
    "get_config": (_CONFIGURATION,),
    "get_config_value": (_CONFIGURATION,),
    "list_dag_warnings": (_dag("GET", Entity.WARNING),),
    "get_dags": (_dag("GET"),),
    "patch_dags": (_dag("PUT"),),
    "get_dag": (_dag("GET"),),
    "patch_dag": (_dag("PUT"),),
    "delete_dag": (_dag("DELETE"),),
    "get_dag_details": (_dag("GET"),),
    "favorite_dag": (_dag("GET"),),
    "unfavorite_dag": (_dag("GET"),),
    "get_event_log": (_dag("GET", Entity.AUDIT_LOG, of_logged_event),),
    "get_event_logs": (_dag("GET", Entity.AUDIT_LOG),),
    "get_extra_links": (_ti("GET"),),
    "get_import_error": (_VIEW,),
    "get_import_errors": (_VIEW,),
    "get_jobs": (_VIEW,),
    "get_plugins": (_VIEW,),
    "import_errors": (_VIEW,),
    "get_providers": (_VIEW,),
    "delete_pool": (_pool("DELETE"),),
    "get_pool": (_pool("GET"),),
    "patch_pool": (_pool("PUT"),),
    "get_pools": (_pool("GET"),),
    "post_pool": (_pool("POST"),),
    "bulk_pools": (_pool("PUT"),),
    "list_task_state_store": (_ti("GET"),),
    "clear_task_state_store": (_ti("DELETE"),),
    "get_task_state_store": (_ti("GET"),),
    "set_task_state_store": (_ti("PUT"),),
    "patch_task_state_store": (_ti("PUT"),),
    "delete_task_state_store": (_ti("DELETE"),),
    "get_xcom_entry": (_dag("GET", Entity.XCOM),),
    "update_xcom_entry": (_dag("PUT", Entity.XCOM),),
    "delete_xcom_entry": (_dag("DELETE", Entity.XCOM),),
    "get_xcom_entries": (_dag("GET", Entity.XCOM),),
    "create_xcom_entry": (_dag("POST", Entity.XCOM),),
    "get_task_instance": (_ti("GET"),),
    "patch_task_instance": (_ti("PUT"),),
    "delete_task_instance": (_ti("DELETE"),),
    "get_mapped_task_instances": (_ti("GET"),),
    "get_task_instance_dependencies_by_map_index": (_ti("GET"),),
    "get_task_instance_dependencies": (_ti("GET"),),
    "get_task_instance_tries": (_ti("GET"),),
    "get_mapped_task_instance_tries": (_ti("GET"),),
    "get_mapped_task_instance": (_ti("GET"),),
    "patch_task_instance_by_map_index": (_ti("PUT"),),
    "get_task_instances": (_ti("GET"),),
    "bulk_task_instances": (_ti("PUT"), _dag("PUT", Entity.TASK_INSTANCE, of_bulk)),
    "get_task_instances_batch": (_ti("GET"),),
    "get_task_instance_try_details": (_ti("GET"),),
    "get_mapped_task_instance_try_details": (_ti("GET"),),
    "post_clear_task_instances": (_ti("PUT"),),
    "patch_task_group_instances": (_ti("PUT"),),
    "patch_task_group_instances_dry_run": (_ti("PUT"),),
    "patch_task_instance_dry_run_by_map_index": (_ti("PUT"),),
    "patch_task_instance_dry_run": (_ti("PUT"),),
    "get_tasks": (_dag("GET", Entity.TASK),),
    "get_task": (_dag("GET", Entity.TASK),),
    "delete_variable": (_variable("DELETE"),),
    "get_variable": (_variable("GET"),),
    "patch_variable": (_variable("PUT"),),
    "get_variables": (_variable("GET"),),
    "post_variable": (_variable("POST"),),
    "bulk_variables": (_variable("PUT"),),
    "get_log": (_dag("GET", Entity.TASK_LOGS),),
    "get_external_log_url": (_dag("GET", Entity.TASK_LOGS),),
    "reparse_dag_file": (_dag("PUT", None, of_file),),
    "get_dag_tags": (_dag("GET"),),
    "get_dag_version": (_dag("GET", Entity.VERSION),),
    "get_dag_versions": (_dag("GET", Entity.VERSION),),
    "update_hitl_detail": (_dag("PUT", Entity.HITL_DETAIL),),
    "get_hitl_detail": (_dag("GET", Entity.HITL_DETAIL),),
    "get_hitl_detail_try_detail": (_dag("GET", Entity.HITL_DETAIL),),
    "get_hitl_details": (_dag("GET", Entity.HITL_DETAIL),),
    # --- the web UI's own ---
    "get_auth_menus": AUTHENTICATED,
    "get_current_user_info": AUTHENTICATED,
    "generate_token": AUTHENTICATED,
    "get_configs": AUTHENTICATED,
    "list_teams": AUTHENTICATED,
    "next_run_assets": (_asset("GET"), _dag("GET")),
    "get_dag_run_stats": (_run("GET"),),
    "get_partitioned_dag_runs": (_asset("GET"),),
    "get_pending_partitioned_dag_run": (_asset("GET"), _dag("GET")),
    "hook_meta_data": (_connection("GET"),),
    "get_dags_ui": (_dag("GET"), _run("GET"), _dag("GET", Entity.HITL_DETAIL), _ti("GET")),
    "get_latest_run_info": (_run("GET"),),
    "get_dependencies": (_dag("GET", Entity.DEPENDENCIES),),
    "historical_metrics": (_ti("GET"), _run("GET")),
    "dag_stats": (_dag("GET"),),
    "get_deadlines": (_run("GET"),),
    "get_dag_deadline_alerts": (_dag("GET"),),
    "structure_data": (_dag("GET"), _dag("GET", Entity.DEPENDENCIES), _ti("GET")),
    "list_backfills_ui": (_run("GET", of_backfill),),
    "get_dag_structure": (_ti("GET"), _run("GET")),
    "get_grid_runs": (_ti("GET"), _run("GET")),
    "get_grid_ti_summaries_stream": (_ti("GET"), _run("GET")),
    "get_gantt_data": (_ti("GET"), _run("GET")),
    "get_calendar": (_ti("GET"), _run("GET")),
}
