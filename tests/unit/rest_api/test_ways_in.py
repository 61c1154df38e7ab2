"""Signatures, tokens, cookies and links: which callers each admits and refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import jwt
import pytest

from gust.errors import Invalid
from gust.model.access import Role
from gust.model.user import User
from gust.rest_api.access.access import Access, AccessDocument
from gust.rest_api.access.auth import LINKS, Authenticator
from gust.rest_api.app import build
from tests.unit.rest_api.world import Api, World

ADA = "arn:aws:sts::123456789012:assumed-role/DataTeam/ada"
BOB = "arn:aws:iam::123456789012:user/bob"
KEY = "a signing key that is long enough for HS256"
DOCUMENT = {
    "iam": [
        {"principal": "arn:aws:sts::123456789012:assumed-role/DataTeam/*", "role": "User", "dag_roles": ["team-a"]},
        {"principal": "arn:aws:sts::*:assumed-role/*/ada", "role": "viewer"},
    ]
}
HTTPS = {"host": "a1.execute-api.eu-west-1.amazonaws.com", "x-forwarded-proto": "https"}


def stack(world: World, document: Any = DOCUMENT) -> Api:
    """The API as it stands on AWS, reached without a signature."""
    text = document if isinstance(document, str) else json.dumps(document)
    return Api(build(world.services, Authenticator("", Access(lambda: text))), headers=HTTPS)


def signing(api: Api, arn: str, route: str) -> Api:
    """The same, on a route on which the gateway has checked this principal's signature."""

    def signed(event: dict[str, Any], context: Any) -> dict[str, Any]:
        event["routeKey"] = event["requestContext"]["routeKey"] = route
        event["requestContext"]["authorizer"] = {"iam": {"userArn": arn}}
        return api.handler(event, context)

    return replace(api, handler=signed)


def token_for(api: Api, arn: str = ADA) -> str:
    reply = signing(api, arn, "POST /auth/token")("POST", "/auth/token")
    assert reply.status == 201, reply.text
    return str(reply.json["access_token"])


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def link_for(api: Api, page: str = "/") -> str:
    reply = signing(api, ADA, "POST /auth/login-link")("POST", "/auth/login-link", {"next": page})
    assert reply.status == 201, reply.text
    return str(reply.json["path"])


def test_a_cookie_is_found_where_the_emulator_leaves_it(world: World) -> None:
    """Among the headers; API Gateway takes it out of them."""
    api = stack(world)
    token = token_for(api)
    for name in ("cookie", "Cookie"):
        assert api("GET", "/api/v2/dags", headers={name: f"theme=dark; _token={token}"}).status == 200
        assert api("GET", "/api/v2/dags", headers={name: "theme=dark"}).status == 401


@pytest.mark.parametrize(("said", "secure"), [("https", True), ("http, https", True), ("http", False), ("", True)])
def test_a_cookie_is_for_https_alone_but_where_there_is_none(world: World, said: str, secure: bool) -> None:
    headers = {"host": "192.168.1.7:8080", "x-forwarded-proto": said}
    api = replace(stack(world), headers=headers)
    came = api("GET", link_for(api))
    assert ("Secure" in came.headers["set-cookie"].split("; ")) == secure


