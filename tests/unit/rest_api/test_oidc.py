"""Signing in with an OpenID provider, up to the tokens that it would have to forge."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from gust.aws.oidc import OidcProvider, fetch_json
from gust.errors import Forbidden, ServiceUnavailable
from gust.model.access import Role
from gust.model.user import User
from gust.rest_api.access.access import Access
from gust.rest_api.access.auth import Authenticator
from gust.rest_api.app import build
from tests.unit.rest_api.world import NOW, Api, World

ISSUER = "https://id.example"
CLIENT = "gust-client"
HOST = "a1.execute-api.eu-west-1.amazonaws.com"
DOCUMENT = {"oidc": [{"group": "ops", "role": "Op"}, {"group": "team-a", "dag_roles": ["team-a"]}]}
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass
class Issuer:
    """The provider's side: remembers the riddle of each code, and answers who knows its solution."""

    claims: dict[str, Any] = field(default_factory=dict)
    """Beside, or instead of, the usual ones."""
    configuration: dict[str, Any] = field(default_factory=dict)
    key: Any = KEY
    algorithm: str = "RS256"
    asked: Mapping[str, str] = field(default_factory=dict)

    def authorize(self, url: str) -> str:
        """As if the person had signed in; the state to come back with."""
        self.asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        return self.asked["state"]

    def fetch(self, url: str, form: Mapping[str, str] | None) -> dict[str, Any]:
        if url == f"{ISSUER}/.well-known/openid-configuration":
            return {
                "issuer": ISSUER,
                "authorization_endpoint": f"{ISSUER}/authorize",
                "token_endpoint": f"{ISSUER}/token",
                "jwks_uri": f"{ISSUER}/keys",
            } | self.configuration
        assert (url, form is not None) == (f"{ISSUER}/token", True)
        assert form is not None
        solved = base64.urlsafe_b64encode(sha256(form["code_verifier"].encode()).digest()).decode().rstrip("=")
        if form["code"] != "the-code" or solved != self.asked["code_challenge"]:
            raise Forbidden("The OpenID provider did not accept the code")
        assert form["redirect_uri"] == self.asked["redirect_uri"]
        usual = {
            "iss": ISSUER,
            "aud": CLIENT,
            "sub": "4711",
            "nonce": self.asked["nonce"],
            "groups": ["ops"],
            "email": "ada@example.org",
            "email_verified": True,
            "iat": int(NOW.timestamp()),
            "exp": int(NOW.timestamp()) + 300,
        }
        claims = {name: value for name, value in (usual | self.claims).items() if value is not None}
        return {"id_token": jwt.encode(claims, self.key, algorithm=self.algorithm, headers={"kid": "k1"})}

    def get_signing_key_from_jwt(self, token: str) -> Any:
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key()))
        return jwt.PyJWK(public | {"kid": "k1", "alg": "RS256"})


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def api(world: World, issuer: Issuer) -> Api:
    world.dag("etl")
    provider = OidcProvider(ISSUER, CLIENT, "groups", fetch=issuer.fetch, keys=lambda _: issuer)
    authenticator = Authenticator("", Access(lambda: json.dumps(DOCUMENT)), provider)
    return Api(build(world.services, authenticator), headers={"host": HOST, "x-forwarded-proto": "https"})


def begin(api: Api, page: str = "/dags/etl") -> tuple[str, str]:
    """Where the browser is sent, and the cookie it keeps."""
    reply = api("GET", "/auth/token/login", next=page)
    assert reply.status == 307, reply.text
    return reply.headers["location"], reply.headers["set-cookie"].split(";")[0]


def come_back(api: Api, state: str, cookie: str, code: str = "the-code") -> Any:
    return api("GET", "/auth/oidc/callback", cookies=[cookie], code=code, state=state)


