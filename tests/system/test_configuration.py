"""Airflow's options and a secrets backend on the local stack: mails of failed tasks, an XCom backend, defaults, secrets."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_string
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from gust.model.secrets_backend import PARAMETER_STORE, SECRETS_MANAGER
from gust.services.deployments.configuration import DOCUMENT
from tests.system.local_gust import LocalGust

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass
class MailServer:
    """Speaks enough SMTP to receive mails."""

    mails: list[Message] = field(default_factory=list)
    has_mail: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    def receive(self, text: str) -> None:
        self.mails.append(message_from_string(text))
        self.has_mail.set()


@pytest.fixture(scope="module")
def mail_server() -> Iterator[MailServer]:
    server = MailServer()

    class Session(socketserver.StreamRequestHandler):
        def say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

        def handle(self) -> None:
            self.say("220 here")
            while line := self.rfile.readline().decode():
                match line.split()[0].upper():
                    case "DATA":
                        self.say("354 go on")
                        text = ""
                        while (line := self.rfile.readline().decode()) != ".\r\n":
                            text += line
                        server.receive(text)
                        self.say("250 kept")
                    case "QUIT":
                        self.say("221 bye")
                        return
                    case _:
                        self.say("250 fine")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session) as listening:
        server.port = listening.server_address[1]
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield server
        listening.shutdown()


OPTIONS: dict[str, Any] = {
    "core.default_timezone": "Europe/Berlin",
    "core.default_task_retries": 0,
    "core.default_task_execution_timeout": 200,
    "core.xcom_backend": "files.Files",
    "email.from_email": "gust@example.com",
    "email.subject_template": "/usr/local/airflow/dags/mails/subject.txt",
    "secrets.backend": SECRETS_MANAGER,
    "secrets.backend_kwargs": {"connections_prefix": "team/connections", "variables_prefix": "team/variables"},
    "team.greeting": "hello",
}

READABLE = (
    "secretsmanager:us-east-1:000000000000:secret:team/connections/*",
    "secretsmanager:us-east-1:000000000000:secret:team/variables/greeting*",
    "ssm:us-east-1:000000000000:parameter/airflow/*",
)

FILES = """
    import json, tempfile
    from airflow.sdk.bases.xcom import BaseXCom

    class Files(BaseXCom):
        @staticmethod
        def serialize_value(value, **kwargs):
            return BaseXCom.serialize_value({"boxed": value})

        @classmethod
        def deserialize_value(cls, result):
            return BaseXCom.deserialize_value(result)["boxed"]
"""

CONFIGURED = """
    from datetime import datetime
    from airflow.configuration import conf
    from airflow.sdk import BaseHook, Variable, dag, task

    GREETING = Variable.get("greeting")

    @dag(schedule="0 6 * * *", start_date=datetime(2030, 7, 1), tags=[GREETING])
    def configured():
        @task
        def give():
            return {"rows": 3}

        @task
        def take(given):
            connection = BaseHook.get_connection("warehouse")
            seen = [connection.host, connection.password, Variable.get("greeting"), Variable.get("salary", default=None)]
            print("seen:", given, *seen, conf.get("team", "greeting"))

        @task(email=["people@example.com"])
        def fail(given):
            raise ValueError("no more rows")

        given = give()
        take(given)
        fail(given)

    configured()