@pytest.mark.parametrize(
    ("wanted", "page"),
    [
        ("/dags/etl?x=1#graph", "/dags/etl?x=1#graph"),
        (f"https://{HTTPS['host']}/dags/etl?x=1", "/dags/etl?x=1"),
        (f"https://{HTTPS['host']}", "/"),
        (f"https://{HTTPS['host']}//evil.example", "/"),
        (f"https://{HTTPS['host']}@evil.example/", "/"),
        (f"https://{HTTPS['host']}.evil.example/", "/"),
        ("https://evil.example/dags", "/"),
        ("//evil.example/dags", "/"),
        ("/\\evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("https://[nonsense", "/"),
        ("dags", "/"),
    ],
)
def test_a_sign_in_leads_to_a_page_of_ours(world: World, wanted: str, page: str) -> None:
    api = stack(world)
    assert api("GET", link_for(api, wanted)).headers["location"] == page


def test_who_has_no_provider_is_told_how_to_come_back_to_the_page(world: World) -> None:
    reply = stack(world)("GET", "/auth/token/login", next="/dags?<script>&tags=it's")
    assert reply.status == 401
    assert "--page &#x27;/dags?&lt;script&gt;&amp;tags=it" in reply.text
    assert "<script>" not in reply.text


# --- signatures -------------------------------------------------------------------------------------------------------


def test_a_signature_is_exchanged_for_a_token_of_the_documents_role(world: World) -> None:
    world.dag()
    api = stack(world)
    token = token_for(api)
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["sub"], claims["role"], claims["dag_roles"]) == (ADA, "USER", ["team-a"])
    assert claims["exp"] - claims["iat"] == 3_600
    assert api("PATCH", "/api/v2/dags/etl", {"is_paused": True}, headers=bearer(token)).status == 200
    assert api("GET", "/api/v2/variables", headers=bearer(token)).status == 403


def test_whom_the_document_does_not_know_gets_nothing(world: World) -> None:
    api = stack(world)
    for path, route in (("/auth/token", "POST /auth/token"), ("/auth/login-link", "POST /auth/login-link")):
        refused = signing(api, BOB, route)("POST", path)
        assert (refused.status, BOB in refused.detail) == (403, True)
    assert world.store.list_settings(LINKS) == {}


def test_without_a_document_iam_decides_who_is_administrator(world: World) -> None:
    token = token_for(stack(world, ""), BOB)
    assert jwt.decode(token, options={"verify_signature": False})["role"] == "ADMIN"


def test_a_wrong_document_lets_nobody_in_and_says_what_is_wrong(world: World) -> None:
    refused = signing(stack(world, {"iam": [{"principal": ADA, "role": "Boss"}]}), ADA, "POST /auth/token")(
        "POST", "/auth/token"
    )
    assert refused.status == 503
    assert "iam.0.role" in refused.detail
    assert "Viewer, User, Op, Admin" in refused.detail


@pytest.mark.parametrize("route", ["$default", "GET /auth/token", "POST /auth/tokens", ""])
def test_a_signer_is_believed_on_signed_routes_alone(world: World, route: str) -> None:
    api = signing(stack(world), ADA, route)
    assert api("POST", "/auth/token", {"username": "a", "password": "b"}).status == 401
    assert api("POST", "/auth/login-link").status == 401
    assert api("GET", "/api/v2/dags").status == 401


def test_any_request_may_be_signed(world: World) -> None:
    world.dag()
    ada = signing(stack(world), ADA, "ANY /signed/{proxy+}")
    assert ada("GET", "/signed/api/v2/dags/etl").json["dag_id"] == "etl"
    assert ada("GET", "/signed/api/v2/variables").status == 403


def test_a_session_tag_gives_what_the_document_says_of_it(world: World) -> None:
    people = "arn:aws:sts::123456789012:assumed-role/People/*"
    zoe = "arn:aws:sts::123456789012:assumed-role/People/zoe"
    api = stack(world, {"iam": [{"principal": people, "tag": "ops", "role": "Op"}]})

    def token_as(path: str, arn: str = zoe) -> Any:
        def signed(event: dict[str, Any], context: Any) -> dict[str, Any]:
            event["pathParameters"] = {"tag": path.rpartition("/")[2]}
            return signing(api, arn, "POST /auth/token/as/{tag}").handler(event, context)

        return replace(api, handler=signed)("POST", path)

    given = token_as("/auth/token/as/ops")
    assert given.status == 201, given.text
    assert jwt.decode(given.json["access_token"], options={"verify_signature": False})["role"] == "OP"
    assert token_as("/auth/token/as/boss").status == 403
    assert token_as("/auth/token/as/ops", ADA).status == 403
    assert signing(api, zoe, "POST /auth/token")("POST", "/auth/token").status == 403
    # Who may sign for a tag alone is no administrator where there is no document yet.
    api = stack(world, "")
    assert token_as("/auth/token/as/ops").status == 403


# --- links ------------------------------------------------------------------------------------------------------------