def test_a_person_signs_in_and_goes_on_where_they_wanted(api: Api, issuer: Issuer) -> None:
    url, cookie = begin(api)
    state = issuer.authorize(url)
    assert url.startswith(f"{ISSUER}/authorize?")
    assert issuer.asked["redirect_uri"] == f"https://{HOST}/auth/oidc/callback"
    assert (issuer.asked["response_type"], issuer.asked["code_challenge_method"]) == ("code", "S256")
    came = come_back(api, state, cookie)
    assert (came.status, came.headers["location"]) == (307, "/dags/etl")
    token, *attributes = came.headers["set-cookie"].split("; ")
    assert {"Secure", "HttpOnly", "SameSite=Lax"} <= set(attributes)
    claims = jwt.decode(token.removeprefix("_token="), options={"verify_signature": False})
    assert (claims["sub"], claims["role"]) == ("ada@example.org", "OP")
    assert api("GET", "/api/v2/variables", cookies=[token]).status == 200


def test_from_the_web_ui_with_an_expired_cookie_they_come_back_to_the_page(
    world: World, api: Api, issuer: Issuer
) -> None:
    """As Airflow's UI does it: told 401 for a cookie of yesterday, it goes to the login with its own address."""
    old = world.services.tokens.for_user(User("ada", Role.OP), now=NOW - timedelta(days=1), lifetime=timedelta(hours=1))
    refused = api("GET", "/api/v2/dags", cookies=[f"_token={old}"])
    assert (refused.status, "Max-Age=0" in refused.headers["set-cookie"]) == (401, True)
    page = "/dags/etl/runs/manual__1?tab=logs#end"
    for wanted in (page, f"https://{HOST}{page}"):
        login = api("GET", "/api/v2/auth/login", next=wanted)
        assert login.status == 307
        left = api("GET", login.headers["location"])
        cookie = left.headers["set-cookie"].split(";")[0]
        came = come_back(api, issuer.authorize(left.headers["location"]), cookie)
        assert (came.status, came.headers["location"]) == (307, page)


@pytest.mark.parametrize("page", ["https://evil.example/", "//evil.example", "/\\evil.example", "/" + "x" * 1500])
def test_they_go_on_to_no_other_site_and_no_page_that_a_cookie_does_not_hold(
    api: Api, issuer: Issuer, page: str
) -> None:
    url, cookie = begin(api, page)
    assert len(cookie) < 4096
    assert come_back(api, issuer.authorize(url), cookie).headers["location"] == "/"


def test_groups_give_roles_and_names_for_dags(api: Api, issuer: Issuer) -> None:
    issuer.claims = {"groups": ["team-a", "others"]}
    url, cookie = begin(api)
    token = come_back(api, issuer.authorize(url), cookie).headers["set-cookie"].split(";")[0]
    claims = jwt.decode(token.removeprefix("_token="), options={"verify_signature": False})
    assert (claims["role"], claims["dag_roles"]) == (None, ["team-a"])


@pytest.mark.parametrize("groups", [[], ["others"], None])
def test_who_is_in_no_group_of_the_document_is_not_let_in(api: Api, issuer: Issuer, groups: Any) -> None:
    issuer.claims = {"groups": groups}
    url, cookie = begin(api)
    refused = come_back(api, issuer.authorize(url), cookie)
    assert (refused.status, "has no role" in refused.detail) == (403, True)
    assert "set-cookie" not in refused.headers


def test_without_a_document_nobody_comes_in(world: World, issuer: Issuer) -> None:
    provider = OidcProvider(ISSUER, CLIENT, "groups", fetch=issuer.fetch, keys=lambda _: issuer)
    api = Api(build(world.services, Authenticator("", Access(), provider)), headers={"host": HOST})
    url, cookie = begin(api)
    assert come_back(api, issuer.authorize(url), cookie).status == 403


def test_a_name_that_people_can_choose_is_not_believed(api: Api, issuer: Issuer) -> None:
    issuer.claims = {"email_verified": False, "preferred_username": "root"}
    url, cookie = begin(api)
    token = come_back(api, issuer.authorize(url), cookie).headers["set-cookie"].split(";")[0]
    assert jwt.decode(token.removeprefix("_token="), options={"verify_signature": False})["sub"] == "4711"