"""


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory, mail_server: MailServer) -> Iterator[LocalGust]:
    home = tmp_path_factory.mktemp("configured")
    gust = LocalGust(
        home / "data",
        home / "dags",
        means_to_refuse="arn:aws:secretsmanager:*:secret:team/variables/salary-*",
        parameters={
            "TestConnection": "Enabled",
            "ExposeConfig": "non-sensitive-only",
            "SecretsBackendArns": ",".join(f"arn:aws:{name}" for name in READABLE),
        },
        configuration=json.dumps(OPTIONS),
    )
    gust.start()
    secrets = gust.stack.client("secretsmanager")
    secrets.create_secret(Name="team/connections/warehouse", SecretString="postgres://reader:s3cret-1@db:5432")
    extra = json.dumps({"disable_ssl": True, "disable_tls": True})
    smtp = {"conn_type": "smtp", "host": "127.0.0.1", "port": mail_server.port, "extra": extra}
    secrets.create_secret(Name="team/connections/smtp_default", SecretString=json.dumps(smtp))
    for key, value in (("greeting", "good-morning"), ("salary", "s3cret-0")):
        secrets.create_secret(Name=f"team/variables/{key}", SecretString=value)
    gust.upload("plugins/files.py", FILES)
    gust.upload("mails/subject.txt", "{{ ti.task_id }} failed")
    gust.upload("configured.py", CONFIGURED)
    yield gust
    gust.stop()


def test_options_and_secrets_reach_dag_files_tasks_and_mails(configured: LocalGust, mail_server: MailServer) -> None:
    dag = configured.await_dag("configured")
    assert [tag["name"] for tag in dag["tags"]] == ["good-morning"]
    details = configured.api.call("GET", "/api/v2/dags/configured/details")
    assert details["timezone"] == "Europe/Berlin"
    task = configured.api.call("GET", "/api/v2/dags/configured/tasks/take")
    assert (task["retries"], task["execution_timeout"]["seconds"]) == (0, 200)

    run_id = configured.trigger("configured")
    configured.await_state("configured", run_id, "success", task="take")
    configured.await_state("configured", run_id, "failed", task="fail")
    log = configured.logs("configured", run_id, "take")
    assert "seen: {'rows': 3} db *** good-morning None hello" in log
    # The stack does not name that secret: AWS refuses, and Airflow asks the next place.
    (refused,) = [
        line
        for line in configured.log_lines("configured", run_id, "take")
        if line["event"] == "The secrets backend could not be asked"
    ]
    assert "team/variables/salary in secretsmanager" in refused["problem"]
    assert "AccessDenied" in refused["problem"]
    stored = configured.api.call(
        "GET", f"/api/v2/dags/configured/dagRuns/{run_id}/taskInstances/give/xcomEntries/return_value"
    )
    assert stored["value"] == {"boxed": {"rows": 3}}

    assert mail_server.has_mail.wait(60), configured.logs("configured", run_id, "fail")
    (mail,) = mail_server.mails
    assert (mail["From"], mail["To"], mail["Subject"]) == ("gust@example.com", "people@example.com", "fail failed")


def test_the_configuration_shows_the_options(configured: LocalGust) -> None:
    configured.await_dag("configured")
    shown = configured.api.call("GET", "/api/v2/config/section/email/option/from_email")
    assert shown["sections"][0]["options"] == [{"key": "from_email", "value": "gust@example.com"}]


def test_a_mistake_is_an_import_error_and_another_backend_takes_over(configured: LocalGust) -> None:
    configured.await_dag("configured")
    configured.stack.configure(json.dumps(OPTIONS | {"core.default_timezone": "Mars/Olympus"}))
    configured.upload("nudge.py", "# one")
    assert "core.default_timezone: there is no time zone 'Mars/Olympus'." in configured.await_import_error(DOCUMENT)

    ssm = configured.stack.client("ssm")
    for name, value in (
        ("connections/warehouse", "mysql://writer:s3cret-2@other"),
        ("variables/greeting", "good-night"),
    ):
        ssm.put_parameter(Name=f"/airflow/{name}", Value=value, Type="SecureString")
    configured.stack.configure(json.dumps(OPTIONS | {"secrets.backend": PARAMETER_STORE, "secrets.backend_kwargs": {}}))
    before = configured.await_dag("configured")["last_parsed_time"]
    configured.upload("nudge.py", "# two")
    dag = configured.await_dag("configured", since=before)
    assert [tag["name"] for tag in dag["tags"]] == ["good-night"]
    configured.await_no_import_error(DOCUMENT)
    run_id = configured.trigger("configured")
    configured.await_state("configured", run_id, "success", task="take")
    assert "seen: {'rows': 3} other *** good-night None hello" in configured.logs("configured", run_id, "take")


def test_a_connection_is_tested_by_a_worker(configured: LocalGust, tmp_path: Path) -> None:
    gust = configured
    call = gust.api.call
    assert call("GET", "/ui/config")["test_connection"] == "Enabled"
    good = {"connection_id": "folder", "conn_type": "fs", "extra": json.dumps({"path": str(tmp_path)})}
    bad = good | {"extra": '{"path": "/no/such/folder"}'}
    for connection, answer in (
        (good, {"status": True, "message": f"Path {tmp_path} is existing."}),
        (bad, {"status": False, "message": "Path /no/such/folder does not exist."}),
        # The emulator plays STS: the hook's own AWS calls go where the connection says.
        (an_aws_connection(gust), None),
    ):
        tested = call("POST", "/api/v2/connections/test", body=connection)
        assert tested == answer if answer else (tested["status"] and "Account='000000000000'" in tested["message"])
    assert call("GET", "/api/v2/connections")["total_entries"] == 0

    made = call("POST", "/api/v2/connections/enqueue-test", body=good | {"commit_on_success": True})
    assert made["state"] == "pending"
    ended = gust.await_connection_test(made["token"])
    assert (ended["state"], ended["result_message"]) == ("success", f"Path {tmp_path} is existing.")
    assert call("GET", "/api/v2/connections/folder")["extra"] == good["extra"]
    log = call("GET", "/api/v2/eventLogs?event=enqueue_connection_test")["event_logs"]
    assert [json.loads(event["extra"])["connection_id"] for event in log] == ["folder"]


def an_aws_connection(gust: LocalGust) -> dict[str, Any]:
    extra = {"endpoint_url": gust.stack.endpoint, "region_name": "us-east-1"}
    extra["service_config"] = {"sts": {"endpoint_url": gust.stack.endpoint}}  # type: ignore[assignment]
    keys = {"login": "000000000000", "password": "local"}
    return {"connection_id": "cloud", "conn_type": "aws", **keys, "extra": json.dumps(extra)}
