"""Who asks. In this release everybody who is let in is an administrator.

Two ways lead in. Callers whose signed request (SigV4) API Gateway has checked are who IAM says they are. And with
`GUST_AUTH=all-admins`, everybody is, as with Airflow's simple auth manager in `simple_auth_manager_all_admins` mode:
that is for the local stack, which only its own machine reaches.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from gust.errors import Forbidden, NotSupportedYet, Unauthorized
from gust.rest_api.operations import Operation
from gust.rest_api.request import Answer, Body, Json, Problem, Request
from gust.rest_api.routing import Handler
from gust.services.context import Services
from gust.services.ports import Tokens, User

ALL_ADMINS: Final = "all-admins"
ADMIN: Final = "ADMIN"
ANONYMOUS: Final = User(name="Anonymous", role=ADMIN)
NOBODY: Final = User(name="", role="")
"""Who asks where no token is needed."""

TOKEN_LIFETIME: Final = timedelta(days=1)
CLI_TOKEN_LIFETIME: Final = timedelta(hours=1)
"""Airflow's defaults of `[api_auth] jwt_expiration_time` and `jwt_cli_expiration_time`."""

COOKIE: Final = "_token"

AUTH_OPERATIONS: Final[dict[str, Operation]] = {
    "create_token": Operation("POST", "/auth/token"),
    "create_token_all_admins": Operation("GET", "/auth/token"),
    "create_token_cli": Operation("POST", "/auth/token/cli"),
    "login_all_admins": Operation("GET", "/auth/token/login"),
}
"""Routes of the simple auth manager. They are not part of the contract's 128."""

PUBLIC_OPERATIONS: Final = frozenset({*AUTH_OPERATIONS, "get_health", "get_version", "login", "logout"})
"""Answered without a token."""


class LoginBody(Body):
    username: str
    password: str


@dataclass(frozen=True, slots=True)
class Authenticator:
    mode: str
    """The function's `GUST_AUTH`."""

    def authenticate(self, tokens: Tokens, event: Mapping[str, Any], now: datetime) -> User:
        """Who sent the request. Problem 401 without a token or with an expired one, 403 for a token not of ours.

        With all admins, a request that brings no credentials is the anonymous administrator's, as in Airflow."""
        if (signer := signer_of(event)) is not None:
            return signer
        headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        token = credentials.strip() if scheme.lower() == "bearer" else _cookie(event.get("cookies") or ())
        if not token:
            if self.mode == ALL_ADMINS and not scheme:
                return ANONYMOUS
            raise Problem(401, "Not authenticated")
        try:
            return tokens.user_of(token, now=now)
        except Unauthorized as expired:
            raise Problem(401, "Token Expired") from expired
        except Forbidden as invalid:
            raise Problem(403, "Invalid JWT token") from invalid

    def handlers(self) -> dict[str, Handler]:
        return {
            "create_token": self._create_token,
            "create_token_all_admins": self._create_token_all_admins,
            "create_token_cli": self._create_token_cli,
            "login_all_admins": self._login,
        }

    def _create_token(self, services: Services, request: Request) -> Answer:
        self._check_login(request)
        return Answer(201, self._token(services, request, TOKEN_LIFETIME))

    def _create_token_cli(self, services: Services, request: Request) -> Answer:
        self._check_login(request)
        return Answer(201, self._token(services, request, CLI_TOKEN_LIFETIME))

    def _create_token_all_admins(self, services: Services, request: Request) -> Answer:
        return Answer(201, self._token(services, request, TOKEN_LIFETIME))

    def _login(self, services: Services, request: Request) -> Answer:
        token = self._token(services, request, TOKEN_LIFETIME)["access_token"]
        wanted = parse_qs(request.query_string).get("next", ["/"])[0]
        return Answer(
            307,
            headers={
                "Location": wanted if _is_local(wanted) else "/",
                "Set-Cookie": f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Lax",
            },
        )

    def _token(self, services: Services, request: Request, lifetime: timedelta) -> Json:
        if request.user == NOBODY and self.mode != ALL_ADMINS:
            raise NotSupportedYet(
                "Signing in with a name and password is not in this release of Gust yet: sign the request with IAM, "
                f"or start Gust with GUST_AUTH={ALL_ADMINS}, which makes everybody who reaches it an administrator"
            )
        user = ANONYMOUS if request.user == NOBODY else request.user
        return {"access_token": services.tokens.for_user(user, now=request.now, lifetime=lifetime)}

    @staticmethod
    def _check_login(request: Request) -> None:
        """The body must be well formed, as JSON or as a form; with all admins its content does not matter."""
        if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            fields = {name: values[-1] for name, values in parse_qs(request.raw_body).items()}
            request = Request(path={}, user=request.user, now=request.now, raw_body=json.dumps(fields))
        request.body(LoginBody)


def signer_of(event: Mapping[str, Any]) -> User | None:
    """The IAM principal whose signature API Gateway has checked; `None` where the route asks for none."""
    authorizer = event.get("requestContext", {}).get("authorizer") or {}
    principal = (authorizer.get("iam") or {}).get("userArn")
    return User(name=principal, role=ADMIN) if principal else None


def _cookie(cookies: Iterable[str]) -> str:
    pairs = (part.strip().partition("=") for line in cookies for part in line.split(";"))
    return next((value for name, _, value in pairs if name == COOKIE), "")


def _is_local(url: str) -> bool:
    """A path of this very server: redirecting elsewhere would help phishing."""
    parts = urlsplit(url)
    return not parts.scheme and not parts.netloc and url.startswith("/") and not url.startswith(("//", "/\\"))
