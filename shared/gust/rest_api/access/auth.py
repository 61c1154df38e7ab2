"""Authenticates requests, and signs browsers in.

- Programs sign their requests (SigV4). API Gateway checks the signature on `SIGNED_ROUTES`; the signer
  is read from the event on those routes only.
- Or they exchange a signature for a token (`POST /auth/token`).
- People run `./gust login`, which signs for a link: it signs one browser in, once, within a minute.
- Or they sign in with an OpenID provider (`oidc`).
- With `GUST_AUTH=all-admins` a request without credentials is an administrator's, as with Airflow's simple auth manager in
  `simple_auth_manager_all_admins` mode: for the local stack, which only its own machine reaches.

The access document (`access`) gives the user's role, `permissions` the rights of a role. A browser keeps its token in a
cookie, which is renewed while it is used.
"""

from __future__ import annotations

import html
import json
import secrets
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final, TypedDict
from urllib.parse import parse_qs, quote, urlsplit, urlunsplit

from gust.errors import Forbidden, Invalid, Unauthorized
from gust.http.answer import Answer, Json, Problem
from gust.model.access import Role
from gust.model.user import Session, User
from gust.ports.identity_provider import IdentityProvider
from gust.ports.tokens import Tokens
from gust.rest_api.access import oidc
from gust.rest_api.access.access import Access
from gust.rest_api.access.permissions import PUBLIC
from gust.rest_api.http.action_log import log_sign_in
from gust.rest_api.http.operations import Operation
from gust.rest_api.http.request import Body, Request
from gust.rest_api.http.routing import Handler
from gust.rest_api.http.web import in_address
from gust.services.context import Services

ALL_ADMINS: Final = "all-admins"
ANONYMOUS: Final = User(name="Anonymous", role=Role.ADMIN)
NOBODY: Final = User(name="")
"""The user of an operation that needs no token."""

SIGNED_PREFIX: Final = "/signed"
AS_TAG: Final = "/as/{tag}"
SIGNED_ROUTES: Final = frozenset(
    {
        *("POST /auth/token", "POST /auth/token/cli", "POST /auth/login-link"),
        *(f"POST /auth/token{AS_TAG}", f"POST /auth/login-link{AS_TAG}"),
        f"ANY {SIGNED_PREFIX}/{{proxy+}}",
    }
)
"""Routes of the HTTP API that check a signature. A test compares with the template."""

TOKEN_LIFETIME: Final = timedelta(hours=1)
CLI_TOKEN_LIFETIME: Final = timedelta(hours=1)
RENEWED_AFTER: Final = TOKEN_LIFETIME / 4
LONGEST_SESSION: Final = timedelta(hours=12)
"""After a sign-in. Tokens that replace a token, and renewed cookies, expire by then; the next sign-in reads the access
document again."""

LINK_LIFETIME: Final = timedelta(seconds=60)
LINKS: Final = "login_links"
"""Namespace of settings: an entry for each unused link, by the hash of its code."""

COOKIE: Final = "_token"

AUTH_OPERATIONS: Final[dict[str, Operation]] = {
    "create_token": Operation("POST", "/auth/token"),
    "create_token_all_admins": Operation("GET", "/auth/token"),
    "create_token_cli": Operation("POST", "/auth/token/cli"),
    "login_all_admins": Operation("GET", "/auth/token/login"),
    "create_login_link": Operation("POST", "/auth/login-link"),
    "create_token_as": Operation("POST", f"/auth/token{AS_TAG}"),
    "create_login_link_as": Operation("POST", f"/auth/login-link{AS_TAG}"),
    "use_login_link": Operation("GET", "/auth/login-link"),
    "oidc_login": Operation("GET", "/auth/oidc/login"),
    "oidc_callback": Operation("GET", oidc.CALLBACK),
}
"""Routes of Airflow's simple auth manager, and Gust's own. They are not part of the contract, and check credentials
themselves: the caller has no role yet."""


class LoginBody(Body):
    username: str
    password: str


class LinkBody(Body):
    next: str = "/"


@dataclass(frozen=True, slots=True)
class Caller:
    user: User
    session: Session | None = None
    """The session of the token, if there is one."""
    is_browser: bool = False
    """The token is a cookie, which a browser also sends with requests that other sites' pages make."""


