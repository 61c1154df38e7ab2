"""Who asks. In this release everybody who reaches the API is an administrator, as with Airflow's simple auth manager in
its `simple_auth_manager_all_admins` mode: `GUST_AUTH=all-admins` says so on purpose, and nothing else lets anyone in.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import parse_qs, urlsplit

from gust.errors import Forbidden, NotSupportedYet, Unauthorized
from gust.rest_api.operations import Operation
from gust.rest_api.request import Answer, Body, Json, Problem, Request
from gust.rest_api.routing import Handler
from gust.services.context import Services
from gust.services.ports import Tokens, User

ALL_ADMINS: Final = "all-admins"
ANONYMOUS: Final = User(name="Anonymous", role="ADMIN")

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

    def authenticate(self, tokens: Tokens, headers: Mapping[str, str], cookies: Iterable[str], now: datetime) -> User:
        """Who sent the request. Problem 401 without a token or with an expired one, 403 for a token not of ours.

        With all admins, a request that brings no credentials is the anonymous administrator's, as in Airflow."""
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        token = credentials.strip() if scheme.lower() == "bearer" else _cookie(cookies)
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
        if self.mode != ALL_ADMINS:
            raise NotSupportedYet(
                "Signing in with a name and password is not in this release of Gust yet; "
                f"GUST_AUTH={ALL_ADMINS} makes everybody who reaches the API an administrator"
            )
        return {"access_token": services.tokens.for_user(ANONYMOUS, now=request.now, lifetime=lifetime)}

    @staticmethod
    def _check_login(request: Request) -> None:
        """The body must be well formed, as JSON or as a form; with all admins its content does not matter."""
        if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            fields = {name: values[-1] for name, values in parse_qs(request.raw_body).items()}
            request = Request(path={}, user=request.user, now=request.now, raw_body=json.dumps(fields))
        request.body(LoginBody)


def _cookie(cookies: Iterable[str]) -> str:
    pairs = (part.strip().partition("=") for line in cookies for part in line.split(";"))
    return next((value for name, _, value in pairs if name == COOKIE), "")


def _is_local(url: str) -> bool:
    """A path of this very server: redirecting elsewhere would help phishing."""
    parts = urlsplit(url)
    return not parts.scheme and not parts.netloc and url.startswith("/") and not url.startswith(("//", "/\\"))
