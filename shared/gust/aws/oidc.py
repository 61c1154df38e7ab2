"""An OpenID provider that people sign in with: Cognito, or any other that publishes `/.well-known/openid-configuration`.

Authorization code with PKCE, by a public client: there is no secret to keep. Every request goes over https to an address
that the issuer's own document names.
"""

from __future__ import annotations

import hmac
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cached_property
from typing import Any, Final, Protocol
from urllib.parse import urlencode, urlsplit

import jwt

from gust.errors import Forbidden, ServiceUnavailable
from gust.model.user import Identity

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384")
"""Algorithms with a key pair: with a shared secret, every verifier of tokens could sign them."""
LEEWAY: Final = 60
"""Seconds that the provider's clock may be off."""
PATIENCE: Final = 5
"""Seconds for an answer of the provider."""

Fetch = Callable[[str, Mapping[str, str] | None], dict[str, Any]]
"""(address, form to post or `None`) → the JSON answer. Raises Forbidden for a refusal, and ServiceUnavailable for any
other failure."""


class Keys(Protocol):
    def get_signing_key_from_jwt(self, token: str) -> jwt.PyJWK: ...


class OidcProvider:
    """Implements `ports.IdentityProvider`."""

    def __init__(
        self,
        issuer: str,
        client_id: str,
        groups_claim: str,
        *,
        fetch: Fetch | None = None,
        keys: Callable[[str], Keys] | None = None,
    ) -> None:
        self._issuer = issuer
        self._client_id = client_id
        self._groups_claim = groups_claim
        self._fetch = fetch or fetch_json
        self._make_keys = keys or (lambda uri: jwt.PyJWKClient(uri, timeout=PATIENCE))

    def authorization_url(self, *, redirect_uri: str, state: str, nonce: str, challenge: str) -> str:
        parameters = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": redirect_uri,
            "scope": "openid email profile",
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return f"{self._endpoint('authorization_endpoint')}?{urlencode(parameters)}"

    def identity(self, code: str, *, verifier: str, redirect_uri: str, nonce: str, now: datetime) -> Identity:
        form = {
            "grant_type": "authorization_code",
            "client_id": self._client_id,
            "code": code,
            "code_verifier": verifier,
            "redirect_uri": redirect_uri,
        }
        answer = self._fetch(self._endpoint("token_endpoint"), form)
        claims = self._claims(str(answer.get("id_token", "")), now)
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
            raise Forbidden("The ID token answers another sign-in")
        groups = claims.get(self._groups_claim) or ()
        return Identity(_name(claims), tuple(map(str, [groups] if isinstance(groups, str) else groups)))

    def _claims(self, token: str, now: datetime) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._keys.get_signing_key_from_jwt(token).key,
                algorithms=list(ALGORITHMS),
                audience=self._client_id,
                issuer=self._issuer,
                # `validate` compares the times with the given clock.
                options={
                    "require": ["exp", "iat", "sub", "aud", "iss"],
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except jwt.PyJWKClientConnectionError as unavailable:
            raise ServiceUnavailable("The OpenID provider's keys cannot be fetched") from unavailable
        except jwt.PyJWTError as invalid:
            raise Forbidden(f"The ID token is not valid: {invalid}") from invalid
        if claims["exp"] + LEEWAY <= now.timestamp() or claims.get("nbf", 0) - LEEWAY > now.timestamp():
            raise Forbidden("The ID token is not valid at this time")
        if isinstance(claims["aud"], list) and len(claims["aud"]) > 1 and claims.get("azp") != self._client_id:
            raise Forbidden("The ID token was made for another client")
        return claims

    def _endpoint(self, name: str) -> str:
        address = str(self._configuration.get(name, ""))
        if urlsplit(address).scheme != "https":
            raise ServiceUnavailable(f"The OpenID provider names no {name} with https")
        return address

    @cached_property
    def _configuration(self) -> dict[str, Any]:
        found = self._fetch(f"{self._issuer}/.well-known/openid-configuration", None)
        if found.get("issuer") != self._issuer:
            raise ServiceUnavailable(f"{self._issuer} says that it is {found.get('issuer')}")
        return found

    @cached_property
    def _keys(self) -> Keys:
        return self._make_keys(self._endpoint("jwks_uri"))


def _name(claims: Mapping[str, Any]) -> str:
    """A name that users cannot choose for themselves: an e-mail address verified by the provider, or its `sub`."""
    verified = claims.get("email") if claims.get("email_verified") in (True, "true") else None
    return str(verified or claims["sub"])


def fetch_json(url: str, form: Mapping[str, str] | None) -> dict[str, Any]:
    if urlsplit(url).scheme != "https":
        raise ServiceUnavailable(f"{url} is not https")
    data = None if form is None else urlencode(form).encode()
    request = urllib.request.Request(url, data=data, headers={"Accept": "application/json"})  # noqa: S310  it is https
    try:
        with _opener().open(request, timeout=PATIENCE) as answer:
            found = json.loads(answer.read(1_000_000))
    except urllib.error.HTTPError as refused:
        if refused.code in (400, 401, 403):
            raise Forbidden("The OpenID provider did not accept the code") from refused
        raise ServiceUnavailable(f"The OpenID provider answered {refused.code}") from refused
    except (OSError, ValueError) as unavailable:
        raise ServiceUnavailable("The OpenID provider does not answer") from unavailable
    return found if isinstance(found, dict) else {}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it could lead to an address that the issuer did not name, or to plain http."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_NoRedirect)