@dataclass(frozen=True, slots=True)
class Authenticator:
    mode: str
    """The function's `GUST_AUTH`."""
    access: Access = field(default_factory=Access)
    provider: IdentityProvider | None = None
    health_is_public: bool = True
    """Whether health and version need no token, as in Airflow."""

    @property
    def public(self) -> frozenset[str]:
        """Operations that need no token."""
        return PUBLIC if self.health_is_public else PUBLIC - {"get_health", "get_version"}

    def authenticate(self, tokens: Tokens, event: Mapping[str, Any], now: datetime) -> Caller:
        """The caller. Problem 401 without a token or with an expired one; 403 for another stack's token, for a signer
        without an entry in the access document, and for another site's request.

        With all-admins, a request without credentials is the anonymous administrator's, as in Airflow."""
        if (signer := self.signer_of(event)) is not None:
            return Caller(signer)
        headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
        given = headers.get("authorization")
        scheme, _, credentials = (given or "").partition(" ")
        if scheme.lower() == "bearer" and credentials.strip():
            session = _session(tokens, credentials.strip(), now)
            return Caller(session.user, session)
        if token := cookie_of(event):
            try:
                session = _session(tokens, token, now)
            except Problem as useless:  # a browser would keep sending it
                useless.headers["Set-Cookie"] = set_cookie(event, COOKIE, "", max_age=0)
                raise
            check_origin(event, headers)
            return Caller(session.user, session, is_browser=True)
        if self.mode == ALL_ADMINS and given is None:
            return Caller(ANONYMOUS)
        raise Problem(401, "Not authenticated")

    def signer_of(self, event: Mapping[str, Any]) -> User | None:
        """The user of the signature that API Gateway has checked; `None` on a route without signatures."""
        principal = _principal(event)
        if principal is None:
            return None
        try:
            user = self.access.of_principal(principal, _tag(event))
        except Invalid as wrong:  # not the caller's fault
            raise Problem(503, str(wrong)) from wrong
        if user is None:
            raise Problem(403, f"{principal} has no role: the access document has no entry for it")
        return user

    def renewed_cookie(self, tokens: Tokens, caller: Caller, event: Mapping[str, Any], now: datetime) -> str | None:
        """The cookie to set with the answer, if any: a browser's token is replaced well before it expires."""
        session = caller.session
        if session is None or not caller.is_browser or now - session.issued_at < RENEWED_AFTER:
            return None
        return self.cookie(tokens, session.user, event, now, session.signed_in_at)

    def cookie(
        self, tokens: Tokens, user: User, event: Mapping[str, Any], now: datetime, signed_in_at: datetime
    ) -> str:
        session = Session(user, issued_at=now, signed_in_at=signed_in_at)
        return set_cookie(event, COOKIE, tokens.for_user(user, now=now, **lasting(session, TOKEN_LIFETIME, now)))

    def handlers(self) -> dict[str, Handler]:
        return {
            "create_token": self._create_token,
            "create_token_all_admins": self._create_token_all_admins,
            "create_token_cli": self._create_token_cli,
            "login_all_admins": self._login,
            "create_login_link": self._create_login_link,
            "create_token_as": self._create_token,
            "create_login_link_as": self._create_login_link,
            "use_login_link": self._use_login_link,
            "oidc_login": self._leave_for_provider,
            "oidc_callback": self._come_back_from_provider,
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
        """Redirects a browser without a token to the sign-in."""
        if self.mode != ALL_ADMINS and self.provider is not None:
            return self._leave_for_provider(services, request)
        if self.mode != ALL_ADMINS:
            return Answer(401, _how_to_log_in(_wanted(request)), content_type="text/html; charset=utf-8")
        cookie = self.cookie(services.tokens, ANONYMOUS, request.event, request.now, request.now)
        return Answer(307, headers={"Location": _wanted(request), "Set-Cookie": cookie})

    def _create_login_link(self, services: Services, request: Request) -> Answer:
        """Makes a link that signs a browser in as the signer."""
        if _principal(request.event) is None and self.mode != ALL_ADMINS:
            raise Problem(401, "Not authenticated")
        user = ANONYMOUS if request.user == NOBODY else request.user
        body = request.body(LinkBody) if request.raw_body.strip() else LinkBody()
        code = secrets.token_urlsafe(32)
        expires_at = request.now + LINK_LIFETIME
        who = {
            "name": user.name,
            "role": None if user.role is None else user.role.name,
            "dag_roles": list(user.dag_roles),
            "next": in_address(request.event, page_of(body.next, request.headers.get("host", ""))),
            "expires": expires_at.timestamp(),
        }
        services.store.put_setting(LINKS, _hash(code), who, expires_at=expires_at)
        path = f"/auth/login-link?code={quote(code)}"
        return Answer(
            201, {"path": path, "expires_in_seconds": int(LINK_LIFETIME.total_seconds())}, headers=oidc.NOT_KEPT
        )

    def _use_login_link(self, services: Services, request: Request) -> Answer:
        """Signs the browser in, once: a conditional delete of the link lets one of two concurrent requests win."""
        if request.headers.get("sec-fetch-site") == "cross-site" or request.headers.get("sec-purpose"):
            raise Problem(403, "Cross-site request refused: paste the link into the address bar")
        code = parse_qs(request.query_string).get("code", [""])[0]
        who = services.store.get_setting(LINKS, _hash(code)) if code else None
        if (
            who is None
            or not services.store.delete_setting(LINKS, _hash(code))
            or who["expires"] <= request.now.timestamp()
        ):
            raise Problem(403, "This link has expired or was already used. Run gust login again")
        user = User(who["name"], None if who["role"] is None else Role.of(who["role"]), tuple(who["dag_roles"]))
        log_sign_in(services, request, user)
        cookie = self.cookie(services.tokens, user, request.event, request.now, request.now)
        return Answer(307, headers={"Location": who["next"], "Set-Cookie": cookie, **oidc.NOT_KEPT})

    def _leave_for_provider(self, services: Services, request: Request) -> Answer:
        page = _wanted(request)
        if len(page) > oidc.LONGEST_PAGE:
            page = "/"
        location, kept = oidc.leave(services, request, self._known_provider(), page=page)
        lasts = int(oidc.SIGN_IN_LIFETIME.total_seconds())
        cookie = set_cookie(request.event, oidc.SIGN_IN, kept, max_age=lasts)
        return Answer(307, headers={"Location": location, "Set-Cookie": cookie, **oidc.NOT_KEPT})

    def _come_back_from_provider(self, services: Services, request: Request) -> Answer:
        kept = cookie_of(request.event, oidc.SIGN_IN)
        try:
            user, page = oidc.come_back(services, request, self._known_provider(), self.access, kept=kept)
        except Invalid as wrong:
            raise Problem(503, str(wrong)) from wrong
        log_sign_in(services, request, user)
        cookie = self.cookie(services.tokens, user, request.event, request.now, request.now)
        return Answer(307, headers={"Location": page, "Set-Cookie": cookie, **oidc.NOT_KEPT})

    def _known_provider(self) -> IdentityProvider:
        if self.provider is None:
            raise Problem(404, "This stack has no OpenID provider")
        return self.provider

    def _token(self, services: Services, request: Request, lifetime: timedelta) -> Json:
        if request.user == NOBODY and self.mode != ALL_ADMINS:
            raise Problem(401, "Not authenticated: this stack has no passwords. Sign the request with IAM")
        user = ANONYMOUS if request.user == NOBODY else request.user
        if user != ANONYMOUS:
            log_sign_in(services, request, user)
        return {"access_token": services.tokens.for_user(user, now=request.now, **lasting(None, lifetime, request.now))}

    def _check_login(self, request: Request) -> None:
        """Checks that the body is JSON or a form. Its content does not matter; a signed request needs no body."""
        if request.user != NOBODY and not request.raw_body.strip():
            return
        if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            fields = {name: values[-1] for name, values in parse_qs(request.raw_body).items()}
            as_json = {"content-type": "application/json"}
            request = Request(path={}, user=request.user, now=request.now, headers=as_json, raw_body=json.dumps(fields))
        request.body(LoginBody)


def _wanted(request: Request) -> str:
    """The page that led to the sign-in."""
    given = parse_qs(request.query_string).get("next", ["/"])[0]
    return in_address(request.event, page_of(given, request.headers.get("host", "")))


def _how_to_log_in(page: str) -> str:
    leads_back = "" if page == "/" else f" --page {html.escape(shlex.quote(page))}"
    return (
        "<!doctype html><title>Gust</title><p>You are not signed in. Run "
        f"<code>./gust login --stack NAME{leads_back}</code> with your AWS credentials, or "
        f"<code>./gust login --local{leads_back}</code> on the machine where the local stack runs; it opens this page for "
        "you.</p>"
    )


class Lasting(TypedDict):
    lifetime: timedelta
    signed_in_at: datetime


def lasting(session: Session | None, lifetime: timedelta, now: datetime) -> Lasting:
    """The lifetime of a token that replaces another: not beyond the end of its session."""
    since = now if session is None else session.signed_in_at
    return {"lifetime": max(timedelta(), min(lifetime, since + LONGEST_SESSION - now)), "signed_in_at": since}


def set_cookie(event: Mapping[str, Any], name: str, value: str, *, max_age: int | None = None) -> str:
    """The cookie is `Secure`, except over plain HTTP, as on the local stack: a browser would drop it."""
    secure = "" if is_plain_http(event) else "; Secure"
    limit = "" if max_age is None else f"; Max-Age={max_age}"
    return f"{name}={value}; Path=/{limit}{secure}; HttpOnly; SameSite=Lax"


def is_plain_http(event: Mapping[str, Any]) -> bool:
    """API Gateway always says `https`; the local stack's front door says `http` if it listens to other machines."""
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    if "x-forwarded-proto" in headers:
        return bool(headers["x-forwarded-proto"] == "http")
    try:
        host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
    except ValueError:
        return False
    return host in {"localhost", "127.0.0.1", "::1"} or host.endswith(".localhost")


def check_origin(event: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    """A browser sends the cookie also for pages of neighbouring subdomains, and names the page's origin. Problem 403 if
    such a page would change something."""
    method = event.get("requestContext", {}).get("http", {}).get("method", "GET")
    if method in {"GET", "HEAD", "OPTIONS"}:
        return
    origin = headers.get("origin")
    if origin is not None:
        ours = urlsplit(origin).netloc == headers.get("host")
    else:
        ours = headers.get("sec-fetch-site", "none") in {"same-origin", "none"}
    if not ours:
        raise Problem(403, "Cross-site request refused")


def cookie_of(event: Mapping[str, Any], wanted: str = COOKIE) -> str:
    """API Gateway moves cookies out of the headers; the local stack's emulator leaves them there."""
    left = [value for name, value in (event.get("headers") or {}).items() if name.lower() == "cookie"]
    cookies: Iterable[str] = event.get("cookies") or left
    pairs = (part.strip().partition("=") for line in cookies for part in line.split(";"))
    return next((value for name, _, value in pairs if name == wanted), "")


def brings_something(event: Mapping[str, Any]) -> bool:
    """Whether the request has credentials of any kind."""
    named = any(name.lower() == "authorization" for name in event.get("headers") or {})
    return named or bool(cookie_of(event)) or _principal(event) is not None


def page_of(url: str, host: str) -> str:
    """The path of a URL on this `host`, or without a host; `/` for other hosts."""
    if is_local(url):
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return "/"
    path = urlunsplit(parts._replace(scheme="", netloc=""))
    return path if parts.scheme in ("http", "https") and parts.netloc == host and is_local(path) else "/"


def is_local(url: str) -> bool:
    """Whether the path is on this server: redirecting elsewhere would help phishing."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    is_path = url.startswith("/") and not url.startswith(("//", "/\\"))
    return is_path and not parts.scheme and not parts.netloc and url.isprintable()


def _principal(event: Mapping[str, Any]) -> str | None:
    """The signer's ARN. Trusted only on routes with signatures: elsewhere the caller may have set it."""
    context = event.get("requestContext") or {}
    if event.get("routeKey") not in SIGNED_ROUTES or context.get("routeKey") != event.get("routeKey"):
        return None
    return ((context.get("authorizer") or {}).get("iam") or {}).get("userArn") or None


def _tag(event: Mapping[str, Any]) -> str | None:
    """The session tag in the signed path."""
    if not event["routeKey"].endswith(AS_TAG):
        return None
    return str((event.get("pathParameters") or {})["tag"])


def _session(tokens: Tokens, token: str, now: datetime) -> Session:
    try:
        return tokens.session_of(token, now=now)
    except Unauthorized as expired:
        raise Problem(401, "Token Expired") from expired
    except Forbidden as invalid:
        raise Problem(403, "Invalid JWT token") from invalid


def _hash(code: str) -> str:
    return sha256(code.encode()).hexdigest()
