"""Every route with each role, compared with Airflow's own routes and its simple auth manager."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import cache
from inspect import getclosurevars
from typing import Any

import pytest

from gust.model.access import Role
from gust.model.backfill import Backfill
from gust.model.dag import Dag
from gust.model.user import User
from gust.rest_api.access.auth import AUTH_OPERATIONS, Authenticator
from gust.rest_api.access.permissions import PERMISSIONS, PUBLIC
from gust.rest_api.app import build
from gust.rest_api.http.operations import OPERATIONS, UI_OPERATIONS, Operation
from tests.unit.rest_api.world import NOW, Api, World

ROLES = [None, *Role]

CHECKED_IN_THE_FUNCTION = {
    # Airflow looks inside these two, for the connection that the body or the stored test names.
    "get_connection_test": {("requires_access_connection", "GET", None)},
    "enqueue_connection_test": {("requires_access_connection", "POST", None)},
    # It asks for the DAG's runs when it knows which DAG makes the asset.
    "materialize_asset": {("requires_access_dag", "POST", "RUN")},
}

BULK = {
    "requires_access_connection_bulk": ("requires_access_connection", "PUT", None),
    "requires_access_pool_bulk": ("requires_access_pool", "PUT", None),
    "requires_access_variable_bulk": ("requires_access_variable", "PUT", None),
    "requires_access_dag_run_bulk": ("requires_access_dag", "PUT", "RUN"),
    "requires_access_dag_run_clear_bulk": ("requires_access_dag", "PUT", "RUN"),
}
"""Their method depends on the body's actions; to Airflow's roles all that change something are the same."""

Need = tuple[str, str, str | None]


@cache
def airflows_needs() -> dict[tuple[str, str], frozenset[Need]]:
    """(method, path) → what its dependencies require."""
    from airflow.api_fastapi.core_api.routes.public import public_router
    from airflow.api_fastapi.core_api.routes.ui import ui_router

    found: dict[tuple[str, str], frozenset[Need]] = {}
    for route in [*public_router.routes, *ui_router.routes]:
        path = re.sub(r":path\}", "}", route.path)
        needs = {need for call in _calls(route.dependant) if (need := _need(call))}
        for method in route.methods:
            found[method, path] = frozenset(needs)
    return found


def _calls(dependant: Any) -> Iterator[Callable[..., Any]]:
    for one in dependant.dependencies:
        yield one.call
        yield from _calls(one)


def _need(call: Callable[..., Any]) -> Need | None:
    name = getattr(call, "__qualname__", "").partition(".")[0]
    if name in BULK:
        return BULK[name]
    if not name.startswith("requires_access_"):
        return None
    if name == "requires_access_dag_from_file_token":
        name = "requires_access_dag"
    given = getclosurevars(call).nonlocals
    entity = given.get("access_entity")
    match name:
        case "requires_access_backfill":
            return "requires_access_dag", given["method"], "RUN"
        case "requires_access_event_log":
            return "requires_access_dag", given["method"], "AUDIT_LOG"
        case "requires_access_view":
            return name, "GET", None
    return name, given["method"], entity.name if entity else None


def needs_of(operation_id: str, operation: Operation) -> frozenset[Need]:
    return airflows_needs()[operation.method, operation.path] | CHECKED_IN_THE_FUNCTION.get(operation_id, set())


TABLE = {**OPERATIONS, **UI_OPERATIONS}


def test_no_route_is_without_a_declaration() -> None:
    assert TABLE.keys() <= PERMISSIONS.keys() | PUBLIC
    assert not AUTH_OPERATIONS.keys() & PERMISSIONS.keys()


@pytest.mark.parametrize("operation_id", sorted(TABLE.keys() - PUBLIC))
def test_what_a_route_needs_is_what_airflows_needs(operation_id: str) -> None:
    resources = {"asset_alias": "asset alias"}
    wanted = {
        (resources.get(name, name), method, entity)
        for kind, method, entity in needs_of(operation_id, TABLE[operation_id])
        for name in [kind.removeprefix("requires_access_")]
    }
    ours = {(str(p.resource), p.method, p.entity and str(p.entity)) for p in PERMISSIONS[operation_id]}
    assert ours == wanted


def simple_auth_manager_allows(role: Role | None, need: Need) -> bool:
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    kind, method, _ = need
    user = SimpleAuthManagerUser(username="ada", role=None if role is None else role.name)
    manager = object.__new__(SimpleAuthManager)
    if kind == "requires_access_view":
        return bool(manager.is_authorized_view(access_view=None, user=user))  # type: ignore[arg-type]  # unused there
    decide = getattr(manager, kind.replace("requires_access", "is_authorized"))
    return bool(decide(method=method, user=user))


@pytest.fixture
def closed(world: World) -> Api:
    return Api(build(world.services, Authenticator("")))


def bearer(world: World, user: User) -> dict[str, str]:
    token = world.services.tokens.for_user(user, now=world.clock.now(), lifetime=timedelta(hours=1))
    return {"authorization": f"Bearer {token}"}


def backfill_of(dag: Dag) -> Backfill:
    return Backfill(
        backfill_id=7,
        dag_id=dag.dag_id,
        from_date=NOW,
        to_date=NOW,
        created_at=NOW,
        updated_at=NOW,
        version_number=1,
        spec_key=dag.spec_key,
        planned=0,
    )


BODIES = {
    # Airflow looks at what the body names; without anything named there is nothing to forbid.
    "bulk_dag_runs": {"actions": [{"action": "delete", "entities": ["r"]}]},
    "clear_dag_runs": {"dag_runs": [{"dag_run_id": "r"}]},
}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("operation_id", sorted(TABLE.keys() - PUBLIC))
def test_each_role_is_answered_where_airflow_answers_it(
    world: World, closed: Api, operation_id: str, role: Role | None
) -> None:
    dag = world.dag("7")
    world.store.create_backfill(backfill_of(dag), [])
    method, path = TABLE[operation_id]
    url = re.sub(r"\{\w+\}", "7", path)
    if operation_id == "reparse_dag_file":
        shown = closed("GET", "/api/v2/dags/7", headers=bearer(world, User("admin", Role.ADMIN)))
        url = f"/api/v2/parseDagFile/{shown.json['file_token']}"
    reply = closed(method, url, BODIES.get(operation_id), headers=bearer(world, User("ada", role)))
    needs = needs_of(operation_id, TABLE[operation_id])
    allowed = all(simple_auth_manager_allows(role, need) for need in needs) and (needs or role is not None)
    refused_for_role = (reply.status, reply.text) == (403, json.dumps({"detail": "Forbidden"}, separators=(",", ":")))
    assert refused_for_role == (not allowed), reply.text


@pytest.mark.parametrize("operation_id", sorted(TABLE.keys() - PUBLIC))
def test_no_route_answers_somebody_unknown(world: World, closed: Api, operation_id: str) -> None:
    method, path = TABLE[operation_id]
    before = world.store.count_logged_events()
    assert closed(method, re.sub(r"\{\w+\}", "7", path)).status == 401
    assert world.store.count_logged_events() == before


def test_all_that_admin_may_beyond_op_in_airflow_is_to_see_every_team() -> None:
    """Gust has no teams, so Admin is Op here."""
    from airflow.api_fastapi.auth.managers.models.resource_details import TeamDetails
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    manager = object.__new__(SimpleAuthManager)
    op, admin = (SimpleAuthManagerUser(username="ada", role=role.name) for role in (Role.OP, Role.ADMIN))
    more: dict[str, Any] = {
        "is_authorized_view": {"access_view": None},
        "is_authorized_custom_view": {"resource_name": "r"},
        "is_authorized_team": {"details": TeamDetails(name="t")},
        "is_authorized_hitl_task": {"assigned_users": {"bob"}},
    }
    without_method = {"is_authorized_view", "is_authorized_hitl_task"}
    differ = set()
    for name in (name for name in dir(SimpleAuthManager) if re.fullmatch(r"is_authorized_[a-z_]+", name)):
        for method in ("GET", "POST", "PUT", "DELETE"):
            asked = more.get(name, {}) | ({} if name in without_method else {"method": method})
            if getattr(manager, name)(user=op, **asked) != getattr(manager, name)(user=admin, **asked):
                differ.add(name)
    assert differ == {"is_authorized_team"}


def test_health_and_version_are_public_if_so_configured(world: World) -> None:
    secretive = Api(build(world.services, Authenticator("", health_is_public=False)))
    for path in ("/api/v2/version", "/api/v2/monitor/health"):
        assert secretive("GET", path).status == 401
        assert secretive("GET", path, headers=bearer(world, User("ada", Role.VIEWER))).status == 200
