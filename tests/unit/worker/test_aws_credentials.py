"""A task's AWS credentials: those of its role, when it asks for them, and never the worker's."""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.httpsession import URLLib3Session
from botocore.utils import ContainerMetadataFetcher

from gust.airflow_bridge.credentials import CredentialsEndpoint
from tests.unit.worker.control_plane import Site

WORKERS: dict[str, str] = {
    "AWS_ACCESS_KEY_ID": "ASIAOFTHEWORKER00000",
    "AWS_SECRET_ACCESS_KEY": "secret-of-the-worker-secret-of-the-worker",
    "AWS_SESSION_TOKEN": "token-of-the-worker-token-of-the-worker",
    "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001",
    "AWS_DEFAULT_REGION": "eu-west-1",
}


@pytest.fixture(autouse=True)
def on_lambda(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment that Lambda gives to a worker."""
    for name, value in WORKERS.items():
        monkeypatch.setenv(name, value)


def dag(work: str) -> str:
    lines = "\n".join(f"        {line}" for line in work.strip().splitlines())
    return f"""
from airflow.sdk import dag, task

@dag(schedule=None)
def d():
    @task
    def t():
{lines}
    t()

d()
"""


def test_a_task_has_the_credentials_of_its_role(site: Site, run: Callable[..., int]) -> None:
    code = run(
        dag("""
import boto3
found = boto3.Session().get_credentials().get_frozen_credentials()
return [found.access_key, found.secret_key, found.token]
""")
    )
    assert code == 0, site.log.text
    assert site.control_plane.returned == ["ASIATASK1", "the task's", "of the task"]


def test_so_has_what_the_task_starts(site: Site, run: Callable[..., int]) -> None:
    code = run(
        dag("""
import subprocess, sys
look = "import boto3; print(boto3.Session().get_credentials().access_key)"
return subprocess.run([sys.executable, "-c", look], check=True, capture_output=True, text=True).stdout
""")
    )
    assert code == 0, site.log.text
    assert site.control_plane.returned == "ASIATASK1\n"


def test_a_host_s_files_do_not_come_before_the_role(
    site: Site, run: Callable[..., int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`./gust worker` may have its credentials from `~/.aws`."""
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").write_text(
        "[default]\naws_access_key_id = AKIAOFTHEHOST\naws_secret_access_key = s\n"
    )
    (tmp_path / ".aws/config").write_text("[default]\ncredential_process = /bin/false\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    code = run(dag("import boto3\nreturn boto3.Session().get_credentials().access_key"))
    assert code == 0, site.log.text
    assert site.control_plane.returned == "ASIATASK1"


def test_a_task_that_calls_no_aws_service_costs_no_request(site: Site, run: Callable[..., int]) -> None:
    assert run(dag("return 1")) == 0
    assert site.control_plane.asked("credentials") == []


def test_its_environment_holds_nothing_of_the_workers(site: Site, run: Callable[..., int]) -> None:
    code = run(
        dag("""
import os
return dict(os.environ)
""")
    )
    assert code == 0, site.log.text
    seen: dict[str, str] = site.control_plane.returned
    assert not any(WORKERS[name] in json.dumps(seen) for name in WORKERS if name != "AWS_DEFAULT_REGION")
    assert seen["AWS_DEFAULT_REGION"] == "eu-west-1"
    assert seen["AWS_EC2_METADATA_DISABLED"] == "true"


def test_credentials_are_kept_and_renewed_before_they_end(site: Site, run: Callable[..., int]) -> None:
    ask_twice = """
import boto3
return [boto3.Session().get_credentials().access_key for _ in range(2)]
"""
    assert run(dag(ask_twice)) == 0
    assert site.control_plane.returned == ["ASIATASK1", "ASIATASK1"]
    site.control_plane.requests.clear()
    site.control_plane.credentials_last = 19 * 60
    assert run(dag(ask_twice)) == 0
    keys: list[str] = site.control_plane.returned
    assert len(set(keys)) == 2


def test_a_role_that_aws_refuses_fails_the_try_and_the_log_says_why(site: Site, run: Callable[..., int]) -> None:
    site.control_plane.refusal = "AWS refuses the role arn:aws:iam::1:role/r: AccessDenied: not authorized"
    run(
        dag("""
import boto3
boto3.client("sts").get_caller_identity()
""")
    )
    assert site.control_plane.reported == ["failed"]
    (line,) = [line for line in site.log.lines if line["event"] == "The task gets no AWS credentials"]
    assert line["reason"] == site.control_plane.refusal
    raised = [line for line in site.log.lines if "error_detail" in line or "exception" in line]
    assert "AccessDenied: not authorized" in json.dumps(raised), site.log.text


@pytest.mark.parametrize("given", ["", "guessed"])
def test_only_the_task_gets_them(site: Site, run: Callable[..., int], given: str) -> None:
    code = run(
        dag(f"""
import os, urllib.error, urllib.request
request = urllib.request.Request(os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"], headers={{"Authorization": "{given}"}})
try:
    return urllib.request.urlopen(request).read().decode()
except urllib.error.HTTPError as error:
    return error.code
""")
    )
    assert code == 0, site.log.text
    answer: Any = site.control_plane.returned
    assert answer == 401
    assert site.control_plane.asked("credentials") == []


def test_a_failure_of_the_control_plane_is_passed_on_and_asking_again_helps(
    site: Site, run: Callable[..., int]
) -> None:
    site.control_plane.refusals = {"credentials": [500, 500]}
    code = run(
        dag("""
import boto3
return boto3.Session().get_credentials().access_key
""")
    )
    assert code == 0, site.log.text
    assert site.control_plane.returned == "ASIATASK3"


def test_an_sdk_waits_while_the_execution_api_is_slow() -> None:
    """botocore gives up where it reads nothing for two seconds, here for four, so that a machine may stop for a while
    between two signs of life, which come each second. The answer comes after the fifth."""
    signs: list[float] = []
    has_waited = threading.Event()

    class Counting(CredentialsEndpoint):
        def _asked(self, keep_waiting: Callable[[], None]) -> httpx.Response:
            def count() -> None:
                keep_waiting()
                signs.append(time.monotonic())
                if len(signs) == 5:
                    has_waited.set()

            return super()._asked(count)

    def ask() -> httpx.Response:
        has_waited.wait(20)
        return httpx.Response(200, json={"AccessKeyId": "ASIATASK1", "Expiration": "2126-01-01T00:00:00Z"})

    with Counting(ask, log=None) as endpoint, ThreadPoolExecutor(1) as supervisor:
        serving = supervisor.submit(lambda: select.select([endpoint], [], [], 20) and endpoint.serve())
        found = ContainerMetadataFetcher(session=URLLib3Session(timeout=4)).retrieve_full_uri(
            endpoint.variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"],
            headers={"Authorization": endpoint.variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"]},
        )
        assert serving.result()

    assert found["AccessKeyId"] == "ASIATASK1"


def test_a_client_that_waits_long_reads_one_answer_before_the_real_one() -> None:
    """Go's client of HTTP gives up after the fifth: terraform, s5cmd, rclone."""

    class Impatient(CredentialsEndpoint):
        def _asked(self, keep_waiting: Callable[[], None]) -> httpx.Response:
            for _ in range(9):
                keep_waiting()
            return super()._asked(keep_waiting)

    answer = {"AccessKeyId": "ASIATASK1", "Expiration": "2126-01-01T00:00:00Z"}
    with (
        Impatient(lambda: httpx.Response(200, json=answer), log=None) as endpoint,
        ThreadPoolExecutor(1) as supervisor,
        socket.create_connection(("127.0.0.1", endpoint._socket.getsockname()[1])) as client,
    ):
        token = endpoint.variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
        client.sendall(f"GET /credentials HTTP/1.1\r\nAuthorization: {token}\r\n\r\n".encode())
        supervisor.submit(lambda: select.select([endpoint], [], [], 20) and endpoint.serve())
        said = b"".join(iter(partial(client.recv, 4096), b""))

    first, second, rest = said.split(b"\r\n\r\n")
    assert first == b"HTTP/1.1 100 Continue\r\nWaiting: ........"
    assert second.startswith(b"HTTP/1.1 200 OK\r\n")
    assert json.loads(rest) == answer


def test_the_workers_default_session_is_not_the_tasks(
    site: Site, run: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds the credentials of the worker's own clients."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", boto3.Session(region_name="eu-west-1"))
    run(
        "from airflow.sdk import dag, task\n@dag(schedule=None)\ndef d():\n    @task\n    def t():\n"
        "        import boto3\n        return boto3.DEFAULT_SESSION is None\n    t()\nd()\n"
    )
    assert site.control_plane.returned is True
