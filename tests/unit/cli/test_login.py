"""`./gust login`: what it signs and shows."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from gust.aws.signing_keys import parse
from gust.cli import login
from gust.cli.__main__ import main
from gust.cli.aws import in_one_line
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


def test_a_document_is_checked_before_it_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = tmp_path / "access.json"
    document.write_text('{"oidc": [{"group": "ops", "role": "Op"}]}')
    assert main(["check-access", str(document)]) == 0
    document.write_text('{"oidc": [{"group": "ops", "role": "Boss"}]}')
    assert main(["check-access", str(document)]) == 1
    assert "oidc.0.role" in capsys.readouterr().err


class Stacks:
    """Stands for CloudFormation, which knows where a stack's secret is."""

    def __init__(self, secret: str) -> None:
        self.outputs = [{"OutputKey": "SigningSecretArn", "OutputValue": secret}]

    def describe_stacks(self, StackName: str) -> Any:  # noqa: N803 - boto3's
        return {"Stacks": [{"StackName": StackName, "Outputs": self.outputs}]}


def test_a_key_is_replaced_now_by_having_secrets_manager_do_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        secrets = boto3.client("secretsmanager")
        arn = secrets.create_secret(Name="signing", SecretString="first")["ARN"]
        clients = {"cloudformation": Stacks(arn), "secretsmanager": secrets}
        assert "LastRotatedDate" not in secrets.describe_secret(SecretId=arn)
        assert rotate_key("gust", clients.__getitem__) == 0
        assert "LastRotatedDate" in secrets.describe_secret(SecretId=arn)
        secrets.delete_secret(SecretId=arn)
        with pytest.raises(ClientError) as refused:
            rotate_key("gust", clients.__getitem__)
    assert "A new key is being made" in capsys.readouterr().out
    told = in_one_line(refused.value)
    assert told is not None
    assert told.startswith("RotateSecret failed: ")


def test_a_key_in_the_making_has_no_comma_of_its_own() -> None:
    from datetime import UTC, datetime, timedelta

    from gust.aws.signing_keys import rotated

    secret = rotated("first", now=datetime(2026, 3, 1, tzinfo=UTC), longest_lifetime=timedelta(days=8))
    assert [made is None for made, _ in parse(secret)] == [False, True]
