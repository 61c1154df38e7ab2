"""`./gust login`: your AWS credentials, exchanged for a browser that is signed in, or for a token.

It signs a request to the stack's HTTP API. IAM identifies you (`execute-api:Invoke`), and the access document gives you a
role.
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.error
import urllib.request
import webbrowser
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from gust.cli import ROOT
from gust.cli import aws as cli_aws
from gust.errors import GustError

HELP: Final = "sign in to the web UI with your AWS credentials"


class LoginError(GustError):
    """The stack refused the signed request or did not answer; the message is for the terminal."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    cli_aws.add_arguments(parser)
    parser.add_argument("--local", action="store_true", help="to the local stack that runs on this machine")
    parser.add_argument(
        "--data", type=Path, default=ROOT / ".gust", help="where that one's state is kept (%(default)s)"
    )
    parser.add_argument("--page", default="/", help="where the browser goes first (%(default)s)")
    parser.add_argument(
        "--print", action="store_true", help="print the link instead of opening it; it is good for a minute"
    )
    parser.add_argument("--as", dest="tag", metavar="TAG", help="by your session tag (docs/access.md)")
    parser.add_argument("--token", action="store_true", help="print a token for programs instead")


def run(options: argparse.Namespace) -> int:
    if options.local:
        return login_here(options)
    session = cli_aws.session(options)
    url = cli_aws.require_stack(session.client, options.stack).outputs["ApiUrl"]
    try:
        if options.token:
            print(token(url, session, tag=options.tag))
        else:
            show(link(url, session, page=options.page, tag=options.tag), opens=not options.print)
    except LoginError as problem:
        print(f"gust: {problem}", file=sys.stderr)
        return 1
    return 0


def login_here(options: argparse.Namespace) -> int:
    """Sign in to a local stack. Any user of this machine who can read its data folder can do this."""
    from gust.local import sign_in
    from gust.local.stack import emulator_client

    if options.tag:
        print("gust: the local stack knows no session tags.", file=sys.stderr)
        return 2
    try:
        endpoint, url = sign_in.running(options.data.resolve())
        client = emulator_client("lambda", endpoint)
        if options.token:
            print(sign_in.token(client))
        else:
            show(sign_in.link(client, url, page=options.page), opens=not options.print)
    except sign_in.SignInError as problem:
        print(f"gust: {problem}", file=sys.stderr)
        return 1
    return 0


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
        host = urlsplit(url).netloc
        where = " The API is private: this machine must reach its VPC endpoint." if "-vpce-" in host else ""
        raise LoginError(f"{host} does not answer: {unreachable.reason}.{where}") from unreachable


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
