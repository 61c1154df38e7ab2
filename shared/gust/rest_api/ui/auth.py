"""`/ui/auth`: the current user, their menu, and tokens."""

from __future__ import annotations

from typing import Final, Literal

from gust.http.answer import Json
from gust.rest_api.access.auth import CLI_TOKEN_LIFETIME, TOKEN_LIFETIME, lasting
from gust.rest_api.access.permissions import PERMISSIONS, may_list
from gust.rest_api.http.request import Body, Request
from gust.rest_api.http.routing import ui_operation
from gust.services.context import Services

MENU: Final = {
    "Required Actions": "get_hitl_details",
    "Assets": "get_assets",
    "Audit Log": "get_event_logs",
    "Config": "get_config",
    "Connections": "get_connections",
    "Dags": "get_dags",
    "Deadlines": "get_deadlines",
    "Docs": None,
    "Jobs": "get_jobs",
    "Plugins": "get_plugins",
    "Pools": "get_pools",
    "Providers": "get_providers",
    "Variables": "get_variables",
    "XComs": "get_xcom_entries",
}
"""Menu item → the operation that its page calls. Items whose operation the user may not call are hidden."""


@ui_operation("get_auth_menus")
def get_auth_menus(services: Services, request: Request) -> Json:  # noqa: ARG001 - a handler's signature
    items = [item for item, shows in MENU.items() if shows is None or may_list(request.user, PERMISSIONS[shows])]
    return {"authorized_menu_items": items, "extra_menu_items": []}


@ui_operation("get_current_user_info")
def get_current_user_info(services: Services, request: Request) -> Json:  # noqa: ARG001 - a handler's signature
    return {"id": request.user.name, "username": request.user.name}


class TokenBody(Body, extra="ignore"):
    token_type: Literal["api", "cli"] = "api"  # noqa: S105 - a kind, no secret


@ui_operation("generate_token")
def generate_token(services: Services, request: Request) -> Json:
    kind = request.body(TokenBody).token_type
    lasts = lasting(request.session, CLI_TOKEN_LIFETIME if kind == "cli" else TOKEN_LIFETIME, request.now)
    return {
        "access_token": services.tokens.for_user(request.user, now=request.now, **lasts),
        "token_type": kind,
        "expires_in_seconds": int(lasts["lifetime"].total_seconds()),
    }
