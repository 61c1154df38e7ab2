"""`./gust login`: your AWS credentials, exchanged for a browser that is signed in, or for a token.

It signs a request to the stack's HTTP API. IAM identifies you (`execute-api:Invoke`), and the access document gives you a
role.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import webbrowser
from typing import Any
from urllib.parse import quote, urlsplit

from gust.errors import GustError


class LoginError(GustError):
    """The stack refused the signed request or did not answer; the message is for the terminal."""


def api_url(cloudformation: Any, stack: str) -> str:
    described = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    return next(str(o["OutputValue"]) for o in described["Outputs"] if o["OutputKey"] == "ApiUrl")


def link(url: str, session: Any, *, page: str = "/", tag: str | None = None) -> str:
    """A link that lets one browser in, once, within a minute. Raises LoginError."""
    answer = _ask(f"{url}/auth/login-link{_as(tag)}", {"next": page}, session)
    return f"{url}{answer['path']}"


def token(url: str, session: Any, *, tag: str | None = None) -> str:
    """A token for `Authorization: Bearer …`, good for an hour. Raises LoginError."""
    return str(_ask(f"{url}/auth/token{_as(tag)}", None, session)["access_token"])


def show(found: str, *, opens: bool) -> None:
    """Open the link in the browser; print it if `opens` is false or no browser can be opened."""
    if opens and webbrowser.open(found):
        print("Your browser is signed in. If it did not open, run this again with --print.")
    else:
        print(found)


def _as(tag: str | None) -> str:
    return "" if tag is None else f"/as/{quote(tag, safe='')}"


def _ask(url: str, body: Any, session: Any) -> dict[str, Any]:
    request = urllib.request.Request(url, **_signed(url, body, session))  # noqa: S310  the stack's own address
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return dict(json.loads(answer.read()))
    except urllib.error.HTTPError as refused:
        raise LoginError(f"{urlsplit(url).netloc} answered {refused.code}: {_detail(refused)}") from refused
    except urllib.error.URLError as unreachable:
        raise LoginError(f"{urlsplit(url).netloc} does not answer: {unreachable.reason}") from unreachable


def _signed(url: str, body: Any, session: Any) -> dict[str, Any]:
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    credentials = session.get_credentials()
    if credentials is None:
        raise LoginError("no AWS credentials were found; sign in to AWS first")
    data = b"" if body is None else json.dumps(body).encode()
    request = AWSRequest("POST", url, data=data, headers={"Content-Type": "application/json"})
    SigV4Auth(credentials.get_frozen_credentials(), "execute-api", _region(url, session)).add_auth(request)
    return {"data": data, "headers": dict(request.headers), "method": "POST"}


def _region(url: str, session: Any) -> str:
    """The API's region, from its address `<id>.execute-api.<region>.amazonaws.com`."""
    parts = (urlsplit(url).hostname or "").split(".")
    return parts[2] if parts[1:2] == ["execute-api"] else str(session.region_name)


def _detail(refused: urllib.error.HTTPError) -> str:
    """The error's text: our API calls the field `detail`, API Gateway `message`."""
    text = refused.read().decode(errors="replace")
    try:
        parsed = json.loads(text)
    except ValueError:
        return text[:200]
    return str(parsed.get("detail") or parsed.get("message") or parsed) if isinstance(parsed, dict) else text[:200]
