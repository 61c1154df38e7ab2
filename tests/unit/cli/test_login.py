"""`./gust login`: what it signs and shows."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest

from gust.aws.signing_keys import parse
from gust.cli import login
from gust.cli.__main__ import main
from gust.cli.aws import AwsError
from gust.cli.keys import rotate_key

Seen = list[tuple[str, dict[str, str], bytes]]


class Door:
    """Stands for the HTTP API: answers as told, and keeps what came."""

    def __init__(self) -> None:
        self.seen: Seen = []
        self.answer: tuple[int, Any] = (201, {})
        door = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                door.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                status, answer = door.answer
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def door() -> Iterator[Door]:
    door = Door()
    yield door
    door.server.shutdown()
    door.server.server_close()


@pytest.fixture
def session() -> boto3.Session:
    return boto3.Session("AKIAEXAMPLE", "secret", "session-token", region_name="eu-west-1")


def test_what_asks_for_a_link_is_signed_and_says_where_to_go(door: Door, session: boto3.Session) -> None:
    door.answer = 201, {"path": "/auth/login-link?code=c", "expires_in_seconds": 60}
    assert login.link(door.url, session, page="/dags/etl") == f"{door.url}/auth/login-link?code=c"
    path, headers, body = door.seen[0]
    assert (path, json.loads(body)) == ("/auth/login-link", {"next": "/dags/etl"})
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/")
    assert "/eu-west-1/execute-api/aws4_request" in headers["authorization"]
    assert headers["x-amz-security-token"] == "session-token"


def test_a_tag_is_said_in_the_path_that_is_signed(door: Door, session: boto3.Session) -> None:
    door.answer = 201, {"access_token": "t"}
    assert login.token(door.url, session, tag="ops/eu") == "t"
    assert door.seen[0][0] == "/auth/token/as/ops%2Feu"


@pytest.mark.parametrize(
    ("answer", "told"),
    [({"detail": "arn:x has no role"}, "arn:x has no role"), ({"message": "Forbidden"}, "Forbidden")],
)
def test_a_refusal_is_told(door: Door, session: boto3.Session, answer: Any, told: str) -> None:
    door.answer = 403, answer
    with pytest.raises(login.LoginError, match=told):
        login.link(door.url, session)


def test_who_does_not_answer_is_named(session: boto3.Session) -> None:
    with pytest.raises(login.LoginError, match="does not answer"):
        login.link("http://127.0.0.1:9", session)


def test_where_a_private_api_is_reached_is_said_to_those_outside(session: boto3.Session) -> None:
    with pytest.raises(login.LoginError, match="The API is private: this machine must reach its VPC endpoint"):
        login.link("http://a1b2c3-vpce-0a1b.localhost:9/airflow", session)


def test_a_link_keeps_the_stage_of_a_rest_api(door: Door, session: boto3.Session) -> None:
    door.answer = 201, {"path": "/auth/login-link?code=c", "expires_in_seconds": 60}
    assert login.link(f"{door.url}/airflow", session) == f"{door.url}/airflow/auth/login-link?code=c"
    assert door.seen[0][0] == "/airflow/auth/login-link"


def test_a_document_is_checked_before_it_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = tmp_path / "access.json"
    document.write_text('{"oidc": [{"group": "ops", "role": "Op"}]}')
    assert main(["check-access", str(document)]) == 0
    document.write_text('{"oidc": [{"group": "ops", "role": "Boss"}]}')
    assert main(["check-access", str(document)]) == 1
    assert "oidc.0.role" in capsys.readouterr().err
    assert main(["check-access", str(tmp_path / "other.json")]) == 1
    assert capsys.readouterr().err == f"gust: {tmp_path / 'other.json'} cannot be read: No such file or directory\n"


class Invoked:
    """Stands for CloudFormation, which knows the stack, and for Lambda with its key rotator."""

    def __init__(self, answer: dict[str, Any], *, fails: bool = False) -> None:
        self.answer, self.fails = answer, fails
        self.function = ""

    def describe_stacks(self, StackName: str) -> Any:  # noqa: N803 - boto3's
        return {"Stacks": [{"StackName": StackName, "Outputs": []}]}

    def invoke(self, FunctionName: str, Payload: bytes) -> Any:  # noqa: N803
        self.function = FunctionName
        error = {"FunctionError": "Unhandled"} if self.fails else {}
        return {"Payload": io.BytesIO(json.dumps(self.answer).encode()), **error}


@pytest.mark.parametrize(
    ("is_new", "told"), [(True, "There is a new key; it signs in"), (False, "There is a new key already")]
)
def test_the_key_rotator_replaces_the_key_now(is_new: bool, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    aws = Invoked({"is_new": is_new})

    assert rotate_key("team", lambda _: aws) == 0

    assert aws.function == "team-key-rotation"
    assert told in capsys.readouterr().out


def test_a_rotation_that_fails_is_told() -> None:
    aws = Invoked({"errorMessage": "ParameterNotFound"}, fails=True)

    with pytest.raises(AwsError, match="The key was not replaced: ParameterNotFound"):
        rotate_key("team", lambda _: aws)


def test_a_key_in_the_making_has_no_comma_of_its_own() -> None:
    from datetime import UTC, datetime, timedelta

    from gust.aws.signing_keys import rotated

    secret = rotated("first", now=datetime(2026, 3, 1, tzinfo=UTC), longest_lifetime=timedelta(days=8))
    assert [made is None for made, _ in parse(secret)] == [False, True]
