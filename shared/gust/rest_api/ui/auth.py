"""`/ui/auth`: who is looking, what their menu holds, and a token to take along."""

from __future__ import annotations

from typing import Final, Literal

from gust.rest_api.auth import CLI_TOKEN_LIFETIME, TOKEN_LIFETIME
from gust.rest_api.request import Body, Json, Request
from gust.rest_api.routing import ui_operation
from gust.services.context import Services

MENU: Final = (
    "Required Actions",
    "Assets",
    "Audit Log",
    "Config",
    "Connections",
    "Dags",
    "Deadlines",
    "Docs",
    "Jobs",
    "Plugins",
    "Pools",
    "Providers",
    "Variables",
    "XComs",
)
"""An administrator sees all of it."""


@ui_operation("get_auth_menus")
def get_auth_menus(services: Services, request: Request) -> Json:  # noqa: ARG001 - a handler's signature
    return {"authorized_menu_items": list(MENU), "extra_menu_items": []}


@ui_operation("get_current_user_info")
def get_current_user_info(services: Services, request: Request) -> Json:  # noqa: ARG001 - a handler's signature
    return {"id": request.user.name, "username": request.user.name}


class TokenBody(Body):
    token_type: Literal["api", "cli"] = "api"  # noqa: S105 - a kind, no secret


@ui_operation("generate_token")
def generate_token(services: Services, request: Request) -> Json:
    kind = request.body(TokenBody).token_type
    lifetime = CLI_TOKEN_LIFETIME if kind == "cli" else TOKEN_LIFETIME
    return {
        "access_token": services.tokens.for_user(request.user, now=request.now, lifetime=lifetime),
        "token_type": kind,
        "expires_in_seconds": int(lifetime.total_seconds()),
    }
