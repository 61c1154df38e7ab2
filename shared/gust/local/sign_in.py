"""Links and tokens of `./gust login` for a local stack that demands a login, for programs of its machine.

On AWS the API gives them for a signature that API Gateway has verified. The emulator verifies no signature, so no route
of the local stack accepts one. Instead this module invokes the API function with the event that API Gateway would send;
only programs of this machine reach the emulator.
"""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gust.errors import GustError
from gust.local import deployment, processes

PEOPLE = "arn:aws:iam::000000000000:user"


class SignInError(GustError):
    """The login failed; the message is for the person at the terminal."""


def running(data: Path) -> tuple[str, str]:
    """Where the emulator of the stack that holds the data directory answers, and where its API. Raises SignInError."""
    about, port = processes.holder(data), data / "port"
    if about is None or not port.exists():
        raise SignInError(
            f"No local stack runs with {data}; start it with ./gust local, or name its directory with --data."
        )
    return f"http://127.0.0.1:{port.read_text().strip()}", str(about["url"])


def link(lambda_client: Any, url: str, *, page: str = "/") -> str:
    """A link that lets one browser in, once, within a minute. Raises SignInError."""
    answer = _ask(lambda_client, "POST /auth/login-link", {"next": page}, host=urlsplit(url).netloc)
    return f"{url}{answer['path']}"


def token(lambda_client: Any) -> str:
    """A token for `Authorization: Bearer …`, good for an hour. Raises SignInError."""
    return str(_ask(lambda_client, "POST /auth/token", None)["access_token"])


def _ask(lambda_client: Any, route: str, body: Any, *, host: str = "") -> dict[str, Any]:
    payload = json.dumps(_signed(route, body, host)).encode()
    answer = lambda_client.invoke(FunctionName=f"{deployment.STACK_NAME}-api", Payload=payload)
    reply = json.loads(answer["Payload"].read())
    if answer.get("FunctionError") or reply.get("statusCode") != 201:
        raise SignInError(f"The local stack refused it: {json.dumps(reply)[:300]}")
    return dict(json.loads(reply["body"]))


def _signed(route: str, body: Any, host: str) -> dict[str, Any]:
    """The event of an HTTP API for a request whose signature it has verified."""
    method, _, path = route.partition(" ")
    return {
        "version": "2.0",
        "routeKey": route,
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"host": host, "content-type": "application/json"},
        "requestContext": {
            "routeKey": route,
            "stage": "$default",
            "http": {"method": method, "path": path},
            "authorizer": {"iam": {"userArn": f"{PEOPLE}/{getpass.getuser()}"}},
        },
        "body": "" if body is None else json.dumps(body),
        "isBase64Encoded": False,
    }