def test_a_link_lets_one_browser_in_once(world: World) -> None:
    world.dag()
    api = stack(world)
    path = link_for(api, "/dags/etl")
    came = api("GET", path)
    assert (came.status, came.headers["location"]) == (307, "/dags/etl")
    assert came.headers["cache-control"] == "no-store"
    cookie, *attributes = came.headers["set-cookie"].split("; ")
    assert attributes == ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"]
    assert api("GET", "/api/v2/dags/etl", cookies=[cookie]).status == 200
    again = api("GET", path)
    assert (again.status, "set-cookie" in again.headers) == (403, False)


def test_a_link_is_good_for_a_minute(world: World) -> None:
    api = stack(world)
    path = link_for(api)
    world.clock.advance(60)
    assert api("GET", path).status == 403


def test_of_two_who_open_a_link_at_once_one_gets_in(world: World) -> None:
    """Both have read it before either takes it away."""
    api = stack(world)
    path = link_for(api)
    read = world.store.get_setting
    answers: list[int] = []

    def while_another_comes(namespace: str, name: str) -> Any:
        found = read(namespace, name)
        if not answers:
            answers.append(0)
            answers[0] = api("GET", path).status
        return found

    world.store.get_setting = while_another_comes  # type: ignore[method-assign]  # the moment between two calls
    answers.append(api("GET", path).status)
    assert sorted(answers) == [307, 403]


def test_the_store_does_not_hold_what_a_link_says(world: World) -> None:
    code = link_for(stack(world)).partition("code=")[2]
    assert code not in json.dumps(world.store.list_settings(LINKS))


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "cross-site"}, {"sec-purpose": "prefetch"}])
def test_no_page_can_sign_a_browser_in(world: World, headers: dict[str, str]) -> None:
    api = stack(world)
    path = link_for(api)
    assert api("GET", path, headers=headers).status == 403
    assert api("GET", path).status == 307


@pytest.mark.parametrize("path", ["/auth/login-link", "/auth/login-link?code=", "/auth/login-link?code=guessed"])
def test_a_made_up_link_leads_nowhere(world: World, path: str) -> None:
    assert stack(world)("GET", path).status == 403


def test_a_link_does_not_lead_elsewhere(world: World) -> None:
    api = stack(world)
    assert api("GET", link_for(api, "https://evil.example/")).headers["location"] == "/"


# --- cookies ----------------------------------------------------------------------------------------------------------


def signed_in(api: Api) -> str:
    return api("GET", link_for(api)).headers["set-cookie"].split(";")[0]


def test_a_cookie_is_renewed_while_it_is_used_and_not_beyond_a_day_of_work(world: World) -> None:
    world.dag()
    api = stack(world)
    cookie = signed_in(api)
    assert "set-cookie" not in api("GET", "/api/v2/dags/etl", cookies=[cookie]).headers
    for _ in range(100):
        world.clock.advance(20 * 60)
        reply = api("GET", "/api/v2/dags/etl", cookies=[cookie])
        if reply.status != 200:
            break
        cookie = reply.headers.get("set-cookie", cookie).split(";")[0]
        waited = world.clock.now()
    claims = jwt.decode(cookie.removeprefix("_token="), options={"verify_signature": False})
    assert reply.status == 401
    assert claims["exp"] - claims["auth_time"] == 12 * 3_600
    assert waited.timestamp() - claims["auth_time"] > 11 * 3_600


def test_a_token_for_a_token_lasts_no_longer_than_the_sign_in(world: World) -> None:
    api = stack(world)
    token = token_for(api)
    for _ in range(30):
        world.clock.advance(30 * 60)
        reply = api("POST", "/ui/auth/token", {"token_type": "api"}, headers=bearer(token))
        if reply.status != 200:
            break
        token = reply.json["access_token"]
    claims = jwt.decode(token, options={"verify_signature": False})
    assert reply.status == 401
    assert claims["exp"] - claims["auth_time"] <= 12 * 3_600


