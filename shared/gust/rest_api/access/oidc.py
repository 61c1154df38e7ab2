"""Sign-in with an OpenID provider: a redirect with a PKCE challenge, a callback with a code, a session cookie.

The state of one sign-in (state, nonce, PKCE verifier, target page) is in a sealed cookie, so that a code that was
requested by another browser signs no user in.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from datetime import timedelta
from hashlib import sha256
from typing import Final
from urllib.parse import parse_qs

from gust.errors import Forbidden, Rejected, ServiceUnavailable
from gust.http.answer import Problem
from gust.model.user import User
from gust.ports.identity_provider import IdentityProvider
from gust.rest_api.access.access import Access
from gust.rest_api.http.request import Request
from gust.rest_api.http.web import in_address
from gust.services.context import Services

SIGN_IN: Final = "_sign_in"
"""The cookie of a pending sign-in, and the purpose in its seal."""
SIGN_IN_LIFETIME: Final = timedelta(minutes=10)
LONGEST_PAGE: Final = 1500
"""Characters of the target page. A browser drops a cookie of more than 4 KB."""
CALLBACK: Final = "/auth/oidc/callback"
NOT_KEPT: Final = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}


def leave(services: Services, request: Request, provider: IdentityProvider, *, page: str) -> tuple[str, str]:
    """The provider's URL, and the cookie for the callback."""
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    challenge = base64.urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")
    try:
        location = provider.authorization_url(
            redirect_uri=_redirect_uri(request), state=state, nonce=nonce, challenge=challenge
        )
    except (ServiceUnavailable, Forbidden) as unavailable:
        raise Problem(502, str(unavailable)) from unavailable
    kept = {"state": state, "nonce": nonce, "verifier": verifier, "page": page}
    return location, services.tokens.seal(kept, SIGN_IN, now=request.now, lifetime=SIGN_IN_LIFETIME)


def come_back(
    services: Services, request: Request, provider: IdentityProvider, access: Access, *, kept: str
) -> tuple[User, str]:
    """The user and the target page. Problem 403 if another browser started the sign-in, or the user has no role."""
    given = {name: values[-1] for name, values in parse_qs(request.query_string).items()}
    try:
        expected = services.tokens.unseal(kept, SIGN_IN, now=request.now)
    except Rejected as strange:
        raise Problem(403, "This sign-in was not started in this browser, or has expired. Sign in again") from strange
    if not hmac.compare_digest(given.get("state", "").encode(), expected["state"].encode()):
        raise Problem(403, "This sign-in was not started in this browser. Sign in again")
    if "code" not in given:
        raise Problem(403, f"The OpenID provider refused the sign-in: {given.get('error', 'no')}")
    try:
        identity = provider.identity(
            given["code"],
            verifier=expected["verifier"],
            redirect_uri=_redirect_uri(request),
            nonce=expected["nonce"],
            now=request.now,
        )
    except Forbidden as refused:
        raise Problem(403, str(refused)) from refused
    except ServiceUnavailable as unavailable:
        raise Problem(502, str(unavailable)) from unavailable
    user = access.of_groups(identity.name, identity.groups)
    if user is None:
        raise Problem(403, f"{identity.name} has no role: the access document has no entry for any of their groups")
    return user, expected["page"]


def _redirect_uri(request: Request) -> str:
    """This API's callback URL by the gateway's domain; the browser's headers do not count."""
    context = request.event.get("requestContext") or {}
    host = context.get("domainName") or request.headers.get("host", "")
    return f"https://{host}{in_address(request.event, CALLBACK)}"