def test_a_code_that_somebody_else_asked_for_signs_nobody_in(world: World, api: Api, issuer: Issuer) -> None:
    _, anothers = begin(api)
    url, cookie = begin(api)
    state = issuer.authorize(url)
    for refused in (
        come_back(api, state, anothers),  # of another browser
        come_back(api, state, ""),
        come_back(api, state, cookie[:-3] + "AAA"),
        come_back(api, "made-up", cookie),
        come_back(api, state, cookie, code="made-up"),
        api("GET", "/auth/oidc/callback", cookies=[cookie], state=state, error="access_denied"),
    ):
        assert (refused.status, "set-cookie" in refused.headers) == (403, False), refused.text
    world.clock.advance(601)
    assert come_back(api, state, cookie).status == 403


def test_the_cookie_of_a_sign_in_opens_nothing(api: Api) -> None:
    _, cookie = begin(api)
    sealed = cookie.partition("=")[2]
    assert api("GET", "/api/v2/dags", headers={"authorization": f"Bearer {sealed}"}).status == 403


BAD: dict[str, Callable[[Issuer], Any]] = {
    "for another client": lambda issuer: issuer.claims.update(aud="other"),
    "for several, and another's": lambda issuer: issuer.claims.update(aud=[CLIENT, "other"], azp="other"),
    "of another issuer": lambda issuer: issuer.claims.update(iss="https://evil.example"),
    "of another sign-in": lambda issuer: issuer.claims.update(nonce="other"),
    "without a nonce": lambda issuer: issuer.claims.update(nonce=None),
    "expired": lambda issuer: issuer.claims.update(exp=int(NOW.timestamp()) - 61),
    "without an end": lambda issuer: issuer.claims.update(exp=None),
    "not valid yet": lambda issuer: issuer.claims.update(nbf=int(NOW.timestamp()) + 61),
    "without a subject": lambda issuer: issuer.claims.update(sub=None),
    "of another key": lambda issuer: setattr(issuer, "key", OTHER),
    "with a shared secret": lambda issuer: (setattr(issuer, "key", "k" * 32), setattr(issuer, "algorithm", "HS256")),
    "unsigned": lambda issuer: (setattr(issuer, "key", None), setattr(issuer, "algorithm", "none")),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_id_token_signs_nobody_in(api: Api, issuer: Issuer, kind: str) -> None:
    BAD[kind](issuer)
    url, cookie = begin(api)
    refused = come_back(api, issuer.authorize(url), cookie)
    assert (refused.status, "set-cookie" in refused.headers) == (403, False), refused.text


@pytest.mark.parametrize(
    "configuration",
    [
        {"issuer": "https://evil.example"},
        {"authorization_endpoint": "http://id.example/authorize"},
        {"authorization_endpoint": "javascript:alert(1)"},
    ],
)
def test_a_provider_that_is_not_who_it_should_be_is_not_gone_to(
    api: Api, issuer: Issuer, configuration: dict[str, str]
) -> None:
    issuer.configuration = configuration
    assert api("GET", "/auth/oidc/login").status == 502


def test_a_sign_in_does_not_lead_elsewhere(api: Api, issuer: Issuer) -> None:
    url, cookie = begin(api, "https://evil.example/")
    assert come_back(api, issuer.authorize(url), cookie).headers["location"] == "/"


def test_without_a_provider_there_is_nothing_to_go_to(world: World) -> None:
    closed = Api(build(world.services, Authenticator("")))
    assert closed("GET", "/auth/oidc/login").status == 404
    assert closed("GET", "/auth/oidc/callback", code="x", state="y").status == 404
    page = closed("GET", "/auth/token/login")
    assert (page.status, "gust login" in page.text) == (401, True)


def test_nothing_is_asked_over_plain_http() -> None:
    with pytest.raises(ServiceUnavailable):
        fetch_json("http://id.example/token", {})