def test_a_useless_cookie_is_taken_away(world: World) -> None:
    api = stack(world)
    cookie = signed_in(api)
    world.clock.advance(3_600)
    expired = api("GET", "/api/v2/dags", cookies=[cookie])
    assert expired.status == 401
    assert "Max-Age=0" in expired.headers["set-cookie"]
    assert "Max-Age=0" in api("GET", "/api/v2/auth/logout", cookies=[cookie]).headers["set-cookie"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # no browser
        ({"origin": f"https://{HTTPS['host']}"}, 200),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "https://other.execute-api.eu-west-1.amazonaws.com"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
    ],
)
def test_no_other_page_acts_with_a_browsers_sign_in(world: World, headers: dict[str, str], status: int) -> None:
    world.dag()
    api = stack(world)
    cookie = signed_in(api)
    reply = api("PATCH", "/api/v2/dags/etl", {"is_paused": True}, headers=headers, cookies=[cookie])
    assert reply.status == status
    dag = world.store.get_dag("etl")
    assert dag is not None
    assert dag.is_paused == (status == 200)


def test_a_token_in_a_header_wins_over_the_cookie(world: World) -> None:
    api = stack(world)
    reply = api("GET", "/api/v2/dags", headers=bearer("nonsense"), cookies=[signed_in(api)])
    assert reply.status == 403


def test_on_this_machine_a_cookie_goes_over_plain_http(api: Api) -> None:
    assert "Secure" not in api("GET", "/auth/token/login").headers["set-cookie"]
    assert "Secure" in api("GET", "/auth/token/login", headers={"host": "gust.example"}).headers["set-cookie"]
    assert "Secure" in api("GET", "/auth/token/login", headers={"host": "localhost.evil.example"}).headers["set-cookie"]


# --- tokens -----------------------------------------------------------------------------------------------------------

CLAIMS = {"sub": "eve", "role": "ADMIN", "aud": "apache-airflow", "iat": 1772625600, "exp": 4102444800}

FORGED: dict[str, Callable[[], str]] = {
    "unsigned": lambda: jwt.encode(CLAIMS, None, algorithm="none"),
    "of another key": lambda: jwt.encode(CLAIMS, "another key that is long enough for HS256", algorithm="HS256"),
    "of another algorithm": lambda: jwt.encode(CLAIMS, KEY * 2, algorithm="HS512"),
    "of another audience": lambda: jwt.encode(CLAIMS | {"aud": "other"}, KEY, algorithm="HS256"),
    "without an end": lambda: jwt.encode({k: v for k, v in CLAIMS.items() if k != "exp"}, KEY, algorithm="HS256"),
    "of a key with a made-up id": lambda: jwt.encode(CLAIMS, KEY, algorithm="HS256", headers={"kid": "../etc"}),
    "none at all": lambda: "a.b.c",
}


@pytest.mark.parametrize("kind", FORGED)
def test_a_forged_token_opens_nothing(world: World, kind: str) -> None:
    api = stack(world)
    reply = api("GET", "/api/v2/dags", headers=bearer(FORGED[kind]()))
    assert (reply.status, reply.detail) == (403, "Invalid JWT token")


def test_a_token_without_a_role_opens_nothing(world: World) -> None:
    nobody = world.services.tokens.for_user(User("eve"), now=world.clock.now(), lifetime=timedelta(hours=1))
    for path in ("/api/v2/dags", "/ui/auth/me", "/ui/config", "/api/v2/assets"):
        assert stack(world)("GET", path, headers=bearer(nobody)).status == 403


# --- the document -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is not JSON"),
        ("[]", "it: "),
        ('{"users": []}', "users"),
        ('{"iam": [{"principal": "ada", "role": "User"}]}', "iam.0.principal: is not the ARN"),
        ('{"iam": [{"principal": "*", "role": "User"}]}', "iam.0.principal"),
        (json.dumps({"iam": [{"principal": ADA}]}), "gives neither a role nor dag_roles"),
        (json.dumps({"iam": [{"principal": ADA, "dag_roles": ["Admin"]}]}), "Admin is one of Airflow's roles"),
        ('{"oidc": [{"group": "g", "role": "User", "team": "x"}]}', "oidc.0.team"),
        ('{"tasks": [{"dag": "*", "role": "Admin"}]}', "tasks.0.role: is not the ARN of an IAM role"),
        ('{"queues": [{"queue": "payroll"}]}', "queues.0: names neither dag nor path"),
        ('{"queues": [{"queue": "fargate", "dag": "*"}]}', "queues.0.queue: is every stack's own queue"),
        ('{"queues": [{"path": "hr/*"}]}', "queues.0.queue: Field required"),
    ],
)
def test_what_is_wrong_with_a_document_is_said(text: str, told: str) -> None:
    with pytest.raises(Invalid) as wrong:
        AccessDocument.parse(text)
    assert told in str(wrong.value)


