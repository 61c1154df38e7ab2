"""The security headers of every answer."""

from __future__ import annotations

import re

import pytest

from gust.rest_api.access.browser_policy import content_policy
from tests.unit.rest_api.world import Api, World

HTTPS = {"host": "a1.execute-api.eu-west-1.amazonaws.com", "x-forwarded-proto": "https"}


@pytest.mark.parametrize(
    "path", ["/api/v2/dags", "/api/v2/dags/none", "/auth/token/login", "/api/v1/x", "/static/none.js"]
)
def test_every_answer_has_the_headers(world: World, api: Api, path: str) -> None:
    headers = api("GET", path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert headers["referrer-policy"] == "same-origin"
    policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["script-src"] == policy["frame-ancestors"] == "'self'"
    assert policy["object-src"] == "'none'"


def test_that_only_encryption_will_do_is_said_where_there_is_some(api: Api) -> None:
    assert "strict-transport-security" not in api("GET", "/api/v2/dags").headers
    assert api("GET", "/api/v2/dags", headers=HTTPS).headers["strict-transport-security"] == "max-age=31536000"


def test_a_script_in_a_page_of_ours_may_run_and_no_other() -> None:
    page = {"headers": {"Content-Type": "text/html; charset=utf-8"}, "body": "<p><script>alert(1)</script>"}
    hashed = re.findall(r"'sha256-([^']+)'", content_policy(page))
    assert hashed == ["bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI="]
    assert "sha256" not in content_policy(page | {"headers": {"Content-Type": "application/json"}})
