"""`/api/v2/auth/login` and `…/logout`: they redirect to the sign-in, as with Airflow's simple auth manager."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote, urlencode, urljoin, urlsplit

from gust.http.answer import Answer, bad_request
from gust.http.check import Query
from gust.rest_api.access.auth import COOKIE, set_cookie
from gust.rest_api.http.request import Request
from gust.rest_api.http.routing import operation
from gust.rest_api.http.web import in_address
from gust.services.context import Services

LOGIN_URL: Final = "/auth/token/login"


class LoginQuery(Query):
    next: str | None = None


@operation("login")
def login(services: Services, request: Request) -> Answer:  # noqa: ARG001 - a handler's signature
    wanted = request.query(LoginQuery).next
    if not wanted:
        return _redirect(in_address(request.event, LOGIN_URL))
    if not _is_ours(wanted, request.headers.get("host", "")):
        raise bad_request("Invalid or unsafe next URL")
    return _redirect(f"{in_address(request.event, LOGIN_URL)}?{urlencode({'next': wanted})}")


@operation("logout")
def logout(services: Services, request: Request) -> Answer:  # noqa: ARG001
    """Deletes the browser's cookie. Tokens are not stored, and expire by themselves."""
    return _redirect(
        in_address(request.event, LOGIN_URL), {"Set-Cookie": set_cookie(request.event, COOKIE, "", max_age=0)}
    )


def _redirect(location: str, headers: dict[str, str] | None = None) -> Answer:
    return Answer(307, "", content_type="text/plain", headers={"Location": location, **(headers or {})})


def _is_ours(url: str, host: str) -> bool:
    """Whether the URL is on this host: redirecting elsewhere would help phishing. Browsers take `\\` for `/`."""
    plain = unquote(url).strip().replace("\\", "/")
    if plain.startswith("//"):
        return False
    target = urlsplit(urljoin(f"https://{host}/", plain))
    return target.scheme in ("http", "https") and target.netloc == host