def test_a_pattern_matches_whole_arns_and_nothing_in_it_but_the_star_is_special() -> None:
    document = AccessDocument.parse(
        json.dumps({"iam": [{"principal": "arn:aws:iam::123456789012:user/a.b", "role": "Op"}]})
    )
    assert document.of_principal("arn:aws:iam::123456789012:user/a.b") == User(
        "arn:aws:iam::123456789012:user/a.b", Role.OP
    )
    assert document.of_principal("arn:aws:iam::123456789012:user/axb") is None
    assert document.of_principal("arn:aws:iam::123456789012:user/a.bc") is None
    assert document.of_principal("x arn:aws:iam::123456789012:user/a.b") is None


def test_a_document_with_roles_of_tasks_alone_admits_no_caller() -> None:
    text = json.dumps({"tasks": [{"path": "team_a/*", "role": "arn:aws:iam::123456789012:role/team-a"}]})
    assert Access(lambda: text).of_principal(ADA) is None


def test_a_changed_document_counts_after_a_minute() -> None:
    text, time = [json.dumps(DOCUMENT)], [0.0]
    access = Access(lambda: text[0], monotonic=lambda: time[0])
    assert access.of_principal(ADA) is not None
    text[0] = '{"iam": []}'
    time[0] = 59.0
    assert access.of_principal(ADA) is not None
    time[0] = 60.0
    assert access.of_principal(ADA) is None


# --- the trail --------------------------------------------------------------------------------------------------------


def trail(world: World) -> list[tuple[str, str | None, Any]]:
    return [(event.event, event.owner, json.loads(event.extra or "{}")) for event in world.store.logged_events()]


def test_who_comes_in_stands_in_the_event_log(world: World) -> None:
    api = stack(world)
    token_for(api)
    assert trail(world) == [("login", ADA, {"path": "/auth/token", "ip": "127.0.0.1"})]
    link = signing(api, ADA, "POST /auth/login-link")("POST", "/auth/login-link").json["path"]
    assert api("GET", link).status == 307
    assert trail(world)[1:] == [("login", ADA, {"path": "/auth/login-link", "ip": "127.0.0.1"})]


def test_who_is_refused_stands_there_too_but_a_flood_writes_once_a_minute(world: World) -> None:
    api = stack(world)
    for _ in range(100):
        assert api("GET", "/api/v2/dags", headers=bearer("made.up.token")).status == 403
    first = (
        "refused",
        None,
        {"status": 403, "detail": "Invalid JWT token", "operation": "get_dags", "ip": "127.0.0.1", "refusals": 1},
    )
    assert trail(world) == [first]
    world.clock.advance(60)
    assert signing(api, BOB, "POST /auth/token")("POST", "/auth/token").status == 403
    (_, (event, owner, said)) = trail(world)
    assert (event, owner, said["refusals"], said["operation"]) == ("refused", None, 100, "create_token")


def test_who_may_not_do_what_they_ask_is_named(world: World) -> None:
    api = stack(world, {"iam": [{"principal": ADA, "role": "Viewer"}]})
    token = token_for(api)
    assert api("POST", "/api/v2/variables", {"key": "k", "value": "v"}, headers=bearer(token)).status == 403
    event, owner, said = trail(world)[-1]
    assert (event, owner, said["operation"], said["status"]) == ("refused", ADA, "post_variable", 403)


def test_a_browser_that_has_not_come_in_yet_leaves_no_entry(world: World) -> None:
    assert stack(world)("GET", "/api/v2/dags").status == 401
    assert trail(world) == []
